package main

import (
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"fmt"
)

// inspect fails unless a program is for the system, and needs none of its
// libraries where it can do without. (macOS has no stable system calls: there
// Go's programs call libSystem, which every Mac has.)
func inspect(program string, t target) error {
	switch t.OS {
	case "linux":
		return inspectELF(program, t.Arch)
	case "darwin":
		return inspectMachO(program, t.Arch)
	case "windows":
		return inspectPE(program, t.Arch)
	}
	return fmt.Errorf("nobody knows programs of %s", t.OS)
}

func inspectELF(program, arch string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if f.Machine != want {
		return fmt.Errorf("the program is for %s, not %s", f.Machine, want)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			return fmt.Errorf("the program is not static: it has %s", p.Type)
		}
	}
	return nil
}

func inspectMachO(program, arch string) error {
	f, err := macho.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	want := map[string]macho.Cpu{"amd64": macho.CpuAmd64, "arm64": macho.CpuArm64}[arch]
	if f.Cpu != want || f.Type != macho.TypeExec {
		return fmt.Errorf("the file is %s for %s, not a program for %s", f.Type, f.Cpu, want)
	}
	return nil
}

func inspectPE(program, arch string) error {
	f, err := pe.Open(program)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	want := map[string]uint16{"amd64": pe.IMAGE_FILE_MACHINE_AMD64, "arm64": pe.IMAGE_FILE_MACHINE_ARM64}[arch]
	if f.Machine != want || f.Characteristics&pe.IMAGE_FILE_EXECUTABLE_IMAGE == 0 {
		return fmt.Errorf("the file is for machine %#x with %#x, not a program for %#x", f.Machine, f.Characteristics, want)
	}
	return nil
}
