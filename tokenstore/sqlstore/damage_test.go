package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestLargeDatabasesRest: whoever polls the status of a large database does not
// make it read all its rows each time.
func TestLargeDatabasesRest(t *testing.T) {
	for name, c := range map[string]struct {
		rows int
		want int
	}{"small": {100, 1}, "large": {10_000, 0}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.db")
			s, db := openSQLite(t, path, keyring(t)), plainDB(t, path)
			saveSecret(t, s, map[string]realm.Hidden{"x": "y"})
			execute(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
				INSERT INTO tokens_budgets (realm, state) SELECT CAST(i AS BLOB), '{}' FROM n`, c.rows)
			if found, err := s.Damaged(t.Context()); err != nil || len(found) != 0 {
				t.Fatalf("%v, %v", found, err)
			}
			execute(t, db, "UPDATE tokens_secrets SET seal = x'00'")
			if found, err := s.Damaged(t.Context()); err != nil || len(found) != c.want {
				t.Errorf("a moment later: %v, %v", found, err)
			}
		})
	}
}
