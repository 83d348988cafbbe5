package sqlstore

import (
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

// openBudget reads the row of a realm.
func (s *Store) openBudget(id string, cells stateCells) (stateRow, error) {
	return s.openState(cells, budgetAD(id, cells.version.Int64, cells.state))
}

// parseBudget reads a budget out of its row.
func parseBudget(id string, row stateRow) (tokenstore.Budget, error) {
	var b tokenstore.Budget
	ref := realm.Ref{Realm: id}
	if err := row.parse("tokens_budgets", ref, &b); err != nil || row.plain == nil {
		return b, err
	}
	var open sealedBudget
	if json.Unmarshal(row.plain, &open) != nil {
		return b, finalError{damagedRow(budgetLabel, ref)}
	}
	copy(b.Failure.Digest[:], open.FailureDigest)
	return b, nil
}

// budgetRow is the state of a budget and what of it is to be sealed; nil for
// nothing.
func budgetRow(b tokenstore.Budget) (state, plain []byte, err error) {
	if state, err = marshal(b); err != nil {
		return nil, nil, err
	}
	if digest := digestBytes(b.Failure.Digest); digest != nil {
		plain, err = marshal(sealedBudget{FailureDigest: digest})
	}
	return state, plain, err
}

// budgetCells are the columns of budgetTable. The row was written version times
// with them.
func (s *Store) budgetCells(id string, version int64, state, plain []byte) ([]any, error) {
	seal, keyID, err := s.sealPlain(budgetAD(id, version, state), plain)
	return []any{[]byte(id), string(state), seal, keyID, version}, err
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
