package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// sqliteReaders is the size of the pool for reading. Readers never wait for
// the writer in WAL mode.
const sqliteReaders = 4

// sqliteDSN is what correctness needs of every connection. Without
// busy_timeout a second process makes writes fail at once; a transaction that
// begins as a reader cannot become a writer under load, hence immediate;
// synchronous FULL makes a COMMIT survive a power failure in WAL mode, too
// (https://www.sqlite.org/pragma.html#pragma_synchronous).
const sqliteDSN = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate&_dqs=0"

// sqliteDB is the dialect of a SQLite file.
type sqliteDB struct {
	path  string
	clock func() time.Time
}

// SQLite makes a store in a file. The file is created by Open, for its owner
// only. keys may be a tokenstore.KeyFile: it is created together with an empty
// database, and never beside one that was sealed with another key.
func SQLite(path string, keys *tokenstore.Keyring, opts ...Option) *Store {
	o := collect(opts)
	return newStore(&sqliteDB{path: path, clock: o.now}, keys, o)
}

// KeyFileBeside is the key file that belongs to a SQLite file when no key is
// given: tokens.key beside tokens.db.
func KeyFileBeside(path string) string {
	return path[:len(path)-len(filepath.Ext(path))] + ".key"
}

func (d *sqliteDB) name() string             { return "sqlite" }
func (d *sqliteDB) migrations() fs.FS        { return migrationsOf("sqlite") }
func (d *sqliteDB) forUpdate() string        { return "" } // the writer is alone
func (d *sqliteDB) isRetryable(_ error) bool { return false }
func (d *sqliteDB) hasTable() string {
	return "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
}

func (d *sqliteDB) tables() string {
	return "SELECT name FROM sqlite_master WHERE type = 'table' AND SUBSTR(name, 1, 7) = 'tokens_' ORDER BY name"
}

// snapshot: a transaction that only reads sees what its first read saw.
func (d *sqliteDB) snapshot() sql.IsolationLevel { return sql.LevelDefault }

func (d *sqliteDB) hasColumn() string {
	return "SELECT COUNT(*) FROM pragma_table_info(?) WHERE name = ?"
}

// connect locks the file out for other processes and opens it. One that was
// not closed properly is checked first; a damaged one is refused, and nothing
// is created in its place.
func (d *sqliteDB) connect(ctx context.Context) (*pools, error) {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDatabase(ctx, d.path)
	if err != nil {
		return nil, err
	}
	db, err := d.openFile(ctx, lock)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return db, nil
}

// openFile opens the connections, while no other store of this process opens or
// closes its own.
func (d *sqliteDB) openFile(ctx context.Context, lock *fileLock) (*pools, error) {
	if err := lock.enter(ctx); err != nil {
		return nil, err
	}
	defer lock.leave()
	unclean, err := d.prepareFiles()
	if err != nil {
		return nil, err
	}
	db := &pools{write: d.pool("", 1), read: d.pool("&_pragma=query_only(1)", sqliteReaders), lock: lock}
	err = db.write.PingContext(ctx)
	if err == nil && unclean {
		err = d.quickCheck(ctx, db.write)
	}
	if err == nil {
		err = db.read.PingContext(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.path, err), db.closeFile())
	}
	return db, nil
}

// prepareFiles makes the file where there is none, takes away what others may
// do with it, and reports whether its last user left without closing it: the
// log is still there, which SQLite removes when a file is closed.
//
// The file is created, not opened: closing any descriptor of it would drop
// the locks that other connections of this process hold
// (https://www.sqlite.org/howtocorrupt.html section 2.2).
func (d *sqliteDB) prepareFiles() (unclean bool, err error) {
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	switch {
	case err == nil:
		return false, f.Close()
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(d.path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		if !info.Mode().IsRegular() {
			return false, fmt.Errorf("%s: is not a regular file", d.path+suffix)
		}
		if info.Mode().Perm()&0o077 != 0 {
			if err := os.Chmod(d.path+suffix, 0o600); err != nil {
				return false, err
			}
		}
		unclean = unclean || suffix == "-wal" && info.Size() > 0
	}
	return unclean, nil
}

func (d *sqliteDB) pool(options string, size int) *sql.DB {
	path := (&url.URL{Path: filepath.ToSlash(d.path)}).EscapedPath()
	// It fails for options that cannot be read only.
	connector, err := sqlite.NewConnector("file:" + path + "?" + sqliteDSN + options)
	if err != nil {
		panic(err)
	}
	db := sql.OpenDB(preparing{connector})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db
}

func (d *sqliteDB) quickCheck(ctx context.Context, db *sql.DB) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return finalError{fmt.Errorf("%w: sqlite: %s: the file fails its check after an unclean stop: %w: %s",
			tokenstore.ErrUnavailable, d.path, tokenstore.ErrDamaged, verdict)}
	}
	return nil
}

// locked uses the lock of a transaction: all is done, or nothing.
func (d *sqliteDB) locked(ctx context.Context, db *sql.DB, do func(x execer) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (d *sqliteDB) begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	return db.BeginTx(ctx, nil)
}

func (d *sqliteDB) now(context.Context, execer) (time.Time, error) {
	return d.clock().UTC().Truncate(time.Microsecond), nil
}

func (d *sqliteDB) nowSQL(ahead time.Duration) (string, []any) {
	now, _ := d.now(context.Background(), nil) // asks the clock only
	return "?", []any{d.stamp(now.Add(ahead))}
}

func (d *sqliteDB) stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// rowsAtOnce is one, so that the statements are few and stay prepared: there is no
// way to a server that several rows could share.
func (d *sqliteDB) rowsAtOnce() int { return 1 }

func (d *sqliteDB) overwrite(keys, columns []string) string {
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = c + " = excluded." + c
	}
	return " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// groupOf is the same for all: they wait for the one writer anyway.
func (d *sqliteDB) groupOf(string) string { return "" }

// overtakesAfter is never: there is one connection that writes.
func (d *sqliteDB) overtakesAfter() time.Duration { return 0 }

// recordChange notes nothing: nobody else shares the file.
func (d *sqliteDB) recordChange(context.Context, *sql.Tx, writeID, []realm.Ref, string) error {
	return nil
}

// wasCommitted is always false: what fails to commit is rolled back.
func (d *sqliteDB) wasCommitted(context.Context, *sql.DB, writeID, error) (bool, error) {
	return false, nil
}

// probe sets the number that SQLite keeps for a program, which this one does not
// use, to what it is. It is committed: a transaction that is rolled back stays in
// memory, and would not notice that the disk is full. An UPDATE of a row to what
// it was would not either, because SQLite leaves out a write that changes no byte.
func (d *sqliteDB) probe(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after a commit
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprint("PRAGMA user_version = ", version)); err != nil {
		return err
	}
	return tx.Commit()
}

func (d *sqliteDB) isDuplicate(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

func (d *sqliteDB) isRejected(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_SCHEMA:
		return true
	}
	return false
}

// isOfOneRow: a row lies on pages of its own, one of which may be damaged, or not be
// read from the disk. Any value fits.
func (d *sqliteDB) isOfOneRow(err error) bool {
	var e *sqlite.Error
	return d.isDamaged(err) || errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_IOERR
}

// isAlone: this process has the lock of the file.
func (d *sqliteDB) isAlone() bool { return true }

func (d *sqliteDB) isDamaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == sqlite3.SQLITE_CORRUPT || primary == sqlite3.SQLITE_NOTADB
}

func (d *sqliteDB) afterWrite(context.Context, *sql.DB) {}
