package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const secretColumns = "t.realm, t.ref_key, t.seal, t.version, t.created_at, t.updated_at"

// Secret implements tokenstore.SecretStore.
func (s *Store) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	var secret realm.Secret
	err := s.read(ctx, "read secret", func(db *sql.DB) error {
		asked, register := s.ask(secretRow(ref)), registerCells{}
		query := "SELECT " + secretColumns + ", " + registerColumns + " FROM tokens_secrets t" + registerJoin + " WHERE t.realm = ? AND t.ref_key = ?"
		args := append(asked.args(), []byte(ref.Realm), []byte(ref.Key))
		found, version, err := s.scanSecret(db.QueryRowContext(ctx, query, args...), register.dest()...)
		if err != nil {
			return err
		}
		secret = found
		return s.verify(asked, version, register, "secret "+ref.String())
	})
	if err != nil {
		return realm.Secret{}, err
	}
	return secret, nil
}

// Secrets implements tokenstore.SecretStore.
func (s *Store) Secrets(ctx context.Context, page tokenstore.Page, f tokenstore.SecretFilter) ([]realm.Secret, int, error) {
	var list secretList
	total := 0
	err := s.read(ctx, "list secrets", func(db *sql.DB) error {
		where, args := "", []any(nil)
		if f.Realm != "" {
			where, args = " WHERE realm = ?", []any{[]byte(f.Realm)}
		}
		const order = " ORDER BY updated_at DESC, created_at DESC, realm, ref_key"
		if f.Keep != nil {
			refs, n, err := kept(ctx, db, "SELECT realm, ref_key FROM tokens_secrets"+where+order, args, page, scanRef, f.Keep)
			total = n
			if err != nil {
				return err
			}
			return s.readSecretsOf(ctx, db, refs, &list)
		}
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_secrets"+where, args...).Scan(&total); err != nil {
			return err
		}
		query := "SELECT " + secretColumns + " FROM tokens_secrets t" + where + order + " LIMIT ? OFFSET ?"
		return s.readSecrets(ctx, db, query, append(args, limits(page)...), &list)
	})
	if err != nil {
		return nil, 0, err
	}
	err = s.verifyList(ctx, len(list.secrets), func(i int, newest map[rowID]int64) error {
		if secret := list.secrets[i]; secret.Damaged || isNewest(newest, secretRow(secret.Ref), list.versions[i]) {
			return nil
		}
		secret, err := s.Secret(ctx, list.secrets[i].Ref)
		if cannotBeOpened(err) {
			secret, err = realm.Secret{Ref: list.secrets[i].Ref, Damaged: true}, nil
		}
		if err == nil {
			list.secrets[i] = secret
		}
		return err
	})
	return list.secrets, total, err
}

// secretList are secrets and the versions of their rows.
type secretList struct {
	secrets  []realm.Secret
	versions []int64
}

// readSecrets adds the secrets that a query finds. What cannot be opened is there
// by its name.
func (s *Store) readSecrets(ctx context.Context, db *sql.DB, query string, args []any, list *secretList) error {
	return eachRow(ctx, db, query, args, func(rows *sql.Rows) error {
		secret, version, err := s.scanSecret(rows)
		if cannotBeOpened(err) {
			secret = realm.Secret{Ref: secret.Ref, Damaged: true}
		} else if err != nil {
			return err
		}
		list.secrets, list.versions = append(list.secrets, secret), append(list.versions, version)
		return nil
	})
}

func scanRef(rows *sql.Rows) (realm.Ref, error) {
	var ref realm.Ref
	err := rows.Scan(&ref.Realm, &ref.Key)
	return ref, err
}

