package testserver

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"
)

// faultTimeout bounds a statement that makes a fault: it may have to wait for
// what runs.
const faultTimeout = 30 * time.Second

// ReadOnly makes the whole server refuse the writes of DSN's user, or allow
// them again (error 1290; root is exempt). The test's end allows them. It
// waits for the transactions that are being committed.
func (m *MySQL) ReadOnly(tb testing.TB, on bool) {
	tb.Helper()
	if on {
		tb.Cleanup(func() { m.ReadOnly(tb, false) })
	}
	m.Exec(tb, "SET GLOBAL read_only = ?", on)
}

// KillConnections ends every connection of DSN's user to the schema, as `KILL`
// does, and returns how many there were. A client reads "Connection was
// killed" (1927) or the end of the connection.
func (m *MySQL) KillConnections(tb testing.TB) int {
	tb.Helper()
	db := sql.OpenDB(rootConnector(m.Server))
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), faultTimeout)
	defer cancel()
	rows, err := db.QueryContext(ctx,
		"SELECT id FROM information_schema.processlist WHERE user = ? AND db = ?", user, m.schema)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	for _, id := range ids {
		_, _ = db.ExecContext(ctx, "KILL ?", id) // it may have ended by itself
	}
	return len(ids)
}

// Hold runs statements on one connection of root's to the schema and keeps it
// open until release is called or the test ends: the holder of a lock. Hold(t,
// "LOCK TABLES tokens WRITE") lets others wait for the table, Hold(t, "BEGIN",
// "SELECT * FROM tokens WHERE id = 1 FOR UPDATE") for the row.
func (m *MySQL) Hold(tb testing.TB, statements ...string) (release func()) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), faultTimeout)
	defer cancel()
	db := sql.OpenDB(rootConnector(m.Server))
	release = sync.OnceFunc(func() { _ = db.Close() }) // the server drops the locks with the connection
	tb.Cleanup(release)
	db.SetMaxOpenConns(1)
	for _, statement := range append([]string{"USE " + m.schema}, statements...) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
	return release
}
