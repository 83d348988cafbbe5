// Package sqlstore keeps everything that a tokenstore.Store keeps in SQLite or
// in MySQL/MariaDB. One Store speaks to both; what differs is a dialect.
//
// What is confidential is sealed before it reaches a statement. Nothing is
// opened before Open, so that a configuration can be checked without touching
// a database.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Store is a tokenstore.Store over a database.
type Store struct {
	dialect dialect
	keys    *tokenstore.Keyring
	log     *zap.Logger
	failed  func(level string)
	hosts   func(r realm.Realm, s *realm.Secret) []string

	// gate lets one Open or Close in at a time; who waits for it can leave.
	gate   chan struct{}
	closed bool
	db     atomic.Pointer[pools]
	damage damageReport
	// seen are the versions of the registers, see register.go.
	seen seenVersions
	// clientsRequired: this process has seen that there once was a client, or
	// that the head of the registers cannot be trusted.
	clientsRequired atomic.Bool
	// rotating lets one rotation of the keys in at a time; rotations counts
	// those that came to their end.
	rotating  chan struct{}
	rotations atomic.Int64
	backingUp chan struct{} // one backup at a time
	// chain is where the audit's entries are appended, see auditchain.go.
	chain      *chain
	appends    appendQueue
	operations operationQueues
}

// pools are the connections of an open store. A SQLite file has one writer;
// MySQL uses one pool for both.
type pools struct {
	read, write *sql.DB
	// lock keeps other processes out of a SQLite file; nil with MySQL, where
	// others have the database open anyway.
	lock *fileLock
}

var (
	_ tokenstore.Database   = (*Store)(nil)
	_ tokenstore.ChangeFeed = (*Shared)(nil)
)

// Option changes a store that is being made.
type Option func(*options)

type options struct {
	log    *zap.Logger
	now    func() time.Time
	failed func(level string)
	conns  int
	hosts  func(r realm.Realm, s *realm.Secret) []string
}

// WithLogger makes the store log what an operator should know. Nothing
// confidential is logged.
func WithLogger(log *zap.Logger) Option { return func(o *options) { o.log = log } }

// WithFailures has failed called for every operation that the database did not
// do, or not in time, with "sqlite" or "mysql". It must not block.
func WithFailures(failed func(level string)) Option { return func(o *options) { o.failed = failed } }

// WithHosts tells which hosts a secret of a realm, or with nil its shared
// fields, are bound to: the migration to boundSchema binds what is stored.
// Without, nothing is bound, and is sent nowhere until it is entered again.
func WithHosts(hosts func(r realm.Realm, s *realm.Secret) []string) Option {
	return func(o *options) { o.hosts = hosts }
}

// WithConnections bounds how many connections to MySQL are open at a time; 0: 32.
// Nothing that the store does needs a second one while it holds the first.
func WithConnections(n int) Option { return func(o *options) { o.conns = n } }

// WithClock replaces the clock that dates rows in SQLite. MySQL dates them by
// its own, which all nodes share; there the clock tells how old a connection is.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

func newStore(d dialect, keys *tokenstore.Keyring, o options) *Store {
	s := &Store{
		dialect: d, keys: keys, log: o.log, failed: o.failed, hosts: o.hosts,
		gate: make(chan struct{}, 1), rotating: make(chan struct{}, 1), backingUp: make(chan struct{}, 1), chain: newChain(),
	}
	s.operations.open()
	return s
}

func collect(opts []Option) options {
	o := options{log: zap.NewNop(), now: time.Now, failed: func(string) {}, hosts: func(realm.Realm, *realm.Secret) []string { return nil }}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Open implements tokenstore.Store.
func (s *Store) Open(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return fmt.Errorf("open %s: %w", s.dialect.name(), ctx.Err())
	}
	if s.closed {
		return fmt.Errorf("%w: %s was closed", tokenstore.ErrUnavailable, s.dialect.name())
	}
	if s.db.Load() != nil {
		return nil
	}
	db, err := s.dialect.connect(ctx)
	if err != nil {
		return s.failure(ctx, "open", err)
	}
	if err := s.prepare(ctx, db); err != nil {
		return errors.Join(s.failure(ctx, "open", err), db.closeAll())
	}
	s.db.Store(db)
	return nil
}

// prepare brings the schema up to date, checks the keys, and voids the claims of
// dead processes.
func (s *Store) prepare(ctx context.Context, db *pools) error {
	err := s.dialect.locked(ctx, db.write, func(x execer) error {
		if err := s.migrate(ctx, x); err != nil {
			return err
		}
		if err := s.checkKeys(ctx, x, sealedTables); err != nil {
			return err
		}
		if err := s.openAuditKey(ctx, x); err != nil {
			return err
		}
		return s.voidDeadClaims(ctx, x)
	})
	if err != nil {
		return err
	}
	// Whether clients are required is judged before this process writes: its
	// first write would give an old head a newer version.
	_, _, err = s.allRegisters(ctx, db.read)
	return err
}

// Ping implements tokenstore.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, "ping", func(db *sql.DB) error {
		var version int
		return db.QueryRowContext(ctx, "SELECT MAX(version) FROM tokens_schema").Scan(&version)
	})
}

// Health implements tokenstore.HealthReporter. A database that cannot be written
// is not well, though it answers.
func (s *Store) Health(ctx context.Context) []tokenstore.Health {
	err := s.Ping(ctx)
	if err == nil {
		err = s.ProbeWrite(ctx)
	}
	return []tokenstore.Health{tokenstore.HealthOf(s.dialect.name(), err)}
}

// ProbeWrite implements tokenstore.WriteProber.
func (s *Store) ProbeWrite(ctx context.Context) error {
	db := s.db.Load()
	if db == nil {
		return s.notOpen("probe")
	}
	return s.failure(ctx, "probe", s.dialect.probe(ctx, db.write))
}

// Close implements tokenstore.Store.
func (s *Store) Close() error {
	s.gate <- struct{}{}
	defer func() { <-s.gate }()
	s.closed = true
	s.appends.close()
	s.operations.close()
	db := s.db.Swap(nil)
	if db == nil {
		return nil
	}
	return db.closeAll()
}

// closeAll closes the writer behind the readers: SQLite folds its log into the
// database when the last connection that may write goes. Only then may another
// process come in.
func (p *pools) closeAll() error {
	if p.lock == nil {
		return p.write.Close()
	}
	p.lock.door <- struct{}{} // who opens the file comes to an end
	err := p.closeFile()
	p.lock.leave()
	return errors.Join(err, p.lock.release())
}

func (p *pools) closeFile() error { return errors.Join(p.read.Close(), p.write.Close()) }
