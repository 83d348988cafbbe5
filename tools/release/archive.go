package main

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// entry is a file of an archive or of a package.
type entry struct {
	Name    string
	Content []byte
	// Executable is set for programs and scripts.
	Executable bool
}

func (e entry) mode() os.FileMode {
	if e.Executable {
		return 0o755
	}
	return 0o644
}

// readDocuments reads the files of the checkout that every archive has.
func (r *release) readDocuments() (documents []entry, err error) {
	for _, name := range []string{"CHANGELOG.md", "Caddyfile.example", "LICENSE", "README.md", "README.zh-CN.md"} {
		text, err := os.ReadFile(filepath.Join(r.Root, name)) // #nosec G304 -- of the checkout
		if err != nil {
			return nil, err
		}
		documents = append(documents, entry{Name: name, Content: text})
	}
	return documents, nil
}

// writeArchive packs the program with its documents: zip where the system has
// nothing else, tar.gz elsewhere. Everything is in one directory, in alphabetical
// order, at one time, and belongs to root.
func (r *release) writeArchive(program string, t target) error {
	content, err := os.ReadFile(program) // #nosec G304 -- built by us
	if err != nil {
		return err
	}
	entries := slices.Concat([]entry{{t.program(), content, true}}, r.documents, r.pages)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	write, suffix := writeTar, ".tar.gz"
	if t.OS == "windows" {
		write, suffix = writeZip, ".zip"
	}
	f, err := os.Create(filepath.Join(r.Out, r.name(t)+suffix))
	if err != nil {
		return err
	}
	if err := write(f, r.name(t), entries, r.time()); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func writeTar(w io.Writer, dir string, entries []entry, at time.Time) error {
	// The header of gzip has no name and no time unless they are set.
	packed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	files := tar.NewWriter(packed)
	for _, e := range entries {
		header := &tar.Header{
			Name: dir + "/" + e.Name, Size: int64(len(e.Content)), Mode: int64(e.mode()), ModTime: at,
			Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if err := files.WriteHeader(header); err != nil {
			return err
		}
		if _, err := files.Write(e.Content); err != nil {
			return err
		}
	}
	if err := files.Close(); err != nil {
		return err
	}
	return packed.Close()
}

func writeZip(w io.Writer, dir string, entries []entry, at time.Time) error {
	files := zip.NewWriter(w)
	for _, e := range entries {
		header := &zip.FileHeader{Name: dir + "/" + e.Name, Method: zip.Deflate, Modified: at}
		header.SetMode(e.mode())
		f, err := files.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := f.Write(e.Content); err != nil {
			return err
		}
	}
	return files.Close()
}
