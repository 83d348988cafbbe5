package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	tokenColumns = "lineage, seal, issued_at, expires_at, refresh_expires_at"
	// clearTokens removes tokens and keeps their lineage.
	clearTokens = "UPDATE tokens_tokens SET seal = NULL, key_id = NULL, issued_at = NULL, expires_at = NULL, refresh_expires_at = NULL"
)

// sealedToken is what of a token is sealed. The rest are columns that the
// schedule needs.
type sealedToken struct {
	Access      string `json:"access,omitempty"`
	Refresh     string `json:"refresh,omitempty"`
	Fingerprint []byte `json:"fingerprint"` // as bytes: a realm.Fingerprint writes a mask
	// Kept is missing in what older versions wrote.
	Kept map[string]string `json:"kept,omitempty"`
}

// tokenRow is a row of a (realm, key): how far it has counted, and the token,
// unless that was deleted.
type tokenRow struct {
	found   bool // there is a row
	lineage int64
	token   *realm.Token
}

// Token implements tokenstore.TokenStore.
func (s *Store) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	var t realm.Token
	err := s.read(ctx, "read token", func(db *sql.DB) error {
		query := "SELECT " + tokenColumns + " FROM tokens_tokens WHERE realm = ? AND ref_key = ?"
		found, err := s.scanToken(ref, db.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)))
		switch {
		case err != nil:
			return err
		case found.token == nil:
			return finalError{tokenstore.ErrTokenNotFound}
		}
		t = *found.token
		return nil
	})
	if err != nil {
		return realm.Token{}, 0, err
	}
	return t, realm.FromDatabase, nil
}

// Lineages implements tokenstore.Lineages.
func (s *Store) Lineages(ctx context.Context, ref realm.Ref) (map[realm.Ref]int64, error) {
	lineages := map[realm.Ref]int64{}
	err := s.read(ctx, "read lineages", func(db *sql.DB) error {
		query, args := "SELECT ref_key, lineage FROM tokens_tokens WHERE realm = ?", []any{[]byte(ref.Realm)}
		if ref.Key != "" {
			query, args = query+" AND ref_key = ?", append(args, []byte(ref.Key))
		}
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			r, lineage := realm.Ref{Realm: ref.Realm}, int64(0)
			if err := rows.Scan(&r.Key, &lineage); err != nil {
				return err
			}
			lineages[r] = lineage
		}
		return rows.Err()
	})
	return lineages, err
}

// changeToken does to a token what an update of its secret asks for.
func (s *Store) changeToken(ctx context.Context, tx *txn, ref realm.Ref, change tokenstore.TokenChange) error {
	if change == (tokenstore.TokenChange{}) {
		return nil
	}
	if change.DropRefresh {
		if err := s.dropCandidates(ctx, tx, ref); err != nil {
			return err
		}
	}
	old, err := s.lockToken(ctx, tx, ref)
	if err != nil {
		return err
	}
	var t realm.Token
	if old.token != nil {
		t = *old.token
	}
	t = change.Apply(t)
	switch {
	case change.Set != nil:
		t.Lineage = old.lineage + 1
	case old.token == nil:
		return nil
	case t.Access == "" && t.Refresh == "":
		return clearToken(ctx, tx, ref)
	}
	_, err = s.putToken(ctx, tx, ref, t, old.found)
	return err
}

func (s *Store) lockToken(ctx context.Context, tx *txn, ref realm.Ref) (tokenRow, error) {
	query := "SELECT " + tokenColumns + " FROM tokens_tokens WHERE realm = ? AND ref_key = ?" + tx.dialect.forUpdate()
	return s.scanToken(ref, tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)))
}

// putToken writes a token whose row the transaction holds, and returns it as
// it will be read: times have microseconds.
func (s *Store) putToken(ctx context.Context, tx *txn, ref realm.Ref, t realm.Token, found bool) (realm.Token, error) {
	t = microToken(t)
	cells, err := s.tokenCells(ref, t)
	if err != nil {
		return t, err
	}
	return t, tokenTable.put(ctx, tx, s.dialect, !found, [][]any{cells})
}

// tokenCells are the columns of tokenTable.
func (s *Store) tokenCells(ref realm.Ref, t realm.Token) ([]any, error) {
	seal, keyID, err := s.seal(tokenAD(ref, t.Lineage, t.IssuedAt, t.ExpiresAt, t.RefreshExpiresAt),
		sealedToken{Access: t.Access.Reveal(), Refresh: t.Refresh.Reveal(), Fingerprint: t.Fingerprint[:], Kept: t.Kept.Reveal()})
	stamp := s.dialect.stamp
	return []any{
		[]byte(ref.Realm), []byte(ref.Key), t.Lineage, seal, keyID, stamp(t.IssuedAt), stamp(t.ExpiresAt), stamp(t.RefreshExpiresAt),
	}, err
}

// clearToken removes a token and keeps its lineage.
func clearToken(ctx context.Context, tx *txn, ref realm.Ref) error {
	_, err := tx.ExecContext(ctx, clearTokens+" WHERE realm = ? AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key))
	return err
}

// scanToken reads a row, if there is one, and opens it.
func (s *Store) scanToken(ref realm.Ref, from row) (tokenRow, error) {
	var cells tokenCells
	err := from.Scan(cells.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return tokenRow{}, nil
	}
	if err != nil {
		return tokenRow{}, err
	}
	return s.openToken(ref, cells)
}

// tokenCells are tokenColumns; all are NULL where a join found no row.
type tokenCells struct {
	lineage                         sql.NullInt64
	seal                            []byte
	issued, expires, refreshExpires instant
}

func (c *tokenCells) dest() []any {
	return []any{&c.lineage, &c.seal, &c.issued, &c.expires, &c.refreshExpires}
}

func (s *Store) openToken(ref realm.Ref, cells tokenCells) (tokenRow, error) {
	r := tokenRow{found: cells.lineage.Valid, lineage: cells.lineage.Int64}
	if cells.seal == nil {
		return r, nil
	}
	var open sealedToken
	ad := tokenAD(ref, r.lineage, cells.issued.Time, cells.expires.Time, cells.refreshExpires.Time)
	if err := s.unseal(ad, cells.seal, &open); err != nil {
		return r, err
	}
	r.token = &realm.Token{
		Access: realm.Hidden(open.Access), Refresh: realm.Hidden(open.Refresh), Lineage: r.lineage,
		IssuedAt: cells.issued.Time, ExpiresAt: cells.expires.Time, RefreshExpiresAt: cells.refreshExpires.Time,
		Kept: realm.KeptOf(open.Kept),
	}
	copy(r.token.Fingerprint[:], open.Fingerprint)
	return r, nil
}

func tokenAD(ref realm.Ref, lineage int64, issued, expires, refreshExpires time.Time) tokenstore.AD {
	return tokenstore.AD{Column: tokenLabel, Ref: ref, Version: lineage, Row: inClear(issued, expires, refreshExpires)}
}

// microToken has times as the columns keep them.
func microToken(t realm.Token) realm.Token {
	t.IssuedAt, t.ExpiresAt, t.RefreshExpiresAt = micros(t.IssuedAt), micros(t.ExpiresAt), micros(t.RefreshExpiresAt)
	return t
}

// micros is a time as the columns keep it.
func micros(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
