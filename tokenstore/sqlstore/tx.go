package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// maxTries is how often a transaction is run at most that loses against
	// others; firstPause doubles after each time.
	maxTries   = 8
	firstPause = 5 * time.Millisecond
	// resolveTime bounds how long resolveCommit asks.
	resolveTime = 15 * time.Second
)

// writeID names one write; it tells its row in the feed of changes from all
// others.
type writeID [16]byte

// txn is a transaction of a write.
type txn struct {
	*sql.Tx
	dialect dialect
	// changed is what the other nodes are told; nothing, where there is no realm
	// and no client.
	changed []realm.Ref
	// client is what the other nodes are told about clients, see clientCell.
	client string
	// unchanged: nothing was written.
	unchanged bool
	// created: what was to be updated did not exist.
	created bool
	// link is what the transaction appends to the audit; nil for nothing.
	link *link
	// ledger is what the transaction wrote into registers; nil for nothing.
	ledger *ledger
}

// now is the time that the transaction dates rows by.
func (tx *txn) now(ctx context.Context) (time.Time, error) { return tx.dialect.now(ctx, tx) }

// finalError is an error that is the result of an operation and not a failure of
// the database: it is neither tried again nor called unavailable.
type finalError struct{ err error }

func (e finalError) Error() string { return e.err.Error() }
func (e finalError) Unwrap() error { return e.err }

// read runs a query and gives its failure its meaning.
func (s *Store) read(ctx context.Context, what string, do func(db *sql.DB) error) error {
	db := s.db.Load()
	if db == nil {
		return s.notOpen(what)
	}
	return s.failure(ctx, what, do(db.read))
}

// write runs do in a transaction and commits it durably. do may run several
// times: a transaction that lost a deadlock is tried again.
func (s *Store) write(ctx context.Context, what string, ref realm.Ref, do func(tx *txn) error) error {
	err := s.tryWrite(ctx, what, ref, do)
	if err == nil {
		s.afterWrite(ctx)
	}
	return s.failure(ctx, what, err)
}

// afterWrite lets the dialect clear away what is old.
func (s *Store) afterWrite(ctx context.Context) {
	if db := s.db.Load(); db != nil {
		s.dialect.afterWrite(ctx, db.write)
	}
}

// tryWrite is write with the error as it is, which failure gives its meaning, and
// without what comes afterwards.
func (s *Store) tryWrite(ctx context.Context, what string, ref realm.Ref, do func(tx *txn) error) error {
	db := s.db.Load()
	if db == nil {
		return finalError{s.notOpen(what)}
	}
	err := s.writeOnce(ctx, db.write, ref, do)
	for pause, n := firstPause, 1; err != nil && n < maxTries && s.dialect.isRetryable(err); pause, n = 2*pause, n+1 {
		// Between half and the whole, so that two that met do not meet again.
		if waited := sleep(ctx, pause/2+mathrand.N(pause/2)); waited != nil { // #nosec G404 -- jitter
			return waited
		}
		err = s.writeOnce(ctx, db.write, ref, do)
	}
	return err
}

func (s *Store) writeOnce(ctx context.Context, db *sql.DB, ref realm.Ref, do func(tx *txn) error) error {
	tx, err := s.dialect.begin(ctx, db)
	if err != nil {
		return err
	}
	t := &txn{Tx: tx, dialect: s.dialect, changed: []realm.Ref{ref}}
	defer func() {
		_ = tx.Rollback() // of no effect after a commit
		t.link.release()
	}()
	if err := do(t); err != nil || t.unchanged {
		return err
	}
	var id writeID
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	if err := s.dialect.recordChange(ctx, tx, id, t.changed, t.client); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		if err := s.resolveCommit(ctx, db, id, err); err != nil {
			if errors.Is(err, errUncertain) {
				t.link.abandon()
			}
			return err
		}
	}
	t.ledger.written()
	t.link.committed()
	return nil
}

// errUncertain: a write may have been done or not.
var errUncertain = errors.New("whether it was written is not known")

// resolveCommit finds out whether a COMMIT that failed was done nevertheless:
// the connection may have broken after the server committed and before its
// answer arrived. It goes on when the caller has left.
func (s *Store) resolveCommit(ctx context.Context, db *sql.DB, id writeID, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveTime)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, time.Second) {
		done, err := s.dialect.wasCommitted(ctx, db, id, failed)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			return failed
		case sleep(ctx, pause) != nil:
			return fmt.Errorf("%w: %w", errUncertain, failed)
		}
	}
}

// failure gives an error of a driver its meaning: the caller's own
// cancellation stays what it is, everything else is ErrUnavailable, also what Close
// cancelled.
func (s *Store) failure(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	var final finalError
	if errors.As(err, &final) {
		return final.err
	}
	if ctx.Err() == nil && errors.Is(err, context.Canceled) && s.operations.base.Err() != nil {
		return s.notOpen(what)
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		s.failed(s.dialect.name())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %s: %w", s.dialect.name(), what, ctx.Err())
	}
	if newer := s.outdated(ctx, err); newer != nil {
		return fmt.Errorf("%w: %s: %s: %w; upgrade this node: %w", tokenstore.ErrUnavailable, s.dialect.name(), what, newer, err)
	}
	if s.dialect.isDamaged(err) {
		return fmt.Errorf("%w: %s: %s: %w: %w", tokenstore.ErrUnavailable, s.dialect.name(), what, tokenstore.ErrDamaged, err)
	}
	return fmt.Errorf("%w: %s: %s: %w", tokenstore.ErrUnavailable, s.dialect.name(), what, err)
}

func (s *Store) notOpen(what string) error {
	return fmt.Errorf("%w: %s: %s: the store is not open", tokenstore.ErrUnavailable, s.dialect.name(), what)
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
