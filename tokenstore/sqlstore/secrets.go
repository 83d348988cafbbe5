package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const secretColumns = "realm, ref_key, fields, version, created_at, updated_at"

// Secret implements tokenstore.SecretStore.
func (s *Store) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	var secret realm.Secret
	err := s.read(ctx, "read secret", func(db *sql.DB) (err error) {
		query := "SELECT " + secretColumns + " FROM tokens_secrets WHERE realm = ? AND ref_key = ?"
		secret, _, err = s.scanSecret(db.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)))
		return err
	})
	return secret, err
}

// Secrets implements tokenstore.SecretStore.
func (s *Store) Secrets(ctx context.Context, page tokenstore.Page, realmID string) ([]realm.Secret, int, error) {
	var list []realm.Secret
	total := 0
	err := s.read(ctx, "list secrets", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if realmID != "" {
			where, args = " WHERE realm = ?", []any{[]byte(realmID)}
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_secrets"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + secretColumns + " FROM tokens_secrets" + where +
			" ORDER BY updated_at DESC, created_at DESC, realm, ref_key LIMIT ? OFFSET ?"
		rows, err := db.QueryContext(ctx, query, append(args, limits(page)...)...) // #nosec G202 -- constants
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			secret, _, err := s.scanSecret(rows)
			if cannotBeOpened(err) {
				secret = realm.Secret{Ref: secret.Ref, Damaged: true}
			} else if err != nil {
				return err
			}
			list = append(list, secret)
		}
		return rows.Err()
	})
	return list, total, err
}

// UpdateSecret implements tokenstore.SecretStore.
func (s *Store) UpdateSecret(ctx context.Context, ref realm.Ref, change func(s realm.Secret, found bool) (realm.Secret, tokenstore.TokenChange, error)) (realm.Secret, error) {
	var saved realm.Secret
	err := s.write(ctx, "save secret", ref, func(tx *txn) error {
		query := "SELECT " + secretColumns + " FROM tokens_secrets WHERE realm = ? AND ref_key = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanSecret(tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)))
		found := !errors.Is(err, tokenstore.ErrSecretNotFound)
		if err != nil && found {
			return err
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		created := old.CreatedAt
		if !found {
			old, created = realm.Secret{Ref: ref}, now
		}
		var token tokenstore.TokenChange
		if saved, token, err = change(old, found); err != nil {
			return finalError{err}
		}
		saved.Ref, saved.CreatedAt, saved.UpdatedAt = ref, created, now
		if err := s.putSecret(ctx, tx, saved, version+1); err != nil {
			return err
		}
		return s.changeToken(ctx, tx, ref, token)
	})
	if err != nil {
		return realm.Secret{}, err
	}
	return saved, nil
}

// DeleteSecret implements tokenstore.SecretStore.
func (s *Store) DeleteSecret(ctx context.Context, ref realm.Ref) error {
	return s.write(ctx, "delete secret", ref, func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_secrets WHERE realm = ? AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key))
		if err := expectRow(res, err, tokenstore.ErrSecretNotFound); err != nil {
			return err
		}
		for _, drop := range []string{dropClaims, dropAuthorizations} {
			if _, err := tx.ExecContext(ctx, drop+" AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key)); err != nil {
				return err
			}
		}
		return clearToken(ctx, tx, ref)
	})
}

// putSecret writes a secret whose row the transaction holds.
func (s *Store) putSecret(ctx context.Context, tx *txn, secret realm.Secret, version int64) error {
	fields, keyID, err := s.sealFields(secretAD(secret.Ref, version), secret.Fields)
	if err != nil {
		return err
	}
	query := "INSERT INTO tokens_secrets (fields, key_id, version, created_at, updated_at, realm, ref_key) VALUES (?, ?, ?, ?, ?, ?, ?)"
	if version > 1 {
		query = "UPDATE tokens_secrets SET fields = ?, key_id = ?, version = ?, created_at = ?, updated_at = ? WHERE realm = ? AND ref_key = ?"
	}
	_, err = tx.ExecContext(ctx, query, fields, keyID, version,
		tx.dialect.stamp(secret.CreatedAt), tx.dialect.stamp(secret.UpdatedAt), []byte(secret.Realm), []byte(secret.Key))
	return err
}

// scanSecret reads a row and opens it.
func (s *Store) scanSecret(from row) (realm.Secret, int64, error) {
	var secret realm.Secret
	var fields []byte
	var version int64
	var created, updated instant
	err := from.Scan(&secret.Realm, &secret.Key, &fields, &version, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return secret, 0, finalError{tokenstore.ErrSecretNotFound}
	}
	if err != nil {
		return secret, 0, err
	}
	secret.CreatedAt, secret.UpdatedAt = created.Time, updated.Time
	secret.Fields, err = s.openFields(secretAD(secret.Ref, version), fields)
	return secret, version, err
}

func secretAD(ref realm.Ref, version int64) tokenstore.AD {
	return tokenstore.AD{Column: "tokens_secrets.fields", Ref: ref, Version: version}
}
