package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func place(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPackReplacesWhatWasThere(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	page := strings.Repeat("<p>page</p>", 100)
	place(t, from, "index.html", page)
	place(t, from, "assets/new.js", "export {}")
	place(t, to, "assets/old.js.gz", "of an earlier build")
	place(t, to, ".gitattributes", "*.gz binary")

	if err := run(from, to, true); err == nil {
		t.Error("-check found no difference before anything was packed")
	}
	if err := run(from, to, false); err != nil {
		t.Fatal(err)
	}
	if err := run(from, to, true); err != nil {
		t.Errorf("-check after packing: %v", err)
	}

	packed, err := os.ReadFile(filepath.Join(to, "index.html.gz"))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	// A name or a time in the header would make the bytes depend on the machine.
	if reader.Name != "" || !reader.ModTime.IsZero() || reader.OS != 255 {
		t.Errorf("header %+v", reader.Header)
	}
	text, err := io.ReadAll(reader)
	if err != nil || string(text) != page {
		t.Errorf("unpacked %d bytes, %v", len(text), err)
	}
	if _, err := os.Stat(filepath.Join(to, "assets/old.js.gz")); !os.IsNotExist(err) {
		t.Errorf("the file of an earlier build: %v", err)
	}
	if _, err := os.Stat(filepath.Join(to, ".gitattributes")); err != nil {
		t.Errorf("a file that is not packed: %v", err)
	}
}

func TestCheckFindsEachDifference(t *testing.T) {
	from := t.TempDir()
	place(t, from, "index.html", "page")
	for name, change := range map[string]func(t *testing.T, to string){
		"missing":   func(t *testing.T, to string) { os.Remove(filepath.Join(to, "index.html.gz")) },
		"different": func(t *testing.T, to string) { place(t, to, "index.html.gz", "other") },
		"surplus":   func(t *testing.T, to string) { place(t, to, "assets/a.js.gz", "more") },
	} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if err := run(from, to, false); err != nil {
				t.Fatal(err)
			}
			change(t, to)
			if err := run(from, to, true); err == nil {
				t.Error("no difference was found")
			}
		})
	}
}

func TestPackRefusesAnEmptyBuild(t *testing.T) {
	if err := run(t.TempDir(), t.TempDir(), false); err == nil {
		t.Error("an empty build would remove the console")
	}
}
