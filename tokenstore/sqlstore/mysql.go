package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	mysqlMaxConns = 32
	mysqlIdle     = 8
	// mysqlIdleTime is shorter than the server's wait_timeout that dsn.go
	// sets, so that an idle connection is never one that the server closed.
	mysqlIdleTime = 20 * time.Second
	mysqlLifetime = 3 * time.Minute // as the driver's documentation advises
	// lockWait is how long one attempt waits for another process to migrate;
	// it is shorter than the read timeout.
	lockWait = 10 * time.Second
)

// The server's error numbers that matter here
// (https://mariadb.com/kb/en/mariadb-error-code-reference/).
const (
	erDuplicate  = 1062
	erLockWait   = 1205
	erDeadlock   = 1213
	erChecked    = 1020 // MariaDB's innodb_snapshot_isolation
	erCorruptIdx = 1712
	erTableCrash = 1194
	erTooLarge   = 1153 // than max_allowed_packet
)

// mysqlDB is the dialect of MySQL and MariaDB.
type mysqlDB struct {
	config *mysql.Config
	conns  int // at most
	// pruned is when this process last deleted old changes (Unix seconds).
	pruned atomic.Int64
}

// Shared is a store that several nodes use: it has a feed of changes.
type Shared struct {
	*Store
	mysql *mysqlDB
}

// MySQL makes a store in a schema of MySQL (5.7 or newer) or MariaDB (10.3 or
// newer), which it may share with others: its tables are named tokens_*. The
// DSN is the driver's: user:password@tcp(host:3306)/schema. What correctness
// needs is set by the store, whatever the DSN says. An error never shows the
// DSN.
func MySQL(dsn string, keys *tokenstore.Keyring, opts ...Option) (*Shared, error) {
	o := collect(opts)
	config, err := parseDSN(dsn, o.log)
	if err != nil {
		return nil, err
	}
	config.DialFunc = dialAging(o.now)
	d := &mysqlDB{config: config, conns: cmp.Or(o.conns, mysqlMaxConns)}
	return &Shared{Store: newStore(d, keys, o), mysql: d}, nil
}

func (d *mysqlDB) name() string      { return "mysql" }
func (d *mysqlDB) migrations() fs.FS { return migrationsOf("mysql") }
func (d *mysqlDB) forUpdate() string { return " FOR UPDATE" }
func (d *mysqlDB) hasTable() string {
	return "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
}

func (d *mysqlDB) tables() string {
	return "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND LEFT(table_name, 7) = 'tokens_' ORDER BY table_name"
}

func (d *mysqlDB) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

func (d *mysqlDB) hasColumn() string {
	return "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?"
}

func (d *mysqlDB) connect(ctx context.Context) (*pools, error) {
	connector, err := mysql.NewConnector(d.config)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(readingCommitted{connector})
	db.SetMaxOpenConns(d.conns)
	db.SetMaxIdleConns(min(mysqlIdle, d.conns))
	db.SetConnMaxIdleTime(mysqlIdleTime)
	db.SetConnMaxLifetime(mysqlLifetime)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &pools{read: db, write: db}, nil
}

// locked uses a lock of the server, named after the schema. It guards the
// schema's migration and the first key only: it ends with its connection and
// is not for anything that happens while the store runs.
func (d *mysqlDB) locked(ctx context.Context, db *sql.DB, do func(x execer) error) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// Names of locks are at most 64 characters and belong to the whole server.
	const lock = "CONCAT('tokens_', MD5(DATABASE()))"
	for got := (sql.NullInt64{}); got.Int64 != 1; {
		query := "SELECT GET_LOCK(" + lock + ", ?)"
		if err := conn.QueryRowContext(ctx, query, int(lockWait.Seconds())).Scan(&got); err != nil {
			return err
		}
	}
	defer func() {
		// The caller may be gone; the lock must not stay.
		_, unlocked := conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK("+lock+")")
		err = errors.Join(err, unlocked)
	}()
	return do(conn)
}

