package expression

import (
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"
)

// TestEncryptRSA opens what was encrypted, with every form of the public key.
// What PKCS#1 v1.5 has padded is opened with arithmetic alone, and compared with
// RFC 8017 section 7.2.1: 0, 2, at least eight bytes that are not 0, 0, the text.
func TestEncryptRSA(t *testing.T) {
	key, err := rsaKey(file(t, "rsa2048.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pkix := file(t, "rsa2048.pub.pem")
	body := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(pkix, "-----BEGIN PUBLIC KEY-----"), "-----END PUBLIC KEY-----"), "\n", "")
	for name, public := range map[string]string{
		"PKIX": pkix, "PKCS#1": file(t, "rsa2048.pkcs1.pub.pem"), "a certificate": file(t, "rsa2048.crt"),
		"base64": body, "\\n written out": strings.ReplaceAll(pkix, "\n", `\n`), "behind a certificate": file(t, "rsa2048.crt") + "\n" + pkix,
	} {
		in := Input{Secret: map[string]string{"key": public, "password": "jd-password"}}
		open := func(text string) []byte {
			sealed, err := eval(t, text, in)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b, err := base64.StdEncoding.DecodeString(sealed)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		padded := new(big.Int).Exp(new(big.Int).SetBytes(open(`base64(rsa_encrypt(secret.password, secret.key))`)), key.D, key.N).FillBytes(make([]byte, 256))
		head, tail := string(padded[:2]), string(padded[256-len("\x00jd-password"):])
		if head != "\x00\x02" || tail != "\x00jd-password" || strings.Count(string(padded), "\x00") != 2 {
			t.Errorf("%s: padded %q", name, padded)
		}
		for text, hash := range map[string]crypto.Hash{
			`base64(rsa_encrypt(secret.password, secret.key, 'oaep'))`:               crypto.SHA1,
			`base64(rsa_encrypt(bytes(secret.password), secret.key, 'oaep_sha256'))`: crypto.SHA256,
		} {
			if got, err := rsa.DecryptOAEP(hash.New(), nil, key, open(text), nil); err != nil || string(got) != "jd-password" {
				t.Errorf("%s: %s: %q, %v", name, text, got, err)
			}
		}
	}
}

// TestRandomHex: one value for each number of bytes, the same in a request and
// another in the next, and none is a part of another.
func TestRandomHex(t *testing.T) {
	both := func(seed Seed) string {
		text, err := eval(t, `random_hex(8) == random_hex(8) ? random_hex(8) + random_hex(64) : ''`, Input{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	one, other := both(Seed{1}), both(Seed{2})
	if len(one) != 16+128 || len(other) != len(one) || one == other || one == strings.ToUpper(one) {
		t.Errorf("%q and %q", one, other)
	}
	if short, long := one[:16], one[16:]; strings.Contains(long, short) {
		t.Errorf("%s tells a part of %s", short, long)
	}
}

// TestJSONValues: a list or a map is written as JSON.
func TestJSONValues(t *testing.T) {
	e, err := CompileJSON(`force ? [secret.x, 9007199254740993, 0.1] : [{'b': secret.x, 'a': args}]`, []string{Args, "force"})
	if err != nil {
		t.Fatal(err)
	}
	for force, want := range map[bool]string{true: `["<",9007199254740993,0.1]`, false: `[{"a":{"n":"1"},"b":"<"}]`} {
		in := Input{Secret: map[string]string{"x": "<"}, Names: map[string]any{"force": force}, Arguments: map[string]string{"n": "1"}}
		if got, err := e.Eval(in); err != nil || got != want {
			t.Errorf("%q, %v, want %s", got, err, want)
		}
	}
}

// TestSizeOf: what a list or a map holds counts, so that it is refused before it
// is written, and costs what it costs.
func TestSizeOf(t *testing.T) {
	for _, c := range []struct {
		value any
		want  uint64
	}{
		{"12345", 5},
		{[]any{"123", []any{"45", []byte("6")}}, 6},
		{map[string]any{"12": "345", "6": []any{"7"}}, 7},
	} {
		if got := sizeOf(types.DefaultTypeAdapter.NativeToValue(c.value)); got != c.want {
			t.Errorf("%v: %d, want %d", c.value, got, c.want)
		}
	}
}
