package tokenstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxPrivateFile bounds what is read of a private file: a key has 44 characters,
// and each rotation that does not come to its end adds at most one to a key file.
const maxPrivateFile = 4 << 10

// ReadPrivateFile returns what a file holds that is for its owner only, such as
// a key. One that others may use is refused: whoever can write it chooses the
// key, and whoever can read it has it.
func ReadPrivateFile(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s may be used by others (mode %04o): chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivateFile))
	return string(text), err
}

// CreatePrivateFile writes a file that only its owner may read. The file appears
// whole or not at all, and never in place of another: a link, unlike a rename,
// fails where one exists (fs.ErrExist). A missing directory is made.
func CreatePrivateFile(path, text string) error {
	return WritePrivateFile(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// WritePrivateFile is CreatePrivateFile for what is written piece by piece. The
// file does not appear if write fails.
func WritePrivateFile(path string, write func(w io.Writer) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".private-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = write(f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- the directory of a private file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
