package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// The databases testdata/schema3.db and testdata/schema3.mariadb.sql were made
// by the last version with schema 3, at this time. schema4.db and
// schema4.mariadb.sql were made from them by the last version with schema 4, and
// schema5.db and schema5.mariadb.sql from these by the last one with schema 5.
// The clocks of the tests stand then: an authorization lives for an hour.
var madeAt = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// manyOld is how many more rows of the old form the tests add: more than two
// batches.
const manyOld = 450

// schema3SQLite is a copy of the database file with more rows, and its keys.
func schema3SQLite(t *testing.T) (path string, keys *tokenstore.Keyring) {
	t.Helper()
	path, keys = copySQLite(t, "schema3.db")
	addOldRows(t, plainDB(t, path))
	return path, keys
}

// copySQLite is a copy of a database file and its keys.
func copySQLite(t *testing.T, name string) (path string, keys *tokenstore.Keyring) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	for _, file := range []string{path, sqlstore.KeyFileBeside(path)} {
		text, err := os.ReadFile(filepath.Join("testdata", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path, tokenstore.KeyFile(sqlstore.KeyFileBeside(path))
}

// schema3MariaDB loads the dump, adds more rows, and returns a DSN whose
// connections believe that it is madeAt.
func schema3MariaDB(t *testing.T) (m *testserver.MySQL, dsn string) {
	t.Helper()
	m, dsn = loadMariaDB(t, "schema3.mariadb.sql")
	addOldRows(t, plainMySQL(t, m))
	return m, dsn
}

// loadMariaDB loads a dump.
func loadMariaDB(t *testing.T, name string) (m *testserver.MySQL, dsn string) {
	t.Helper()
	m = testserver.MariaDB(t)
	dump, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	db := plainMySQL(t, m)
	for statement := range strings.SplitSeq(strings.TrimSpace(string(dump)), ";\n") {
		execute(t, db, strings.TrimSuffix(statement, ";"))
	}
	return m, fmt.Sprintf("%s?timestamp=%d", m.DSN(), madeAt.Unix())
}

// addOldRows adds rows of the old form: claims of one realm, budgets of many.
func addOldRows(t *testing.T, db *sql.DB) {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range manyOld {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO tokens_attempts (realm, ref_key, state, version) VALUES (?, ?, ?, 1)",
			[]byte("many"), fmt.Append(nil, i), fmt.Sprintf(`{"why":"renew","trouble":{"fails":%d}}`, i+1))
		if err == nil {
			_, err = tx.ExecContext(t.Context(), "INSERT INTO tokens_budgets (realm, state) VALUES (?, ?)",
				fmt.Append(nil, "many", i), fmt.Sprintf(`{"trouble":{"fails":%d}}`, i+1))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func oldToken(n int) realm.Token {
	return realm.Token{
		Access: realm.Hidden(fmt.Sprint("access-", n)), Refresh: realm.Hidden(fmt.Sprint("refresh-", n)),
		IssuedAt: madeAt.Add(-time.Hour), ExpiresAt: madeAt.Add(time.Hour), RefreshExpiresAt: madeAt.Add(48 * time.Hour),
		Fingerprint: realm.Fingerprint{byte(n), 1, 2},
	}
}

func oldID(n byte) tokenstore.CallID {
	return tokenstore.CallID{n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
}

// wantClaims are the claims of the old databases in the new form. What they
// were refused and failed with is not known: a digest is of something else than
// the fingerprint that was stored.
func wantClaims() map[realm.Ref]tokenstore.Claim {
	at := func(seconds int) time.Time { return madeAt.Add(time.Duration(seconds) * time.Second) }
	of := func(c tokenstore.Claim) tokenstore.Claim {
		c.Node, c.Started = "before-1-00", at(-10)
		return c
	}
	return map[realm.Ref]tokenstore.Claim{
		// Its process is gone. Whoever closes it knows that a refresh token
		// that is good once was sent, and notes the doubt.
		{Realm: "jd", Key: "open"}: of(tokenstore.Claim{
			Phase: tokenstore.PhaseCalling, ID: oldID(1), Purpose: "renew", Parent: 1, SendsRefresh: true, Deadline: at(20),
		}),
		{Realm: "jd", Key: "waits"}: of(tokenstore.Claim{
			Phase: tokenstore.PhaseAwaiting, ID: oldID(2), Purpose: "authorize", Parent: 1, Deadline: at(30),
		}),
		{Realm: "jd", Key: "everything"}: of(tokenstore.Claim{
			Purpose: "heal", Parent: 1,
			Failure:  tokenstore.Failure{Count: 3, At: at(-9), Until: at(51), Cause: `{"class":1,"kind":"invalid_grant","message":"微信 😀"}`},
			Doubt:    tokenstore.Doubt{Count: 2, Lineage: 1, At: at(-8)},
			Rejected: tokenstore.Rejected{Refresh: 1, Initial: true, Access: 1},
			Dropped:  oldID(3), Settled: []tokenstore.CallID{oldID(4), oldID(5)},
			Candidates: []realm.Token{oldToken(2), oldToken(3)},
		}),
		{Realm: "jd", Key: "never authorized"}: {},
		{Realm: "wx", Key: "closed"}:           of(tokenstore.Claim{}),
	}
}

// checkUpgraded compares everything that an old database holds with what it
// was made with, and goes on working with it.
func checkUpgraded(t *testing.T, s tokenstore.Store, openUntil time.Time) {
	t.Helper()
	checkRows(t, s)
	budget := tokenstore.Budget{
		Failure: tokenstore.Failure{Count: 2, At: madeAt.Add(-6 * time.Second), Until: madeAt.Add(54 * time.Second), Cause: `{"class":2,"kind":"throttled"}`},
		Windows: []tokenstore.Spending{{Per: time.Hour, Named: madeAt.Add(-5 * time.Second), Calls: []tokenstore.Calls{
			{First: madeAt.Add(-time.Minute), Last: madeAt.Add(-5 * time.Second), N: 7},
		}}},
	}
	for ref, want := range wantClaims() {
		st, err := s.Peek(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if ref.Key == "open" {
			want.Deadline = openUntil
		}
		if got := st.Claim; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", ref, got, want)
		}
		if ref.Realm == "jd" && !reflect.DeepEqual(st.Budget, budget) {
			t.Errorf("the budget is %+v", st.Budget)
		}
		if open := openUntil.After(madeAt) && ref.Realm == "jd" && ref.Key != "open"; (st.Open == 1) != open {
			t.Errorf("%s: %d claims of other keys are open", ref, st.Open)
		}
		token := oldToken(1)
		token.Lineage = 1
		if st.Token != token {
			t.Errorf("%s: the token is another one", ref)
		}
	}
	checkAuthorization(t, s)
	checkMany(t, s)
	checkGoesOn(t, s)
}

func checkRows(t *testing.T, s tokenstore.Store) {
	t.Helper()
	r, err := s.Realm(t.Context(), "jd")
	if err != nil || r.Config.Shared["app_key"] != "shared-1" {
		t.Errorf("realm: %v", err)
	}
	secret, err := s.Secret(t.Context(), realm.Ref{Realm: "jd", Key: "open"})
	if err != nil || secret.Fields["client_secret"] != "field-1" {
		t.Errorf("secret: %v", err)
	}
	c, err := s.Company(t.Context(), "91310000")
	if err != nil || c.Name != "某某公司" || c.Accounts["jd"] != "open" {
		t.Errorf("company: %+v, %v", c, err)
	}
}

func checkAuthorization(t *testing.T, s tokenstore.Store) {
	t.Helper()
	a, err := s.TakeAuthorization(t.Context(), tokenstore.HashState("state-1"))
	want := tokenstore.Authorization{
		State: tokenstore.HashState("state-1"), Ref: realm.Ref{Realm: "jd", Key: "waits"}, CallbackURL: "https://gw.example.com/callback",
		Verifier: "verifier-1", Call: oldID(2), Fingerprint: realm.Fingerprint{8, 8}, ExpiresAt: madeAt.Add(time.Hour),
	}
	if err != nil || a != want {
		t.Errorf("authorization: %+v, %v", a, err)
	}
}

func checkMany(t *testing.T, s tokenstore.Store) {
	t.Helper()
	for i := range manyOld {
		claim, err := s.Peek(t.Context(), realm.Ref{Realm: "many", Key: fmt.Sprint(i)})
		if err != nil || claim.Claim.Failure.Count != i+1 || claim.Claim.Purpose != "renew" {
			t.Fatalf("claim %d: %+v, %v", i, claim.Claim, err)
		}
		budget, err := s.Peek(t.Context(), realm.Ref{Realm: fmt.Sprint("many", i)})
		if err != nil || budget.Budget.Failure.Count != i+1 {
			t.Fatalf("budget %d: %+v, %v", i, budget.Budget, err)
		}
	}
}

// checkGoesOn alters every claim and its budget, and reads them again.
func checkGoesOn(t *testing.T, s tokenstore.Store) {
	t.Helper()
	for ref, want := range wantClaims() {
		digest := realm.Digest{6, 6, 6}
		_, err := s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
			child := oldToken(7)
			st.Save, st.Claim.Purpose, st.Claim.Rejected.Digest, st.Budget.Failure.Digest = &child, "next", digest, digest
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Peek(t.Context(), ref)
		if err != nil || st.Token.Lineage != 2 || st.Claim.Purpose != "next" || st.Claim.Rejected.Digest != digest || st.Budget.Failure.Digest != digest {
			t.Errorf("%s: %+v, %v", ref, st.Claim, err)
		}
		if !reflect.DeepEqual(st.Claim.Candidates, want.Candidates) {
			t.Errorf("%s: %d candidates", ref, len(st.Claim.Candidates))
		}
	}
}

// TestUpgradeSQLite: the file of the version before opens, with all that it
// holds. Its process is dead, and so its open claim is over at once.
func TestUpgradeSQLite(t *testing.T) {
	path, keys := schema3SQLite(t)
	s := openSQLite(t, path, keys, sqlstore.WithClock(func() time.Time { return madeAt }))
	checkUpgraded(t, s, madeAt)
}

func TestUpgradeMariaDB(t *testing.T) {
	_, dsn := schema3MariaDB(t)
	checkUpgraded(t, openMySQL(t, dsn), madeAt.Add(20*time.Second))
}

// TestUpgradeIsInterrupted: wherever the process dies, the next start goes on.
func TestUpgradeIsInterrupted(t *testing.T) {
	path, keys := schema3SQLite(t)
	_, dsn := schema3MariaDB(t)
	for name, c := range map[string]struct {
		handle    func(t *testing.T) *sqlstore.Store
		openUntil time.Time
		least     int // statements and transactions of the migration
	}{
		"sqlite": {
			func(*testing.T) *sqlstore.Store {
				return sqlstore.SQLite(path, keys, sqlstore.WithClock(func() time.Time { return madeAt }))
			},
			madeAt, 10,
		},
		"mariadb": {
			func(t *testing.T) *sqlstore.Store {
				s, err := sqlstore.MySQL(dsn, keyring(t))
				if err != nil {
					t.Fatal(err)
				}
				return s.Store
			},
			madeAt.Add(20 * time.Second), 7,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n += 1 + n/20*50 { // SQLite converts row by row in one transaction
				s := c.handle(t)
				s.InterruptMigration(n)
				err := s.Open(t.Context())
				if err == nil {
					if n < c.least {
						t.Errorf("it was interrupted %d times only", n)
					}
					checkUpgraded(t, s, c.openUntil)
				} else if !errors.Is(err, sqlstore.ErrInterrupted) {
					t.Fatal(err)
				}
				if closed := s.Close(); closed != nil {
					t.Fatal(closed)
				}
				if err == nil {
					return
				}
			}
		})
	}
}
