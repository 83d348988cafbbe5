package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// runLife is how long it is remembered that a run was done. Nobody asks for
// one that was due longer ago.
const runLife = 7 * 24 * time.Hour

// errRan: somebody else was faster.
var errRan = errors.New("somebody else does it")

// Once implements tokenstore.Coordinator.
func (s *Store) Once(ctx context.Context, name string, at time.Time) (bool, error) {
	err := s.write(ctx, "once", realm.Ref{}, func(tx *txn) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO tokens_runs (name, at) VALUES (?, ?)", []byte(name), tx.dialect.stamp(micros(at)))
		if tx.dialect.isDuplicate(err) {
			return finalError{errRan}
		}
		if err != nil {
			return err
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM tokens_runs WHERE at < ?", tx.dialect.stamp(now.Add(-runLife)))
		return err
	})
	if errors.Is(err, errRan) {
		return false, nil
	}
	return err == nil, err
}
