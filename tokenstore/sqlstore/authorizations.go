package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	dropAuthorizations = "DELETE FROM tokens_authorizations WHERE realm = ?"
	// endedBatch is how many authorizations that ended are removed when one
	// begins: more than begin, and few enough not to hold it up.
	endedBatch = 100
)

// sealedAuthorization is what of an authorization is sealed. It does not count
// as a use of its key when a node starts: one that cannot be opened any more
// must not keep a node from its start.
type sealedAuthorization struct {
	CallbackURL string            `json:"callback_url,omitempty"`
	Verifier    string            `json:"verifier,omitempty"` // a realm.Hidden writes a mask
	Call        tokenstore.CallID `json:"attempt,omitzero"`   // the name that rows of earlier versions have
	Fingerprint []byte            `json:"fingerprint"`        // as bytes: a realm.Fingerprint writes a mask
	Client      []byte            `json:"client,omitempty"`
}

// BeginAuthorization implements tokenstore.AuthorizationStore.
func (s *Store) BeginAuthorization(ctx context.Context, a tokenstore.Authorization, life time.Duration) error {
	return s.write(ctx, "begin authorization", realm.Ref{}, func(tx *txn) error {
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		// First: behind the insert, two that begin would wait for each other.
		if err := dropEnded(ctx, tx, now); err != nil {
			return err
		}
		if isByPerson(a) {
			if err := s.dropLinks(ctx, tx, a.Ref); err != nil {
				return err
			}
		}
		a.ExpiresAt = micros(now.Add(min(life, tokenstore.MaxAuthorizationLife)))
		open := sealedAuthorization{
			CallbackURL: a.CallbackURL, Verifier: a.Verifier.Reveal(), Call: a.Call,
			Fingerprint: a.Fingerprint[:], Client: digestBytes(a.Client),
		}
		sealed, keyID, err := s.seal(authorizationAD(a), open)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO tokens_authorizations (state, realm, ref_key, sealed, key_id, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
			a.State[:], []byte(a.Ref.Realm), []byte(a.Ref.Key), sealed, keyID, tx.dialect.stamp(a.ExpiresAt))
		return err
	})
}

