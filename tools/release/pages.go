package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
)

// shells are the shells that the program completes words for, with the files
// that they look for.
var shells = []struct{ name, file string }{
	{"bash", programName + ".bash"},
	{"zsh", "_" + programName},
	{"fish", programName + ".fish"},
	{"powershell", programName + ".ps1"},
}

// makePages lets the program for this machine write its completions and man
// pages. They are the same for every system.
func (r *release) makePages(ctx context.Context) (pages []entry, err error) {
	program, err := r.compile(ctx, hostTarget())
	if err != nil {
		return nil, err
	}
	for _, shell := range shells {
		text, err := r.run(ctx, program, "completion", shell.name)
		if err != nil {
			return nil, err
		}
		pages = append(pages, entry{Name: path.Join("completions", shell.file), Content: text})
	}
	man := filepath.Join(r.work, "man")
	if _, err := r.run(ctx, program, "manpage", "--directory", man); err != nil {
		return nil, err
	}
	err = fs.WalkDir(os.DirFS(man), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(man, name)) // #nosec G304 -- written by our own program
		pages = append(pages, entry{Name: path.Join("man", name), Content: text})
		return err
	})
	return pages, err
}

// run runs a program that was just built, with the release's time as the date of
// its pages, and in a home of its own: nothing of this machine is to get into them.
func (r *release) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...) // #nosec G204 -- our own program
	cmd.Env = []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.epoch, 10), "HOME=/nonexistent", "TZ=UTC"}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", programName, args[0], err, &complaints)
	}
	return out.Bytes(), nil
}