// CountSecrets implements tokenstore.SecretStore.
func (s *Store) CountSecrets(ctx context.Context, realms []string, keep func(realm.Ref) bool) (map[string]int, error) {
	counts := make(map[string]int, len(realms))
	if len(realms) == 0 {
		return counts, nil
	}
	where := " FROM tokens_secrets WHERE realm IN (" + marks(len(realms)) + ")"
	query, count := "SELECT realm, COUNT(*)"+where+" GROUP BY realm", func(rows *sql.Rows) error {
		var id string
		var n int
		err := rows.Scan(&id, &n)
		counts[id] = n
		return err
	}
	if keep != nil {
		query, count = "SELECT realm, ref_key"+where, func(rows *sql.Rows) error {
			ref, err := scanRef(rows)
			if err == nil && keep(ref) {
				counts[ref.Realm]++
			}
			return err
		}
	}
	err := s.read(ctx, "count secrets", func(db *sql.DB) error {
		clear(counts) // it may be the second try
		return eachRow(ctx, db, query, bytesOf(realms), count)
	})
	return counts, err
}

// refsPerQuery is how many secrets are read at once by their references.
const refsPerQuery = 100

// readSecretsOf adds the secrets of the references that are still there, in their
// order.
func (s *Store) readSecretsOf(ctx context.Context, db *sql.DB, refs []realm.Ref, list *secretList) error {
	for some := range slices.Chunk(refs, refsPerQuery) {
		var where []string
		var args []any
		for _, ref := range some {
			where = append(where, "t.realm = ? AND t.ref_key = ?")
			args = append(args, []byte(ref.Realm), []byte(ref.Key))
		}
		var found secretList
		query := "SELECT " + secretColumns + " FROM tokens_secrets t WHERE " + strings.Join(where, " OR ")
		if err := s.readSecrets(ctx, db, query, args, &found); err != nil {
			return err
		}
		at := make(map[realm.Ref]int, len(found.secrets))
		for i, secret := range found.secrets {
			at[secret.Ref] = i
		}
		for _, ref := range some {
			if i, ok := at[ref]; ok { // else it was deleted meanwhile
				list.secrets, list.versions = append(list.secrets, found.secrets[i]), append(list.versions, found.versions[i])
			}
		}
	}
	return nil
}

// UpdateSecret implements tokenstore.SecretStore.
func (s *Store) UpdateSecret(ctx context.Context, ref realm.Ref, change func(s realm.Secret, found bool) (realm.Secret, tokenstore.TokenChange, error)) (realm.Secret, error) {
	var saved realm.Secret
	err := s.change(ctx, "save secret", ref, "", func(tx *txn) error {
		query := "SELECT " + secretColumns + " FROM tokens_secrets t WHERE t.realm = ? AND t.ref_key = ?" + tx.dialect.forUpdate()
		old, version, err := s.scanSecret(tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)))
		found := !errors.Is(err, tokenstore.ErrSecretNotFound)
		if err != nil && found {
			return err
		}
		tx.created = !found
		l, err := s.lockLedger(ctx, tx, secretRow(ref), pushedRow(ref))
		if err != nil {
			return err
		}
		if found {
			if err := l.check(secretRow(ref), version, "secret "+ref.String()); err != nil {
				return err
			}
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		created := old.CreatedAt
		if !found {
			query := "SELECT ref_key FROM tokens_secrets WHERE realm = ? AND folded = ? AND ref_key <> ? LIMIT 1"
			if err := refuseTwin(ctx, tx, query, []byte(ref.Realm), folded(ref.Key), []byte(ref.Key)); err != nil {
				return err
			}
			old, created = realm.Secret{Ref: ref}, now
		}
		var token tokenstore.TokenChange
		if saved, token, err = change(old, found); err != nil {
			return finalError{err}
		}
		saved.Ref, saved.CreatedAt, saved.UpdatedAt = ref, created, now
		if err := s.putSecret(ctx, tx, saved, found, l.version); err != nil {
			return err
		}
		if token.DropPushed || !found {
			if _, err := tx.ExecContext(ctx, dropPushed+" AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key)); err != nil {
				return err
			}
			l.remove(pushedRow(ref))
		}
		if err := l.save(ctx, tx, secretRow(ref)); err != nil {
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
	return s.change(ctx, "delete secret", ref, "", func(tx *txn) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_secrets WHERE realm = ? AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key))
		if err := expectRow(res, err, tokenstore.ErrSecretNotFound); err != nil {
			return err
		}
		for _, drop := range []string{dropClaims, dropAuthorizations, dropPushed} {
			if _, err := tx.ExecContext(ctx, drop+" AND ref_key = ?", []byte(ref.Realm), []byte(ref.Key)); err != nil {
				return err
			}
		}
		if err := clearToken(ctx, tx, ref); err != nil {
			return err
		}
		return s.forgetRows(ctx, tx, secretRow(ref), pushedRow(ref))
	})
}

