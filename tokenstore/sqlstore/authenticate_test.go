package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// schema4 is a database of the version before, and a handle of it.
type schema4 struct {
	db     *sql.DB
	handle func(opts ...sqlstore.Option) *sqlstore.Store
}

// schema4s are copies of the databases of the version before, by dialect.
func schema4s(t *testing.T) map[string]schema4 {
	t.Helper()
	path, keys := copySQLite(t, "schema4.db")
	m, dsn := loadMariaDB(t, "schema4.mariadb.sql")
	return map[string]schema4{
		"sqlite": {plainDB(t, path), func(opts ...sqlstore.Option) *sqlstore.Store {
			return sqlstore.SQLite(path, keys, append(opts, sqlstore.WithClock(func() time.Time { return madeAt }))...)
		}},
		"mariadb": {plainMySQL(t, m), func(opts ...sqlstore.Option) *sqlstore.Store {
			s, err := sqlstore.MySQL(dsn, keyring(t), opts...)
			if err != nil {
				t.Fatal(err)
			}
			return s.Store
		}},
	}
}

var v4 = realm.Ref{Realm: "v4", Key: "main"}

// checkV4 compares what the version with schema 4 itself wrote.
func checkV4(t *testing.T, s tokenstore.Store) {
	t.Helper()
	r, err := s.Realm(t.Context(), v4.Realm)
	if err != nil || r.Comment != "made by schema 4: 微信" || r.Config.URL != "https://token.example.com/t" || r.Config.Shared["x"] != "shared-4" {
		t.Errorf("realm: %+v, %v", r, err)
	}
	secret, err := s.Secret(t.Context(), v4)
	if err != nil || secret.Fields["appid"] != "field-4" {
		t.Errorf("secret: %v", err)
	}
	st, err := s.Peek(t.Context(), v4)
	token := oldToken(4)
	token.Lineage = 1
	if err != nil || st.Token != token || st.Claim.Failure.Digest != (realm.Digest{4, 1}) || st.Budget.Failure.Digest != (realm.Digest{4, 2}) {
		t.Errorf("token, claim, budget: %+v, %v", st, err)
	}
}

// TestUpgradeAuthenticates: the rows of the version before are authenticated
// once, the log says how many, and from then on an altered one is damaged.
func TestUpgradeAuthenticates(t *testing.T) {
	for name, old := range schema4s(t) {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			s := old.handle(sqlstore.WithLogger(zap.New(core)))
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			lines := logs.FilterMessage("rows authenticated").All()
			if len(lines) != 1 || lines[0].ContextMap()["rows"] != wantAuthenticated(t, old.db) {
				t.Errorf("the log says %v, want %d rows", lines, wantAuthenticated(t, old.db))
			}
			checkV4(t, s)
			if found, err := s.Damaged(t.Context()); err != nil || len(found) != 0 {
				t.Errorf("damaged after the upgrade: %v, %v", found, err)
			}
			checkRows(t, s)
			checkAuthorization(t, s)
			checkGoesOn(t, s)

			execute(t, old.db, "UPDATE tokens_realms SET config = REPLACE(config, 'token.example.com', 'evil.example.com') WHERE id = ?", []byte("v4"))
			if _, err := s.Realm(t.Context(), "v4"); !errors.Is(err, tokenstore.ErrDamaged) {
				t.Errorf("altered after the upgrade: %v", err)
			}
		})
	}
}

// wantAuthenticated counts the rows that have a seal, but for the registers,
// which the migration makes, and the authorizations, whose seals cover
// everything already.
func wantAuthenticated(t *testing.T, db *sql.DB) int64 {
	t.Helper()
	var sum int64
	for _, table := range []string{"realms", "secrets", "tokens", "claims", "budgets", "companies"} {
		var n int64
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tokens_"+table+" WHERE seal IS NOT NULL").Scan(&n); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum < 20 {
		t.Fatalf("%d rows only", sum)
	}
	return sum
}

// TestUpgradeWithADamagedRow: one damaged row of the version before stops no
// upgrade. It stays damaged.
func TestUpgradeWithADamagedRow(t *testing.T) {
	for name, old := range schema4s(t) {
		t.Run(name, func(t *testing.T) {
			execute(t, old.db, "UPDATE tokens_secrets SET version = version + 1 WHERE realm = ?", []byte("v4"))
			core, logs := observer.New(zap.InfoLevel)
			s := old.handle(sqlstore.WithLogger(zap.New(core)))
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			lines := logs.FilterMessageSnippet("rows authenticated").All()
			if len(lines) != 1 || lines[0].Level != zap.ErrorLevel || lines[0].ContextMap()["damaged"] != int64(1) {
				t.Errorf("the log says %v", lines)
			}
			want := []tokenstore.Damage{{Kind: "secret", Realm: v4.Realm, Key: v4.Key}}
			if found, err := s.Damaged(t.Context()); err != nil || !slices.Equal(found, want) {
				t.Errorf("damaged: %v, %v", found, err)
			}
			if _, err := s.Secret(t.Context(), v4); !errors.Is(err, tokenstore.ErrDamaged) {
				t.Errorf("the secret: %v", err)
			}
			checkRows(t, s)
		})
	}
}

// TestTurnedBack: with the version of the schema turned back, a start would
// authenticate whatever rows it finds.
func TestTurnedBack(t *testing.T) {
	for name, old := range schema4s(t) {
		t.Run(name, func(t *testing.T) {
			open := func() error {
				s := old.handle()
				return errors.Join(s.Open(t.Context()), s.Close())
			}
			if err := open(); err != nil {
				t.Fatal(err)
			}
			execute(t, old.db, "DELETE FROM tokens_schema WHERE version = 5")
			for range 2 {
				if err := open(); !errors.Is(err, sqlstore.ErrTurnedBack) {
					t.Fatalf("turned back: %v", err)
				}
			}
			execute(t, old.db, "INSERT INTO tokens_schema (version) VALUES (5)")
			if err := open(); err != nil {
				t.Fatalf("turned forward: %v", err)
			}
		})
	}
}

// TestUpgradeOfSchema4IsInterrupted: wherever the process dies, the next start
// goes on, and authenticates no row twice.
func TestUpgradeOfSchema4IsInterrupted(t *testing.T) {
	for name, old := range schema4s(t) {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				s := old.handle()
				s.InterruptMigration(n)
				err := s.Open(t.Context())
				if err == nil {
					if n < 7 {
						t.Errorf("it was interrupted %d times only", n)
					}
					checkV4(t, s)
					checkRows(t, s)
					checkAuthorization(t, s)
					checkGoesOn(t, s)
					if found, err := s.Damaged(t.Context()); err != nil || len(found) != 0 {
						t.Errorf("damaged: %v, %v", found, err)
					}
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

// TestOlderProgramWhileRunning: a program with schema 4 that still runs cannot
// write a row that does not verify.
func TestOlderProgramWhileRunning(t *testing.T) {
	for name, old := range schema4s(t) {
		t.Run(name, func(t *testing.T) {
			s := old.handle()
			if err := errors.Join(s.Open(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			for table, column := range map[string]string{
				"realms": "shared", "secrets": "fields", "tokens": "sealed", "claims": "sealed", "budgets": "sealed",
			} {
				_, err := old.db.ExecContext(t.Context(), fmt.Sprintf("UPDATE tokens_%s SET %s = x'00'", table, column))
				if err == nil || !strings.Contains(strings.ToLower(err.Error()), "column") {
					t.Errorf("%s: %v", table, err)
				}
			}
		})
	}
}
