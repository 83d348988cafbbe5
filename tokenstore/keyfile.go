package tokenstore

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/chacha20poly1305"
)

// maxKeyFile bounds what is read of a key file: a key has 44 characters.
const maxKeyFile = 4 << 10

// LoadOrCreateKeyFile is KeyFile, loaded at once. A new file holds 32 random
// bytes in base64, readable by its owner only; two processes that create it
// together end with the same key. An existing file that others may read is
// refused.
func LoadOrCreateKeyFile(path string) (*Keyring, error) {
	k := KeyFile(path)
	if err := k.Load(true); err != nil {
		return nil, err
	}
	return k, nil
}

func loadKeyFile(path string, create bool) (sealKey, error) {
	key, err := readKeyFile(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKeyFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return sealKey{}, err
	}
	return readKeyFile(path)
}

func readKeyFile(path string) (sealKey, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return sealKey{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return sealKey{}, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return sealKey{}, fmt.Errorf("%s may be used by others (mode %04o): chmod 600 it", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return sealKey{}, err
	}
	key, err := parseKey(string(text))
	if err != nil {
		return sealKey{}, fmt.Errorf("%s: the key %w", path, err)
	}
	return key, nil
}

// createKeyFile writes a new key. The file appears whole or not at all, and
// never in place of another: a link, unlike a rename, fails where one exists.
func createKeyFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	raw := make([]byte, chacha20poly1305.KeySize)
	if _, err := rand.Read(raw); err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(raw) + "\n")
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
	d, err := os.Open(dir) // #nosec G304 -- the directory of the key file
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
