package sources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// maxFile bounds a file.
	maxFile = 1 << 20
	// settled is how long a file has to be left alone until it counts as written,
	// if it was changed in place. One that another file took the place of is whole.
	settled = 100 * time.Millisecond
)

// File is the content of a file without the newline at its end.
type File struct {
	path string

	mu   sync.Mutex
	seen fs.FileInfo // of the content that was read last; nil before that
}

// NewFile makes the source of a file. The path must be absolute.
func NewFile(path string) (*File, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("{file.%s}: the path must be absolute", path)
	}
	return &File{path: path}, nil
}

// String names the file.
func (f *File) String() string { return "file " + f.path }

// Files is the file.
func (f *File) Files() []string { return []string{f.path} }

// Read reads the file. An empty one has no value: whoever writes it may not have
// begun. Nothing but a regular file is opened: a pipe waits for who writes.
func (f *File) Read(context.Context) (Value, error) {
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return Value{}, fmt.Errorf("%s is no regular file", f.path)
	}
	file, err := os.Open(f.path) // #nosec G304 -- the operator names the file
	if err != nil {
		return Value{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return Value{}, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return Value{}, err
	}
	content = trimNewline(content)
	switch {
	case len(content) > maxFile:
		return Value{}, fmt.Errorf("the file %s is larger than 1 MiB", f.path)
	case len(content) == 0:
		return Value{}, fmt.Errorf("the file %s is empty", f.path)
	}
	f.mu.Lock()
	f.seen = info
	f.mu.Unlock()
	return Value{Text: realm.Hidden(content)}, nil
}

// IsChanged reports whether the file is another one than the one that was read, or
// has another content, and is not being written at this moment.
func (f *File) IsChanged() bool {
	now, err := os.Stat(f.path)
	f.mu.Lock()
	seen := f.seen
	f.mu.Unlock()
	switch {
	case err != nil, seen == nil, !os.SameFile(seen, now):
		return true
	case isSame(seen, now):
		return false
	}
	return isSettled(now)
}

// isSame reports whether nothing was written between the two looks at one file.
func isSame(a, b fs.FileInfo) bool { return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) }

// isSettled reports whether nobody has written to the file a moment ago. A time in
// the future says nothing about it.
func isSettled(info fs.FileInfo) bool {
	age := time.Since(info.ModTime())
	return age < 0 || age >= settled
}

// trimNewline takes the newline off that an editor puts at the end of a file, and
// echo behind what it prints.
func trimNewline(content []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
}

// maxLinks bounds how many links a path may lead over.
const maxLinks = 40

// directoriesOf are the directories in which something may change that gives the
// path another content: that of the file, and those of the links that lead to it.
func directoriesOf(path string) []string {
	var dirs []string
	for range maxLinks {
		link, rest := firstLink(path)
		if link == "" {
			break
		}
		dirs = append(dirs, filepath.Dir(link))
		target, err := os.Readlink(link)
		if err != nil {
			return dirs
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		path = filepath.Join(target, rest)
	}
	return append(dirs, filepath.Dir(path))
}

// firstLink is the first link on the way to the path, and what comes behind it; ""
// for none.
func firstLink(path string) (link, rest string) {
	for at := path; ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			link = at // one that is nearer to the root may follow
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", ""
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if link == "" {
		return "", ""
	}
	rest, err := filepath.Rel(link, path)
	if err != nil {
		return "", ""
	}
	return link, rest
}
