package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// realmRows are the rows of a realm that a transaction holds: its budget, and the
// claims and tokens of some of its keys. Operations alter them here one after
// the other; what they altered is written in the end.
type realmRows struct {
	id     string
	budget stateRow
	fault  error // the budget cannot be read
	// budgetCells are written; nil for nothing.
	budgetCells []any
	now         instant
	// open is how many claims of the realm are open.
	open int
	keys []*keyRows
}

// keyRows are the rows of a (realm, key).
type keyRows struct {
	ref   realm.Ref
	claim stateRow
	token tokenRow
	fault error // one of them cannot be read
	// deadline is until when the claim is open; zero for one that is not.
	deadline time.Time
	// claimCells and tokenCells are written; nil for nothing.
	claimCells, tokenCells []any
	// isTold: the other nodes are told of it.
	isTold bool
}

// keyCells are claimColumns.
type keyCells struct {
	claim stateCells
	token tokenCells
}

func (c *keyCells) dest() []any { return slices.Concat(c.claim.claimDest(), c.token.dest()) }

func (s *Store) openKey(ref realm.Ref, cells keyCells) *keyRows {
	k := &keyRows{ref: ref, deadline: cells.claim.deadline.Time}
	if k.claim, k.fault = s.openClaim(ref, cells.claim); k.fault == nil {
		k.token, k.fault = s.openToken(ref, cells.token)
	}
	return k
}

// lockRealm reads the rows of a realm and of some of its keys, and holds them. It
// reads the realm's first, so that whoever has that one has the others.
func (s *Store) lockRealm(ctx context.Context, tx *txn, id string, keys []string) (*realmRows, error) {
	var cells stateCells
	locked := func() error {
		return tx.QueryRowContext(ctx, lockBudget+tx.dialect.forUpdate(), []byte(id)).Scan(cells.budgetDest()...)
	}
	err := locked()
	if errors.Is(err, sql.ErrNoRows) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO tokens_budgets (realm, state) VALUES (?, '{}')", []byte(id)); err != nil {
			return nil, err
		}
		err = locked()
	}
	if err != nil {
		return nil, err
	}
	r := &realmRows{id: id}
	r.budget, r.fault = s.openBudget(id, cells)
	for part := range slices.Chunk(keys, s.dialect.rowsAtOnce()) {
		if err := s.lockKeys(ctx, tx, r, part); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// lockKeys reads the rows of some keys of a realm whose row the transaction
// holds. The first time it asks for the clock, too: the statement that waited
// for the realm's row still saw the time and the claims from before.
//
// The time may be older than the last of these rows' locks: a change of a secret
// holds some without the realm's. That costs time and no more. All times of claims
// and budgets are written by who holds the realm's row, so that none is later. The
// call of a claim is timed from before the claim was asked for, so that it ends
// before the claim does; and whatever is waited for takes as much longer.
func (s *Store) lockKeys(ctx context.Context, tx *txn, r *realmRows, keys []string) error {
	var clock []any
	if len(r.keys) == 0 {
		clock = []any{&r.now, &r.open}
	}
	query, args := s.lockKeysQuery(r.id, keys, clock != nil)
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key string
		var cells keyCells
		if err := rows.Scan(slices.Concat(clock, []any{&key}, cells.dest())...); err != nil {
			return err
		}
		r.keys = append(r.keys, s.openKey(realm.Ref{Realm: r.id, Key: key}, cells))
	}
	return rows.Err()
}

func (s *Store) lockKeysQuery(id string, keys []string, withClock bool) (query string, args []any) {
	columns := "k.ref_key, " + claimColumns
	if withClock {
		var clock string
		clock, args = s.clockColumns([]byte(id))
		columns = clock + ", " + columns
	}
	for _, key := range keys {
		args = append(args, []byte(key))
	}
	return "SELECT " + columns +
		" FROM (SELECT ? AS ref_key" + strings.Repeat(" UNION ALL SELECT ?", len(keys)-1) + ") k" +
		" LEFT JOIN tokens_claims c ON c.realm = ? AND c.ref_key = k.ref_key" +
		" LEFT JOIN tokens_tokens t ON t.realm = ? AND t.ref_key = k.ref_key" + s.dialect.forUpdate(), append(args, []byte(id), []byte(id))
}

