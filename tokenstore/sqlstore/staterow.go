package sqlstore

import (
	"bytes"
	"database/sql"
	"encoding/json"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// stateCells are the columns state, seal and version of a claim or a budget, and
// of a claim the deadline, too; NULL where a join found no row.
type stateCells struct {
	state, seal []byte
	version     sql.NullInt64
	deadline    instant
}

func (c *stateCells) budgetDest() []any { return []any{&c.state, &c.seal, &c.version} }
func (c *stateCells) claimDest() []any  { return append(c.budgetDest(), &c.deadline) }

// emptyState is the state of a row that says nothing. Such a row needs no seal:
// whoever can write the database could as well delete it.
const emptyState = "{}"

// stateRow is the row of a claim or a budget as it is stored, or as it will be.
// What a decision altered is found by comparing with it: a decision may alter in
// place what lies behind a slice.
type stateRow struct {
	found bool
	state []byte // nil for the zero state
	plain []byte // what is sealed; nil for nothing
	// version counts how often the row was written.
	version int64
}

// openState reads a row and opens what is sealed.
func (s *Store) openState(cells stateCells, ad tokenstore.AD) (stateRow, error) {
	row := stateRow{found: cells.version.Valid, state: cells.state, version: cells.version.Int64}
	if !row.found || cells.seal == nil && string(cells.state) == emptyState {
		return row, nil
	}
	plain, err := s.keys.Open(ad, cells.seal)
	if err != nil {
		return row, finalError{err}
	}
	if len(plain) > 0 {
		row.plain = plain
	}
	return row, nil
}

// parse reads the state into v.
func (r stateRow) parse(table string, ref realm.Ref, v any) error {
	if r.state != nil && json.Unmarshal(r.state, v) != nil {
		return finalError{damagedRow(table+".state", ref)}
	}
	return nil
}

// is reports whether the row holds this already. A row that does not exist
// holds the zero state.
func (r stateRow) is(state, plain []byte) bool {
	have := r.state
	if have == nil {
		have = []byte(emptyState)
	}
	return bytes.Equal(state, have) && bytes.Equal(plain, r.plain)
}
