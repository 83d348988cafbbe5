package sqlstore

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const dropBudget = "DELETE FROM tokens_budgets WHERE realm = ?"

// sealedBudget is the part of a budget that is sealed. The seal covers the
// state beside it, too.
type sealedBudget struct {
	FailureDigest []byte `json:"failure_digest,omitempty"`
}

func (s *Store) openBudget(id string, cells stateCells) (stateRow, tokenstore.Budget, error) {
	var b tokenstore.Budget
	row, err := s.openState("tokens_budgets", cells, budgetAD(id, cells.version.Int64, cells.state), &b)
	if err != nil || row.plain == nil {
		return row, b, err
	}
	var open sealedBudget
	if json.Unmarshal(row.plain, &open) != nil {
		return row, b, finalError{damagedRow(budgetLabel, realm.Ref{Realm: id})}
	}
	copy(b.Failure.Digest[:], open.FailureDigest)
	return row, b, nil
}

// putBudget writes a budget whose row the transaction holds, if it differs
// from that row.
func (s *Store) putBudget(ctx context.Context, tx *txn, id string, old stateRow, b tokenstore.Budget) error {
	state, err := marshal(b)
	if err != nil {
		return err
	}
	var plain []byte
	if digest := digestBytes(b.Failure.Digest); digest != nil {
		if plain, err = marshal(sealedBudget{FailureDigest: digest}); err != nil {
			return err
		}
	}
	if old.is(state, plain) {
		return nil
	}
	tx.unchanged = false
	seal, keyID, err := s.sealPlain(budgetAD(id, old.version+1, state), plain)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE tokens_budgets SET state = ?, seal = ?, key_id = ?, version = ? WHERE realm = ?",
		string(state), seal, keyID, old.version+1, []byte(id))
	return err
}

// microBudget has times as the columns keep them.
func microBudget(b tokenstore.Budget) tokenstore.Budget {
	b.Failure = microFailure(b.Failure)
	b.Windows = slices.Clone(b.Windows)
	for i := range b.Windows {
		calls := slices.Clone(b.Windows[i].Calls)
		for j := range calls {
			calls[j].First, calls[j].Last = micros(calls[j].First), micros(calls[j].Last)
		}
		b.Windows[i].Calls, b.Windows[i].Named = calls, micros(b.Windows[i].Named)
	}
	return b
}

func budgetAD(id string, version int64, state []byte) tokenstore.AD {
	return tokenstore.AD{Column: budgetLabel, Ref: realm.Ref{Realm: id}, Version: version, Row: inClear(state)}
}
