package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
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

// oldDatabase is a database of an older version, and a handle of it.
type oldDatabase struct {
	db     *sql.DB
	handle func(opts ...sqlstore.Option) *sqlstore.Store
}

// oldDatabases are copies of the databases of an older schema, by dialect.
func oldDatabases(t *testing.T, schema int) map[string]oldDatabase {
	t.Helper()
	path, keys := copySQLite(t, fmt.Sprintf("schema%d.db", schema))
	m, dsn := loadMariaDB(t, fmt.Sprintf("schema%d.mariadb.sql", schema))
	return map[string]oldDatabase{
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

// checkWrittenBy compares what the version with a schema itself wrote.
func checkWrittenBy(t *testing.T, s tokenstore.Store, schema byte) {
	t.Helper()
	n := fmt.Sprint(schema)
	ref := realm.Ref{Realm: "v" + n, Key: "main"}
	r, err := s.Realm(t.Context(), ref.Realm)
	if err != nil || r.Comment != "made by schema "+n+": 微信" || r.Config.URL != "https://token.example.com/t" || r.Config.Shared["x"] != realm.Hidden("shared-"+n) {
		t.Errorf("realm: %+v, %v", r, err)
	}
	secret, err := s.Secret(t.Context(), ref)
	if err != nil || secret.Fields["appid"] != realm.Hidden("field-"+n) {
		t.Errorf("secret: %v", err)
	}
	st, err := s.Peek(t.Context(), ref)
	token := oldToken(int(schema))
	token.Lineage = 1
	if err != nil || st.Token != token || st.Claim.Failure.Digest != (realm.Digest{schema, 1}) || st.Budget.Failure.Digest != (realm.Digest{schema, 2}) {
		t.Errorf("token, claim, budget: %+v, %v", st, err)
	}
}

// TestUpgradeAuthenticates: the rows of the version before are authenticated
// once, the log says how many, and from then on an altered one is damaged.
func TestUpgradeAuthenticates(t *testing.T) {
	for name, old := range oldDatabases(t, 4) {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			s := old.handle(sqlstore.WithLogger(zap.New(core)), sqlstore.WithHosts(hostsOf))
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkBindings(t, s, 4)
			lines := logs.FilterMessage("rows authenticated").All()
			if len(lines) != 1 || lines[0].ContextMap()["rows"] != wantAuthenticated(t, old.db) {
				t.Errorf("the log says %v, want %d rows", lines, wantAuthenticated(t, old.db))
			}
			checkWrittenBy(t, s, 4)
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
	for name, old := range oldDatabases(t, 4) {
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
	for name, old := range oldDatabases(t, 4) {
		t.Run(name, func(t *testing.T) {
			open := func() error {
				s := old.handle()
				return errors.Join(s.Open(t.Context()), s.Close())
			}
			if err := open(); err != nil {
				t.Fatal(err)
			}
			execute(t, old.db, "CREATE TABLE kept AS SELECT version FROM tokens_schema")
			execute(t, old.db, "DELETE FROM tokens_schema WHERE version >= 5")
			for range 2 {
				if err := open(); !errors.Is(err, sqlstore.ErrTurnedBack) {
					t.Fatalf("turned back: %v", err)
				}
			}
			execute(t, old.db, "INSERT INTO tokens_schema (version) SELECT version FROM kept WHERE version >= 5")
			if err := open(); err != nil {
				t.Fatalf("turned forward: %v", err)
			}
		})
	}
}

// TestLaterUpgradesAreInterrupted: wherever the process dies, the next start
// goes on, and authenticates no row twice.
func TestLaterUpgradesAreInterrupted(t *testing.T) {
	for schema, least := range map[byte]int{4: 10, 5: 4} { // statements and transactions
		for name, old := range oldDatabases(t, int(schema)) {
			t.Run(fmt.Sprint(name, schema), func(t *testing.T) { interruptUpgrade(t, old, schema, least) })
		}
	}
}

func interruptUpgrade(t *testing.T, old oldDatabase, schema byte, least int) {
	for n := 0; ; n++ {
		s := old.handle(sqlstore.WithHosts(hostsOf))
		s.InterruptMigration(n)
		err := s.Open(t.Context())
		if err == nil {
			if n < least {
				t.Errorf("it was interrupted %d times only", n)
			}
			checkWrittenBy(t, s, schema)
			checkRows(t, s)
			checkAuthorization(t, s)
			checkGoesOn(t, s)
			checkNoClients(t, s)
			checkBindings(t, s, schema)
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
}

// TestOlderProgramWhileRunning: a program with schema 4 that still runs cannot
// write a row that does not verify.
func TestOlderProgramWhileRunning(t *testing.T) {
	for name, old := range oldDatabases(t, 4) {
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

// TestUpgradeToClients: a database with schema 5 opens as it is. There never was
// a client, and from now on there may be some.
func TestUpgradeToClients(t *testing.T) {
	for name, old := range oldDatabases(t, 5) {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			s := old.handle(sqlstore.WithLogger(zap.New(core)))
			t.Cleanup(func() { _ = s.Close() })
			if err := s.Open(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := logs.FilterMessageSnippet("rows authenticated").Len(); n != 0 {
				t.Error("rows were authenticated once more")
			}
			checkWrittenBy(t, s, 4)
			checkWrittenBy(t, s, 5)
			checkRows(t, s)
			checkAuthorization(t, s)
			checkGoesOn(t, s)
			checkNoClients(t, s)
			saved, err := s.UpdateClient(t.Context(), "first", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
				c.Users = []string{"alice"}
				return c, nil
			})
			list, required, listErr := s.Clients(t.Context())
			if err != nil || listErr != nil || !required || len(list) != 1 || !reflect.DeepEqual(list[0], saved) {
				t.Errorf("%v, %v, %+v, required %v", err, listErr, list, required)
			}
			if found, err := s.Damaged(t.Context()); err != nil || len(found) != 0 {
				t.Errorf("damaged: %v, %v", found, err)
			}
		})
	}
}

// checkNoClients expects that there never was a client.
func checkNoClients(t *testing.T, s tokenstore.Store) {
	t.Helper()
	if list, required, err := s.Clients(t.Context()); err != nil || required || len(list) != 0 {
		t.Errorf("clients: %v, required %v, %v", list, required, err)
	}
}

// TestProgramWithoutClients: a program with schema 5 that still runs would not
// know that clients are required, and would take the note away. It cannot write.
func TestProgramWithoutClients(t *testing.T) {
	old := oldDatabases(t, 5)["mariadb"]
	s := old.handle()
	if err := errors.Join(s.Open(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	const insert = "INSERT INTO tokens_changes (write_id, realm, ref_key, at) VALUES (?, ?, ?, UTC_TIMESTAMP(6))"
	if _, err := old.db.ExecContext(t.Context(), insert, []byte("0123456789abcdef"), "wx", ""); err == nil || !strings.Contains(err.Error(), "'client'") {
		t.Errorf("it wrote: %v", err)
	}
}
