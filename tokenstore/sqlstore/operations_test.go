package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// onBoth runs a test on SQLite and on MariaDB.
func onBoth(t *testing.T, test func(t *testing.T, s *sqlstore.Store, h *sqlstore.Hooks)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t))
		test(t, s, s.Hook())
	})
	t.Run("mariadb", func(t *testing.T) {
		s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
		test(t, s, s.Hook())
	})
}

// waiting waits until so many operations wait for the next transaction.
func waiting(t *testing.T, s *sqlstore.Store, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(2 * time.Minute); s.Waiting() != n; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d operations wait, want %d", s.Waiting(), n)
		}
	}
}

// held is a transaction that does not end before release.
type held struct {
	gate chan struct{}
	work sync.WaitGroup
}

func holdOne(t *testing.T, s *sqlstore.Store) *held {
	t.Helper()
	h := &held{gate: make(chan struct{})}
	begun := make(chan struct{}, 1)
	h.work.Go(func() {
		_, err := s.Coordinate(t.Context(), realm.Ref{Realm: "wx", Key: "first"}, func(*tokenstore.State) error {
			begun <- struct{}{}
			<-h.gate
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	return h
}

func (h *held) release() {
	close(h.gate)
	h.work.Wait()
}

// save saves a token for a key.
func save(ctx context.Context, s *sqlstore.Store, key string) (tokenstore.State, error) {
	return s.Coordinate(ctx, realm.Ref{Realm: "wx", Key: key}, func(st *tokenstore.State) error {
		st.Save = &realm.Token{Access: "a"}
		return nil
	})
}

func wantLineage(t *testing.T, s *sqlstore.Store, key string, want int64) {
	t.Helper()
	st, err := s.Peek(t.Context(), realm.Ref{Realm: "wx", Key: key})
	if err != nil || st.Token.Lineage != want {
		t.Errorf("%.20s: lineage %d, want %d, %v", key, st.Token.Lineage, want, err)
	}
}

// What comes while a transaction runs shares the next one.
func TestOperationsShareATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		const n = 20
		h := holdOne(t, s)
		for i := range n {
			h.work.Go(func() {
				if st, err := save(t.Context(), s, fmt.Sprint(i)); err != nil || st.Token.Lineage != 1 {
					t.Errorf("%d: lineage %d, %v", i, st.Token.Lineage, err)
				}
			})
		}
		waiting(t, s, n)
		h.release()
		for i := range n {
			wantLineage(t, s, fmt.Sprint(i), 1)
		}
		if got := hooks.Commits(); got != 1 {
			t.Errorf("%d transactions were committed, want 1", got)
		}
	})
}

// A transaction holds a bounded number of operations.
func TestOperationsOfATransactionAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		h := holdOne(t, s)
		for i := range 100 {
			h.work.Go(func() {
				if _, err := save(t.Context(), s, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		waiting(t, s, 100)
		h.release()
		if got := hooks.Commits(); got != 2 {
			t.Errorf("%d transactions were committed, want 2", got)
		}
	})
}

// A transaction that fails is the failure of those who write, and nothing of it is
// written. Whoever wrote nothing has his own outcome.
func TestOperationsWhoseTransactionFails(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		const n = 5
		refusal := errors.New("not now")
		h := holdOne(t, s)
		for i := range n {
			h.work.Go(func() {
				if _, err := save(t.Context(), s, fmt.Sprint(i)); !tokenstore.IsUnavailable(err) || !strings.Contains(err.Error(), "the disk is gone") {
					t.Errorf("%d: got %v", i, err)
				}
			})
		}
		h.work.Go(func() {
			_, err := s.Coordinate(t.Context(), realm.Ref{Realm: "wx", Key: "refused"}, func(*tokenstore.State) error { return refusal })
			if err != refusal { //nolint:errorlint // as it is, not wrapped
				t.Errorf("refused: %v", err)
			}
		})
		waiting(t, s, n+1)
		hooks.AtCommit(func(context.Context) error { return errors.New("the disk is gone") })
		h.release()
		hooks.AtCommit(nil)
		for i := range n {
			wantLineage(t, s, fmt.Sprint(i), 0)
			if st, err := save(t.Context(), s, fmt.Sprint(i)); err != nil || st.Token.Lineage != 1 {
				t.Errorf("%d: afterwards lineage %d, %v", i, st.Token.Lineage, err)
			}
		}
	})
}

// Values that the database refuses are the failure of one operation only.
func TestOperationThatTheDatabaseRefuses(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	hooks := s.Hook()
	tooLong := strings.Repeat("k", 300)
	h := holdOne(t, s)
	for _, key := range []string{"a", tooLong, "b"} {
		h.work.Go(func() {
			if _, err := save(t.Context(), s, key); (err != nil) != (key == tooLong) {
				t.Errorf("%.20s: %v", key, err)
			}
		})
	}
	waiting(t, s, 3)
	hooks.Begins()
	h.release()
	if got := hooks.Begins(); got != 4 {
		t.Errorf("%d transactions, want one of all and one of each", got)
	}
	wantLineage(t, s, "a", 1)
	wantLineage(t, s, "b", 1)
}

