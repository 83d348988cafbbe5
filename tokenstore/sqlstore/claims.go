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

func (s *Store) openClaim(ref realm.Ref, cells stateCells) (stateRow, tokenstore.Claim, error) {
	var c tokenstore.Claim
	row, err := s.openState("tokens_claims", cells, claimAD(ref, cells.version.Int64, cells.state, cells.deadline.Time), &c)
	if err != nil || row.plain == nil {
		return row, c, err
	}
	var open sealedClaim
	if json.Unmarshal(row.plain, &open) != nil {
		return row, c, finalError{damagedRow("tokens_claims.seal", ref)}
	}
	copy(c.Failure.Digest[:], open.FailureDigest)
	copy(c.Rejected.Digest[:], open.RejectedDigest)
	for _, text := range open.Candidates {
		t, err := tokenstore.ParsePlainToken(text)
		if err != nil {
			return row, c, finalError{damagedRow("tokens_claims.seal", ref)}
		}
		c.Candidates = append(c.Candidates, t)
	}
	return row, c, nil
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

// putClaim writes a claim whose row the transaction holds, if it differs from
// that row.
func (s *Store) putClaim(ctx context.Context, tx *txn, ref realm.Ref, old stateRow, c tokenstore.Claim) error {
	state, err := marshal(c)
	if err != nil {
		return err
	}
	plain, err := plainClaim(c)
	if err != nil {
		return err
	}
	if old.is(state, plain) {
		return nil
	}
	tx.unchanged = false
	return s.writeClaim(ctx, tx, ref, old, c, state, plain)
}

// writeClaim seals and writes a claim; its state and plain are those of c.
func (s *Store) writeClaim(ctx context.Context, x execer, ref realm.Ref, old stateRow, c tokenstore.Claim, state, plain []byte) error {
	deadline := openUntil(c)
	seal, keyID, err := s.sealPlain(claimAD(ref, old.version+1, state, deadline), plain)
	if err != nil {
		return err
	}
	query := "INSERT INTO tokens_claims (state, deadline, seal, key_id, version, realm, ref_key) VALUES (?, ?, ?, ?, ?, ?, ?)"
	if old.found {
		query = "UPDATE tokens_claims SET state = ?, deadline = ?, seal = ?, key_id = ?, version = ? WHERE realm = ? AND ref_key = ?"
	}
	_, err = x.ExecContext(ctx, query, string(state), s.dialect.stamp(deadline), seal, keyID, old.version+1, []byte(ref.Realm), []byte(ref.Key))
	return err
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
	row, c, err := s.openClaim(ref, cells)
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
	for i := range c.Candidates {
		t := &c.Candidates[i]
		t.IssuedAt, t.ExpiresAt, t.RefreshExpiresAt = micros(t.IssuedAt), micros(t.ExpiresAt), micros(t.RefreshExpiresAt)
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
		row, c, err := s.openClaim(ref, cells)
		if err != nil || c.Node == tokenstore.NodeID() {
			continue
		}
		c.Deadline = now
		state, err := marshal(c)
		if err == nil {
			err = s.writeClaim(ctx, x, ref, row, c, state, row.plain)
		}
		if err != nil {
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
