package sqlstore

import (
	"bytes"
	"database/sql"
	"encoding/json"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// stateCells are the columns state, sealed and version of a claim or a budget;
// NULL where a join found no row.
type stateCells struct {
	state, sealed []byte
	version       sql.NullInt64
}

func (c *stateCells) dest() []any { return []any{&c.state, &c.sealed, &c.version} }

// stateRow is the row of a claim or a budget as it is stored. What a decision
// altered is found by comparing with it: a decision may alter in place what
// lies behind a slice.
type stateRow struct {
	found bool
	state []byte
	plain []byte // what is sealed; nil for nothing
	// version counts how often something was sealed in the row.
	version int64
}

// openState reads a row of a table: its state into v, and opens what is sealed.
func (s *Store) openState(table string, cells stateCells, ad tokenstore.AD, v any) (stateRow, error) {
	row := stateRow{found: cells.version.Valid, state: cells.state, version: cells.version.Int64}
	if !row.found {
		return row, nil
	}
	if json.Unmarshal(cells.state, v) != nil {
		return row, finalError{damagedRow(table+".state", ad.Ref)}
	}
	if cells.sealed == nil {
		return row, nil
	}
	var err error
	if row.plain, err = s.keys.Open(ad, cells.sealed); err != nil {
		return row, finalError{err}
	}
	return row, nil
}

// is reports whether the row holds this already. A row that does not exist
// holds the zero state.
func (r stateRow) is(state, plain []byte) bool {
	if !r.found {
		return plain == nil && bytes.Equal(state, []byte("{}"))
	}
	return bytes.Equal(state, r.state) && bytes.Equal(plain, r.plain)
}

// sealState seals the sealed part of a row; NULL for nothing.
func (s *Store) sealState(ad tokenstore.AD, plain []byte) (sealed, keyID []byte, err error) {
	if plain == nil {
		return nil, nil, nil
	}
	return s.sealPlain(ad, plain)
}
