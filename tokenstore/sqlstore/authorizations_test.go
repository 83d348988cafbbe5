package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

func authorization(state string) tokenstore.Authorization {
	return tokenstore.Authorization{State: tokenstore.HashState(realm.Hidden(state)), Ref: ref, Call: tokenstore.NewCallID(), Verifier: "verifier of " + realm.Hidden(state)}
}

func begin(tb testing.TB, s tokenstore.Store, state string, life time.Duration) tokenstore.Authorization {
	tb.Helper()
	a := authorization(state)
	if err := s.BeginAuthorization(tb.Context(), a, life); err != nil {
		tb.Fatal(err)
	}
	return a
}

func count(tb testing.TB, db *sql.DB) (n int) {
	tb.Helper()
	if err := db.QueryRowContext(tb.Context(), "SELECT COUNT(*) FROM tokens_authorizations").Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestAuthorizationsEnd by the store's clock; a clock that went back far ends
// those of before, too.
func TestAuthorizationsEnd(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t), sqlstore.WithClock(func() time.Time { return now }))
	start := now
	for _, test := range []struct {
		after time.Duration
		found bool
	}{
		{0, true},
		{10*time.Minute - time.Microsecond, true},
		{10 * time.Minute, false},
		{time.Hour, false},
		{-time.Minute, true},
		{-24 * time.Hour, false},
	} {
		now = start
		a := begin(t, s, test.after.String(), 10*time.Minute)
		now = start.Add(test.after)
		_, err := s.TakeAuthorization(t.Context(), a.State)
		if err != nil && !errors.Is(err, tokenstore.ErrAuthorizationNotFound) || (err == nil) != test.found {
			t.Errorf("after %v: %v", test.after, err)
		}
	}
}

// TestEndedAuthorizationsGo, some with each that begins.
func TestEndedAuthorizationsGo(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t), sqlstore.WithClock(func() time.Time { return now }))
	for i := range 150 {
		begin(t, s, fmt.Sprint(i), time.Minute)
	}
	now = now.Add(time.Minute)
	db := plainDB(t, path)
	for i, left := range []int{51, 2, 3} {
		begin(t, s, fmt.Sprint("live ", i), time.Minute)
		if n := count(t, db); n != left {
			t.Fatalf("%d rows are left, %d were expected", n, left)
		}
	}
	now = now.Add(-24 * time.Hour)
	live := begin(t, s, "of the day before", time.Minute)
	if n := count(t, db); n != 1 {
		t.Fatalf("%d rows are left of before the clock went back", n-1)
	}
	if _, err := s.TakeAuthorization(t.Context(), live.State); err != nil {
		t.Fatal(err)
	}
}

// TestEndedAuthorizationsGoFromMySQL: the same statement there.
func TestEndedAuthorizationsGoFromMySQL(t *testing.T) {
	m := testserver.MariaDB(t)
	s, db := openMySQL(t, m.DSN()), plainMySQL(t, m)
	for _, state := range []string{"one", "two", "three"} {
		begin(t, s, state, 0)
	}
	begin(t, s, "live", time.Minute)
	if n := count(t, db); n != 1 {
		t.Fatalf("%d rows are left", n)
	}
	ended := begin(t, s, "ended", 0)
	if _, err := s.TakeAuthorization(t.Context(), ended.State); !errors.Is(err, tokenstore.ErrAuthorizationNotFound) {
		t.Fatalf("got %v", err)
	}
	if n := count(t, db); n != 1 {
		t.Fatalf("%d rows are left after a take of one that ended", n)
	}
}

// TestAlteredAuthorization: whoever can write the database gives none to
// another key or realm, and none a longer life.
func TestAlteredAuthorization(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	db := plainDB(t, path)
	for alter, back := range map[string]string{
		"realm = x'78'": "realm = x'7778'", "ref_key = x'78'": "ref_key = x'6d61696e'", "expires_at = expires_at + 1": "expires_at = expires_at - 1",
	} {
		a := begin(t, s, alter, time.Minute)
		execute(t, db, "UPDATE tokens_authorizations SET "+alter)
		if got, err := s.TakeAuthorization(t.Context(), a.State); !errors.Is(err, tokenstore.ErrDamaged) || got != (tokenstore.Authorization{}) {
			t.Errorf("%s: got %v, %v", alter, got, err)
		}
		execute(t, db, "UPDATE tokens_authorizations SET "+back)
		if _, err := s.TakeAuthorization(t.Context(), a.State); err != nil {
			t.Errorf("%s: undone: %v", alter, err)
		}
	}
}

// TestUnknownStateWaitsForNobody: anybody may send a callback, and one with a
// state that there is not took its turn among all that write.
func TestUnknownStateWaitsForNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	a := begin(t, s, "known", time.Minute)
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	writing, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.TakeAuthorization(t.Context(), tokenstore.HashState("unknown")); !errors.Is(err, tokenstore.ErrAuthorizationNotFound) {
		t.Error(err)
	}
	if err := writing.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TakeAuthorization(t.Context(), a.State); err != nil {
		t.Error(err)
	}
}
