package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// dialect is what SQLite and MySQL do differently.
type dialect interface {
	// name is "sqlite" or "mysql".
	name() string
	// migrations are the numbered .sql files.
	migrations() fs.FS
	// connect opens the pools and makes sure that they work.
	connect(ctx context.Context) (*pools, error)
	// locked runs do while no other process is in locked.
	locked(ctx context.Context, db *sql.DB, do func(x execer) error) error
	// tables is a query for the names of this program's tables.
	tables() string
	// snapshot is the isolation of a transaction that sees the database as it
	// was at one moment.
	snapshot() sql.IsolationLevel
	// hasTable is a query that counts the tables of a name.
	hasTable() string
	// hasColumn is a query that counts the columns of a table's name and a
	// column's name.
	hasColumn() string
	// begin starts a transaction that may write.
	begin(ctx context.Context, db *sql.DB) (*sql.Tx, error)
	// forUpdate ends a SELECT whose rows nobody else may write until the
	// transaction ends.
	forUpdate() string
	// now is the time that rows are dated by, to the microsecond.
	now(ctx context.Context, x execer) (time.Time, error)
	// nowSQL is the time in so long as an expression of a statement, with its
	// argument.
	nowSQL(ahead time.Duration) (expr string, args []any)
	// stamp is a time as a column keeps it; NULL for the zero time.
	stamp(t time.Time) any
	// rowsAtOnce is how many rows one statement writes or reads at most. What it
	// writes is bounded by statementBytes, too.
	rowsAtOnce() int
	// overwrite ends an INSERT whose rows replace those of the same keys.
	overwrite(keys, columns []string) string
	// groupOf names the operations that share transactions with those of a realm.
	groupOf(id string) string
	// overtakesAfter is how long the operations of a group wait for a transaction of
	// others before theirs begins beside it; 0 for as long as that takes.
	overtakesAfter() time.Duration
	// recordChange notes a write in its own transaction, for the other nodes: what
	// it changed, if anything. client is the form of clientCell; empty for no client.
	recordChange(ctx context.Context, tx *sql.Tx, id writeID, changed []realm.Ref, client string) error
	// wasCommitted tells how the write ended whose COMMIT failed with err. Its
	// own error means that this is not known.
	wasCommitted(ctx context.Context, db *sql.DB, id writeID, err error) (bool, error)
	// probe writes what changes nothing, in a transaction of its own.
	probe(ctx context.Context, db *sql.DB) error
	// isRetryable reports whether the same transaction may succeed when it is
	// run again.
	isRetryable(err error) bool
	// isDuplicate reports whether a row with this primary key was there already.
	isDuplicate(err error) bool
	// isRejected reports whether the database read a statement and could not
	// do what it says: it names what does not exist, or a value does not fit.
	isRejected(err error) bool
	// isOfOneRow reports whether an error may be about one row only: a value in it
	// does not fit, or it cannot be read. Without that row, the database might have
	// done the rest.
	isOfOneRow(err error) bool
	// isAlone reports whether no other process can have the database open.
	isAlone() bool
	// isDamaged reports whether the database itself is broken.
	isDamaged(err error) bool
	// afterWrite is told after every write; it may clear away what is old.
	afterWrite(ctx context.Context, db *sql.DB)
}

// execer is a transaction or a connection.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// row is a *sql.Row or *sql.Rows.
type row interface {
	Scan(dest ...any) error
}

// instant reads a time of either dialect; NULL is the zero time.
type instant struct{ time.Time }

// Scan implements sql.Scanner.
func (i *instant) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		i.Time = time.Time{}
	case int64:
		i.Time = time.UnixMicro(v).UTC()
	case time.Time:
		i.Time = v.UTC()
	default:
		return fmt.Errorf("a time cannot be read from %T", src)
	}
	return nil
}