// sealedSecret is what of a secret is sealed, and of the shared fields of a
// realm.
type sealedSecret struct {
	Fields     map[string]string `json:"fields"` // a realm.Hidden writes a mask
	InjectOnly bool              `json:"inject_only,omitempty"`
	// Hosts are nil in a row that a version before boundSchema wrote.
	Hosts []string `json:"hosts"`
}

// parseSealed reads a sealedSecret. Before boundSchema, a realm had its shared
// fields alone there, whose names may be "fields" and "hosts", too: but their
// values are texts. A node of the version before that still runs writes them so.
func parseSealed(plain []byte) (sealedSecret, error) {
	var open sealedSecret
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(&open); err == nil {
		return open, nil
	}
	open = sealedSecret{}
	err := json.Unmarshal(plain, &open.Fields)
	return open, err
}

// unsealFields opens what of a secret, or of shared fields, is sealed.
func (s *Store) unsealFields(ad tokenstore.AD, sealed []byte) (sealedSecret, error) {
	plain, err := s.keys.Open(ad, sealed)
	if err != nil {
		return sealedSecret{}, finalError{err}
	}
	open, err := parseSealed(plain)
	if err != nil {
		return open, finalError{damagedRow(ad.Column, ad.Ref)}
	}
	return open, nil
}

// putSecret writes a secret whose row the transaction holds.
func (s *Store) putSecret(ctx context.Context, tx *txn, secret realm.Secret, found bool, version int64) error {
	ad := secretAD(secret.Ref, version, secret.CreatedAt, secret.UpdatedAt)
	seal, keyID, err := s.seal(ad, sealedSecret{Fields: revealed(secret.Fields), InjectOnly: secret.InjectOnly, Hosts: secret.Hosts})
	if err != nil {
		return err
	}
	query := "INSERT INTO tokens_secrets (seal, key_id, version, folded, created_at, updated_at, realm, ref_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
	if found {
		query = "UPDATE tokens_secrets SET seal = ?, key_id = ?, version = ?, folded = ?, created_at = ?, updated_at = ? WHERE realm = ? AND ref_key = ?"
	}
	_, err = tx.ExecContext(ctx, query, seal, keyID, version, folded(secret.Key),
		tx.dialect.stamp(secret.CreatedAt), tx.dialect.stamp(secret.UpdatedAt), []byte(secret.Realm), []byte(secret.Key))
	return err
}

// scanSecret reads a row, and what comes behind it into further, and opens it.
func (s *Store) scanSecret(from row, further ...any) (realm.Secret, int64, error) {
	var secret realm.Secret
	var seal []byte
	var version int64
	var created, updated instant
	dest := []any{&secret.Realm, &secret.Key, &seal, &version, &created, &updated}
	err := from.Scan(append(dest, further...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return secret, 0, finalError{tokenstore.ErrSecretNotFound}
	}
	if err != nil {
		return secret, 0, err
	}
	open, err := s.unsealFields(secretAD(secret.Ref, version, created.Time, updated.Time), seal)
	if err != nil {
		return secret, version, err
	}
	secret.Fields, secret.InjectOnly, secret.Hosts = hidden(open.Fields), open.InjectOnly, open.Hosts
	secret.CreatedAt, secret.UpdatedAt = created.Time, updated.Time
	return secret, version, nil
}

func secretAD(ref realm.Ref, version int64, created, updated time.Time) tokenstore.AD {
	return tokenstore.AD{Column: secretLabel, Ref: ref, Version: version, Row: inClear(created, updated)}
}
