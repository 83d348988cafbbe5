package sqlstore_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// writer is the writing connection of a new SQLite store, with a table t of three
// rows, and with the statements that it keeps already.
func writer(t *testing.T) (*sql.Conn, int) {
	t.Helper()
	s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t))
	conn, err := s.WritingPool().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for _, query := range []string{"CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (2), (3)"} {
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	return conn, kept(t, conn)
}

func kept(t *testing.T, conn *sql.Conn) int {
	t.Helper()
	n, err := sqlstore.KeptStatements(conn)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func numbers(t *testing.T, conn *sql.Conn, each func(n int)) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "SELECT n FROM t WHERE n > ? ORDER BY n", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		each(n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// A statement is prepared once, and gives the same as ever: also while its rows
// are being read, and after the table changed.
func TestStatementsAreKept(t *testing.T) {
	conn, before := writer(t)
	sum := 0
	add := func(n int) { sum += n }
	for range 3 {
		numbers(t, conn, add)
	}
	if sum != 18 || kept(t, conn) != before+1 {
		t.Errorf("the sum is %d, and %d statements are kept, %d before", sum, kept(t, conn), before)
	}
	sum = 0
	numbers(t, conn, func(int) { numbers(t, conn, add) })
	if sum != 18 || kept(t, conn) != before+1 {
		t.Errorf("within itself: the sum is %d, and %d statements are kept, %d before", sum, kept(t, conn), before)
	}
	for _, query := range []string{"ALTER TABLE t ADD COLUMN m INTEGER", "UPDATE t SET n = 10 * n"} {
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	sum = 0
	numbers(t, conn, add)
	if sum != 60 {
		t.Errorf("after the table changed the sum is %d", sum)
	}
}

// A connection keeps a bounded number of statements, and none that may act when it
// is prepared.
func TestStatementsThatAreKeptAreBounded(t *testing.T) {
	conn, before := writer(t)
	if _, err := conn.ExecContext(t.Context(), "PRAGMA user_version = 0"); err != nil {
		t.Fatal(err)
	}
	if got := kept(t, conn); got != before {
		t.Errorf("after a PRAGMA %d statements are kept, %d before", got, before)
	}
	for i := range 250 {
		if _, err := conn.ExecContext(t.Context(), fmt.Sprintf("UPDATE t SET n = n WHERE n = %d", i)); err != nil {
			t.Fatal(err)
		}
		if got := kept(t, conn); got > 100 {
			t.Fatalf("%d statements are kept", got)
		}
	}
}
