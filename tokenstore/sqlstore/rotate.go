package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// RotateKeys implements tokenstore.KeyRotator. Two nodes may rotate at once, and
// others may write: a row is replaced only if it still holds the very bytes that
// were read. Which rows are left is read from the rows themselves, so that there
// is nothing to remember between two calls.
func (s *Store) RotateKeys(ctx context.Context, progress func(tokenstore.TableProgress)) (tokenstore.Rotation, error) {
	const what = "rotate keys"
	before := s.rotations.Load()
	select {
	case s.rotating <- struct{}{}:
		defer func() { <-s.rotating }()
	case <-ctx.Done():
		return tokenstore.Rotation{}, fmt.Errorf("%s: %w", what, ctx.Err())
	}
	db := s.db.Load()
	if db == nil {
		return tokenstore.Rotation{}, s.notOpen(what)
	}
	var done tokenstore.Rotation
	// Whoever waited for another rotation has a key that is new enough.
	if s.keys.Path() != "" && len(s.keys.Older()) == 0 && s.rotations.Load() == before {
		if err := s.keys.Generate(); err != nil {
			return done, fmt.Errorf("%s: %w", what, err)
		}
		done.Generated = true
	}
	// A store of another configuration of this process, which is about to end,
	// read the key file before the new key was in it, and seals with the old one.
	// One that is opened from now on seals with the new one.
	isSole := db.lock != nil && db.lock.isSole()
	if err := s.registerFirst(ctx); err != nil {
		return done, err
	}
	var err error
	if done.Tables, err = s.resealAll(ctx, progress); err != nil {
		return done, err
	}
	if done.Keys, err = s.retireKeys(ctx, isSole); err == nil {
		s.rotations.Add(1)
	}
	return done, err
}

// registerFirst writes the first key down in tokens_keys. In SQLite, which has
// one writer, it waits for every transaction that sealed with the key before.
func (s *Store) registerFirst(ctx context.Context) error {
	err := s.write(ctx, "register key", realm.Ref{}, func(tx *txn) error {
		if _, err := s.checkSchema(ctx, tx); err != nil {
			return err
		}
		registered, err := registeredKeys(ctx, tx)
		if err != nil {
			return err
		}
		first := s.keys.IDs()[0]
		if _, ok := registered[first]; ok {
			return nil
		}
		return s.registerKey(ctx, tx, first)
	})
	failpoint.Hit("key_registered")
	return err
}

// resealAll seals anew, with the first key, what other keys sealed.
func (s *Store) resealAll(ctx context.Context, progress func(tokenstore.TableProgress)) ([]tokenstore.TableProgress, error) {
	var all []tokenstore.TableProgress
	for _, t := range sealedTables {
		p, err := s.resealTable(ctx, t, progress)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	p, err := s.resealAuthorizations(ctx, progress)
	return append(all, p), err
}

// resealTable seals one table's rows anew.
func (s *Store) resealTable(ctx context.Context, t sealedTable, progress func(tokenstore.TableProgress)) (tokenstore.TableProgress, error) {
	p := tokenstore.TableProgress{Table: t.table}
	var older []tokenstore.KeyID
	err := s.read(ctx, "rotate keys", func(db *sql.DB) (err error) {
		older, p.Total, err = s.olderKeys(ctx, db, t)
		return err
	})
	if err != nil {
		return p, err
	}
	for _, old := range older {
		for after := (realm.Ref{}); ; {
			var rows []sealedRow
			err := s.read(ctx, "rotate keys", func(db *sql.DB) (err error) {
				rows, err = t.rows(ctx, db, "key_id = ?", after, old[:])
				return err
			})
			if err != nil {
				return p, err
			}
			if len(rows) == 0 {
				break
			}
			after = rows[len(rows)-1].ref
			damaged, err := s.resealBatch(ctx, t, rows)
			if err != nil {
				return p, err
			}
			p.Done, p.Damaged = p.Done+int64(len(rows)-damaged), p.Damaged+int64(damaged)
			progress(p)
			failpoint.Hit("batch_sealed_anew")
		}
	}
	return p, nil
}

// olderKeys are the keys other than the first one that rows of a table are
// sealed with, and how many rows that is.
func (s *Store) olderKeys(ctx context.Context, db *sql.DB, t sealedTable) (older []tokenstore.KeyID, total int64, err error) {
	first := s.keys.IDs()[0]
	ids, err := t.keys(ctx, db)
	if err != nil {
		return nil, 0, err
	}
	older = slices.DeleteFunc(ids, func(id tokenstore.KeyID) bool { return id == first })
	for _, id := range older {
		n, err := countSealed(ctx, db, t.table, id)
		if err != nil {
			return nil, 0, err
		}
		total += n
	}
	return older, total, nil
}

// resealBatch seals some rows anew in one transaction. It returns how many could
// not be opened.
func (s *Store) resealBatch(ctx context.Context, t sealedTable, rows []sealedRow) (damaged int, err error) {
	query := fmt.Sprintf("UPDATE %s SET seal = ?, key_id = ? WHERE %s AND seal = ?", t.table, t.where()) // #nosec G201 -- constants
	err = s.write(ctx, "rotate keys", realm.Ref{}, func(tx *txn) error {
		damaged = 0
		for _, r := range rows {
			ad := t.ad(r)
			plain, err := s.keys.Open(ad, r.seal)
			if cannotBeOpened(err) {
				damaged++
				continue
			}
			if err != nil {
				return finalError{err}
			}
			seal, keyID, err := s.sealPlain(ad, plain)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, query, seal, keyID, []byte(r.ref.Realm), []byte(r.ref.Key), r.seal); err != nil {
				return err
			}
		}
		return nil
	})
	return damaged, err
}

