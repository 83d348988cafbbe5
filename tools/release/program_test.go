package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// program writes the program of an archive to a file.
func program(t *testing.T, target target) string {
	t.Helper()
	for _, f := range unpack(t, target) {
		if filepath.Base(f.Name) == target.program() {
			file := filepath.Join(t.TempDir(), target.program())
			if err := os.WriteFile(file, f.Content, 0o700); err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	t.Fatalf("%s: no program", target)
	return ""
}

// TestProgramsAreOfTheirSystem: a program passes for its own system only.
func TestProgramsAreOfTheirSystem(t *testing.T) {
	for _, target := range built.Targets {
		file := program(t, target)
		for _, other := range allTargets {
			if err := inspect(file, other); (err == nil) != (target == other) {
				t.Errorf("the program of %s as one of %s: %v", target, other, err)
			}
		}
	}
}

// TestInspect: the smallest program of each system passes for that one only, and
// one that needs a loader for none.
func TestInspect(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range allTargets {
		file := filepath.Join(dir, target.OS+target.Arch)
		cmd := exec.Command("go", "build", "-o", file, source)
		cmd.Env = append(os.Environ(), "GOOS="+target.OS, "GOARCH="+target.Arch, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, other := range allTargets {
			if err := inspect(file, other); (err == nil) != (target == other) {
				t.Errorf("a program of %s as one of %s: %v", target, other, err)
			}
		}
	}
	if err := inspect("/bin/sh", linuxHere()); err == nil || !strings.Contains(err.Error(), "not static") {
		t.Errorf("a program that needs a loader: %v", err)
	}
}

// modules are the modules that the program of a system is made of, as go list
// tells them.
func modules(t *testing.T, target target) (paths []string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", testTags, "-f", "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}{{end}}{{end}}", mainPackage)
	cmd.Dir = built.Root
	cmd.Env = append(os.Environ(), "GOOS="+target.OS, "GOARCH="+target.Arch, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	paths = strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(paths)
	paths = slices.DeleteFunc(slices.Compact(paths), func(path string) bool { return path == "" })
	if len(paths) < 50 {
		t.Fatalf("go list names %d modules only", len(paths))
	}
	return paths
}

// TestSBOM: the list has exactly the modules that were linked, Go's library, and
// the product with its version; nothing in it is random.
func TestSBOM(t *testing.T) {
	for _, target := range built.Targets {
		text, err := os.ReadFile(released(t, built.name(target)+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		type component struct{ Name, Version string }
		var bom struct {
			BOMFormat    string `json:"bomFormat"`
			SerialNumber string `json:"serialNumber"`
			Metadata     struct {
				Timestamp string
				Component component
			}
			Components []component
		}
		if err := json.Unmarshal(text, &bom); err != nil {
			t.Fatal(err)
		}
		var listed []string
		for _, c := range bom.Components {
			listed = append(listed, c.Name+" "+c.Version)
		}
		want := append(modules(t, target), "std "+runtime.Version())
		slices.Sort(listed)
		slices.Sort(want)
		if !slices.Equal(listed, want) {
			t.Errorf("%s: it lists\n%q, but these were linked:\n%q", target, listed, want)
		}
		if bom.BOMFormat != "CycloneDX" || bom.SerialNumber != "" || bom.Metadata.Timestamp != "2026-01-01T00:00:00Z" ||
			bom.Metadata.Component != (component{"github.com/caddy-tokens/caddy-tokens", testVersion}) {
			t.Errorf("%s: %+v %s %s", target, bom.Metadata, bom.SerialNumber, bom.BOMFormat)
		}
	}
}

// TestProgramRuns: the programs of Linux tell their version and know the plugin;
// that of another processor is run by QEMU.
func TestProgramRuns(t *testing.T) {
	for _, target := range built.Targets {
		if target.OS != "linux" {
			continue
		}
		command := []string{program(t, target)}
		if target != linuxHere() {
			command = slices.Insert(command, 0, map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[target.Arch])
		}
		for args, want := range map[string]string{
			"tokens version":           "caddy-tokens " + testVersion + ", Caddy v2.",
			"list-modules":             "http.handlers.token_gateway\n",
			"presets wechat":           "wechat",
			"__complete client li":     "list\t",
			"help tokens client":       "caddy-tokens tokens client [command]",
			"completion powershell -h": "caddy-tokens",
		} {
			line := append(slices.Clone(command), strings.Fields(args)...)
			out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s %s: %v, and no %q in\n%s", target, args, err, want, out)
			}
		}
	}
}

// TestCompletions: each shell learns to complete the name that the program has.
func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	for _, f := range unpack(t, built.Targets[0]) {
		if strings.Contains(f.Name, "/completions/") {
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(f.Name)), f.Content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, err := exec.Command("bash", "-c", `source "$1" && complete -p caddy-tokens`, "bash", filepath.Join(dir, "caddy-tokens.bash")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "__start_caddy-tokens") {
		t.Errorf("bash: %v\n%s", err, out)
	}
	for file, want := range map[string]string{
		"_caddy-tokens":     "#compdef caddy-tokens\n",
		"caddy-tokens.fish": "complete -c caddy-tokens ",
		"caddy-tokens.ps1":  "-CommandName 'caddy-tokens'",
	} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q (%v)", file, want, err)
		}
	}
}