func (d *mysqlDB) begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	return db.BeginTx(ctx, nil) // with the isolation of readingCommitted
}

// readingCommitted makes connections whose transactions read what is committed: a
// snapshot of a transaction's start would show a row as it was before somebody
// else changed it. To say so once for a connection saves each transaction a way to
// the server. (The variable's name differs from server to server, so that it cannot
// be one of sessionVars.)
type readingCommitted struct{ driver.Connector }

// Connect implements driver.Connector.
func (c readingCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	x, ok := conn.(driver.ExecerContext)
	if !ok { // the driver that go.mod names is one
		return nil, errors.Join(fmt.Errorf("a connection of the type %T", conn), conn.Close())
	}
	if _, err := x.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (d *mysqlDB) rowsAtOnce() int { return 50 }

func (d *mysqlDB) overwrite(_, columns []string) string {
	set := make([]string, len(columns))
	for i, c := range columns {
		set[i] = c + " = VALUES(" + c + ")"
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
}

// groupOf is the realm: its operations wait for its row in tokens_budgets anyway,
// and if that row is never given up, no other realm waits.
func (d *mysqlDB) groupOf(id string) string { return id }

// overtakesAfter: a connection may hang until the server, or the network, is
// believed to be away, which takes longer than callers wait. The row of the realm
// orders transactions that overlap.
func (d *mysqlDB) overtakesAfter() time.Duration { return time.Second }

func (d *mysqlDB) now(ctx context.Context, x execer) (time.Time, error) {
	var now instant
	err := x.QueryRowContext(ctx, "SELECT UTC_TIMESTAMP(6)").Scan(&now)
	return now.Time, err
}

func (d *mysqlDB) nowSQL(ahead time.Duration) (string, []any) {
	return "(UTC_TIMESTAMP(6) + INTERVAL " + strconv.FormatInt(ahead.Microseconds(), 10) + " MICROSECOND)", nil
}

func (d *mysqlDB) stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Truncate(time.Microsecond)
}

// again: two that created the same row at once, or locked each other out. A
// connection that broke before COMMIT took its transaction with it.
func (d *mysqlDB) isRetryable(err error) bool {
	switch serverError(err) {
	case erDuplicate, erLockWait, erDeadlock, erChecked:
		return true
	}
	return isBrokenConn(err) && !neverConnected(err)
}

func (d *mysqlDB) isDuplicate(err error) bool { return serverError(err) == erDuplicate }

func (d *mysqlDB) isRejected(err error) bool { return serverError(err) != 0 && !d.isRetryable(err) }

// isOfOneRow: values that do not fit have a class of their own in SQL (22: data),
// unless they are too large for any statement. A server that is read-only, full, or
// about to stop has other errors.
func (d *mysqlDB) isOfOneRow(err error) bool {
	var e *mysql.MySQLError
	return d.isDamaged(err) || errors.As(err, &e) && (e.Number == erTooLarge || string(e.SQLState[:2]) == "22")
}

func (d *mysqlDB) isAlone() bool { return false }

func (d *mysqlDB) isDamaged(err error) bool {
	n := serverError(err)
	return n == erCorruptIdx || n == erTableCrash
}

// serverError is the number of the server's error; 0 when it is not one.
func serverError(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// isBrokenConn reports whether the connection broke, so that an answer may be
// missing.
func isBrokenConn(err error) bool {
	var network *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// neverConnected reports whether there was no connection at all: nobody listens, or
// nobody answers. Trying again at once is of no use.
func neverConnected(err error) bool {
	var network *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &network) && network.Op == "dial"
}

// quietLogger hands the driver's remarks (a connection broke) to our log. The
// operations report their errors themselves.
type quietLogger struct{ log func(string) }

// Print implements mysql.Logger.
func (l quietLogger) Print(v ...any) { l.log(fmt.Sprint(v...)) }
