package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const dropClaims = "DELETE FROM tokens_claims WHERE realm = ?"

// sealedClaim is the part of a claim that is sealed. The candidates are
// tokenstore.PlainToken; the digests are bytes, because a realm.Fingerprint
// writes a mask.
//
// Rows from before migration 4 hold a "fingerprint" here as well. It is of
// something else than the digests are and is left out, which makes them zero:
// not known.
type sealedClaim struct {
	Candidates     []json.RawMessage `json:"candidates,omitempty"`
	FailureDigest  []byte            `json:"failure_digest,omitempty"`
	RejectedDigest []byte            `json:"rejected_digest,omitempty"`
}

// openClaim reads the row of a (realm, key).
func (s *Store) openClaim(ref realm.Ref, cells stateCells) (stateRow, error) {
	return s.openState(cells, claimAD(ref, cells.version.Int64, cells.state, cells.deadline.Time))
}

// parseClaim reads a claim out of its row.
func parseClaim(ref realm.Ref, row stateRow) (tokenstore.Claim, error) {
	var c tokenstore.Claim
	if err := row.parse("tokens_claims", ref, &c); err != nil || row.plain == nil {
		return c, err
	}
	var open sealedClaim
	if json.Unmarshal(row.plain, &open) != nil {
		return c, finalError{damagedRow("tokens_claims.seal", ref)}
	}
	copy(c.Failure.Digest[:], open.FailureDigest)
	copy(c.Rejected.Digest[:], open.RejectedDigest)
	for _, text := range open.Candidates {
		t, err := tokenstore.ParsePlainToken(text)
		if err != nil {
			return c, finalError{damagedRow("tokens_claims.seal", ref)}
		}
		c.Candidates = append(c.Candidates, t)
	}
	return c, nil
}

// claimRow is the state of a claim and what of it is to be sealed; nil for
// nothing.
func claimRow(c tokenstore.Claim) (state, plain []byte, err error) {
	if state, err = marshal(c); err != nil {
		return nil, nil, err
	}
	plain, err = plainClaim(c)
	return state, plain, err
}

// plainClaim is the part of a claim that is to be sealed; nil for nothing.
func plainClaim(c tokenstore.Claim) ([]byte, error) {
	open := sealedClaim{FailureDigest: digestBytes(c.Failure.Digest), RejectedDigest: digestBytes(c.Rejected.Digest)}
	for _, t := range c.Candidates {
		text, err := tokenstore.PlainToken(t)
		if err != nil {
			return nil, finalError{err}
		}
		open.Candidates = append(open.Candidates, text)
	}
	if open.FailureDigest == nil && open.RejectedDigest == nil && open.Candidates == nil {
		return nil, nil
	}
	return marshal(open)
}

// digestBytes is nil for a digest that is not known.
func digestBytes(d realm.Digest) []byte {
	if d == (realm.Digest{}) {
		return nil
	}
	return d[:]
}

// claimCells are the columns of claimTable. The row was written version times
// with them; deadline is openUntil of the claim.
func (s *Store) claimCells(ref realm.Ref, version int64, state, plain []byte, deadline time.Time) ([]any, error) {
	seal, keyID, err := s.sealPlain(claimAD(ref, version, state, deadline), plain)
	return []any{[]byte(ref.Realm), []byte(ref.Key), string(state), s.dialect.stamp(deadline), seal, keyID, version}, err
}

// putClaim writes a claim in place of a row that the transaction holds.
func (s *Store) putClaim(ctx context.Context, x execer, ref realm.Ref, old stateRow, c tokenstore.Claim) error {
	state, plain, err := claimRow(c)
	if err != nil || old.is(state, plain) {
		return err
	}
	cells, err := s.claimCells(ref, old.version+1, state, plain, openUntil(c))
	if err != nil {
		return err
	}
	return claimTable.put(ctx, x, s.dialect, !old.found, [][]any{cells})
}

// dropCandidates forgets the refresh tokens that are kept beside the stored
// one, and what the call that is under way will bring.
func (s *Store) dropCandidates(ctx context.Context, tx *txn, ref realm.Ref) error {
	var cells stateCells
	query := "SELECT state, seal, version, deadline FROM tokens_claims WHERE realm = ? AND ref_key = ?" + tx.dialect.forUpdate()
	err := tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)).Scan(cells.claimDest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	row, err := s.openClaim(ref, cells)
	if err != nil {
		return err
	}
	c, err := parseClaim(ref, row)
	if err != nil {
		return err
	}
	c.Candidates = nil
	if c.Phase != tokenstore.PhaseNone {
		c.Dropped = c.ID
	}
	return s.putClaim(ctx, tx, ref, row, c)
}

// openUntil is the deadline of a claim under which a call is made; zero for
// any other claim, so that State.Open does not count it.
func openUntil(c tokenstore.Claim) time.Time {
	if c.Phase != tokenstore.PhaseCalling {
		return time.Time{}
	}
	return c.Deadline
}

// microClaim has times as the columns keep them.
func microClaim(c tokenstore.Claim) tokenstore.Claim {
	c.Started, c.Deadline, c.Doubt.At = micros(c.Started), micros(c.Deadline), micros(c.Doubt.At)
	c.Failure = microFailure(c.Failure)
	c.Candidates = slices.Clone(c.Candidates)
	for i, t := range c.Candidates {
		c.Candidates[i] = microToken(t)
	}
	return c
}

func microFailure(f tokenstore.Failure) tokenstore.Failure {
	f.At, f.Until = micros(f.At), micros(f.Until)
	return f
}

func claimAD(ref realm.Ref, version int64, state []byte, deadline time.Time) tokenstore.AD {
	return tokenstore.AD{Column: claimLabel, Ref: ref, Version: version, Row: inClear(state, deadline)}
}

// voidDeadClaims voids the claims that other processes left open, where they
// must be dead: nobody needs to wait for them. Another pool of this process,
// which a reload is about to replace, keeps its claims. A claim that is kept for
// a callback goes on: the callback comes to whichever process runs then. A
// damaged claim stays as it is.
func (s *Store) voidDeadClaims(ctx context.Context, x execer) error {
	if !s.dialect.isAlone() {
		return nil
	}
	now, err := s.dialect.now(ctx, x)
	if err != nil {
		return err
	}
	open, err := openClaims(ctx, x, s.dialect.stamp(now))
	if err != nil {
		return err
	}
	for ref, cells := range open {
		row, err := s.openClaim(ref, cells)
		if err != nil {
			continue
		}
		c, err := parseClaim(ref, row)
		if err != nil || c.Node == tokenstore.NodeID() {
			continue
		}
		c.Deadline = now
		if err := s.putClaim(ctx, x, ref, row, c); err != nil {
			return err
		}
	}
	return nil
}

// openClaims are the rows under which calls are made, by their column.
func openClaims(ctx context.Context, x execer, now any) (map[realm.Ref]stateCells, error) {
	rows, err := x.QueryContext(ctx, "SELECT realm, ref_key, state, seal, version, deadline FROM tokens_claims WHERE deadline > ?", now)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	open := map[realm.Ref]stateCells{}
	for rows.Next() {
		var ref realm.Ref
		var cells stateCells
		if err := rows.Scan(append([]any{&ref.Realm, &ref.Key}, cells.claimDest()...)...); err != nil {
			return nil, err
		}
		open[ref] = cells
	}
	return open, rows.Err()
}
