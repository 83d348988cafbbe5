package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// packed is a file of an archive, with all that is to be the same each time.
type packed struct {
	Name    string
	Content []byte
	Mode    fs.FileMode
	At      time.Time
	Owner   string
}

// unpack reads the archive of one system.
func unpack(t *testing.T, target target) (files []packed) {
	t.Helper()
	if target.OS == "windows" {
		return unzip(t, released(t, built.name(target)+".zip"))
	}
	f, err := os.Open(released(t, built.name(target)+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if !unzipped.ModTime.IsZero() || unzipped.Name != "" {
		t.Errorf("the header of gzip has a time or a name: %v", unzipped.Header)
	}
	for r := tar.NewReader(unzipped); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if header.Uid != 0 || header.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", header.Name, header.Uid, header.Gid)
		}
		files = append(files, packed{header.Name, content, header.FileInfo().Mode(), header.ModTime, header.Uname})
	}
}

func unzip(t *testing.T, file string) (files []packed) {
	t.Helper()
	r, err := zip.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, f := range r.File {
		reader, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, packed{f.Name, content, f.Mode(), f.Modified, "root"})
	}
	return files
}

// TestArchives: every archive has the program, the documents, the completions and
// the man pages, in order, at the release's time, and owned by root.
func TestArchives(t *testing.T) {
	for _, target := range built.Targets {
		files := unpack(t, target)
		if !slices.IsSortedFunc(files, func(a, b packed) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: the entries are not sorted", target)
		}
		byName := map[string]packed{}
		for _, f := range files {
			name, ok := strings.CutPrefix(f.Name, built.name(target)+"/")
			want := fs.FileMode(0o644)
			if name == target.program() {
				want = 0o755
			}
			if !ok || f.Mode != want || f.At.Unix() != testEpoch || f.Owner != "root" {
				t.Errorf("%s: %s has mode %v, time %v and owner %s", target, f.Name, f.Mode, f.At, f.Owner)
			}
			byName[name] = f
		}
		for _, name := range []string{"LICENSE", "README.md", "README.zh-CN.md", "CHANGELOG.md", "Caddyfile.example"} {
			want, err := os.ReadFile(filepath.Join(built.Root, name))
			if err != nil || !bytes.Equal(byName[name].Content, want) {
				t.Errorf("%s: %s is not that of the checkout (%v)", target, name, err)
			}
		}
		for _, name := range []string{
			target.program(), "completions/caddy-tokens.bash", "completions/_caddy-tokens", "completions/caddy-tokens.fish", "completions/caddy-tokens.ps1",
			"man/caddy-tokens.8", "man/caddy-tokens-run.8", "man/caddy-tokens-tokens-client-add.8", "man/caddy-tokens-tokens-backup.8",
		} {
			if len(byName[name].Content) == 0 {
				t.Errorf("%s: there is no %s", target, name)
			}
		}
	}
}

// TestSameBytesTwice builds the release once more, from a copy without Git, in
// another place, and in another time zone.
func TestSameBytesTwice(t *testing.T) {
	t.Setenv("TZ", "Asia/Shanghai")
	t.Setenv("GOFLAGS", "-tags=of_somebody")
	again := built
	again.Root, again.Out = filepath.Join(t.TempDir(), "another", "place"), filepath.Join(t.TempDir(), "dist")
	if err := os.MkdirAll(again.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	list := exec.Command("sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"`, "sh", again.Root)
	list.Dir = built.Root
	if out, err := list.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again.Targets = []target{linuxHere()}
	if err := again.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(again.Out)
	if err != nil || len(files) != 6 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		if file.Name() == sumsFile || len(built.Targets) > 1 && file.Name() == again.imageName() {
			continue // it has the other systems, too
		}
		first, err := sha256Of(filepath.Join(built.Out, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		second, err := sha256Of(filepath.Join(again.Out, file.Name()))
		if err != nil || first != second {
			t.Errorf("%s has other bytes the second time (%v)", file.Name(), err)
		}
	}
}

// TestSums: sha256sum accepts the list, and every other file is in it.
func TestSums(t *testing.T) {
	cmd := exec.Command("sha256sum", "--check", "--strict", sumsFile)
	cmd.Dir = built.Out
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files, err := os.ReadDir(built.Out)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if file.Name() != sumsFile && !strings.Contains(string(out), file.Name()+": OK\n") {
			t.Errorf("%s is not in the list:\n%s", file.Name(), out)
		}
	}
}
