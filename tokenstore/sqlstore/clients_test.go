package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// TestDeletedClientLeavesNothing: the digests of a deleted client's keys and
// users do not stay behind.
func TestDeletedClientLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, db := openSQLite(t, path, keyring(t)), plainDB(t, path)
	names := func() (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tokens_client_names").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	_, err := s.UpdateClient(t.Context(), "a", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		c.Users, c.Keys = []string{"alice", "bob"}, []tokenstore.ClientKey{{Digest: tokenstore.KeyDigest{1}}}
		return c, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := names(); n != 3 {
		t.Fatalf("%d names", n)
	}
	if err := s.DeleteClient(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n := names(); n != 0 {
		t.Errorf("%d names are left", n)
	}
}
