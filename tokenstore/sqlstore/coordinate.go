package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	stateColumns = "b.state, b.seal, b.version, c.state, c.seal, c.version, c.deadline, t.lineage, t.seal, t.issued_at, t.expires_at, t.refresh_expires_at"
	// lockedState reads the rows in this order, so that whoever has the
	// realm's has the others. A realm without a row gives nothing.
	lockedState = "SELECT " + stateColumns + " FROM tokens_budgets b" +
		" LEFT JOIN tokens_claims c ON c.realm = b.realm AND c.ref_key = ?" +
		" LEFT JOIN tokens_tokens t ON t.realm = b.realm AND t.ref_key = ? WHERE b.realm = ?"
	// longestClaim is longer than any claim lives. One that ends later was
	// written before the clock went back.
	longestClaim = 10 * time.Minute
)

// lockedRows is the state of a (realm, key), and the rows that it was read
// from.
type lockedRows struct {
	tokenstore.State
	claim, budget stateRow
	token         tokenRow
}

// Coordinate implements tokenstore.Coordinator.
func (s *Store) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	var after tokenstore.State
	err := s.write(ctx, "coordinate", ref, func(tx *txn) error {
		row, err := s.lockState(ctx, tx, ref)
		if err != nil {
			return err
		}
		after = row.State
		if err := decide(&after); err != nil {
			return finalError{err}
		}
		after.Now, after.Token, after.Open = row.Now, row.Token, row.Open
		return s.putState(ctx, tx, ref, row, &after)
	})
	if err != nil {
		return tokenstore.State{}, err
	}
	return after, nil
}

// Peek implements tokenstore.Coordinator.
func (s *Store) Peek(ctx context.Context, ref realm.Ref) (tokenstore.State, error) {
	var row lockedRows
	err := s.read(ctx, "peek", func(db *sql.DB) error {
		id, key := []byte(ref.Realm), []byte(ref.Key)
		clock, args := s.clockColumns(id, key)
		query := "SELECT " + stateColumns + ", " + clock + " FROM (SELECT 1 AS one) o" +
			" LEFT JOIN tokens_budgets b ON b.realm = ?" +
			" LEFT JOIN tokens_claims c ON c.realm = ? AND c.ref_key = ?" +
			" LEFT JOIN tokens_tokens t ON t.realm = ? AND t.ref_key = ?"
		args = append(args, id, id, key, id, key)
		var asked instant
		err := s.scanState(ref, db.QueryRowContext(ctx, query, args...), &row, &asked, &row.Open) // #nosec G202 -- constants
		row.Now = asked.Time
		return err
	})
	return row.State, err
}

// lockState reads the state of a (realm, key) and holds its rows, the realm's
// first.
func (s *Store) lockState(ctx context.Context, tx *txn, ref realm.Ref) (lockedRows, error) {
	var row lockedRows
	id, key := []byte(ref.Realm), []byte(ref.Key)
	locked := func() error {
		return s.scanState(ref, tx.QueryRowContext(ctx, lockedState+tx.dialect.forUpdate(), key, key, id), &row)
	}
	err := locked()
	if errors.Is(err, sql.ErrNoRows) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO tokens_budgets (realm, state) VALUES (?, '{}')", id); err != nil {
			return row, err
		}
		err = locked()
	}
	if err != nil {
		return row, err
	}
	// Only now, behind the lock: the statement that waited for it still saw
	// the time and the claims from before.
	clock, args := s.clockColumns(id, key)
	var asked instant
	err = tx.QueryRowContext(ctx, "SELECT "+clock, args...).Scan(&asked, &row.Open) // #nosec G202 -- constants
	row.Now = asked.Time
	return row, err
}

// clockColumns are the time, and the number of claims of the realm's other keys
// that are open then.
func (s *Store) clockColumns(id, key []byte) (columns string, args []any) {
	now, at := s.dialect.nowSQL(0)
	most, until := s.dialect.nowSQL(longestClaim)
	return now + ", (SELECT COUNT(*) FROM tokens_claims WHERE realm = ? AND ref_key <> ? AND deadline > " + now + " AND deadline < " + most + ")",
		slices.Concat(at, []any{id, key}, at, until)
}

// scanState reads stateColumns, and what comes behind them into further.
func (s *Store) scanState(ref realm.Ref, from row, into *lockedRows, further ...any) error {
	var budget, claim stateCells
	var token tokenCells
	err := from.Scan(slices.Concat(budget.budgetDest(), claim.claimDest(), token.dest(), further)...)
	if err != nil {
		return err
	}
	if into.budget, into.Budget, err = s.openBudget(ref.Realm, budget); err != nil {
		return err
	}
	if into.claim, into.Claim, err = s.openClaim(ref, claim); err != nil {
		return err
	}
	into.token, err = s.openToken(ref, token)
	if into.token.token != nil {
		into.Token = *into.token.token
	}
	return err
}

// putState writes what differs from the rows that were read, and leaves in
// after what will be read again.
func (s *Store) putState(ctx context.Context, tx *txn, ref realm.Ref, row lockedRows, after *tokenstore.State) error {
	tx.changed, tx.unchanged = realm.Ref{}, true
	after.Budget, after.Claim = microBudget(after.Budget), microClaim(after.Claim)
	if err := s.putBudget(ctx, tx, ref.Realm, row.budget, after.Budget); err != nil {
		return err
	}
	if err := s.putClaim(ctx, tx, ref, row.claim, after.Claim); err != nil {
		return err
	}
	if after.Announce {
		tx.changed, tx.unchanged, after.Announce = ref, false, false
	}
	if after.Save == nil {
		return nil
	}
	child := *after.Save
	child.Lineage = row.token.lineage + 1
	tx.changed, tx.unchanged = ref, false
	var err error
	after.Token, err = s.putToken(ctx, tx, ref, child, row.token.found)
	after.Save = nil
	return err
}
