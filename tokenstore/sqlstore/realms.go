package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const realmColumns = "id, config, logic_code, comment, shared, version, created_at, updated_at"

// Realm implements tokenstore.RealmStore.
func (s *Store) Realm(ctx context.Context, id string) (realm.Realm, error) {
	var r realm.Realm
	err := s.read(ctx, "read realm", func(db *sql.DB) (err error) {
		r, _, err = s.scanRealm(db.QueryRowContext(ctx, "SELECT "+realmColumns+" FROM tokens_realms WHERE id = ?", []byte(id)))
		return err
	})
	return r, err
}

// Realms implements tokenstore.RealmStore.
func (s *Store) Realms(ctx context.Context, page tokenstore.Page, keyword string) ([]realm.Realm, int, error) {
	var list []realm.Realm
	total := 0
	err := s.read(ctx, "list realms", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if keyword != "" {
			where, args = " WHERE INSTR(search, ?) > 0", []any{fold(keyword)}
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_realms"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + realmColumns + " FROM tokens_realms" + where +
			" ORDER BY updated_at DESC, created_at DESC, id LIMIT ? OFFSET ?"
		rows, err := db.QueryContext(ctx, query, append(args, limits(page)...)...) // #nosec G202 -- constants
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			r, _, err := s.scanRealm(rows)
			if cannotBeOpened(err) {
				r = realm.Realm{ID: r.ID, Damaged: true}
			} else if err != nil {
				return err
			}
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, total, err
}

// UpdateRealm implements tokenstore.RealmStore.
func (s *Store) UpdateRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (realm.Realm, error) {
	var saved realm.Realm
	err := s.write(ctx, "save realm", realm.Ref{Realm: id}, func(tx *txn) error {
		query := "SELECT " + realmColumns + " FROM tokens_realms WHERE id = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanRealm(tx.QueryRowContext(ctx, query, []byte(id)))
		found := !errors.Is(err, tokenstore.ErrRealmNotFound)
		if err != nil && found {
			return err
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		created := old.CreatedAt
		if !found {
			old, created = realm.Realm{ID: id}, now
		}
		if saved, err = change(old, found); err != nil {
			return finalError{err}
		}
		saved.ID, saved.CreatedAt, saved.UpdatedAt = id, created, now
		return s.putRealm(ctx, tx, saved, version+1)
	})
	if err != nil {
		return realm.Realm{}, err
	}
	return saved, nil
}

// DeleteRealm implements tokenstore.RealmStore.
func (s *Store) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	return s.write(ctx, "delete realm", realm.Ref{Realm: id}, func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_realms WHERE id = ?", []byte(id))
		if err := expectRow(res, err, tokenstore.ErrRealmNotFound); err != nil {
			return err
		}
		if !cascade {
			if err := refuseSecrets(ctx, tx, id); err != nil {
				return err
			}
			return execAll(ctx, tx, id, dropBudget, dropAuthorizations)
		}
		return execAll(ctx, tx, id, dropBudget, dropAuthorizations, dropClaims, "DELETE FROM tokens_secrets WHERE realm = ?", clearTokens+" WHERE realm = ?")
	})
}

// execAll runs statements about one realm.
func execAll(ctx context.Context, tx *txn, id string, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement, []byte(id)); err != nil {
			return err
		}
	}
	return nil
}

func refuseSecrets(ctx context.Context, tx *txn, id string) error {
	var n int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_secrets WHERE realm = ?", []byte(id)).Scan(&n)
	if err == nil && n > 0 {
		return finalError{tokenstore.ErrRealmHasSecrets}
	}
	return err
}

// putRealm writes a realm whose row the transaction holds. Shared fields are
// taken out of the JSON, which would mask them, and sealed beside it.
func (s *Store) putRealm(ctx context.Context, tx *txn, r realm.Realm, version int64) error {
	config := r.Config
	config.Shared = nil
	text, err := marshal(config)
	if err != nil {
		return err
	}
	shared, keyID, err := s.sealFields(realmAD(r.ID, version), r.Config.Shared)
	if err != nil {
		return err
	}
	values := []any{
		string(text), r.LogicCode, r.Comment, fold(r.ID + "\x00" + r.Comment), shared, keyID, version,
		tx.dialect.stamp(r.CreatedAt), tx.dialect.stamp(r.UpdatedAt), []byte(r.ID),
	}
	query := "INSERT INTO tokens_realms (config, logic_code, comment, search, shared, key_id, version, created_at, updated_at, id)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	if version > 1 {
		query = "UPDATE tokens_realms SET config = ?, logic_code = ?, comment = ?, search = ?, shared = ?, key_id = ?," +
			" version = ?, created_at = ?, updated_at = ? WHERE id = ?"
	}
	_, err = tx.ExecContext(ctx, query, values...)
	return err
}

// scanRealm reads a row and opens what is sealed in it.
func (s *Store) scanRealm(from row) (realm.Realm, int64, error) {
	var r realm.Realm
	var config, shared []byte
	var version int64
	var created, updated instant
	err := from.Scan(&r.ID, &config, &r.LogicCode, &r.Comment, &shared, &version, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return r, 0, finalError{tokenstore.ErrRealmNotFound}
	}
	if err != nil {
		return r, 0, err
	}
	if err := json.Unmarshal(config, &r.Config); err != nil {
		return r, 0, finalError{damagedRow("config", realm.Ref{Realm: r.ID})}
	}
	r.CreatedAt, r.UpdatedAt = created.Time, updated.Time
	r.Config.Shared, err = s.openFields(realmAD(r.ID, version), shared)
	return r, version, err
}

func realmAD(id string, version int64) tokenstore.AD {
	return tokenstore.AD{Column: "tokens_realms.shared", Ref: realm.Ref{Realm: id}, Version: version}
}

// fold is the form in which keywords are compared: the same for both
// databases, whose own rules differ, and for every script. INSTR knows no
// wildcards.
func fold(s string) []byte { return []byte(strings.ToLower(s)) }

// limits are LIMIT and OFFSET of a page.
func limits(p tokenstore.Page) []any {
	return []any{p.Size, int64(min(max(p.Number, 1)-1, math.MaxInt32)) * int64(p.Size)}
}

// expectRow turns "no row was touched" into the missing error.
func expectRow(res sql.Result, err, missing error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return finalError{missing}
}
