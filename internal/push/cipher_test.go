package push

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" // #nosec G505 -- the providers' signature
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

var testKey = bytes.Repeat([]byte{7}, keySize)

// encrypt seals whole blocks, whatever their padding is.
func encrypt(t *testing.T, plain []byte) []byte {
	t.Helper()
	c, err := aes.NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, len(plain))
	cipher.NewCBCEncrypter(c, testKey[:blockSize]).CryptBlocks(sealed, plain)
	return sealed
}

func TestDecrypt(t *testing.T) {
	block := func(ends ...byte) []byte { return append(bytes.Repeat([]byte{'a'}, blockSize-len(ends)), ends...) }
	for name, c := range map[string]struct {
		plain []byte
		most  int
		want  int // bytes that are left; -1: refused
	}{
		"one byte":             {block(1), 16, 15},
		"two bytes":            {block(2, 2), 16, 14},
		"a whole block":        {bytes.Repeat([]byte{16}, 16), 16, 0},
		"two whole blocks":     {bytes.Repeat([]byte{32}, 32), 32, 0},
		"more than the most":   {bytes.Repeat([]byte{32}, 32), 16, -1},
		"more than there is":   {bytes.Repeat([]byte{32}, 16), 32, -1},
		"none":                 {block(0), 16, -1},
		"not all of one value": {block(3, 2, 3), 16, -1},
	} {
		plain, ok := decrypt(testKey, testKey[:blockSize], encrypt(t, c.plain), c.most)
		if ok != (c.want >= 0) || ok && len(plain) != c.want {
			t.Errorf("%s: %v, %d bytes", name, ok, len(plain))
		}
	}
	for _, sealed := range [][]byte{nil, make([]byte, blockSize-1), make([]byte, blockSize+1)} {
		if _, ok := decrypt(testKey, testKey[:blockSize], sealed, 16); ok {
			t.Errorf("%d bytes are no blocks", len(sealed))
		}
	}
}

// TestLengthOfAMessage: what is signed and decrypted may still say that the message
// is longer than it is.
func TestLengthOfAMessage(t *testing.T) {
	keys := Keys{Token: "t", AESKey: realm.Hidden(strings.TrimRight(base64.StdEncoding.EncodeToString(testKey), "=")), Receivers: []realm.Hidden{"wx1"}}
	for length, why := range map[string]string{
		"\x00\x00\x00\x02": "", "\x00\x00\x00\x06": "length", "\xff\xff\xff\xff": "length", "\x00\x00\x00\x05": "another app", "": "cannot be decrypted",
	} {
		plain := []byte(strings.Repeat("r", 16) + length)
		if length != "" {
			plain = append(plain, "hiwx1"...)
		} else {
			plain = plain[:15]
		}
		padding := 32 - len(plain)%32
		plain = append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
		encrypted := base64.StdEncoding.EncodeToString(encrypt(t, plain))
		parts := []string{"t", "1795341600", "n", encrypted}
		slices.Sort(parts)
		sum := sha1.Sum([]byte(strings.Join(parts, ""))) // #nosec G401 -- the providers' signature
		r := vector{Encrypted: encrypted, Signature: hex.EncodeToString(sum[:]), Timestamp: "1795341600", Nonce: "n"}.tencent()
		got, err := open(keys, r, encrypted)
		if why == "" && (err != nil || string(got) != "hi") || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			t.Errorf("%x: %q, %v", length, got, err)
		}
	}
}
