package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// LimitPages bounds the size of an open SQLite file: a full disk, for tests.
func (s *Store) LimitPages(ctx context.Context, pages int) error {
	_, err := s.db.Load().write.ExecContext(ctx, fmt.Sprint("PRAGMA max_page_count = ", pages))
	return err
}

// LockRows locks the token rows of some keys in this order, in one
// transaction, and calls locked after the first.
func (s *Store) LockRows(ctx context.Context, id string, keys []string, locked func()) error {
	return s.write(ctx, "lock rows", realm.Ref{Realm: id}, func(tx *txn) error {
		for i, key := range keys {
			if _, err := s.lockToken(ctx, tx, realm.Ref{Realm: id, Key: key}); err != nil {
				return err
			}
			if i == 0 {
				locked()
			}
		}
		return nil
	})
}

// StoredTables are the tables of a backup, by name, with their columns, those of
// the primary key first.
func StoredTables() (tables map[string][]tokenstore.BackupColumn, keys map[string]int) {
	tables, keys = map[string][]tokenstore.BackupColumn{}, map[string]int{}
	for _, t := range storedTables {
		tables[t.Name], keys[t.Name] = t.Columns, t.keys
	}
	return tables, keys
}

// ResealedTables are the tables whose rows a rotation of the keys seals anew.
func ResealedTables() (names []string) {
	for _, t := range append(slices.Clone(sealedTables), authorizationKeys) {
		names = append(names, t.table)
	}
	return names
}

// AgeCursor makes a cursor an hour older.
func AgeCursor(text string) string {
	c, err := parseCursor(text)
	if err != nil {
		panic(err)
	}
	c.read = c.read.Add(-time.Hour)
	return c.String()
}

// ErrInterrupted is what a migration fails with that InterruptMigration
// interrupts.
var ErrInterrupted = errors.New("interrupted by the test")

// InterruptMigration makes Open fail before its n+1st statement or transaction
// that writes, as if the process died there.
func (s *Store) InterruptMigration(n int) { s.dialect = &interrupted{dialect: s.dialect, left: n} }

type interrupted struct {
	dialect
	left int
}

func (d *interrupted) locked(ctx context.Context, db *sql.DB, do func(x execer) error) error {
	return d.dialect.locked(ctx, db, func(x execer) error {
		if conn, ok := x.(*sql.Conn); ok {
			return do(&interruptedConn{Conn: conn, of: d})
		}
		return do(&interruptedTx{execer: x, of: d})
	})
}

func (d *interrupted) next() error {
	if d.left--; d.left < 0 {
		return ErrInterrupted
	}
	return nil
}

type interruptedConn struct {
	*sql.Conn
	of *interrupted
}

func (c *interruptedConn) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := c.of.next(); err != nil {
		return nil, err
	}
	return c.Conn.ExecContext(ctx, query, args...)
}

func (c *interruptedConn) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	if err := c.of.next(); err != nil {
		return nil, err
	}
	return c.Conn.BeginTx(ctx, opts)
}

type interruptedTx struct {
	execer
	of *interrupted
}

func (c *interruptedTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := c.of.next(); err != nil {
		return nil, err
	}
	return c.execer.ExecContext(ctx, query, args...)
}

// ParseSealed is parseSealed.
func ParseSealed(plain []byte) (fields map[string]string, hosts []string, err error) {
	open, err := parseSealed(plain)
	return open.Fields, open.Hosts, err
}

// ForgetDamage has Damaged look at all rows again.
func (s *Store) ForgetDamage() { s.damage.until = time.Time{} }

// ConnectAndClose opens a SQLite file and closes it, without the schema.
func ConnectAndClose(ctx context.Context, path string) error {
	db, err := (&sqliteDB{path: path, clock: time.Now}).connect(ctx)
	if err != nil {
		return err
	}
	return db.closeAll()
}

// Waiting is how many operations wait for the next transaction.
func (s *Store) Waiting() (n int) {
	s.operations.mu.Lock()
	defer s.operations.mu.Unlock()
	for _, ops := range s.operations.waiting {
		n += len(ops)
	}
	return n
}

// Hooks are called by the transactions of a store. None is overtaken before Patience,
// nor ever where that is 0.
type Hooks struct {
	dialect
	Patience                      time.Duration
	atBegin, atCommit, afterwards atomic.Pointer[func(ctx context.Context) error]
	begins, commits               atomic.Int64
}

