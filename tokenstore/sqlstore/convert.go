package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// convertBatch is how many rows are converted in one transaction.
const convertBatch = 200

// oldFailure is a tokenstore.Failure as it was stored before migration 4.
type oldFailure struct {
	Fails int       `json:"fails"`
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
	Cause string    `json:"cause"`
}

func (f oldFailure) converted() tokenstore.Failure {
	return tokenstore.Failure{Count: f.Fails, At: f.At, Until: f.Until, Cause: f.Cause}
}

// oldClaim is a claim as it was stored before migration 4. What has the same
// name and meaning in both forms is read into the claim itself; "refused_at"
// and "reauth" were never read and go.
type oldClaim struct {
	tokenstore.Claim
	Why            string     `json:"why"`
	Spends         bool       `json:"spends"`
	Waits          bool       `json:"waits"`
	Trouble        oldFailure `json:"trouble"`
	Uncertain      int        `json:"uncertain"`
	UncertainOf    int64      `json:"uncertain_of"`
	UncertainAt    time.Time  `json:"uncertain_at"`
	Refused        int64      `json:"refused"`
	InitialRefused bool       `json:"initial_refused"`
	Refuted        int64      `json:"refuted"`
}

// convertClaim writes the state of a claim in the new form. A claim that was
// open goes on: if it sends a refresh token, whoever closes it after its
// deadline notes the doubt. A row that was converted already stays as it is.
func convertClaim(state []byte) ([]byte, error) {
	var old oldClaim
	if err := json.Unmarshal(state, &old); err != nil {
		return nil, err
	}
	c := old.Claim
	if isConverted(c) {
		return state, nil
	}
	switch {
	case c.ID == tokenstore.CallID{}:
	case old.Waits:
		c.Phase = tokenstore.PhaseAwaiting
	default:
		c.Phase = tokenstore.PhaseCalling
	}
	c.Purpose, c.SendsRefresh = old.Why, old.Spends
	c.Failure = old.Trouble.converted()
	c.Doubt = tokenstore.Doubt{Count: old.Uncertain, Lineage: old.UncertainOf, At: old.UncertainAt}
	c.Rejected = tokenstore.Rejected{Refresh: old.Refused, Initial: old.InitialRefused, Access: old.Refuted}
	return json.Marshal(c)
}

// isConverted reports whether a claim holds anything that only the new form
// has. A row without any of it reads the same before and after.
func isConverted(c tokenstore.Claim) bool {
	return c.Phase != tokenstore.PhaseNone || c.Purpose != "" || c.SendsRefresh ||
		c.Failure != tokenstore.Failure{} || c.Doubt != tokenstore.Doubt{} || c.Rejected != tokenstore.Rejected{}
}

// convertBudget writes the state of a budget in the new form.
func convertBudget(state []byte) ([]byte, error) {
	var old struct {
		tokenstore.Budget
		Trouble *oldFailure `json:"trouble"`
	}
	if err := json.Unmarshal(state, &old); err != nil {
		return nil, err
	}
	if old.Trouble == nil {
		return state, nil
	}
	old.Budget.Failure = old.Trouble.converted()
	return json.Marshal(old.Budget)
}

// convertToClaims is the step of migration 4.
func convertToClaims(ctx context.Context, _ *Store, x execer) (finish func(context.Context, execer) error, err error) {
	for _, t := range []struct {
		table, key string // key is an expression, as in a sealedTable
		convert    func([]byte) ([]byte, error)
	}{
		{"tokens_claims", "ref_key", convertClaim},
		{"tokens_budgets", "x''", convertBudget},
	} {
		for after, more := (realm.Ref{}), true; more; {
			err := batch(ctx, x, func(x execer) (err error) {
				after, more, err = convertRows(ctx, x, t.table, t.key, after, t.convert)
				return err
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// beginner is a connection, as opposed to a transaction.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// batch runs do in a transaction of its own, unless x is one already.
func batch(ctx context.Context, x execer, do func(x execer) error) error {
	conn, ok := x.(beginner)
	if !ok {
		return do(x)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// convertRows converts the next rows of a table behind a reference. It returns
// the last one's, and whether there may be more.
func convertRows(ctx context.Context, x execer, table, key string, after realm.Ref, convert func([]byte) ([]byte, error)) (realm.Ref, bool, error) {
	rows, err := storedStates(ctx, x, table, key, after)
	if err != nil {
		return after, false, err
	}
	query := fmt.Sprintf("UPDATE %s SET state = ? WHERE realm = ? AND %s = ?", table, key) // #nosec G201 -- constants
	for _, r := range rows {
		after = r.ref
		state, err := convert(r.state)
		if err != nil {
			return after, false, finalError{damagedRow(table+".state", r.ref)}
		}
		if string(state) == string(r.state) {
			continue
		}
		if _, err := x.ExecContext(ctx, query, string(state), []byte(r.ref.Realm), []byte(r.ref.Key)); err != nil {
			return after, false, err
		}
	}
	return after, len(rows) == convertBatch, nil
}

type storedState struct {
	ref   realm.Ref
	state []byte
}

func storedStates(ctx context.Context, x execer, table, key string, after realm.Ref) ([]storedState, error) {
	query := fmt.Sprintf("SELECT realm, %s, state FROM %s WHERE realm > ? OR realm = ? AND %[1]s > ? ORDER BY realm, %[1]s LIMIT %[3]d",
		key, table, convertBatch) // #nosec G201 -- constants
	found, err := x.QueryContext(ctx, query, []byte(after.Realm), []byte(after.Realm), []byte(after.Key))
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var rows []storedState
	for found.Next() {
		var r storedState
		if err := found.Scan(&r.ref.Realm, &r.ref.Key, &r.state); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}
