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

const (
	// authenticatedSchema is the first schema whose rows are authenticated.
	authenticatedSchema = 5
	// clientSchema is the first schema with clients.
	clientSchema = 6
)

// authentication is the work of migration 5: the rows of the version before,
// whose seals covered nothing but what they hold, are sealed anew together with
// the columns beside the seals. It trusts those columns as it finds them, and
// so it runs once.
type authentication struct {
	store *Store
	// rows counts those that were sealed anew, damaged those that could not be
	// opened; they stay as they are.
	rows, damaged int
	// ledger collects the versions for the registers.
	ledger *ledger
}

// authenticateRows is the step of migration 5. A start that was interrupted
// left rows of both forms behind; those of the new form are not touched.
func authenticateRows(ctx context.Context, s *Store, x execer) (finish func(context.Context, execer) error, err error) {
	tables := tablesOf(authenticatedSchema)
	if err := s.checkKeys(ctx, x, tables); err != nil {
		return nil, err
	}
	a := &authentication{store: s, ledger: &ledger{
		store: s, found: map[string]bool{}, registers: map[string]register{}, faults: map[string]error{}, changed: map[string]bool{},
	}}
	for _, t := range tables {
		for after, more := (realm.Ref{}), true; more; {
			err := batch(ctx, x, func(x execer) (err error) {
				after, more, err = a.next(ctx, x, t, after)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	log := s.log.With(zap.String("store", s.dialect.name()), zap.Int("rows", a.rows))
	if a.damaged > 0 {
		log.Error("rows authenticated; some cannot be opened and stay as they are", zap.Int("damaged", a.damaged))
	} else {
		log.Info("rows authenticated")
	}
	return a.finish, nil
}

// refuseTurnedBack refuses a database whose schema says that its rows were not
// authenticated, and that has the registers, which are written in the
// transaction that ends migration 5.
func (s *Store) refuseTurnedBack(ctx context.Context, x execer, have int) error {
	if have >= authenticatedSchema {
		return nil
	}
	var n int
	err := x.QueryRowContext(ctx, s.dialect.hasTable(), "tokens_registers").Scan(&n)
	if err == nil && n > 0 {
		err = x.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_registers").Scan(&n)
	}
	if err == nil && n > 0 {
		return finalError{fmt.Errorf("%w: it says %d, and its rows were authenticated by schema %d before", ErrTurnedBack, have, authenticatedSchema)}
	}
	return err
}

// next seals the next rows of a table behind a reference. It returns the last
// one's, and whether there may be more.
func (a *authentication) next(ctx context.Context, x execer, t sealedTable, after realm.Ref) (realm.Ref, bool, error) {
	rows, err := t.rows(ctx, x, "TRUE", after)
	if err != nil {
		return after, false, err
	}
	query := fmt.Sprintf("UPDATE %s SET seal = ?, key_id = ? WHERE %s", t.table, t.where()) // #nosec G201 -- constants
	for _, r := range rows {
		after = r.ref
		if r.seal == nil && !t.needsSeal(r) {
			continue
		}
		plain, err := a.open(t, r)
		switch {
		case errors.Is(err, errAuthenticated):
		case errors.Is(err, tokenstore.ErrDamaged):
			a.damaged++
			continue
		case err != nil:
			return after, false, finalError{err}
		default:
			seal, keyID, err := a.store.sealPlain(t.ad(r), plain)
			if err != nil {
				return after, false, err
			}
			if _, err := x.ExecContext(ctx, query, seal, keyID, []byte(r.ref.Realm), []byte(r.ref.Key)); err != nil {
				return after, false, err
			}
			a.rows++
		}
		a.note(t, r)
	}
	return after, len(rows) == tableBatch, nil
}

// errAuthenticated: the row has the new form.
var errAuthenticated = errors.New("is authenticated already")

// open returns what a row of the old form is to be sealed with anew.
func (a *authentication) open(t sealedTable, r sealedRow) ([]byte, error) {
	if r.seal == nil { // a company, or a claim or budget without anything confidential
		return nil, nil
	}
	ad := t.ad(r)
	if _, err := a.store.keys.Open(ad, r.seal); err == nil {
		return nil, errAuthenticated
	}
	ad.Row = ""
	plain, err := a.store.keys.Open(ad, r.seal)
	if err != nil || t.kind != "secret" {
		return plain, err
	}
	var secret sealedSecret
	if json.Unmarshal(plain, &secret.Fields) != nil {
		return nil, damagedRow(t.label, r.ref)
	}
	return marshal(secret)
}

// note puts the version of a row into its register.
func (a *authentication) note(t sealedTable, r sealedRow) {
	if t.newest == nil {
		return
	}
	id := t.newest(r.ref)
	name := id.register()
	reg, found := a.ledger.registers[name]
	if !found {
		reg = register{rows: map[rowID]int64{}}
	}
	reg.rows[id] = r.version
	a.ledger.registers[name], a.ledger.changed[name] = reg, true
	a.ledger.version = max(a.ledger.version, r.version)
}

// finish writes the registers, and the head even where there is nothing else:
// it marks the database as authenticated.
func (a *authentication) finish(ctx context.Context, x execer) error {
	l := a.ledger
	l.version++
	for name, reg := range l.registers {
		reg.version = l.version
		l.registers[name] = reg
	}
	if len(l.changed) > 0 {
		return l.write(ctx, x)
	}
	return a.store.putRegister(ctx, x, headName, l.version, head{}.plain(), false)
}
