package tokenstore

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/crypto/chacha20poly1305"
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

func loadKeyFile(path string, create bool) (sealKey, error) {
	key, err := readKeyFile(path)
	if !create || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	raw := make([]byte, chacha20poly1305.KeySize)
	if _, err := rand.Read(raw); err != nil {
		return sealKey{}, err
	}
	text := base64.StdEncoding.EncodeToString(raw) + "\n"
	if err := CreatePrivateFile(path, text); err != nil && !errors.Is(err, fs.ErrExist) {
		return sealKey{}, err
	}
	return readKeyFile(path)
}

func readKeyFile(path string) (sealKey, error) {
	text, err := ReadPrivateFile(path)
	if err != nil {
		return sealKey{}, err
	}
	key, err := parseKey(text)
	if err != nil {
		return sealKey{}, fmt.Errorf("%s: the key %w", path, err)
	}
	return key, nil
}
