package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// sealedAttempt is what of an attempt is sealed; the candidates are
// tokenstore.PlainToken.
type sealedAttempt struct {
	Candidates  []json.RawMessage `json:"candidates,omitempty"`
	Fingerprint []byte            `json:"fingerprint,omitempty"`
}

// attemptRow is a row as it is stored, so that it is seen what a decision
// altered: it may alter in place what lies behind a slice.
type attemptRow struct {
	found   bool
	state   []byte
	plain   []byte // what is sealed; nil for nothing
	version int64
}

// attemptCells are state, sealed and version; NULL where a join found no row.
type attemptCells struct {
	state, sealed []byte
	version       sql.NullInt64
}

func (c *attemptCells) dest() []any { return []any{&c.state, &c.sealed, &c.version} }

func (s *Store) openAttempt(ref realm.Ref, cells attemptCells) (attemptRow, tokenstore.Attempt, error) {
	row := attemptRow{found: cells.version.Valid, state: cells.state, version: cells.version.Int64}
	var a tokenstore.Attempt
	if !row.found {
		return row, a, nil
	}
	if json.Unmarshal(cells.state, &a) != nil {
		return row, a, finalError{damagedRow("tokens_attempts.state", ref)}
	}
	if cells.sealed == nil {
		return row, a, nil
	}
	var err error
	if row.plain, err = s.keys.Open(attemptAD(ref, row.version), cells.sealed); err != nil {
		return row, a, finalError{err}
	}
	if a.Candidates, a.Fingerprint, err = parseSealed(row.plain); err != nil {
		return row, a, finalError{damagedRow("tokens_attempts.sealed", ref)}
	}
	return row, a, nil
}

func parseSealed(plain []byte) ([]realm.Token, realm.Fingerprint, error) {
	var open sealedAttempt
	var fingerprint realm.Fingerprint
	if err := json.Unmarshal(plain, &open); err != nil {
		return nil, fingerprint, err
	}
	copy(fingerprint[:], open.Fingerprint)
	var candidates []realm.Token
	for _, text := range open.Candidates {
		t, err := tokenstore.ParsePlainToken(text)
		if err != nil {
			return nil, fingerprint, err
		}
		candidates = append(candidates, t)
	}
	return candidates, fingerprint, nil
}

// plainAttempt is what of an attempt is to be sealed; nil for nothing.
func plainAttempt(a tokenstore.Attempt) ([]byte, error) {
	var open sealedAttempt
	if a.Fingerprint != (realm.Fingerprint{}) {
		open.Fingerprint = a.Fingerprint[:]
	}
	for _, t := range a.Candidates {
		text, err := tokenstore.PlainToken(t)
		if err != nil {
			return nil, finalError{err}
		}
		open.Candidates = append(open.Candidates, text)
	}
	if open.Fingerprint == nil && open.Candidates == nil {
		return nil, nil
	}
	return marshal(open)
}

// putAttempt writes an attempt whose row the transaction holds, if it differs
// from it. What is sealed is sealed again only when it changed.
func (s *Store) putAttempt(ctx context.Context, tx *txn, ref realm.Ref, old attemptRow, a tokenstore.Attempt) error {
	state, err := marshal(a)
	if err != nil {
		return err
	}
	plain, err := plainAttempt(a)
	if err != nil {
		return err
	}
	if !old.found && plain == nil && bytes.Equal(state, []byte("{}")) ||
		old.found && bytes.Equal(state, old.state) && bytes.Equal(plain, old.plain) {
		return nil
	}
	tx.idle = false
	if old.found && bytes.Equal(plain, old.plain) {
		_, err = tx.ExecContext(ctx, "UPDATE tokens_attempts SET state = ?, deadline = ? WHERE realm = ? AND ref_key = ?",
			string(state), deadline(tx, a), []byte(ref.Realm), []byte(ref.Key))
		return err
	}
	var sealed, keyID []byte
	if plain != nil {
		if sealed, keyID, err = s.sealPlain(attemptAD(ref, old.version+1), plain); err != nil {
			return err
		}
	}
	query := "INSERT INTO tokens_attempts (state, deadline, sealed, key_id, version, realm, ref_key) VALUES (?, ?, ?, ?, ?, ?, ?)"
	if old.found {
		query = "UPDATE tokens_attempts SET state = ?, deadline = ?, sealed = ?, key_id = ?, version = ? WHERE realm = ? AND ref_key = ?"
	}
	_, err = tx.ExecContext(ctx, query, string(state), deadline(tx, a), sealed, keyID, old.version+1, []byte(ref.Realm), []byte(ref.Key))
	return err
}

// dropCandidates forgets the refresh tokens that are kept beside the stored one,
// and the one that is under way.
func (s *Store) dropCandidates(ctx context.Context, tx *txn, ref realm.Ref) error {
	var cells attemptCells
	query := "SELECT state, sealed, version FROM tokens_attempts WHERE realm = ? AND ref_key = ?" + tx.dialect.forUpdate()
	err := tx.QueryRowContext(ctx, query, []byte(ref.Realm), []byte(ref.Key)).Scan(cells.dest()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	row, a, err := s.openAttempt(ref, cells)
	if err != nil {
		return err
	}
	a.Candidates = nil
	if a.ID != (tokenstore.AttemptID{}) {
		a.Dropped = a.ID
	}
	return s.putAttempt(ctx, tx, ref, row, a)
}

// deadline is that of a claim that counts as open; NULL for none.
func deadline(tx *txn, a tokenstore.Attempt) any {
	if a.ID == (tokenstore.AttemptID{}) || a.Waits {
		return nil
	}
	return tx.dialect.stamp(a.Deadline)
}

func openBudget(ref realm.Ref, state []byte) (tokenstore.Budget, error) {
	var b tokenstore.Budget
	if state != nil && json.Unmarshal(state, &b) != nil {
		return b, finalError{damagedRow("tokens_budgets.state", realm.Ref{Realm: ref.Realm})}
	}
	return b, nil
}

// microAttempt has times as the columns keep them.
func microAttempt(a tokenstore.Attempt) tokenstore.Attempt {
	a.Started, a.Deadline = micros(a.Started), micros(a.Deadline)
	a.UncertainAt, a.RefusedAt = micros(a.UncertainAt), micros(a.RefusedAt)
	a.Trouble.At, a.Trouble.Until = micros(a.Trouble.At), micros(a.Trouble.Until)
	a.Candidates = slices.Clone(a.Candidates)
	for i := range a.Candidates {
		t := &a.Candidates[i]
		t.IssuedAt, t.ExpiresAt, t.RefreshExpiresAt = micros(t.IssuedAt), micros(t.ExpiresAt), micros(t.RefreshExpiresAt)
	}
	return a
}

func microBudget(b tokenstore.Budget) tokenstore.Budget {
	b.Trouble.At, b.Trouble.Until = micros(b.Trouble.At), micros(b.Trouble.Until)
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

func attemptAD(ref realm.Ref, version int64) tokenstore.AD {
	return tokenstore.AD{Column: "tokens_attempts.sealed", Ref: ref, Version: version}
}
