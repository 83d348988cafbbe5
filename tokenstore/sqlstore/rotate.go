package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// rotate seals anew, with the first key, what another key sealed, and then
// forgets that key, so that the operator can take it away. Two nodes may do
// this at once, and others may write: a row is replaced only if it still
// holds the very bytes that were read.
func (s *Store) rotate(ctx context.Context, db *pools) error {
	used, err := keysInUse(ctx, db.write, sealedTables)
	if err != nil {
		return err
	}
	registered, err := registeredKeys(ctx, db.write)
	if err != nil {
		return err
	}
	first := s.keys.IDs()[0]
	for id := range registered {
		if !slices.Contains(used, id) {
			used = append(used, id)
		}
	}
	for _, old := range used {
		if old == first {
			continue
		}
		if err := s.retire(ctx, db, old); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return nil
}

// retire removes every use of a key.
func (s *Store) retire(ctx context.Context, db *pools, old tokenstore.KeyID) error {
	moved, left := 0, 0
	for _, t := range sealedTables {
		m, l, err := s.reseal(ctx, db, t, old)
		if err != nil {
			return err
		}
		moved, left = moved+m, left+l
	}
	log := s.log.With(zap.String("store", s.dialect.name()), zap.Stringer("fingerprint", old), zap.Int("sealed_anew", moved))
	if left > 0 {
		log.Error("some rows cannot be opened with their encryption key; the key is still needed", zap.Int("rows", left))
		return nil
	}
	if _, err := db.write.ExecContext(ctx, "DELETE FROM tokens_keys WHERE id = ?", old[:]); err != nil {
		return err
	}
	log.Info("an older encryption key is no longer used and can be removed")
	return nil
}

// reseal moves one table's rows from an old key to the first one. It returns
// how many it moved and how many it could not open.
func (s *Store) reseal(ctx context.Context, db *pools, t sealedTable, old tokenstore.KeyID) (moved, left int, err error) {
	for after := (realm.Ref{}); ; {
		rows, err := t.rows(ctx, db.write, "key_id = ?", after, old[:])
		if err != nil || len(rows) == 0 {
			return moved, left, err
		}
		after = rows[len(rows)-1].ref
		unopened, err := s.resealBatch(ctx, db, t, rows)
		if err != nil {
			return moved, left, err
		}
		moved, left = moved+len(rows)-unopened, left+unopened
	}
}

func (s *Store) resealBatch(ctx context.Context, db *pools, t sealedTable, rows []sealedRow) (unopened int, err error) {
	tx, err := s.dialect.begin(ctx, db.write)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()                                                                 // of no effect after a commit
	query := fmt.Sprintf("UPDATE %s SET seal = ?, key_id = ? WHERE %s AND seal = ?", t.table, t.where()) // #nosec G201 -- constants
	for _, r := range rows {
		ad := t.ad(r)
		plain, err := s.keys.Open(ad, r.seal)
		if errors.Is(err, tokenstore.ErrDamaged) {
			unopened++
			continue
		}
		if err != nil {
			return 0, finalError{err}
		}
		seal, keyID, err := s.sealPlain(ad, plain)
		if err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, query, seal, keyID, []byte(r.ref.Realm), []byte(r.ref.Key), r.seal); err != nil {
			return 0, err
		}
	}
	return unopened, tx.Commit()
}

// keys are the keys of the table's rows: one step in the index for each, not
// one for each row.
func (t sealedTable) keys(ctx context.Context, x execer) ([]tokenstore.KeyID, error) {
	query := fmt.Sprintf("SELECT key_id FROM %s WHERE key_id > ? ORDER BY key_id LIMIT 1", t.table) // #nosec G201 -- constants
	var ids []tokenstore.KeyID
	for last := []byte{}; ; {
		var next []byte
		err := x.QueryRowContext(ctx, query, last).Scan(&next)
		if errors.Is(err, sql.ErrNoRows) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		id, err := keyID(next)
		if err != nil {
			return nil, err
		}
		ids, last = append(ids, id), next
	}
}