// retireKeys tells what each key is still good for, and forgets those that
// nothing is sealed with: the database asks for them no more, and a key file
// has them no more, unless another store of this process may still seal with
// one.
func (s *Store) retireKeys(ctx context.Context, isSole bool) ([]tokenstore.KeyUse, error) {
	var uses []tokenstore.KeyUse
	var unused []tokenstore.KeyID
	older := s.keys.Older()
	err := s.write(ctx, "rotate keys", realm.Ref{}, func(tx *txn) error {
		if _, err := s.checkSchema(ctx, tx); err != nil {
			return err
		}
		rows, err := s.rowsByKey(ctx, tx)
		if err != nil {
			return err
		}
		first := s.keys.IDs()[0]
		uses, unused = []tokenstore.KeyUse{{Fingerprint: first.String(), State: tokenstore.KeySealing, Rows: rows[first]}}, nil
		delete(rows, first)
		for _, id := range older {
			rows[id] += 0 // also those that nothing was ever sealed with
		}
		for _, id := range slices.SortedFunc(maps.Keys(rows), func(a, b tokenstore.KeyID) int { return slices.Compare(a[:], b[:]) }) {
			use := tokenstore.KeyUse{Fingerprint: id.String(), State: tokenstore.KeyNeeded, Rows: rows[id]}
			if use.Rows == 0 {
				use.State, unused = tokenstore.KeyRemovable, append(unused, id)
				if _, err := tx.ExecContext(ctx, "DELETE FROM tokens_keys WHERE id = ?", id[:]); err != nil {
					return err
				}
			}
			uses = append(uses, use)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	failpoint.Hit("keys_retired")
	if s.keys.Path() != "" && isSole {
		if err := s.keys.Discard(unused...); err != nil {
			return nil, err
		}
		for i := range uses {
			if uses[i].State == tokenstore.KeyRemovable {
				uses[i].State = tokenstore.KeyRemoved
			}
		}
	}
	for _, use := range uses[1:] {
		s.log.Info("an older encryption key was rotated out", zap.String("store", s.dialect.name()),
			zap.String("fingerprint", use.Fingerprint), zap.String("state", use.State), zap.Int64("rows", use.Rows))
	}
	return uses, nil
}

// rowsByKey counts the rows that each key sealed; 0 for a key that is known to
// the database and seals none.
func (s *Store) rowsByKey(ctx context.Context, x execer) (map[tokenstore.KeyID]int64, error) {
	registered, err := registeredKeys(ctx, x)
	if err != nil {
		return nil, err
	}
	count := map[tokenstore.KeyID]int64{}
	for id := range registered {
		count[id] = 0
	}
	for _, t := range append(slices.Clone(sealedTables), authorizationKeys) {
		ids, err := t.keys(ctx, x)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			n, err := countSealed(ctx, x, t.table, id)
			if err != nil {
				return nil, err
			}
			count[id] += n
		}
	}
	return count, nil
}

// countSealed counts the rows of a table that a key sealed.
func countSealed(ctx context.Context, x execer, table string, id tokenstore.KeyID) (n int64, err error) {
	err = x.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+" WHERE key_id = ?", id[:]).Scan(&n) // #nosec G202 -- a constant
	return n, err
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
