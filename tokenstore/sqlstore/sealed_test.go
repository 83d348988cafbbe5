package sqlstore_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// TestSealedOnlyWhenChanged: a claim and a budget are written with every call;
// what is sealed in them changes with a failure.
func TestSealedOnlyWhenChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s, db := openSQLite(t, path, keyring(t)), plainDB(t, path)
	write := func(count int, digest byte) (claim, budget []byte) {
		t.Helper()
		_, err := s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
			st.Claim.Failure = tokenstore.Failure{Count: count, Digest: realm.Digest{digest}}
			st.Budget.Failure = st.Claim.Failure
			return nil
		})
		if err == nil {
			err = db.QueryRowContext(t.Context(), "SELECT c.sealed, b.sealed FROM tokens_claims c, tokens_budgets b").Scan(&claim, &budget)
		}
		if err != nil {
			t.Fatal(err)
		}
		return claim, budget
	}
	claim, budget := write(1, 1)
	if len(claim) == 0 || len(budget) == 0 {
		t.Fatal("the digests are not sealed")
	}
	if c, b := write(2, 1); !bytes.Equal(c, claim) || !bytes.Equal(b, budget) {
		t.Error("what did not change was sealed again")
	}
	if c, b := write(2, 2); bytes.Equal(c, claim) || bytes.Equal(b, budget) {
		t.Error("what changed is sealed as it was")
	}
	if c, b := write(2, 0); c != nil || b != nil {
		t.Error("nothing is sealed as something")
	}
}
