package storetest_test

import (
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"go.uber.org/zap/zaptest"
	_ "modernc.org/sqlite"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/redisstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, storetest.Backend{Fresh: sqliteDatabase})
}

func TestMariaDB(t *testing.T) {
	storetest.Run(t, storetest.Backend{Shared: true, Fresh: func(t *testing.T) storetest.Database { return mariaDatabase(t) }})
}

// One connection is enough for everything: nothing asks for a second one while it
// holds the first, which would wait for ever.
func TestMariaDBWithOneConnection(t *testing.T) {
	storetest.Run(t, storetest.Backend{Shared: true, Fresh: func(t *testing.T) storetest.Database { return mariaDatabase(t, sqlstore.WithConnections(1)) }})
}

func TestSQLiteAndRedis(t *testing.T) {
	storetest.Run(t, storetest.Backend{Fresh: func(t *testing.T) storetest.Database { return withRedis(t, sqliteDatabase(t)) }})
}

func TestMariaDBAndRedis(t *testing.T) {
	storetest.Run(t, storetest.Backend{Shared: true, Fresh: func(t *testing.T) storetest.Database { return withRedis(t, mariaDatabase(t)) }})
}

func sqliteDatabase(t *testing.T) storetest.Database {
	path := filepath.Join(t.TempDir(), "data", "tokens.db")
	return storetest.Database{
		Handle:     func(_ *testing.T, keys *tokenstore.Keyring) tokenstore.Store { return sqlstore.SQLite(path, keys) },
		Raw:        func(t *testing.T) []byte { return files(t, filepath.Dir(path)) },
		Swap:       func(t *testing.T, a, b realm.Ref) { swap(t, "sqlite", path, a, b) },
		Alter:      func(t *testing.T, statement string, args ...any) { alter(t, "sqlite", path, statement, args...) },
		SwapStates: func(t *testing.T, a, b tokenstore.StateHash) { swapStates(t, "sqlite", path, a, b) },
	}
}

func mariaDatabase(t *testing.T, opts ...sqlstore.Option) storetest.Database {
	m := testserver.MariaDB(t)
	return storetest.Database{
		Handle: func(t *testing.T, keys *tokenstore.Keyring) tokenstore.Store { return mariaHandle(t, m, keys, opts...) },
		Raw: func(t *testing.T) []byte {
			// Everything that is still in the server's memory goes to its files.
			m.Kill(t)
			m.Restart(t)
			return files(t, m.Dir(), "mysql", "performance_schema", "sys")
		},
		Swap:       func(t *testing.T, a, b realm.Ref) { swap(t, "mysql", m.DSN(), a, b) },
		Alter:      func(t *testing.T, statement string, args ...any) { alter(t, "mysql", m.DSN(), statement, args...) },
		SwapStates: func(t *testing.T, a, b tokenstore.StateHash) { swapStates(t, "mysql", m.DSN(), a, b) },
	}
}

// withRedis puts one Redis in front of all handles of a database.
func withRedis(t *testing.T, db storetest.Database) storetest.Database {
	r := testserver.Redis(t)
	both := db
	both.Handle = func(t *testing.T, keys *tokenstore.Keyring) tokenstore.Store {
		cache, err := redisstore.New([]string{r.URL()}, keys, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		return tokenstore.Levels(db.Handle(t, keys).(tokenstore.Database), cache)
	}
	both.Raw = func(t *testing.T) []byte { return append(db.Raw(t), dump(t, r)...) }
	both.Swap = func(t *testing.T, a, b realm.Ref) {
		r.Flush(t) // or what is swapped would not be read
		db.Swap(t, a, b)
	}
	both.Alter = func(t *testing.T, statement string, args ...any) {
		r.Flush(t)
		db.Alter(t, statement, args...)
	}
	return both
}

// dump is everything that a Redis database holds: names and values.
func dump(t *testing.T, r *testserver.RedisDB) []byte {
	t.Helper()
	c := r.Client(t)
	keys, err := c.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		t.Fatalf("redis holds %d keys, %v: the search proves nothing", len(keys), err)
	}
	var all []byte
	for _, key := range keys {
		fields, err := c.HGetAll(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key...)
		for name, value := range fields {
			all = append(append(all, name...), value...)
		}
	}
	return all
}

func mariaHandle(t *testing.T, m *testserver.MySQL, keys *tokenstore.Keyring, opts ...sqlstore.Option) *sqlstore.Shared {
	t.Helper()
	s, err := sqlstore.MySQL(m.DSN(), keys, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// files is the content of all files below a directory, but for some
// directories in it.
func files(t *testing.T, dir string, without ...string) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(without, d.Name()) {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// swap exchanges the sealed columns of two rows.
func swap(t *testing.T, driver, dsn string, a, b realm.Ref) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, table := range []string{"tokens_secrets", "tokens_tokens", "tokens_pushed", "tokens_claims"} {
		var blobs [2][]byte
		for i, ref := range []realm.Ref{a, b} {
			query := "SELECT seal FROM " + table + " WHERE realm = ? AND ref_key = ?"
			row := db.QueryRowContext(context.Background(), query, []byte(ref.Realm), []byte(ref.Key))
			if err := row.Scan(&blobs[i]); err != nil {
				t.Fatal(err)
			}
		}
		for i, ref := range []realm.Ref{b, a} {
			query := "UPDATE " + table + " SET seal = ? WHERE realm = ? AND ref_key = ?"
			if _, err := db.ExecContext(context.Background(), query, blobs[i], []byte(ref.Realm), []byte(ref.Key)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// alter runs one statement. If it changes rows, there have to be some.
func alter(t *testing.T, driver, dsn, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	res, err := db.ExecContext(context.Background(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := res.RowsAffected(); n == 0 && !strings.HasPrefix(statement, "CREATE") && !strings.HasPrefix(statement, "ALTER") || err != nil {
		t.Fatalf("%s: %d rows were changed, %v", statement, n, err)
	}
}

// swapStates exchanges the states of two authorizations.
func swapStates(t *testing.T, driver, dsn string, a, b tokenstore.StateHash) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var between tokenstore.StateHash
	for _, move := range [][2][]byte{{between[:], a[:]}, {a[:], b[:]}, {b[:], between[:]}} {
		res, err := db.ExecContext(context.Background(), "UPDATE tokens_authorizations SET state = ? WHERE state = ?", move[0], move[1])
		if err != nil {
			t.Fatal(err)
		}
		if n, err := res.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%d rows were changed, %v", n, err)
		}
	}
}
