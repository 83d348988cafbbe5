package sqlstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// boundSchema is the first schema whose secrets are bound to hosts, and whose ids
// are looked up without regard to case.
const boundSchema = 6

// binder is the work of that migration. What is stored is bound to the hosts
// that its realm has then: nobody wrote down for which ones it was entered.
type binder struct {
	store *Store
	// realms are those that were read, for their secrets.
	realms         map[string]realm.Realm
	bound, damaged int
}

// bindRows is the step of the migration. A start that was interrupted left rows
// behind that are bound already; they are not bound again.
//
// Secrets whose realm the configuration file defines are bound to no hosts. They
// need none as long as it does: its hosts are the operator's.
func bindRows(ctx context.Context, s *Store, x execer) (finish func(context.Context, execer) error, err error) {
	if err := s.checkKeys(ctx, x, tablesOf(boundSchema)); err != nil {
		return nil, err
	}
	b := &binder{store: s, realms: map[string]realm.Realm{}}
	for _, t := range sealedTables {
		if t.kind != "realm" && t.kind != "secret" { // in this order
			continue
		}
		for after, more := (realm.Ref{}), true; more; {
			err := batch(ctx, x, func(x execer) (err error) {
				after, more, err = b.next(ctx, x, t, after)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	log := s.log.With(zap.String("store", s.dialect.name()), zap.Int("secrets", b.bound))
	if b.damaged > 0 {
		log.Error("secrets bound to the hosts of their realms; some cannot be opened and stay as they are", zap.Int("damaged", b.damaged))
	} else {
		log.Info("secrets bound to the hosts of their realms")
	}
	return nil, nil //nolint:nilnil // nothing is left to do
}

// next works on the next rows of a table behind a reference. It returns the last
// one's, and whether there may be more.
func (b *binder) next(ctx context.Context, x execer, t sealedTable, after realm.Ref) (realm.Ref, bool, error) {
	rows, err := t.rows(ctx, x, "TRUE", after)
	if err != nil {
		return after, false, err
	}
	query := fmt.Sprintf("UPDATE %s SET seal = ?, key_id = ?, folded = ? WHERE %s", t.table, t.where()) // #nosec G201 -- constants
	for _, r := range rows {
		after = r.ref
		name := r.ref.Realm
		if t.kind == "secret" {
			name = r.ref.Key
		}
		seal, err := b.bind(t, r)
		switch {
		case errors.Is(err, tokenstore.ErrDamaged):
			b.damaged++
			seal = r.seal
		case err != nil:
			return after, false, finalError{err}
		}
		id, _ := tokenstore.SealedBy(seal)
		if _, err := x.ExecContext(ctx, query, seal, id[:], folded(name), []byte(r.ref.Realm), []byte(r.ref.Key)); err != nil {
			return after, false, err
		}
	}
	return after, len(rows) == tableBatch, nil
}

// bind returns the seal of a row with the hosts that it is bound to; no hosts
// are hosts, too.
func (b *binder) bind(t sealedTable, r sealedRow) ([]byte, error) {
	ad := t.ad(r)
	plain, err := b.store.keys.Open(ad, r.seal)
	if err != nil {
		return nil, err
	}
	open, err := parseSealed(plain)
	if err != nil {
		return nil, damagedRow(t.label, r.ref)
	}
	var hosts []string
	if t.kind == "realm" {
		of := realm.Realm{ID: r.ref.Realm, LogicCode: string(r.texts[1])}
		if json.Unmarshal(r.texts[0], &of.Config) != nil {
			return nil, damagedRow(t.label, r.ref)
		}
		of.Config.Shared = hidden(open.Fields)
		b.realms[of.ID] = of
		hosts = b.store.hosts(of, nil)
	} else if of, found := b.realms[r.ref.Realm]; found {
		hosts = b.store.hosts(of, &realm.Secret{Ref: r.ref, Fields: hidden(open.Fields)})
	}
	if open.Hosts != nil {
		return r.seal, nil
	}
	if t.kind == "secret" {
		b.bound++
	}
	open.Hosts = append([]string{}, hosts...)
	seal, _, err := b.store.seal(ad, open)
	return seal, err
}
