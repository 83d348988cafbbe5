package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	entryColumns = "node, seq, at, act, realm, ref_key, actor_kind, actor_id, result, entry, digest"
	// insertBatch is how many entries one statement writes; appendBatch is how
	// many one transaction does.
	insertBatch = 50
	appendBatch = 500
)

// entryRow is an entry as it is stored: its text, which counts, and the columns
// that queries need.
type entryRow struct {
	// columns has the fields of the columns only.
	columns tokenstore.AuditEntry
	text    []byte
	digest  auditDigest
}

// columnsOf leaves of an entry what has a column.
func columnsOf(e tokenstore.AuditEntry) tokenstore.AuditEntry {
	return tokenstore.AuditEntry{
		Node: e.Node, Seq: e.Seq, Time: e.Time, ActorKind: e.ActorKind, ActorID: e.ActorID,
		Act: e.Act, Realm: e.Realm, Key: e.Key, Result: e.Result,
	}
}

// entry reads the text. Of one that is damaged, the columns are shown.
func (r entryRow) entry() tokenstore.AuditEntry {
	var e tokenstore.AuditEntry
	if json.Unmarshal(r.text, &e) != nil {
		e = r.columns
		e.Code, e.Detail = string(realm.CodeDamaged), "the entry was altered"
	}
	return e
}

// insertEntries writes entries.
func insertEntries(ctx context.Context, tx *txn, rows []entryRow) error {
	for part := range slices.Chunk(rows, insertBatch) {
		var args []any
		for _, r := range part {
			c := r.columns
			args = append(args, []byte(c.Node), c.Seq, tx.dialect.stamp(c.Time), []byte(c.Act), []byte(c.Realm), []byte(c.Key),
				[]byte(c.ActorKind), []byte(c.ActorID), []byte(c.Result), string(r.text), r.digest[:])
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO tokens_audit ("+entryColumns+") VALUES "+rowMarks(len(part), 11), args...); err != nil { // #nosec G202 -- marks
			return err
		}
	}
	return nil
}

// readEntries reads the entries that meet a condition, which may go on with an
// order and a limit.
func readEntries(ctx context.Context, x execer, condition string, args ...any) ([]entryRow, error) {
	rows, err := x.QueryContext(ctx, "SELECT "+entryColumns+" FROM tokens_audit WHERE "+condition, args...) // #nosec G202 -- constants
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var found []entryRow
	for rows.Next() {
		var r entryRow
		var at instant
		var digest []byte
		c := &r.columns
		err := rows.Scan(&c.Node, &c.Seq, &at, &c.Act, &c.Realm, &c.Key, &c.ActorKind, &c.ActorID, &c.Result, &r.text, &digest)
		if err != nil {
			return nil, err
		}
		c.Time = at.Time
		copy(r.digest[:], digest)
		found = append(found, r)
	}
	return found, rows.Err()
}

// appendQueue collects the entries of callers that come while a transaction
// runs, and writes them together in the next one: a durable write takes as long
// for one entry as for many.
type appendQueue struct {
	mu      sync.Mutex
	waiting []*appendCall
	running bool
	closed  bool
	work    sync.WaitGroup
}

// close takes no more entries, and waits until the others are written.
func (q *appendQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.work.Wait()
}

// appendCall is what one caller of AppendAudit waits for.
type appendCall struct {
	entries []*tokenstore.AuditEntry
	done    chan error
	// settled is set by whoever is first: the transaction that writes the
	// entries, or the caller, who has left.
	settled atomic.Bool
	// taken is whether it was the transaction. Only appendCalls uses it.
	taken bool
}

// take reports whether the entries are still wanted. It is asked once the
// transaction has the database: until then the caller may leave.
func (c *appendCall) take() bool {
	c.taken = c.taken || c.settled.CompareAndSwap(false, true)
	return c.taken
}

// AppendAudit implements tokenstore.AuditStore. What a caller does not wait for
// any more is not written later, when the database answers again: the caller has
// answered that nothing was done, or tries again and would be written twice. Only
// if its transaction has begun already, the entries may be written nevertheless.
func (s *Store) AppendAudit(ctx context.Context, entries ...*tokenstore.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	call := &appendCall{done: make(chan error, 1)}
	for _, e := range entries {
		own := *e // the caller may have gone when it is written
		call.entries = append(call.entries, &own)
	}
	s.appends.mu.Lock()
	if s.appends.closed {
		s.appends.mu.Unlock()
		return fmt.Errorf("%w: %w", tokenstore.ErrAudit, s.notOpen("append to the audit"))
	}
	s.appends.waiting = append(s.appends.waiting, call)
	if !s.appends.running {
		s.appends.running = true
		s.appends.work.Go(s.appendWaiting)
	}
	s.appends.mu.Unlock()
	select {
	case err := <-call.done:
		if err == nil {
			for i, e := range entries {
				*e = *call.entries[i]
			}
		}
		return err
	case <-ctx.Done():
		call.settled.Store(true)
		return fmt.Errorf("%w: %w", tokenstore.ErrAudit, ctx.Err())
	}
}

