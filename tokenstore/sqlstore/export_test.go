package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
