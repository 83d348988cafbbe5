// Command pack makes the files that the console is embedded as: each file of a
// directory compressed by gzip, under the same name with .gz at its end.
//
//	go run ./internal/console/pack console/build internal/console/dist
//	go run ./internal/console/pack -check console/build internal/console/dist
//
// With -check nothing is written: it fails where a file differs from what it
// would write. The same sources must give the same bytes on every machine, which
// the gzip of Node does not promise: its zlib differs between releases.
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const suffix = ".gz"

func main() {
	check := flag.Bool("check", false, "compare, and write nothing")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: pack [-check] FROM TO")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *check); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(from, to string, check bool) error {
	want, err := compressed(from)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		return fmt.Errorf("there is nothing in %s", from)
	}
	if check {
		return compare(want, to)
	}
	if err := write(want, to); err != nil {
		return err
	}
	size := 0
	for _, data := range want {
		size += len(data)
	}
	fmt.Printf("%d files, %d KiB compressed\n", len(want), (size+1023)/1024)
	return nil
}

// compressed returns the files below a directory, compressed, by their names in
// the other directory.
func compressed(from string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	root := os.DirFS(from)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		files[name+suffix], err = compress(data)
		return err
	})
	return files, err
}

// compress leaves the header of the file empty: no name and no time.
func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	writer, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(data); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// stored returns the compressed files that a directory has. What has another
// suffix was not written by this program and is left alone.
func stored(dir string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != suffix {
			return err
		}
		files[name], err = fs.ReadFile(root, name)
		return err
	})
	if os.IsNotExist(err) {
		return files, nil
	}
	return files, err
}

// compare reports every file that is missing, different or too much.
func compare(want map[string][]byte, to string) error {
	have, err := stored(to)
	if err != nil {
		return err
	}
	differences := 0
	report := func(name, what string) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", filepath.Join(to, name), what)
		differences++
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if data, ok := have[name]; !ok {
			report(name, "missing")
		} else if !bytes.Equal(data, want[name]) {
			report(name, "different")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, ok := want[name]; !ok {
			report(name, "not built any more")
		}
	}
	if differences > 0 {
		return fmt.Errorf("%d files differ from what the sources make", differences)
	}
	return nil
}

// write makes the directory hold these compressed files and no others.
func write(want map[string][]byte, to string) error {
	have, err := stored(to)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			if err := os.Remove(filepath.Join(to, name)); err != nil {
				return err
			}
		}
	}
	for name, data := range want {
		path := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