// of returns the rows of a key.
func (r *realmRows) of(key string) *keyRows {
	i := slices.IndexFunc(r.keys, func(k *keyRows) bool { return k.ref.Key == key })
	return r.keys[i]
}

// state is what an operation decides on. It shares nothing with what another one
// may alter.
func (r *realmRows) state(k *keyRows) (st tokenstore.State, err error) {
	if err := errors.Join(r.fault, k.fault); err != nil {
		return st, finalError{err}
	}
	if st.Budget, err = parseBudget(r.id, r.budget); err != nil {
		return st, err
	}
	if st.Claim, err = parseClaim(k.ref, k.claim); err != nil {
		return st, err
	}
	if k.token.token != nil {
		st.Token = *k.token.token
	}
	st.Now, st.Open = r.now.Time, r.open
	if r.isOpen(k.deadline) {
		st.Open-- // its own does not count
	}
	return st, nil
}

// isOpen reports whether a claim with the deadline is open.
func (r *realmRows) isOpen(deadline time.Time) bool {
	return deadline.After(r.now.Time) && deadline.Before(r.now.Add(longestClaim))
}

// put takes the state that an operation decided on into the rows, and leaves in
// after what will be read again. It reports whether there is something to write.
// After an error the rows are as before.
func (s *Store) put(r *realmRows, k *keyRows, after *tokenstore.State) (isWriting bool, err error) {
	after.Budget, after.Claim = microBudget(after.Budget), microClaim(after.Claim)
	budget, budgetCells := r.budget, r.budgetCells
	if budget.state, budget.plain, err = budgetRow(after.Budget); err != nil {
		return false, err
	}
	if !r.budget.is(budget.state, budget.plain) {
		isWriting = true
		if budgetCells, err = s.budgetCells(r.id, budget.version+1, budget.state, budget.plain); err != nil {
			return false, err
		}
	}
	next := *k
	if next.claim.state, next.claim.plain, err = claimRow(after.Claim); err != nil {
		return false, err
	}
	if !k.claim.is(next.claim.state, next.claim.plain) {
		isWriting, next.deadline = true, openUntil(after.Claim)
		if next.claimCells, err = s.claimCells(k.ref, k.claim.version+1, next.claim.state, next.claim.plain, next.deadline); err != nil {
			return false, err
		}
	}
	if after.Save != nil {
		child := microToken(*after.Save)
		child.Lineage = k.token.lineage + 1
		if next.tokenCells, err = s.tokenCells(k.ref, child); err != nil {
			return false, err
		}
		next.token.lineage, next.token.token = child.Lineage, &child
		after.Token, after.Save = child, nil
		isWriting, next.isTold = true, true
	}
	if after.Announce {
		isWriting, next.isTold, after.Announce = true, true, false
	}
	if r.isOpen(k.deadline) {
		r.open--
	}
	if r.isOpen(next.deadline) {
		r.open++
	}
	r.budget, r.budgetCells, *k = budget, budgetCells, next
	return isWriting, nil
}

// write writes what operations altered.
func (r *realmRows) write(ctx context.Context, tx *txn) error {
	var budgets, claims, newClaims, tokens, newTokens [][]any
	for _, k := range r.keys {
		if k.isTold { // though no row may change
			tx.changed, tx.unchanged = append(tx.changed, k.ref), false
		}
		if k.claimCells != nil {
			into := &newClaims
			if k.claim.found {
				into = &claims
			}
			*into = append(*into, k.claimCells)
		}
		if k.tokenCells != nil {
			into := &newTokens
			if k.token.found {
				into = &tokens
			}
			*into = append(*into, k.tokenCells)
		}
	}
	if r.budgetCells != nil {
		budgets = append(budgets, r.budgetCells)
	}
	for _, part := range []struct {
		table  rowTable
		areNew bool
		rows   [][]any
	}{{budgetTable, false, budgets}, {claimTable, true, newClaims}, {claimTable, false, claims}, {tokenTable, true, newTokens}, {tokenTable, false, tokens}} {
		tx.unchanged = tx.unchanged && len(part.rows) == 0
		if err := part.table.put(ctx, tx, tx.dialect, part.areNew, part.rows); err != nil {
			return err
		}
	}
	return nil
}
