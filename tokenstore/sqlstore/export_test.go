package sqlstore

import (
	"context"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
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

// AgeCursor makes a cursor an hour older.
func AgeCursor(text string) string {
	c, err := parseCursor(text)
	if err != nil {
		panic(err)
	}
	c.read = c.read.Add(-time.Hour)
	return c.String()
}
