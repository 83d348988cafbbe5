package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// checkKeys refuses a database that holds anything sealed with a key that was
// not given, and registers the sealing key of a new one. The caller holds the
// lock, and says which tables there are. A key file is created for an empty
// database only.
func (s *Store) checkKeys(ctx context.Context, x execer, tables []sealedTable) error {
	registered, err := registeredKeys(ctx, x)
	if err != nil {
		return err
	}
	used, err := keysInUse(ctx, x, tables)
	if err != nil {
		return err
	}
	for id := range registered {
		if !slices.Contains(used, id) {
			used = append(used, id)
		}
	}
	if err := s.keys.Load(len(used) == 0); errors.Is(err, fs.ErrNotExist) {
		return finalError{&tokenstore.KeyError{Missing: used, Hint: "its file " + s.keys.Path() + " is missing"}}
	} else if err != nil {
		return finalError{err}
	}
	ring := s.keys.IDs()
	missing := slices.DeleteFunc(slices.Clone(used), func(id tokenstore.KeyID) bool { return slices.Contains(ring, id) })
	if len(missing) > 0 {
		return finalError{&tokenstore.KeyError{Missing: missing}}
	}
	if err := s.checkValues(registered); err != nil {
		return err
	}
	if older := slices.DeleteFunc(used, func(id tokenstore.KeyID) bool { return id == ring[0] }); len(older) > 0 {
		s.log.Info("rows are sealed with an older encryption key, which is needed until the keys are rotated (POST /api/keys/rotate)",
			zap.String("store", s.dialect.name()), zap.Stringers("fingerprints", older))
	}
	if _, ok := registered[ring[0]]; ok {
		return nil
	}
	return s.registerKey(ctx, x, ring[0])
}

// checkValues opens what each key in tokens_keys sealed when it was written
// down.
func (s *Store) checkValues(registered map[tokenstore.KeyID][]byte) error {
	for id, sealed := range registered {
		if plain, err := s.keys.Open(keyAD(id), sealed); err != nil || !bytes.Equal(plain, id[:]) {
			return finalError{fmt.Errorf("check value of key %s: %w", id, tokenstore.ErrDamaged)}
		}
	}
	return nil
}

func (s *Store) registerKey(ctx context.Context, x execer, id tokenstore.KeyID) error {
	sealed, err := s.keys.Seal(keyAD(id), id[:])
	if err != nil {
		return finalError{err}
	}
	now, err := s.dialect.now(ctx, x)
	if err != nil {
		return err
	}
	_, err = x.ExecContext(ctx, "INSERT INTO tokens_keys (id, sealed, created_at) VALUES (?, ?, ?)", id[:], sealed, s.dialect.stamp(now))
	if err == nil {
		s.log.Info("encryption key registered", zap.String("store", s.dialect.name()), zap.Stringer("fingerprint", id))
	}
	return err
}

// registeredKeys are the keys that the database knows, with their check
// values.
func registeredKeys(ctx context.Context, x execer) (map[tokenstore.KeyID][]byte, error) {
	rows, err := x.QueryContext(ctx, "SELECT id, sealed FROM tokens_keys")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	keys := map[tokenstore.KeyID][]byte{}
	for rows.Next() {
		var id, sealed []byte
		if err := rows.Scan(&id, &sealed); err != nil {
			return nil, err
		}
		known, err := keyID(id)
		if err != nil {
			return nil, err
		}
		keys[known] = sealed
	}
	return keys, rows.Err()
}

// keysInUse are the keys that rows were sealed with. tokens_keys alone does not
// know them all: a node that still has an older key in front goes on sealing
// rows with it after another node has rotated the keys.
func keysInUse(ctx context.Context, x execer, tables []sealedTable) ([]tokenstore.KeyID, error) {
	var ids []tokenstore.KeyID
	for _, t := range tables {
		found, err := t.keys(ctx, x)
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

func keyID(b []byte) (id tokenstore.KeyID, err error) {
	if len(b) != len(id) {
		return id, finalError{fmt.Errorf("key_id: %w", tokenstore.ErrDamaged)}
	}
	return tokenstore.KeyID(b), nil
}

func keyAD(id tokenstore.KeyID) tokenstore.AD {
	return tokenstore.AD{Column: "tokens_keys.sealed", Ref: realm.Ref{Realm: id.String()}}
}
