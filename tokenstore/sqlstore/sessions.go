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

// The kinds of rows of tokens_sessions. A session's id is never taken for the code
// of a link.
const (
	sessionKind = "session"
	linkKind    = "link"
)

// maxSessionsDropped is how many rows that ended are removed when one is added:
// more than are added, and few enough not to hold it up.
const maxSessionsDropped = 100

// BeginSession implements tokenstore.SessionStore. The entry of the audit that
// says who signed in is written in the same transaction. A session has nothing to
// seal: its owner stands in the place of that.
func (s *Store) BeginSession(
	ctx context.Context, id tokenstore.SessionHash, owner tokenstore.SessionOwner, life time.Duration,
) (expires time.Time, err error) {
	err = s.change(ctx, "begin session", realm.Ref{}, "", func(tx *txn) (err error) {
		if err := makeRoom(ctx, tx, owner); err != nil {
			return err
		}
		expires, err = putSession(ctx, tx, id, sessionKind, owner[:], life)
		return err
	})
	return expires, err
}

// BeginLink implements tokenstore.SessionStore.
func (s *Store) BeginLink(ctx context.Context, code tokenstore.SessionHash, sealed []byte, life time.Duration) error {
	return s.write(ctx, "begin link", realm.Ref{}, func(tx *txn) error {
		_, err := putSession(ctx, tx, code, linkKind, sealed, life)
		return err
	})
}

// putSession adds a row, and removes some of those that ended.
func putSession(ctx context.Context, tx *txn, id tokenstore.SessionHash, kind string, sealed []byte, life time.Duration) (time.Time, error) {
	now, err := tx.now(ctx)
	if err != nil {
		return now, err
	}
	// First: behind the insert, two that begin would wait for each other.
	if err := dropSessions(ctx, tx, now); err != nil {
		return now, err
	}
	expires := micros(now.Add(min(life, tokenstore.MaxSessionLife)))
	_, err = tx.ExecContext(ctx, "INSERT INTO tokens_sessions (id, kind, sealed, expires_at) VALUES (?, ?, ?, ?)",
		id[:], []byte(kind), sealed, tx.dialect.stamp(expires))
	return expires, err
}

// FindSession implements tokenstore.SessionStore.
func (s *Store) FindSession(ctx context.Context, id tokenstore.SessionHash) error {
	return s.read(ctx, "find session", func(db *sql.DB) error { return s.findSession(ctx, db, id, sessionKind) })
}

// findSession is nil for a row that has not ended.
func (s *Store) findSession(ctx context.Context, x execer, id tokenstore.SessionHash, kind string) error {
	now, args := s.dialect.nowSQL(0)
	farthest, more := s.dialect.nowSQL(2 * tokenstore.MaxSessionLife)
	query := "SELECT 1 FROM tokens_sessions WHERE id = ? AND kind = ? AND expires_at > " + now + " AND expires_at <= " + farthest // #nosec G202 -- constants
	var found int
	err := x.QueryRowContext(ctx, query, slices.Concat([]any{id[:], []byte(kind)}, args, more)...).Scan(&found)
	if errors.Is(err, sql.ErrNoRows) {
		return finalError{tokenstore.ErrSessionNotFound}
	}
	return err
}

// EndSession implements tokenstore.SessionStore.
func (s *Store) EndSession(ctx context.Context, id tokenstore.SessionHash) error {
	return s.write(ctx, "end session", realm.Ref{}, func(tx *txn) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM tokens_sessions WHERE id = ? AND kind = ?", id[:], []byte(sessionKind))
		return err
	})
}

// TakeLink implements tokenstore.SessionStore. Whoever deleted the row has it.
func (s *Store) TakeLink(ctx context.Context, code tokenstore.SessionHash) (sealed []byte, err error) {
	// Anybody may ask for what is not there. That costs no transaction, of which
	// SQLite has one at a time.
	err = s.read(ctx, "find link", func(db *sql.DB) error { return s.findSession(ctx, db, code, linkKind) })
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "take link", realm.Ref{}, func(tx *txn) error {
		query := "SELECT sealed FROM tokens_sessions WHERE id = ? AND kind = ?" + tx.dialect.forUpdate()
		err := tx.QueryRowContext(ctx, query, code[:], []byte(linkKind)).Scan(&sealed)
		if errors.Is(err, sql.ErrNoRows) {
			return finalError{tokenstore.ErrSessionNotFound}
		}
		if err != nil {
			return err
		}
		// It may have ended since it was found.
		if err := s.findSession(ctx, tx, code, linkKind); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM tokens_sessions WHERE id = ? AND kind = ?", code[:], []byte(linkKind))
		return expectRow(res, err, tokenstore.ErrSessionNotFound)
	})
	if err != nil {
		return nil, err
	}
	return sealed, nil
}

// makeRoom ends what is too much for one more session of an owner. Of two that begin
// at the same moment both may find room, and the next one ends one more.
func makeRoom(ctx context.Context, tx *txn, owner tokenstore.SessionOwner) error {
	return deleteSessions(ctx, tx,
		"SELECT id FROM tokens_sessions WHERE kind = ? AND sealed = ? ORDER BY expires_at DESC, id LIMIT ? OFFSET ?",
		[]byte(sessionKind), owner[:], maxSessionsDropped, tokenstore.MaxSessions-1)
}

// dropSessions removes some of the rows that ended.
func dropSessions(ctx context.Context, tx *txn, now time.Time) error {
	return deleteSessions(ctx, tx, "SELECT id FROM tokens_sessions WHERE expires_at <= ? OR expires_at > ? LIMIT ?",
		tx.dialect.stamp(now), tx.dialect.stamp(now.Add(2*tokenstore.MaxSessionLife)), maxSessionsDropped)
}

// deleteSessions removes the rows whose ids a query finds. They are looked up without
// a lock, so that nobody waits for a link that is about to be taken.
func deleteSessions(ctx context.Context, tx *txn, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var ended []any
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ended = append(ended, id)
	}
	if err := rows.Err(); err != nil || len(ended) == 0 {
		return err
	}
	marks := strings.Join(slices.Repeat([]string{"?"}, len(ended)), ", ")
	_, err = tx.ExecContext(ctx, "DELETE FROM tokens_sessions WHERE id IN ("+marks+")", ended...) // #nosec G202 -- marks
	return err
}
