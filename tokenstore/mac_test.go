package tokenstore_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// TestMAC: nodes with the same keys agree; another key, another purpose and
// another message give another MAC; and an older key is good as long as the ring
// has it.
func TestMAC(t *testing.T) {
	first, second := storetest.Key(t), storetest.Key(t)
	one, both, other := storetest.Ring(t, first), storetest.Ring(t, second, first), storetest.Ring(t, second)
	id := one.IDs()[0]
	mac := func(k *tokenstore.Keyring, id tokenstore.KeyID, purpose, message string) []byte {
		t.Helper()
		sum, err := k.MAC(id, purpose, []byte(message))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	want := mac(one, id, "a", "m")
	if len(want) != 32 || !bytes.Equal(want, mac(both, id, "a", "m")) {
		t.Errorf("after a rotation the MAC is another one")
	}
	for _, differs := range [][]byte{mac(one, id, "b", "m"), mac(one, id, "a", "n"), mac(both, both.IDs()[0], "a", "m")} {
		if bytes.Equal(want, differs) {
			t.Errorf("another key, purpose or message has the same MAC")
		}
	}
	if sum, err := other.MAC(id, "a", []byte("m")); !errors.Is(err, tokenstore.ErrKey) || sum != nil {
		t.Errorf("a key that the ring does not have: %x, %v", sum, err)
	}
}

// TestMACOfDiscardedKey: a key that was taken out of the key file still opens what
// it sealed, and signs for nobody.
func TestMACOfDiscardedKey(t *testing.T) {
	ring := tokenstore.KeyFile(filepath.Join(t.TempDir(), "tokens.key"))
	if err := ring.Load(true); err != nil {
		t.Fatal(err)
	}
	old := ring.IDs()[0]
	if err := ring.Generate(); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.MAC(old, "a", nil); err != nil {
		t.Errorf("a key that is still in the file: %v", err)
	}
	if err := ring.Discard(old); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.MAC(old, "a", nil); !errors.Is(err, tokenstore.ErrKey) {
		t.Errorf("a discarded key: %v", err)
	}
}
