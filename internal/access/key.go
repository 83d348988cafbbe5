package access

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// An API key is keyPrefix, 32 random bytes as 43 characters, and their CRC-32 as
// 6 characters. Programs that look for leaked secrets know it by its prefix and
// are sure of it by the checksum.
const (
	keyPrefix   = "ctk_"
	keyRandom   = 32
	keyBody     = 43 // 62^43 > 2^256
	keyChecksum = 6  // 62^6 > 2^32
	keyLength   = len(keyPrefix) + keyBody + keyChecksum

	// minWrittenKey and maxWrittenKey bound the keys of a Caddyfile that are not
	// of this form. What is longer is not worth its digest.
	minWrittenKey = 32
	maxWrittenKey = 512
)

// base62 are the characters of a key, in the order of big.Int.Text.
const base62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// digitOf is the value of a character, -1 of those that no key has.
var digitOf = func() (of [256]int8) {
	for c := range of {
		of[c] = int8(strings.IndexByte(base62, byte(c)))
	}
	return of
}()

// NewKey makes an API key. The key itself is shown once and never kept.
func NewKey() (realm.Hidden, tokenstore.KeyDigest) {
	var random [keyRandom]byte
	_, _ = rand.Read(random[:]) // it never fails: it ends the process instead
	key := keyOf(random[:])
	return realm.Hidden(key), Digest(key)
}

// keyOf is the key with these random bytes.
func keyOf(random []byte) string {
	body := appendBase62(nil, new(big.Int).SetBytes(random), keyBody)
	sum := big.NewInt(int64(crc32.ChecksumIEEE(body)))
	return keyPrefix + string(appendBase62(body, sum, keyChecksum))
}

// appendBase62 appends n in exactly width digits.
func appendBase62(b []byte, n *big.Int, width int) []byte {
	digits := n.Text(62)
	b = append(b, strings.Repeat("0", width-len(digits))...)
	return append(b, digits...)
}

// IsKey reports whether a text is meant to be an API key of ours: it begins
// like one. Whether it is one, CheckKey tells.
func IsKey(text string) bool { return strings.HasPrefix(text, keyPrefix) }

// HoldsKey reports whether an API key of ours stands anywhere in a text. The
// checksum makes sure of it, so that nothing else is taken for one.
func HoldsKey(text string) bool {
	for len(text) >= keyLength { // most texts are shorter
		at := strings.Index(text, keyPrefix)
		if at < 0 || len(text)-at < keyLength {
			return false
		}
		if CheckKey(text[at:at+keyLength]) == nil {
			return true
		}
		text = text[at+1:]
	}
	return false
}

var (
	errKeyPrefix   = errors.New("does not begin with " + keyPrefix)
	errKeyChecksum = errors.New("its last characters do not fit the others: a character is wrong")
)

// CheckKey tells a mistyped key without looking it up. The error says what is
// wrong and never holds any of the key.
func CheckKey(text string) error {
	if !IsKey(text) {
		return errKeyPrefix
	}
	if len(text) != keyLength {
		return fmt.Errorf("has %d characters; a key has %d", len(text), keyLength)
	}
	for i := len(keyPrefix); i < keyLength; i++ {
		if digitOf[text[i]] < 0 {
			return fmt.Errorf("character %d is neither a letter nor a digit", i+1)
		}
	}
	// crc32.ChecksumIEEE takes bytes, which a text would have to be copied to.
	const end = keyLength - keyChecksum
	sum := ^uint32(0)
	for i := len(keyPrefix); i < end; i++ {
		sum = crc32.IEEETable[byte(sum)^text[i]] ^ sum>>8
	}
	var written uint64
	for i := end; i < keyLength; i++ {
		written = written*62 + uint64(digitOf[text[i]])
	}
	if written != uint64(^sum) {
		return errKeyChecksum
	}
	return nil
}

// Digest is by what a key is kept and found.
func Digest(key string) tokenstore.KeyDigest {
	// Of a key that fits, the copy needs no allocation.
	var b [128]byte
	return sha256.Sum256(append(b[:0], key...))
}

// ParseWrittenKey reads a key that is written in a Caddyfile: one of ours, or
// any text of at least 32 bytes. The error never holds any of the key.
func ParseWrittenKey(text string) (tokenstore.KeyDigest, error) {
	switch {
	case IsKey(text):
		if err := CheckKey(text); err != nil {
			return tokenstore.KeyDigest{}, realm.Fieldf("key", "is mistyped: %v", err)
		}
	case len(text) < minWrittenKey:
		return tokenstore.KeyDigest{}, realm.Fieldf("key", "has %d bytes and is no key of the form %s...; a key of your own has at least %d", len(text), keyPrefix, minWrittenKey)
	case len(text) > maxWrittenKey:
		return tokenstore.KeyDigest{}, realm.Fieldf("key", "has %d bytes; %d is the limit", len(text), maxWrittenKey)
	}
	return Digest(text), nil
}
