package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	claimColumns = "c.state, c.seal, c.version, c.deadline, t.lineage, t.seal, t.issued_at, t.expires_at, t.refresh_expires_at"
	lockBudget   = "SELECT state, seal, version FROM tokens_budgets WHERE realm = ?"
	// longestClaim is longer than any claim lives. One that ends later was
	// written before the clock went back.
	longestClaim = 10 * time.Minute
)

// Coordinate implements tokenstore.Coordinator. Those that come while a
// transaction runs share the next one: a durable write takes as long for one as
// for many.
func (s *Store) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	op := &operation{ref: ref, decide: decide, done: make(chan struct{})}
	if !s.operations.add(s, op) {
		return tokenstore.State{}, s.notOpen("coordinate")
	}
	tokenstore.Queued(ctx)
	select {
	case <-op.done:
	case <-ctx.Done():
		if s.operations.leave(op) {
			return tokenstore.State{}, s.failure(ctx, "coordinate", ctx.Err())
		}
		<-op.done // it is being written: what becomes of that counts
	}
	if op.panicked != nil { // it belongs to whoever decides
		panic(op.panicked)
	}
	if err := s.failure(ctx, "coordinate", op.err); err != nil {
		return tokenstore.State{}, err
	}
	return op.after, nil
}

// Peek implements tokenstore.Coordinator.
func (s *Store) Peek(ctx context.Context, ref realm.Ref) (tokenstore.State, error) {
	var st tokenstore.State
	err := s.read(ctx, "peek", func(db *sql.DB) error {
		id, key := []byte(ref.Realm), []byte(ref.Key)
		clock, args := s.clockColumns(id)
		query := "SELECT " + clock + ", b.state, b.seal, b.version, " + claimColumns + " FROM (SELECT 1 AS one) o" +
			" LEFT JOIN tokens_budgets b ON b.realm = ?" +
			" LEFT JOIN tokens_claims c ON c.realm = ? AND c.ref_key = ?" +
			" LEFT JOIN tokens_tokens t ON t.realm = ? AND t.ref_key = ?"
		rows := &realmRows{id: ref.Realm}
		var budget stateCells
		var cells keyCells
		err := db.QueryRowContext(ctx, query, append(args, id, id, key, id, key)...). // #nosec G202 -- constants
												Scan(slices.Concat([]any{&rows.now, &rows.open}, budget.budgetDest(), cells.dest())...)
		if err != nil {
			return err
		}
		rows.budget, rows.fault = s.openBudget(ref.Realm, budget)
		st, err = rows.state(s.openKey(ref, cells))
		return err
	})
	return st, err
}

// clockColumns are the time, and the number of claims of a realm that are open
// then.
func (s *Store) clockColumns(id []byte) (columns string, args []any) {
	now, at := s.dialect.nowSQL(0)
	most, until := s.dialect.nowSQL(longestClaim)
	return now + ", (SELECT COUNT(*) FROM tokens_claims WHERE realm = ? AND deadline > " + now + " AND deadline < " + most + ")",
		slices.Concat(at, []any{id}, at, until)
}