// TakeAuthorization implements tokenstore.AuthorizationStore. Whoever deleted
// the row has it. One that ended is deleted, too.
func (s *Store) TakeAuthorization(ctx context.Context, state tokenstore.StateHash) (tokenstore.Authorization, error) {
	// Anybody may ask for what is not there. That costs no transaction, of
	// which SQLite has one at a time.
	if err := s.findAuthorization(ctx, state); err != nil {
		return tokenstore.Authorization{}, err
	}
	var taken tokenstore.Authorization
	live := false
	err := s.write(ctx, "take authorization", realm.Ref{}, func(tx *txn) error {
		a, err := s.lockAuthorization(ctx, tx, state)
		if err != nil {
			return err
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		taken, live = a, a.ExpiresAt.After(now) && !a.ExpiresAt.After(farthest(now))
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_authorizations WHERE state = ?", state[:])
		return expectRow(res, err, tokenstore.ErrAuthorizationNotFound)
	})
	switch {
	case err != nil:
		return tokenstore.Authorization{}, err
	case !live:
		return tokenstore.Authorization{}, tokenstore.ErrAuthorizationNotFound
	}
	return taken, nil
}

// findAuthorization reports whether there is such a row.
func (s *Store) findAuthorization(ctx context.Context, state tokenstore.StateHash) error {
	return s.read(ctx, "find authorization", func(db *sql.DB) error {
		var found int
		err := db.QueryRowContext(ctx, "SELECT 1 FROM tokens_authorizations WHERE state = ?", state[:]).Scan(&found)
		if errors.Is(err, sql.ErrNoRows) {
			return finalError{tokenstore.ErrAuthorizationNotFound}
		}
		return err
	})
}

// lockAuthorization reads a row, opens it and holds it.
func (s *Store) lockAuthorization(ctx context.Context, tx *txn, state tokenstore.StateHash) (tokenstore.Authorization, error) {
	a := tokenstore.Authorization{State: state}
	var sealed []byte
	var expires instant
	query := "SELECT realm, ref_key, sealed, expires_at FROM tokens_authorizations WHERE state = ?" + tx.dialect.forUpdate()
	err := tx.QueryRowContext(ctx, query, state[:]).Scan(&a.Ref.Realm, &a.Ref.Key, &sealed, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return a, finalError{tokenstore.ErrAuthorizationNotFound}
	}
	if err != nil {
		return a, err
	}
	a.ExpiresAt = expires.Time
	var open sealedAuthorization
	if err := s.unseal(authorizationAD(a), sealed, &open); err != nil {
		return a, err
	}
	a.CallbackURL, a.Verifier, a.Call = open.CallbackURL, realm.Hidden(open.Verifier), open.Call
	copy(a.Fingerprint[:], open.Fingerprint)
	copy(a.Client[:], open.Client)
	return a, nil
}

// farthest is when an authorization ends at most that began until now. A clock
// that went back a little must not end one early.
func farthest(now time.Time) time.Time { return now.Add(2 * tokenstore.MaxAuthorizationLife) }

// dropEnded removes some of the authorizations that ended. They are looked up
// without a lock, so that nobody waits for those that are about to be taken.
func dropEnded(ctx context.Context, tx *txn, now time.Time) error {
	states, err := endedStates(ctx, tx, now)
	if err != nil {
		return err
	}
	return dropStates(ctx, tx, states)
}

func dropStates(ctx context.Context, tx *txn, states []any) error {
	if len(states) == 0 {
		return nil
	}
	marks := strings.Join(slices.Repeat([]string{"?"}, len(states)), ", ")
	_, err := tx.ExecContext(ctx, "DELETE FROM tokens_authorizations WHERE state IN ("+marks+")", states...) // #nosec G202 -- marks
	return err
}

func endedStates(ctx context.Context, tx *txn, now time.Time) ([]any, error) {
	rows, err := tx.QueryContext(ctx, "SELECT state FROM tokens_authorizations WHERE expires_at <= ? OR expires_at > ? LIMIT ?",
		tx.dialect.stamp(now), tx.dialect.stamp(farthest(now)), endedBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var states []any
	for rows.Next() {
		var state []byte
		if err := rows.Scan(&state); err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, rows.Err()
}

// isByPerson reports whether a person authorizes, and not the server itself.
func isByPerson(a tokenstore.Authorization) bool { return a.Call == tokenstore.CallID{} }

// dropLinks removes the authorizations by persons of a secret: as dropEnded
// does, looked up without a lock. Of two links that begin at the same time
// neither is older, and both stay.
func (s *Store) dropLinks(ctx context.Context, tx *txn, ref realm.Ref) error {
	rows, err := tx.QueryContext(ctx, "SELECT state, sealed, expires_at FROM tokens_authorizations WHERE realm = ? AND ref_key = ?",
		[]byte(ref.Realm), []byte(ref.Key))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var links []any
	for rows.Next() {
		var state, sealed []byte
		var expires instant
		if err := rows.Scan(&state, &sealed, &expires); err != nil {
			return err
		}
		a := tokenstore.Authorization{Ref: ref, ExpiresAt: expires.Time}
		copy(a.State[:], state)
		var open sealedAuthorization
		// One that does not open is good for nothing: it does not stay either.
		if err := s.unseal(authorizationAD(a), sealed, &open); err != nil || open.Call == (tokenstore.CallID{}) {
			links = append(links, state)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return dropStates(ctx, tx, links)
}

// authorizationAD binds what is sealed to the row's state and end, too: nobody
// who can write the database gives one person's authorization to another, or a
// longer life to one.
func authorizationAD(a tokenstore.Authorization) tokenstore.AD {
	return tokenstore.AD{
		Column: "tokens_authorizations.sealed of state " + hex.EncodeToString(a.State[:]),
		Ref:    a.Ref, Version: a.ExpiresAt.UnixMicro(),
	}
}

// authorizationKeys finds the keys of the authorizations that are under way.
// They are not among the sealedTables: one that cannot be opened does not keep a
// node from its start, and is no damage to report.
var authorizationKeys = sealedTable{table: "tokens_authorizations"}

// resealAuthorizations seals anew, with the first key, the authorizations that
// are under way. One that is damaged is good for nothing, and goes. One whose
// key is not known here may be another node's, and stays.
func (s *Store) resealAuthorizations(ctx context.Context, progress func(tokenstore.TableProgress)) (tokenstore.TableProgress, error) {
	p := tokenstore.TableProgress{Table: authorizationKeys.table}
	first := s.keys.IDs()[0]
	err := s.read(ctx, "rotate keys", func(db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_authorizations WHERE key_id <> ?", first[:]).Scan(&p.Total)
	})
	for after := []byte{}; err == nil; {
		var rows []authorizationRow
		opened := int64(0)
		err = s.write(ctx, "rotate keys", realm.Ref{}, func(tx *txn) (err error) {
			opened = 0
			if rows, err = sealedByOthers(ctx, tx, first, after); err != nil {
				return err
			}
			for _, r := range rows {
				ok, err := s.resealAuthorization(ctx, tx, r)
				if err != nil {
					return err
				}
				if ok {
					opened++
				}
			}
			return nil
		})
		if err != nil || len(rows) == 0 {
			break
		}
		after = rows[len(rows)-1].a.State[:]
		p.Done, p.Damaged = p.Done+opened, p.Damaged+int64(len(rows))-opened
		p.Total = max(p.Total, p.Done+p.Damaged) // some may have begun meanwhile
		progress(p)
	}
	return p, err
}

// authorizationRow is the row of an authorization as it is stored.
type authorizationRow struct {
	a      tokenstore.Authorization // its State, Ref and ExpiresAt
	sealed []byte
}

// sealedByOthers reads the next authorizations behind a state that other keys
// sealed.
func sealedByOthers(ctx context.Context, x execer, first tokenstore.KeyID, after []byte) ([]authorizationRow, error) {
	found, err := x.QueryContext(ctx, "SELECT state, realm, ref_key, sealed, expires_at FROM tokens_authorizations"+
		" WHERE key_id <> ? AND state > ? ORDER BY state LIMIT ?", first[:], after, tableBatch)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var rows []authorizationRow
	for found.Next() {
		var r authorizationRow
		var state []byte
		var expires instant
		if err := found.Scan(&state, &r.a.Ref.Realm, &r.a.Ref.Key, &r.sealed, &expires); err != nil {
			return nil, err
		}
		copy(r.a.State[:], state)
		r.a.ExpiresAt = expires.Time
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// resealAuthorization seals one row anew, and reports whether it could be
// opened.
func (s *Store) resealAuthorization(ctx context.Context, tx *txn, r authorizationRow) (opened bool, err error) {
	ad := authorizationAD(r.a)
	plain, err := s.keys.Open(ad, r.sealed)
	switch {
	case errors.Is(err, tokenstore.ErrKey):
		return false, nil
	case errors.Is(err, tokenstore.ErrDamaged):
		_, err := tx.ExecContext(ctx, "DELETE FROM tokens_authorizations WHERE state = ? AND sealed = ?", r.a.State[:], r.sealed)
		return false, err
	case err != nil:
		return false, finalError{err}
	}
	sealed, keyID, err := s.sealPlain(ad, plain)
	if err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE tokens_authorizations SET sealed = ?, key_id = ? WHERE state = ? AND sealed = ?", sealed, keyID, r.a.State[:], r.sealed)
	return true, err
}
