package tokenstore

import (
	"crypto/cipher"
	"crypto/hkdf"
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
	// derived is the pseudorandom key of HKDF (RFC 5869 section 2.2), which MAC
	// makes its keys of.
	derived []byte
	// discarded: it was taken out of the key file. It still opens what was read
	// before the last row was sealed anew.
	discarded bool
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

// KeyFile makes a keyring whose keys lie in a file, one a line; there is more
// than one only until a rotation has come to its end. Nothing is read before
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
	keys, err := loadKeyFile(k.path, create)
	if err != nil {
		return fmt.Errorf("encryption key file: %w", err)
	}
	k.keys = keys
	return nil
}

// Older are the keys behind the first one, which seal nothing any more; not
// those that were discarded.
func (k *Keyring) Older() []KeyID {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var ids []KeyID
	for _, key := range k.keys[min(1, len(k.keys)):] {
		if !key.discarded {
			ids = append(ids, key.id)
		}
	}
	return ids
}

// Generate makes a new key and puts it in front: first in the key file, durably,
// and then in the ring. Nothing is sealed with a key that is not in the file.
func (k *Keyring) Generate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, key, err := newKeyText()
	if err == nil {
		err = editKeyFile(k.path, func(lines []string) []string { return append([]string{text}, lines...) })
	}
	if err != nil {
		return fmt.Errorf("encryption key file: %w", err)
	}
	k.keys = append([]sealKey{key}, k.keys...)
	return nil
}

// Discard takes keys out of the key file, never the first one. The ring opens
// with them until the process ends: somebody may have read a row before it was
// sealed anew.
func (k *Keyring) Discard(ids ...KeyID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(ids) == 0 || len(k.keys) == 0 {
		return nil
	}
	first := k.keys[0].id
	err := editKeyFile(k.path, func(lines []string) []string {
		return slices.DeleteFunc(lines, func(line string) bool {
			key, err := parseKey(line)
			return err == nil && key.id != first && slices.Contains(ids, key.id)
		})
	})
	if err != nil {
		return fmt.Errorf("encryption key file: %w", err)
	}
	k.keys = slices.Clone(k.keys) // whoever opens something has the old list
	for i, key := range k.keys {
		k.keys[i].discarded = key.discarded || i > 0 && slices.Contains(ids, key.id)
	}
	return nil
}

// Path is the key file's, "" when the keys were given.
func (k *Keyring) Path() string { return k.path }

// reread takes in what was put into the key file since: another configuration
// of this process, which has the same store open, may have rotated the keys. It
// reports whether there is anything new.
func (k *Keyring) reread() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path == "" || len(k.keys) == 0 {
		return false
	}
	keys, err := readKeyFile(k.path)
	if err != nil {
		return false
	}
	inFile := len(keys)
	for _, old := range k.keys {
		if !slices.ContainsFunc(keys, func(key sealKey) bool { return key.id == old.id }) {
			old.discarded = true
			keys = append(keys, old)
		}
	}
	isNew := inFile > 0 && len(keys) > len(k.keys)
	k.keys = keys
	return isNew
}

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
	derived, err := hkdf.Extract(sha256.New, raw, nil)
	if err != nil {
		return sealKey{}, err
	}
	return sealKey{id: KeyID(sum[:8]), aead: aead, derived: derived}, nil
}
