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
	// A look at more rows than manyRows is not repeated within lookRest: whoever
	// polls the status of a large database must not keep it busy.
	manyRows = 10_000
	lookRest = 10 * time.Second
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
	if time.Now().Before(s.damage.until) {
		return s.damage.found, nil
	}
	var found []tokenstore.Damage
	looked := 0
	err := s.read(ctx, "look for damage", func(db *sql.DB) error {
		// Once for all tables: what was saved since is newer, and looked at once more.
		newest, _, err := s.allRegisters(ctx, db)
		if err != nil {
			return err
		}
		for _, t := range sealedTables {
			more, n, err := s.damagedRows(ctx, db, t, newest)
			if err != nil {
				return err
			}
			found, looked = append(found, more...), looked+n
		}
		var heads int
		err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_registers WHERE name = ?", []byte(headName)).Scan(&heads)
		if err == nil && heads == 0 {
			found = append(found, tokenstore.Damage{Kind: "register", Key: headName})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.damage.found = found
	if looked > manyRows {
		s.damage.until = time.Now().Add(lookRest)
	}
	return found, nil
}

// damagedRows are the rows of a table that cannot be opened, or are not the
// newest ones that were saved. It counts all.
func (s *Store) damagedRows(ctx context.Context, db *sql.DB, t sealedTable, newest map[rowID]int64) (found []tokenstore.Damage, n int, err error) {
	for after := (realm.Ref{}); ; {
		rows, err := t.rows(ctx, db, "TRUE", after)
		if err != nil || len(rows) == 0 {
			return found, n, err
		}
		after, n = rows[len(rows)-1].ref, n+len(rows)
		for _, r := range rows {
			if bad, err := s.isRowDamaged(ctx, t, r, newest); err != nil {
				return nil, n, err
			} else if bad {
				found = append(found, tokenstore.Damage{Kind: t.kind, Realm: r.ref.Realm, Key: r.ref.Key})
			}
		}
	}
}

// isRowDamaged reports whether a row is damaged. One that is not the newest is
// read once more, together with its register: it may have been saved meanwhile.
func (s *Store) isRowDamaged(ctx context.Context, t sealedTable, r sealedRow, newest map[rowID]int64) (bool, error) {
	if s.isVerified(t, r, newest) {
		return false, nil
	}
	if t.newest == nil {
		return true, nil
	}
	var err error
	switch t.kind {
	case "realm":
		_, err = s.Realm(ctx, r.ref.Realm)
	case "secret":
		_, err = s.Secret(ctx, r.ref)
	case "pushed":
		_, err = s.Pushed(ctx, r.ref)
	case "company":
		_, err = s.Company(ctx, r.ref.Key)
	case "client":
		_, err = s.Client(ctx, r.ref.Key)
	}
	if err != nil && !cannotBeOpened(err) && tokenstore.IsUnavailable(err) {
		return false, err
	}
	return cannotBeOpened(err), nil
}

// isVerified reports whether a row opens and, if its version is registered, is
// the newest one.
func (s *Store) isVerified(t sealedTable, r sealedRow, newest map[rowID]int64) bool {
	if r.seal == nil {
		return !t.needsSeal(r)
	}
	if _, err := s.keys.Open(t.ad(r), r.seal); err != nil {
		return false
	}
	return t.newest == nil || isNewest(newest, t.newest(r.ref), r.version)
}

// cannotBeOpened reports whether an error is about what one row holds: a list
// names the row and goes on.
func cannotBeOpened(err error) bool {
	return errors.Is(err, tokenstore.ErrDamaged) || errors.Is(err, tokenstore.ErrKey)
}
