package tokenstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// spoolSuffix ends the name of an entry; the rest is the id of the call.
	spoolSuffix = ".token"
	// spoolPart ends the name of a file that is not written to its end.
	spoolPart = ".part"
	// spoolMagic begins every entry, spoolCodeMagic one whose answer came of an
	// authorization code. Both are followed by the same.
	spoolMagic     = "tokens spool 1\n"
	spoolCodeMagic = "tokens spool 2\n"
	// spoolMax is the size of the largest file that is read. An answer has
	// 1 MiB at most, and JSON may write six bytes for one.
	spoolMax = 16 << 20
)

// errNotSpooled: nothing of ours.
var errNotSpooled = errors.New("is not an entry of the spool")

// Spool is a directory with the answers of providers whose refresh token is not
// in the database yet: a file for each, which outlives the process and a power
// failure. The way to it is shorter than the way to the database, and it is
// open when the database is away. What is in the files is sealed. All methods
// are safe for concurrent use. A directory is for one process.
type Spool struct {
	dir  string
	keys *Keyring
}

// SpoolEntry is the answer to the call ID: the child of the token with
// lineage Parent.
type SpoolEntry struct {
	ID     CallID
	Ref    realm.Ref
	Parent int64
	// FromCode: it came of an authorization code. Earlier refresh tokens may
	// be those of another account.
	FromCode bool
	Token    realm.Token
}

// NewSpool makes a spool. The directory is made by the first Add, for its owner
// only. The keyring must be loaded before the first use; a store's Open does
// that.
func NewSpool(dir string, keys *Keyring) *Spool { return &Spool{dir: dir, keys: keys} }

// Add writes an entry durably. One with the same id is replaced.
func (s *Spool) Add(e SpoolEntry) error {
	text, err := s.encode(e)
	if err == nil {
		err = s.write(e.ID, text)
	}
	if err != nil {
		return fmt.Errorf("spool %s: %w", e.Ref, err)
	}
	return nil
}

// Remove forgets an entry, if there is one. A power failure may bring it back:
// whoever reads entries compares them with what is stored.
func (s *Spool) Remove(id CallID) error {
	err := os.Remove(s.path(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Entries reads all entries, those of one (realm, key) in the order of their
// parents. The error tells of the files that could not be read, one for each;
// they stay where they are. The entries that are returned are good nevertheless.
func (s *Spool) Entries(ctx context.Context) ([]SpoolEntry, error) {
	files, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var entries []SpoolEntry
	var bad []error
	for _, file := range files {
		if ctx.Err() != nil {
			return entries, ctx.Err()
		}
		entry, err := s.read(file)
		switch {
		case err == nil:
			entries = append(entries, entry)
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile, or being written
		default:
			bad = append(bad, fmt.Errorf("spool: %s: %w", filepath.Join(s.dir, file.Name()), err))
		}
	}
	slices.SortFunc(entries, func(a, b SpoolEntry) int {
		return cmp.Or(cmp.Compare(a.Ref.Realm, b.Ref.Realm), cmp.Compare(a.Ref.Key, b.Ref.Key), cmp.Compare(a.Parent, b.Parent))
	})
	return entries, errors.Join(bad...)
}

func (s *Spool) path(id CallID) string { return filepath.Join(s.dir, id.String()+spoolSuffix) }

// write puts a file in its place when it is whole: its name is not there
// before its last byte is.
func (s *Spool) write(id CallID, text []byte) error {
	if err := s.makeDir(); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, id.String()+".*"+spoolPart) // for the owner only
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(id))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(s.dir)
}

func (s *Spool) makeDir() error {
	if info, err := os.Stat(s.dir); err == nil && info.IsDir() && info.Mode().Perm() == 0o700 {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(s.dir, 0o700); err != nil { // #nosec G302 -- a directory
		return err
	}
	return syncDir(filepath.Dir(s.dir))
}

// read reads one file. What is not written to its end does not exist.
func (s *Spool) read(file fs.DirEntry) (SpoolEntry, error) {
	var id CallID
	name, ours := strings.CutSuffix(file.Name(), spoolSuffix)
	switch {
	case strings.HasSuffix(file.Name(), spoolPart):
		return SpoolEntry{}, fs.ErrNotExist
	case !ours || id.UnmarshalText([]byte(name)) != nil || id.String() != name || !file.Type().IsRegular():
		return SpoolEntry{}, errNotSpooled
	}
	f, err := os.Open(filepath.Join(s.dir, file.Name()))
	if err != nil {
		return SpoolEntry{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, spoolMax+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return SpoolEntry{}, err
	}
	if len(text) > spoolMax {
		return SpoolEntry{}, errNotSpooled
	}
	return s.decode(id, text)
}

// encode is the content of a file: magic, reference and parent in clear, the
// token sealed.
func (s *Spool) encode(e SpoolEntry) ([]byte, error) {
	plain, err := PlainToken(e.Token)
	if err != nil {
		return nil, err
	}
	sealed, err := s.keys.Seal(spoolAD(e), plain)
	if err != nil {
		return nil, err
	}
	magic := spoolMagic
	if e.FromCode {
		magic = spoolCodeMagic
	}
	text := binary.AppendVarint(e.Ref.AppendTo([]byte(magic)), e.Parent)
	return append(text, sealed...), nil
}

func (s *Spool) decode(id CallID, text []byte) (SpoolEntry, error) {
	rest, ok := bytes.CutPrefix(text, []byte(spoolMagic))
	fromCode := false
	if !ok {
		rest, fromCode = bytes.CutPrefix(text, []byte(spoolCodeMagic))
	}
	if !ok && !fromCode {
		return SpoolEntry{}, errNotSpooled
	}
	ref, behind, ok := realm.CutRef(rest)
	parent, n := binary.Varint(behind)
	if !ok || n <= 0 {
		return SpoolEntry{}, ErrDamaged
	}
	e := SpoolEntry{ID: id, Ref: ref, Parent: parent, FromCode: fromCode}
	plain, err := s.keys.Open(spoolAD(e), behind[n:])
	if err != nil {
		return SpoolEntry{}, err
	}
	e.Token, err = ParsePlainToken(plain)
	return e, err
}

// spoolAD is what an entry is sealed to: neither its name, nor what is in clear
// in it, can be changed.
func spoolAD(e SpoolEntry) AD {
	column := "spool."
	if e.FromCode {
		column = "spool of a code."
	}
	return AD{Column: column + e.ID.String(), Ref: e.Ref, Version: e.Parent}
}
