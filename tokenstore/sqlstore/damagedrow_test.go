package sqlstore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// filler fills pages of a SQLite file, and is found there.
const filler = "in the clear, "

// saveLargeClaim writes a claim of a key that needs many pages of its own.
func saveLargeClaim(t *testing.T, s *sqlstore.Store, key string) {
	t.Helper()
	_, err := s.Coordinate(t.Context(), keyOf(key), func(st *tokenstore.State) error {
		st.Claim.Failure.Cause = strings.Repeat(filler, 20_000)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantOnlyB asks for the healthy key a, the key b, whose claim cannot be read, and a
// save in another realm together: only b fails. It returns how.
func wantOnlyB(t *testing.T, s *sqlstore.Store) error {
	t.Helper()
	a, b := reading("a"), reading("b")
	other := sqlstore.NewOperation(realm.Ref{Realm: "other", Key: "main"}, func(st *tokenstore.State) error {
		st.Save = &realm.Token{Access: "a"}
		return nil
	})
	s.Together(t.Context(), a, b, other)
	for name, op := range map[string]sqlstore.Operation{"a": a, "other": other} {
		if st, err := s.Outcome(t.Context(), op); err != nil || st.Token.Lineage != 1 {
			t.Errorf("%s: lineage %d, %v", name, st.Token.Lineage, err)
		}
	}
	_, err := s.Outcome(t.Context(), b)
	if !tokenstore.IsUnavailable(err) {
		t.Errorf("b: %v", err)
	}
	return err
}

// A damaged page is the failure of the key whose row is there.
func TestDamagedPageBesideHealthyRows(t *testing.T) {
	path, ring := filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	s := openSQLite(t, path, ring)
	if _, err := save(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	saveLargeClaim(t, s, "b")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damageOverflowPage(t, path)
	err := wantOnlyB(t, openSQLite(t, path, ring))
	if !errors.Is(err, tokenstore.ErrDamaged) {
		t.Errorf("b: %v", err)
	}
}

// damageOverflowPage has a page of nothing but filler go on where there is no page.
func damageOverflowPage(t *testing.T, path string) {
	t.Helper()
	const page = 4096
	data, err := os.ReadFile(path) // #nosec G304 -- the test's own
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at+page <= len(data); at += page {
		if bytes.Count(data[at:at+page], []byte(filler)) >= page/len(filler)-1 {
			copy(data[at:], "\x7f\xff\xff\xff")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no page of the claim was found")
}

// A page that the disk does not give is no failure of others, either.
func TestUnreadablePageBesideHealthyRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	if _, err := save(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	saveLargeClaim(t, s, "b")
	log, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path+"-wal", log.Size()-20*4096); err != nil { // of the claim
		t.Fatal(err)
	}
	execute(t, s.WritingPool(), "PRAGMA shrink_memory")
	if err := wantOnlyB(t, s); errors.Is(err, tokenstore.ErrDamaged) || !strings.Contains(err.Error(), "disk I/O error") {
		t.Errorf("b: %v", err)
	}
}

// A table that MySQL finds damaged is the failure of those whose rows it cannot read.
func TestDamagedTableBesideHealthyRows(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	hooks := s.Hook()
	for round, number := range []uint16{1194, 1712} {
		hooks.AtCommit(once(&mysql.MySQLError{Number: number, SQLState: [5]byte([]byte("HY000"))}, func() {}))
		hooks.Begins()
		ops := savings(3)
		s.Together(t.Context(), ops...)
		wantSaved(t, s, ops, int64(round)+1)
		if got := hooks.Begins(); got != 4 {
			t.Errorf("%d: %d transactions, want one of all and one of each", number, got)
		}
	}
}

// What the server takes in no packet is the failure of its operation only.
func TestClaimThatIsLargerThanAPacket(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	large := sqlstore.NewOperation(keyOf("large"), func(st *tokenstore.State) error {
		st.Claim.Failure.Cause = strings.Repeat("a", 16<<20) // max_allowed_packet
		return nil
	})
	ops := savings(2)
	s.Together(t.Context(), append(slices.Clone(ops), large)...)
	wantSaved(t, s, ops, 1)
	if _, err := s.Outcome(t.Context(), large); !tokenstore.IsUnavailable(err) || !strings.Contains(err.Error(), "Error 1153") {
		t.Errorf("large: %v", err)
	}
}
