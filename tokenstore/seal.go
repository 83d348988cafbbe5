package tokenstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ErrDamaged: what is stored cannot be opened though the key is there. It was
// altered, cut short, or put into another row or column than its own.
var ErrDamaged = errors.New("stored data is damaged")

// AD is the associated data of a seal: the place that the sealed bytes belong
// to. They open in this place only, so that whoever can write the database
// still cannot give one row's secret to another, or bring an older version
// back under a newer number.
type AD struct {
	Column  string
	Ref     realm.Ref
	Version int64
	// Row is what stands beside the seal in clear, in a form that tells the
	// columns apart: none of it can be changed without the key. Empty for a seal
	// that covers nothing but what it holds.
	Row string
}

// bytes is the length-prefixed form, behind the id of the key.
func (ad AD) bytes(id KeyID) []byte {
	b := append([]byte(nil), id[:]...)
	b = binary.AppendUvarint(b, uint64(len(ad.Column)))
	b = append(b, ad.Column...)
	b = ad.Ref.AppendTo(b)
	b = binary.AppendVarint(b, ad.Version)
	if ad.Row == "" {
		return b
	}
	return append(binary.AppendUvarint(b, uint64(len(ad.Row))), ad.Row...)
}

// Seal encrypts with the first key (XChaCha20-Poly1305, random nonce): id of
// the key, nonce, ciphertext with tag.
func (k *Keyring) Seal(ad AD, plaintext []byte) ([]byte, error) {
	keys, err := k.loaded()
	if err != nil {
		return nil, err
	}
	first := keys[0]
	head := len(first.id) + chacha20poly1305.NonceSizeX
	sealed := make([]byte, head, head+len(plaintext)+chacha20poly1305.Overhead)
	copy(sealed, first.id[:])
	nonce := sealed[len(first.id):]
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return first.aead.Seal(sealed, nonce, plaintext, ad.bytes(first.id)), nil
}

// Open decrypts what Seal made for the same place. ErrKey (a *KeyError) when
// the key that sealed it is not in the ring, ErrDamaged when the bytes are not
// what was sealed for this place.
func (k *Keyring) Open(ad AD, sealed []byte) ([]byte, error) {
	keys, err := k.loaded()
	if err != nil {
		return nil, err
	}
	id, ok := SealedBy(sealed)
	if !ok {
		return nil, fmt.Errorf("%s of %s: %w", ad.Column, ad.Ref, ErrDamaged)
	}
	i := indexOf(keys, id)
	if i < 0 && k.reread() {
		if keys, err = k.loaded(); err != nil {
			return nil, err
		}
		i = indexOf(keys, id)
	}
	if i < 0 {
		return nil, &KeyError{Missing: []KeyID{id}}
	}
	nonce, box := sealed[len(id):len(id)+chacha20poly1305.NonceSizeX], sealed[len(id)+chacha20poly1305.NonceSizeX:]
	plaintext, err := keys[i].aead.Open(nil, nonce, box, ad.bytes(id))
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", ad.Column, ad.Ref, ErrDamaged)
	}
	return plaintext, nil
}

// indexOf finds a key by its id; -1 where there is none.
func indexOf(keys []sealKey, id KeyID) int {
	return slices.IndexFunc(keys, func(key sealKey) bool { return key.id == id })
}

// SealedBy reads the id of the key that sealed some bytes; false when they are
// too short to have been sealed by any.
func SealedBy(sealed []byte) (id KeyID, ok bool) {
	if len(sealed) < len(id)+chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return id, false
	}
	return KeyID(sealed[:len(id)]), true
}
