package tokenstore

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
)

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

func loadKeyFile(path string, create bool) ([]sealKey, error) {
	keys, err := readKeyFile(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	text, _, err := newKeyText()
	if err != nil {
		return nil, err
	}
	if err := CreatePrivateFile(path, text+"\n"); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readKeyFile(path)
}

func readKeyFile(path string) ([]sealKey, error) {
	lines, err := keyLines(path)
	if err != nil {
		return nil, err
	}
	var keys []sealKey
	for i, line := range lines {
		key, err := parseKey(line)
		switch {
		case err != nil && len(lines) == 1:
			return nil, fmt.Errorf("%s: the key %w", path, err)
		case err != nil:
			return nil, fmt.Errorf("%s: key %d of %d %w", path, i+1, len(lines), err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// keyLines are the keys in a file that nobody but its owner may use. A single
// key may be broken over lines and have blanks in it.
func keyLines(path string) ([]string, error) {
	text, err := ReadPrivateFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := parseKey(text); err == nil || len(strings.TrimSpace(text)) == 0 {
		return []string{text}, nil
	}
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// newKeyText makes a key, in the form of a line.
func newKeyText() (string, sealKey, error) {
	raw := make([]byte, chacha20poly1305.KeySize)
	if _, err := rand.Read(raw); err != nil {
		return "", sealKey{}, err
	}
	key, err := newSealKey(raw)
	return base64.StdEncoding.EncodeToString(raw), key, err
}

// editKeyFile changes the lines of a key file. The file is always whole: it is
// written beside, made durable, and put in place of the old one; only then does
// editKeyFile return. What a process that died left beside is written again.
func editKeyFile(path string, edit func(lines []string) []string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	lines, err := keyLines(path)
	if err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(beside, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- beside the key file
	if err != nil {
		return err
	}
	text := strings.Join(edit(lines), "\n") + "\n"
	if len(text) > maxPrivateFile {
		return errors.Join(fmt.Errorf("%s: it would have more than %d bytes", path, maxPrivateFile), f.Close(), os.Remove(beside))
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	failpoint.Hit("key_file_written")
	if err := os.Rename(beside, path); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	failpoint.Hit("key_file_replaced")
	return syncDir(filepath.Dir(path))
}
