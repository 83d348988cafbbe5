package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// A look at all rows that took longer than slowLook is not repeated before
	// restFactor times as long: whoever polls the status of a large database
	// costs it 5% of one core at most.
	slowLook   = 50 * time.Millisecond
	restFactor = 20
)

// damageReport is what the last look at all rows found.
type damageReport struct {
	mu    sync.Mutex
	found []tokenstore.Damage
	until time.Time
}

// Damaged implements tokenstore.DamageReporter.
func (s *Store) Damaged(ctx context.Context) ([]tokenstore.Damage, error) {
	s.damage.mu.Lock()
	defer s.damage.mu.Unlock()
	began := time.Now()
	if began.Before(s.damage.until) {
		return s.damage.found, nil
	}
	var found []tokenstore.Damage
	err := s.read(ctx, "look for damage", func(db *sql.DB) error {
		for _, t := range sealedTables {
			more, err := s.damagedRows(ctx, db, t)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.damage.found = found
	if took := time.Since(began); took > slowLook {
		s.damage.until = time.Now().Add(restFactor * took)
	}
	return found, nil
}

// damagedRows are the rows of a table that cannot be opened.
func (s *Store) damagedRows(ctx context.Context, db *sql.DB, t sealedTable) ([]tokenstore.Damage, error) {
	var found []tokenstore.Damage
	for after := (realm.Ref{}); ; {
		rows, err := t.rows(ctx, db, "TRUE", after)
		if err != nil || len(rows) == 0 {
			return found, err
		}
		after = rows[len(rows)-1].ref
		for _, r := range rows {
			if _, err := s.keys.Open(t.ad(r), r.sealed); err != nil {
				found = append(found, tokenstore.Damage{Kind: t.kind, Realm: r.ref.Realm, Key: r.ref.Key})
			}
		}
	}
}

// cannotBeOpened reports whether an error is about what one row holds: a list
// names the row and goes on.
func cannotBeOpened(err error) bool {
	return errors.Is(err, tokenstore.ErrDamaged) || errors.Is(err, tokenstore.ErrKey)
}
