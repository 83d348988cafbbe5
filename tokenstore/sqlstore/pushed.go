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
	dropPushed    = "DELETE FROM tokens_pushed WHERE realm = ?"
	pushedColumns = "t.seal, t.version, t.updated_at"
)

// sealedPushed is what of the values of a secret is sealed: all of it, by the
// name of the field. So no value can be given to another field, or a longer life.
type sealedPushed map[string]sealedPushedValue

// sealedPushedValue is one value; its times are microseconds since 1970, 0 for
// none.
type sealedPushedValue struct {
	Value   string `json:"value"` // a realm.Hidden writes a mask
	Updated int64  `json:"updated"`
	Expires int64  `json:"expires,omitempty"`
}

// Pushed implements tokenstore.PushedStore.
func (s *Store) Pushed(ctx context.Context, ref realm.Ref) (tokenstore.Pushed, error) {
	var pushed tokenstore.Pushed
	err := s.read(ctx, "read pushed values", func(db *sql.DB) error {
		asked, register := s.ask(pushedRow(ref)), registerCells{}
		query := "SELECT " + pushedColumns + ", " + registerColumns + " FROM tokens_pushed t" + registerJoin + " WHERE t.realm = ? AND t.ref_key = ?"
		args := append(asked.args(), []byte(ref.Realm), []byte(ref.Key))
		open, version, err := s.scanPushed(db.QueryRowContext(ctx, query, args...), ref, register.dest()...)
		if err != nil {
			return err
		}
		if pushed.Now, err = s.dialect.now(ctx, db); err != nil || open == nil {
			return err
		}
		pushed.Fields = open.values()
		return s.verify(asked, version, register, "pushed values of "+ref.String())
	})
	if err != nil {
		return tokenstore.Pushed{}, err
	}
	return pushed, nil
}

// Push implements tokenstore.PushedStore.
func (s *Store) Push(ctx context.Context, ref realm.Ref, field string, value realm.Hidden, life time.Duration) (tokenstore.PushedValue, error) {
	var saved tokenstore.PushedValue
	err := s.change(ctx, "push value", ref, "", func(tx *txn) error {
		query := "SELECT " + pushedColumns + " FROM tokens_pushed t WHERE t.realm = ? AND t.ref_key = ?" + tx.dialect.forUpdate()
		open, version, err := s.scanPushed(tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)), ref)
		isDamaged := errors.Is(err, tokenstore.ErrDamaged)
		if err != nil && !isDamaged {
			return err
		}
		found := isDamaged || open != nil
		l, err := s.lockLedger(ctx, tx, pushedRow(ref))
		if err != nil {
			return err
		}
		if isDamaged || l.check(pushedRow(ref), version, "pushed values of "+ref.String()) != nil {
			open = nil
		}
		now, err := tx.now(ctx)
		if err != nil {
			return err
		}
		saved = tokenstore.PushedValue{Value: value, UpdatedAt: now}
		if life > 0 {
			saved.ExpiresAt = micros(now.Add(life))
		}
		if open == nil {
			open = sealedPushed{}
		}
		open[field] = sealedPushedValue{Value: value.Reveal(), Updated: now.UnixMicro(), Expires: microsOf(saved.ExpiresAt)}
		if err := s.putPushed(ctx, tx, ref, open, found, l.version, now); err != nil {
			return err
		}
		return l.save(ctx, tx, pushedRow(ref))
	})
	if err != nil {
		return tokenstore.PushedValue{}, err
	}
	return saved, nil
}

// scanPushed reads a row, and what comes behind it into further, and opens it;
// nil for no row.
func (s *Store) scanPushed(from row, ref realm.Ref, further ...any) (sealedPushed, int64, error) {
	var seal []byte
	var version int64
	var updated instant
	err := from.Scan(append([]any{&seal, &version, &updated}, further...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	open := sealedPushed{}
	err = s.unseal(pushedAD(ref, version, updated.Time), seal, &open)
	return open, version, err
}

// putPushed writes the row, which the transaction holds.
func (s *Store) putPushed(ctx context.Context, tx *txn, ref realm.Ref, open sealedPushed, found bool, version int64, now time.Time) error {
	seal, keyID, err := s.seal(pushedAD(ref, version, now), open)
	if err != nil {
		return err
	}
	query := "INSERT INTO tokens_pushed (seal, key_id, version, updated_at, realm, ref_key) VALUES (?, ?, ?, ?, ?, ?)"
	if found {
		query = "UPDATE tokens_pushed SET seal = ?, key_id = ?, version = ?, updated_at = ? WHERE realm = ? AND ref_key = ?"
	}
	_, err = tx.ExecContext(ctx, query, seal, keyID, version, tx.dialect.stamp(now), []byte(ref.Realm), []byte(ref.Key))
	return err
}

func (p sealedPushed) values() map[string]tokenstore.PushedValue {
	values := make(map[string]tokenstore.PushedValue, len(p))
	for field, v := range p {
		value := tokenstore.PushedValue{Value: realm.Hidden(v.Value), UpdatedAt: time.UnixMicro(v.Updated).UTC()}
		if v.Expires != 0 {
			value.ExpiresAt = time.UnixMicro(v.Expires).UTC()
		}
		values[field] = value
	}
	return values
}

// microsOf is a time in microseconds, 0 for the zero time.
func microsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func pushedAD(ref realm.Ref, version int64, updated time.Time) tokenstore.AD {
	return tokenstore.AD{Column: pushedLabel, Ref: ref, Version: version, Row: inClear(updated)}
}
