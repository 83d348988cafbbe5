package access

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestNewKeyIsOfTheForm(t *testing.T) {
	form := regexp.MustCompile(`^ctk_[0-9A-Za-z]{49}$`)
	seen := make(map[string]bool)
	for range 1000 {
		hidden, digest := NewKey()
		key := hidden.Reveal()
		if !form.MatchString(key) || seen[key] || CheckKey(key) != nil || Digest(key) != digest {
			t.Fatalf("%s: %v", key, CheckKey(key))
		}
		seen[key] = true
	}
}

// TestKeyOfFewBits: 32 bytes of which the first are 0 have as many characters as
// any others.
func TestKeyOfFewBits(t *testing.T) {
	if key := keyOf(make([]byte, keyRandom)); key != "ctk_"+strings.Repeat("0", 43)+"2czCLJ" || CheckKey(key) != nil {
		t.Errorf("%s: %v", key, CheckKey(key))
	}
	most := keyOf([]byte(strings.Repeat("\xff", keyRandom)))
	if len(most) != keyLength || CheckKey(most) != nil {
		t.Errorf("%s: %v", most, CheckKey(most))
	}
}

func TestHoldsKey(t *testing.T) {
	hidden, _ := NewKey()
	key := hidden.Reveal()
	for text, want := range map[string]bool{
		key: true, "a=" + key + "&b": true, "ctk_ctk_" + key: true, key[:20] + key: true, key + key[1:]: true,
		"": false, "ctk_": false, key[1:]: false, key[:52]: false, "ctk_" + strings.Repeat("a", 49): false,
	} {
		if HoldsKey(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}

func TestMistypedKey(t *testing.T) {
	hidden, _ := NewKey()
	key := hidden.Reveal()
	for name, c := range map[string]struct{ text, want string }{
		"cut":       {key[:52], "has 52 characters"},
		"longer":    {key + "x", "has 54 characters"},
		"alone":     {"ctk_", "has 4 characters"},
		"character": {key[:20] + "-" + key[21:], "character 21 is neither"},
		"byte":      {key[:52] + "\xff", "character 53 is neither"},
		"no prefix": {"CTK_" + key[4:], "does not begin with ctk_"},
	} {
		err := CheckKey(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), key[4:10]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A checksum finds every other character at any place, and two that changed
	// their places.
	for i := len(keyPrefix); i < keyLength; i++ {
		other := byte('a')
		if key[i] == 'a' {
			other = 'b'
		}
		if err := CheckKey(key[:i] + string(other) + key[i+1:]); !errors.Is(err, errKeyChecksum) {
			t.Errorf("character %d: %v", i+1, err)
		}
		if i+1 < keyLength && key[i] != key[i+1] {
			if err := CheckKey(key[:i] + key[i+1:i+2] + key[i:i+1] + key[i+2:]); !errors.Is(err, errKeyChecksum) {
				t.Errorf("characters %d and %d: %v", i+1, i+2, err)
			}
		}
	}
}

func TestWrittenKey(t *testing.T) {
	hidden, digest := NewKey()
	if got, err := ParseWrittenKey(hidden.Reveal()); err != nil || got != digest {
		t.Errorf("%v", err)
	}
	own := strings.Repeat("k", 32)
	if got, err := ParseWrittenKey(own); err != nil || got != Digest(own) {
		t.Errorf("%v", err)
	}
	for text, want := range map[string]string{
		own[:31]:                    "key: has 31 bytes and is no key of the form ctk_...",
		"":                          "key: has 0 bytes",
		strings.Repeat("k", 513):    "key: has 513 bytes; 512 is the limit",
		hidden.Reveal()[:52] + "\n": "key: is mistyped: character 53",
		"ctk_" + own:                "key: is mistyped: has 36 characters",
	} {
		_, err := ParseWrittenKey(text)
		var field *realm.FieldError
		if !errors.As(err, &field) || !strings.Contains(err.Error(), want) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}
