package tokenstore_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// rawKey is a key whose base64 differs between the alphabets.
func rawKey(n byte) []byte { return append(bytes.Repeat([]byte{0xfb, 0xff}, 15), n, 0xfe) }

func keyText(n byte) realm.Hidden {
	return realm.Hidden(base64.StdEncoding.EncodeToString(rawKey(n)))
}

func ring(tb testing.TB, keys ...realm.Hidden) *tokenstore.Keyring {
	tb.Helper()
	k, err := tokenstore.NewKeyring(keys...)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestKeySpellings(t *testing.T) {
	want := ring(t, keyText(1)).IDs()[0]
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		text := enc.EncodeToString(rawKey(1))
		for _, spelling := range []string{text, " " + text + "\r\n", text[:20] + "\n" + text[20:]} {
			if got := ring(t, realm.Hidden(spelling)).IDs()[0]; got != want {
				t.Errorf("%q has another fingerprint", spelling)
			}
		}
	}
	if ids := ring(t, keyText(1), keyText(2), keyText(1)).IDs(); len(ids) != 2 || ids[0] != want {
		t.Errorf("ids %v", ids)
	}
}

func TestBadKeysAreNamedAndNotQuoted(t *testing.T) {
	const canary = "canary4711"
	for text, want := range map[string]string{
		canary + "!":               "encryption key 2 of 2: is not base64",
		canary + "==":              "encryption key 2 of 2: has 7 bytes instead of 32",
		"":                         "encryption key 2 of 2: has 0 bytes instead of 32",
		canary + " {env.NOT_THERE": "encryption key 2 of 2: is not base64",
		base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 33)): "encryption key 2 of 2: has 33 bytes instead of 32",
	} {
		_, err := tokenstore.NewKeyring(keyText(1), realm.Hidden(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := tokenstore.NewKeyring(); err == nil {
		t.Error("a keyring without a key")
	}
}

// place is an associated data that the tests vary.
var place = tokenstore.AD{Column: "c", Ref: realm.Ref{Realm: "r", Key: "k"}, Version: 7}

func seal(t testing.TB, k *tokenstore.Keyring, ad tokenstore.AD, text string) []byte {
	t.Helper()
	sealed, err := k.Seal(ad, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestSealedOpensInItsPlaceOnly(t *testing.T) {
	k := ring(t, keyText(1))
	sealed := seal(t, k, place, "secret")
	if got, err := k.Open(place, sealed); err != nil || string(got) != "secret" {
		t.Fatalf("%q, %v", got, err)
	}
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, seal(t, k, place, "secret")) {
		t.Fatal("not sealed, or twice with one nonce")
	}
	for _, ad := range []tokenstore.AD{
		{Column: "d", Ref: place.Ref, Version: 7},
		{Column: "c", Ref: place.Ref, Version: 8},
		{Column: "c", Ref: realm.Ref{Realm: "rk", Key: ""}, Version: 7},
		{Column: "c", Ref: realm.Ref{Realm: "k", Key: "r"}, Version: 7},
		{Column: "cr", Ref: realm.Ref{Key: "k"}, Version: 7},
	} {
		if _, err := k.Open(ad, sealed); !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("%+v: %v", ad, err)
		}
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, err := k.Open(place, broken); err == nil {
			t.Errorf("byte %d may be changed", i)
		}
		if _, err := k.Open(place, sealed[:i]); err == nil {
			t.Errorf("may be cut after %d bytes", i)
		}
	}
}

func TestRotationOfKeys(t *testing.T) {
	oldRing, newRing := ring(t, keyText(1)), ring(t, keyText(2), keyText(1))
	sealed := seal(t, oldRing, place, "old")
	if got, err := newRing.Open(place, sealed); err != nil || string(got) != "old" {
		t.Fatalf("%q, %v", got, err)
	}
	_, err := oldRing.Open(place, seal(t, newRing, place, "new"))
	var missing *tokenstore.KeyError
	if !errors.Is(err, tokenstore.ErrKey) || !errors.As(err, &missing) || missing.Missing[0] != newRing.IDs()[0] {
		t.Fatalf("got %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "tokens.key")
	lazy := tokenstore.KeyFile(path)
	if _, err := lazy.Seal(place, nil); err == nil {
		t.Fatal("sealed without a key")
	}
	if err := lazy.Load(false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Fatal("looking for a key made a directory")
	}
	var ids [8]tokenstore.KeyID
	var wg sync.WaitGroup
	for i := range ids { // as if by eight processes
		wg.Go(func() {
			k, err := tokenstore.LoadOrCreateKeyFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.IDs()[0]
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("several keys: %v", ids)
		}
	}
	if err := lazy.Load(false); err != nil || lazy.IDs()[0] != ids[0] {
		t.Fatalf("loaded %v, %v", lazy.IDs(), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Fatalf("left behind: %v, %v", left, err)
	}
}

func TestKeyFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.key")
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620} {
		if err := os.WriteFile(path, []byte(keyText(1).Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := tokenstore.LoadOrCreateKeyFile(path); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%04o", mode)) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if err := os.WriteFile(path, []byte("canary4711"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tokenstore.LoadOrCreateKeyFile(path)
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("rubbish in the file: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "canary4711" {
		t.Errorf("the file was changed: %q, %v", text, err)
	}
}

// A key file has one key a line: the first one seals. One key may be broken over
// lines. A line that is no key is named by its number, and not quoted.
func TestKeyFileOfSeveralLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.key")
	one, two := keyText(1).Reveal(), keyText(2).Reveal()
	for text, want := range map[string][]tokenstore.KeyID{
		one + "\n" + two + "\n":                    ring(t, keyText(1), keyText(2)).IDs(),
		"\n  " + two + "\r\n\n" + one:              ring(t, keyText(2), keyText(1)).IDs(),
		one[:20] + "\n" + one[20:] + "\n":          ring(t, keyText(1)).IDs(),
		one + "\n" + "canary4711" + "\n" + two[:9]: nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k := tokenstore.KeyFile(path)
		err := k.Load(false)
		if want == nil {
			if err == nil || !strings.Contains(err.Error(), "key 2 of 3") || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err != nil || !slices.Equal(k.IDs(), want) || !slices.Equal(k.Older(), want[1:]) {
			t.Errorf("%q: %v, %v", text, k.IDs(), err)
		}
	}
}

// What a discarded key sealed before still opens as long as the process lives;
// another process does not know the key any more.
func TestDiscardedKeyStillOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.key")
	k, err := tokenstore.LoadOrCreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	old := k.IDs()[0]
	sealed, err := k.Seal(place, []byte("x"))
	if err == nil {
		err = k.Generate()
	}
	if err == nil {
		err = k.Discard(k.IDs()...) // the first one stays
	}
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := k.Open(place, sealed); err != nil || string(plain) != "x" || len(k.Older()) != 0 {
		t.Errorf("got %q, %v", plain, err)
	}
	other := tokenstore.KeyFile(path)
	if err := other.Load(false); err != nil || !slices.Equal(other.IDs(), k.IDs()[:1]) || other.IDs()[0] == old {
		t.Errorf("the file has %v, %v", other.IDs(), err)
	}
	if _, err := other.Open(place, sealed); !errors.Is(err, tokenstore.ErrKey) {
		t.Errorf("got %v", err)
	}
}

// FuzzOpen: whatever bytes are stored, opening them neither panics nor
// succeeds, unless they were sealed for this place.
func FuzzOpen(f *testing.F) {
	k := ring(f, keyText(1), keyText(2))
	good := seal(f, k, place, "secret")
	f.Add([]byte(nil), "c", "r", "k", int64(7))
	f.Add(good, "c", "r", "k", int64(7))
	f.Add(good[:len(good)-1], "c", "rk", "", int64(7))
	f.Fuzz(func(t *testing.T, sealed []byte, column, id, key string, version int64) {
		ad := tokenstore.AD{Column: column, Ref: realm.Ref{Realm: id, Key: key}, Version: version}
		plain, err := k.Open(ad, sealed)
		switch {
		case err == nil && (ad != place || string(plain) != "secret"):
			t.Fatalf("%x opened in %+v", sealed, ad)
		case err != nil && !errors.Is(err, tokenstore.ErrKey) && !errors.Is(err, tokenstore.ErrDamaged):
			t.Fatalf("an error of no kind: %v", err)
		}
		again, err := k.Seal(ad, sealed)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := k.Open(ad, again); err != nil || !bytes.Equal(back, sealed) {
			t.Fatalf("sealed %x, opened %x, %v", sealed, back, err)
		}
	})
}

// FuzzNewKeyring: a key is 32 bytes, however it is written, and an error never
// quotes it.
func FuzzNewKeyring(f *testing.F) {
	f.Add(keyText(1).Reveal())
	f.Add("YWJj")
	f.Add("not base64 at all")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := tokenstore.NewKeyring(realm.Hidden(text))
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Fatalf("the error quotes the key: %v", err)
			}
			return
		}
		same, err := tokenstore.NewKeyring(realm.Hidden(strings.TrimRight(strings.TrimSpace(text), "=")))
		if err != nil || same.IDs()[0] != k.IDs()[0] {
			t.Fatalf("%q and its trimmed form are different keys: %v", text, err)
		}
	})
}