// appendWaiting writes what waits, until nothing does.
func (s *Store) appendWaiting() {
	q := &s.appends
	for {
		q.mu.Lock()
		var calls []*appendCall
		n := 0
		for len(q.waiting) > 0 && (n == 0 || n+len(q.waiting[0].entries) <= appendBatch) {
			calls, n = append(calls, q.waiting[0]), n+len(q.waiting[0].entries)
			q.waiting = q.waiting[1:]
		}
		if len(calls) == 0 {
			q.waiting, q.running = nil, false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		err := s.appendCalls(calls)
		for _, call := range calls {
			call.done <- err
		}
	}
}

func (s *Store) appendCalls(calls []*appendCall) error {
	ctx, cancel := context.WithTimeout(context.Background(), tokenstore.Timeout)
	defer cancel()
	err := s.appending(ctx, func() error {
		return s.write(ctx, "append to the audit", realm.Ref{}, func(tx *txn) error {
			var all []*tokenstore.AuditEntry
			for _, call := range calls {
				if call.take() {
					all = append(all, call.entries...)
				}
			}
			if tx.unchanged = len(all) == 0; tx.unchanged {
				return nil
			}
			return s.appendEntries(ctx, tx, all)
		})
	})
	if err != nil && !errors.Is(err, tokenstore.ErrAudit) {
		return fmt.Errorf("%w: %w", tokenstore.ErrAudit, err)
	}
	return err
}

// auditCondition is the condition of a filter.
func (s *Store) auditCondition(f tokenstore.AuditFilter) (where string, args []any) {
	where = "TRUE"
	and := func(condition string, values ...any) { where, args = where+" AND "+condition, append(args, values...) }
	if !f.From.IsZero() {
		and("at >= ?", s.dialect.stamp(f.From))
	}
	if !f.To.IsZero() {
		and("at < ?", s.dialect.stamp(f.To))
	}
	if f.Actor != "" {
		and("(actor_id = ? OR actor_id = ? AND actor_kind = ?)", []byte(f.Actor), []byte{}, []byte(f.Actor))
	}
	for _, c := range []struct{ column, value string }{{"realm", f.Realm}, {"ref_key", f.Key}, {"act", f.Act}, {"result", f.Result}} {
		if c.value != "" {
			and(c.column+" = ?", []byte(c.value))
		}
	}
	return where, args
}

// Audit implements tokenstore.AuditStore.
func (s *Store) Audit(ctx context.Context, filter tokenstore.AuditFilter, page tokenstore.Page) ([]tokenstore.AuditEntry, int, error) {
	var list []tokenstore.AuditEntry
	total := 0
	where, args := s.auditCondition(filter)
	err := s.read(ctx, "list the audit", func(db *sql.DB) error {
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM tokens_audit WHERE "+where, args...).Scan(&total); err != nil { // #nosec G202 -- constants
			return err
		}
		found, err := readEntries(ctx, db, where+" ORDER BY at DESC, node DESC, seq DESC LIMIT ? OFFSET ?", append(args, limits(page)...)...)
		for _, r := range found {
			list = append(list, r.entry())
		}
		return err
	})
	return list, total, err
}

// WalkAudit implements tokenstore.AuditStore.
func (s *Store) WalkAudit(ctx context.Context, filter tokenstore.AuditFilter, each func(tokenstore.AuditEntry) error) error {
	where, args := s.auditCondition(filter)
	behind, from := "", []any(nil)
	for {
		var found []entryRow
		err := s.read(ctx, "walk the audit", func(db *sql.DB) (err error) {
			found, err = readEntries(ctx, db, where+behind+" ORDER BY at, node, seq LIMIT ?", slices.Concat(args, from, []any{appendBatch})...)
			return err
		})
		if err != nil || len(found) == 0 {
			return err
		}
		for _, r := range found {
			if err := each(r.entry()); err != nil {
				return err
			}
		}
		last := found[len(found)-1].columns
		at := s.dialect.stamp(last.Time)
		behind = " AND at >= ? AND (at > ? OR node > ? OR node = ? AND seq > ?)"
		from = []any{at, at, []byte(last.Node), []byte(last.Node), last.Seq}
	}
}
