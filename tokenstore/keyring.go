package tokenstore

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// KeyID is the fingerprint of an encryption key. It stands in front of what
// the key sealed and may be shown: keys are 256 random bits, a digest of one
// helps nobody.
type KeyID [8]byte

// String is the id in hex.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// KeyError is ErrKey with the ids of the keys that are needed.
type KeyError struct {
	Missing []KeyID
	// Hint says where the key was looked for, when that is known.
	Hint string
}

// Error names the missing keys.
func (e *KeyError) Error() string {
	ids := make([]string, len(e.Missing))
	for i, id := range e.Missing {
		ids[i] = id.String()
	}
	text := fmt.Sprintf("%v: the key with fingerprint %s is needed", ErrKey, strings.Join(ids, ", "))
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Is makes a KeyError an ErrKey.
func (e *KeyError) Is(target error) bool { return target == ErrKey }

// Keyring seals with its first key and opens with all of them. It is safe for
// concurrent use.
type Keyring struct {
	path string // of the key file; "" when the keys were given

	mu   sync.RWMutex
	keys []sealKey
}

type sealKey struct {
	id   KeyID
	aead cipher.AEAD
}

// NewKeyring makes a keyring of keys that are 32 bytes in base64 (standard or
// URL alphabet, padded or not, blanks around them allowed). The first one
// seals, all of them open: put a new key in front to rotate. An error says
// which key is wrong and never what it holds.
func NewKeyring(keys ...realm.Hidden) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no encryption key was given")
	}
	k := &Keyring{}
	for i, text := range keys {
		key, err := parseKey(text.Reveal())
		if err != nil {
			return nil, fmt.Errorf("encryption key %d of %d: %w", i+1, len(keys), err)
		}
		if !slices.ContainsFunc(k.keys, func(o sealKey) bool { return o.id == key.id }) {
			k.keys = append(k.keys, key)
		}
	}
	return k, nil
}

// KeyFile makes a keyring whose one key lies in a file. Nothing is read before
// Load, which a store's Open calls.
func KeyFile(path string) *Keyring { return &Keyring{path: path} }

// IDs are the fingerprints of the keys, the sealing one first; none before a
// key file is loaded.
func (k *Keyring) IDs() []KeyID {
	k.mu.RLock()
	defer k.mu.RUnlock()
	ids := make([]KeyID, len(k.keys))
	for i, key := range k.keys {
		ids[i] = key.id
	}
	return ids
}

// Load reads the key file of a keyring made by KeyFile. With create, a missing
// file is made; without, it is an error that wraps fs.ErrNotExist. It does
// nothing when the keys are there already.
func (k *Keyring) Load(create bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) > 0 {
		return nil
	}
	key, err := loadKeyFile(k.path, create)
	if err != nil {
		return fmt.Errorf("encryption key file: %w", err)
	}
	k.keys = []sealKey{key}
	return nil
}

// Path is the key file's, "" when the keys were given.
func (k *Keyring) Path() string { return k.path }

// loaded returns the keys; there is always a first one.
func (k *Keyring) loaded() ([]sealKey, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.keys) == 0 {
		return nil, errors.New("the encryption key file was not loaded yet")
	}
	return k.keys, nil
}

// parseKey reads one key. Its errors never quote it: base64's own would show
// an offset at most, but a key pasted wrongly may be a secret of another kind.
func parseKey(text string) (sealKey, error) {
	text = strings.Join(strings.Fields(text), "")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return sealKey{}, errors.New("is not base64")
	}
	return newSealKey(raw)
}

func newSealKey(raw []byte) (sealKey, error) {
	if len(raw) != chacha20poly1305.KeySize {
		return sealKey{}, fmt.Errorf("has %d bytes instead of %d", len(raw), chacha20poly1305.KeySize)
	}
	aead, err := chacha20poly1305.NewX(raw)
	if err != nil {
		return sealKey{}, err
	}
	sum := sha256.Sum256(append([]byte("caddy-tokens key fingerprint v1\x00"), raw...))
	return sealKey{id: KeyID(sum[:8]), aead: aead}, nil
}