// Whoever leaves takes nothing of the others with him: neither one that waits, of
// whom nothing is written, nor one whose decision is being written already, who
// hears what became of it.
func TestOperationWhoseCallerLeaves(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, _ *sqlstore.Hooks) {
		deciding, cancelDeciding := context.WithCancel(t.Context())
		gone, leave := context.WithCancel(t.Context())
		h := &held{gate: make(chan struct{})}
		both := holdOne(t, s)
		begun := make(chan struct{}, 1)
		h.work.Go(func() { // shares the next transaction with "other"
			st, err := s.Coordinate(deciding, realm.Ref{Realm: "wx", Key: "deciding"}, func(st *tokenstore.State) error {
				begun <- struct{}{}
				<-h.gate
				st.Save = &realm.Token{Access: "a"}
				return nil
			})
			if err != nil || st.Token.Lineage != 1 {
				t.Errorf("deciding: lineage %d, %v", st.Token.Lineage, err)
			}
		})
		waiting(t, s, 1)
		h.work.Go(func() {
			if _, err := save(t.Context(), s, "other"); err != nil {
				t.Error(err)
			}
		})
		waiting(t, s, 2)
		both.release()
		<-begun
		left := make(chan error)
		go func() {
			_, err := save(gone, s, "gone")
			left <- err
		}()
		waiting(t, s, 1)
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
		cancelDeciding()
		h.release()
		wantLineage(t, s, "deciding", 1)
		wantLineage(t, s, "other", 1)
		wantLineage(t, s, "gone", 0)
	})
}

// A transaction that hangs, and that all have left, keeps nobody else waiting.
func TestOperationsBehindOneThatHangs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, _ *sqlstore.Hooks) {
		patience, leave := context.WithCancel(t.Context())
		begun, gate, left := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := s.Coordinate(patience, realm.Ref{Realm: "wx", Key: "hangs"}, func(st *tokenstore.State) error {
				begun <- struct{}{}
				<-gate
				st.Save = &realm.Token{Access: "a"}
				return nil
			})
			left <- err
		}()
		<-begun
		leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := save(ctx, s, "other"); err != nil {
			t.Error(err)
		}
		close(gate)
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that hung: %v", err)
		}
		wantLineage(t, s, "hangs", 0)
		wantLineage(t, s, "other", 1)
	})
}

// A row of one realm that is never given up stops no other realm.
func TestOperationsOfAnotherRealm(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN()).Store
	if _, err := save(t.Context(), s, "main"); err != nil {
		t.Fatal(err)
	}
	release := m.Hold(t, "BEGIN", "SELECT * FROM tokens_budgets WHERE realm = 'wx' FOR UPDATE")
	var work sync.WaitGroup
	for range 2 { // in a transaction that waits for the row, or behind it
		queued := make(chan struct{})
		ctx := tokenstore.WithQueued(t.Context(), func() { close(queued) })
		work.Go(func() {
			if _, err := save(ctx, s, "main"); err != nil {
				t.Error(err)
			}
		})
		<-queued
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second) // less than the others wait for the row
	defer cancel()
	if _, err := s.Coordinate(ctx, realm.Ref{Realm: "another", Key: "main"}, func(*tokenstore.State) error { return nil }); err != nil {
		t.Error(err)
	}
	release()
	work.Wait()
	wantLineage(t, s, "main", 3)
}

// Who holds rows that do not exist yet, of keys that are new, keeps no other realm from
// adding its own.
func TestNewRowsOfAnotherRealm(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	s.Hook() // nobody is overtaken
	h := holdOne(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second) // less than a row is waited for
	defer cancel()
	_, err := s.Coordinate(ctx, realm.Ref{Realm: "another", Key: "main"}, func(st *tokenstore.State) error {
		st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Deadline: st.Now.Add(time.Minute)}
		st.Save = &realm.Token{Access: "a"}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	h.release()
}

// Whoever hears that an operation has its place in the order comes after it.
func TestOperationsKeepTheirOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, _ *sqlstore.Hooks) {
		h := holdOne(t, s)
		var order []string
		decide := func(name string) func(*tokenstore.State) error {
			return func(*tokenstore.State) error { order = append(order, name); return nil }
		}
		const last = 20
		var follow func(n int)
		follow = func(n int) {
			if n > last {
				return
			}
			ctx := tokenstore.WithQueued(t.Context(), func() {
				if got := s.Waiting(); got != n+1 {
					t.Errorf("%d operations wait when the one behind %d others is said to", got, n)
				}
				follow(n + 1)
			})
			h.work.Go(func() {
				ref := realm.Ref{Realm: "wx", Key: fmt.Sprintf("%c", 'z'-n)}
				if _, err := s.Coordinate(ctx, ref, decide(ref.Key)); err != nil {
					t.Error(err)
				}
			})
		}
		follow(0)
		waiting(t, s, last+1)
		h.release()
		if got := strings.Join(order, ""); got != "zyxwvutsrqponmlkjihgf" {
			t.Errorf("the order is %s", got)
		}
	})
}