// Hook sets hooks into a store that nobody uses yet.
func (s *Store) Hook() *Hooks {
	h := &Hooks{dialect: s.dialect}
	s.dialect = h
	return h
}

// AtBegin has do called before each transaction from now on; nil ends it. An error of do
// is one of the database.
func (h *Hooks) AtBegin(do func(ctx context.Context) error) { h.atBegin.Store(&do) }

// AtCommit has do called right before each COMMIT from now on; nil ends it.
func (h *Hooks) AtCommit(do func(ctx context.Context) error) { h.atCommit.Store(&do) }

// Afterwards has do called in place of what clears away what is old.
func (h *Hooks) Afterwards(do func(ctx context.Context) error) { h.afterwards.Store(&do) }

// Begins is how many transactions began since somebody asked.
func (h *Hooks) Begins() int { return int(h.begins.Swap(0)) }

// Commits is how many transactions were about to be committed since somebody asked.
func (h *Hooks) Commits() int { return int(h.commits.Swap(0)) }

func (h *Hooks) overtakesAfter() time.Duration { return h.Patience }

// UsualPatience is that of the dialect.
func (h *Hooks) UsualPatience() time.Duration { return h.dialect.overtakesAfter() }

func (h *Hooks) begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	h.begins.Add(1)
	if err := hooked(ctx, &h.atBegin); err != nil {
		return nil, err
	}
	return h.dialect.begin(ctx, db)
}

func (h *Hooks) recordChange(ctx context.Context, tx *sql.Tx, id writeID, changed []realm.Ref, client string) error {
	h.commits.Add(1)
	if err := hooked(ctx, &h.atCommit); err != nil {
		return err
	}
	return h.dialect.recordChange(ctx, tx, id, changed, client)
}

func (h *Hooks) afterWrite(ctx context.Context, _ *sql.DB) { _ = hooked(ctx, &h.afterwards) }

func hooked(ctx context.Context, hook *atomic.Pointer[func(ctx context.Context) error]) error {
	if do := hook.Load(); do != nil && *do != nil {
		return (*do)(ctx)
	}
	return nil
}

// Operation is a Coordinate that is run by Together.
type Operation struct{ op *operation }

// NewOperation makes an operation.
func NewOperation(ref realm.Ref, decide func(*tokenstore.State) error) Operation {
	return Operation{&operation{ref: ref, decide: decide, done: make(chan struct{})}}
}

// Leave takes the caller of an operation away.
func (s *Store) Leave(o Operation) { s.operations.leave(o.op) }

// Together runs operations in one transaction.
func (s *Store) Together(ctx context.Context, ops ...Operation) {
	w := &sharedWrite{callers: len(ops)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	for _, o := range ops {
		o.op.of = w
		w.ops = append(w.ops, o.op)
	}
	s.share(w)
}

// Outcome is what became of an operation.
func (s *Store) Outcome(ctx context.Context, o Operation) (tokenstore.State, error) {
	<-o.op.done
	return o.op.after, s.failure(ctx, "coordinate", o.op.err)
}

// CloseAfter has Close wait so long for transactions that do not end.
func (s *Store) CloseAfter(patience time.Duration) { s.operations.patience = patience }

// ErrUncertain is the failure of a COMMIT of which is not known whether it was done.
var ErrUncertain = errUncertain

// IsClosing reports whether Close takes no more operations.
func (s *Store) IsClosing() bool {
	s.operations.mu.Lock()
	defer s.operations.mu.Unlock()
	return s.operations.isClosed
}

// LockKeysQuery is the statement that holds the rows of some keys of a realm.
func (s *Store) LockKeysQuery(id string, keys []string, withClock bool) (query string, args []any) {
	return s.lockKeysQuery(id, keys, withClock)
}

// WritingPool is the pool of an open store that writes; in SQLite it has one connection.
func (s *Store) WritingPool() *sql.DB { return s.db.Load().write }

// KeptStatements is how many statements a connection to SQLite keeps.
func KeptStatements(conn *sql.Conn) (n int, err error) {
	err = conn.Raw(func(c any) error {
		n = len(c.(*preparedConn).kept)
		return nil
	})
	return n, err
}
