package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

func keyOf(name any) realm.Ref { return realm.Ref{Realm: "wx", Key: fmt.Sprint(name)} }

// saving is an operation that saves a token.
func saving(name any) sqlstore.Operation {
	return sqlstore.NewOperation(keyOf(name), func(st *tokenstore.State) error {
		st.Save = &realm.Token{Access: "a"}
		return nil
	})
}

// reading is an operation that changes nothing.
func reading(name any) sqlstore.Operation {
	return sqlstore.NewOperation(keyOf(name), func(*tokenstore.State) error { return nil })
}

// savings are n of saving, for the keys 0, 1, ...
func savings(n int) (ops []sqlstore.Operation) {
	for i := range n {
		ops = append(ops, saving(i))
	}
	return ops
}

// wantSaved wants operations of savings to have had the lineage as their outcome, and
// to have been written.
func wantSaved(t *testing.T, s *sqlstore.Store, ops []sqlstore.Operation, lineage int64) {
	t.Helper()
	for i, op := range ops {
		if st, err := s.Outcome(t.Context(), op); err != nil || st.Token.Lineage != lineage {
			t.Errorf("%d: lineage %d, want %d, %v", i, st.Token.Lineage, lineage, err)
		}
		wantLineage(t, s, fmt.Sprint(i), lineage)
	}
}

// A panic in the store belongs to those who asked, and does not end the process.
func TestPanicInATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		hooks.AtCommit(func(context.Context) error { panic("in the store") })
		var work sync.WaitGroup
		for i := range 3 {
			work.Go(func() {
				defer func() {
					if got := recover(); got != "in the store" {
						t.Errorf("the panic was %v", got)
					}
				}()
				_, _ = save(t.Context(), s, fmt.Sprint(i))
			})
		}
		work.Wait()
		hooks.AtCommit(nil)
		if st, err := save(t.Context(), s, "0"); err != nil || st.Token.Lineage != 1 {
			t.Errorf("afterwards lineage %d, %v", st.Token.Lineage, err)
		}
	})
}

// A decision that ends its goroutine (FailNow of a test) leaves nobody waiting.
func TestDecisionThatEndsItsGoroutine(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, _ *sqlstore.Hooks) {
		h := holdOne(t, s)
		for _, ends := range []bool{false, true} {
			h.work.Go(func() {
				_, err := s.Coordinate(t.Context(), keyOf(ends), func(*tokenstore.State) error {
					if ends {
						runtime.Goexit()
					}
					return nil
				})
				if !tokenstore.IsUnavailable(err) {
					t.Errorf("%v: %v", ends, err)
				}
			})
		}
		waiting(t, s, 2)
		h.release()
		if _, err := save(t.Context(), s, "0"); err != nil {
			t.Error(err)
		}
	})
}

// What others could not write is no failure of those who write nothing, and costs
// one transaction more.
func TestDecisionsBesideThoseThatCannotBeWritten(t *testing.T) {
	for name, failed := range map[string]error{
		"unknown": errors.New("the disk is gone"), "read-only": &mysql.MySQLError{Number: 1290, SQLState: [5]byte([]byte("HY000"))},
		"too many connections": &mysql.MySQLError{Number: 1040, SQLState: [5]byte([]byte("08004"))},
		"shutdown":             &mysql.MySQLError{Number: 1053, SQLState: [5]byte([]byte("08S01"))},
		"not known":            sqlstore.ErrUncertain,
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
				if _, err := save(t.Context(), s, "stored"); err != nil {
					t.Fatal(err)
				}
				hooks.AtCommit(func(context.Context) error { return failed })
				hooks.Begins()
				stored, writers := reading("stored"), savings(3)
				refusal := errors.New("not now")
				refused := sqlstore.NewOperation(keyOf("refused"), func(*tokenstore.State) error { return refusal })
				s.Together(t.Context(), append(slices.Clone(writers), stored, refused)...)
				if st, err := s.Outcome(t.Context(), stored); err != nil || st.Token.Lineage != 1 {
					t.Errorf("stored: lineage %d, %v", st.Token.Lineage, err)
				}
				if _, err := s.Outcome(t.Context(), refused); err != refusal { //nolint:errorlint // as it is, not wrapped
					t.Errorf("refused: %v", err)
				}
				for i, op := range writers {
					if _, err := s.Outcome(t.Context(), op); !tokenstore.IsUnavailable(err) || !errors.Is(err, failed) {
						t.Errorf("%d: %v", i, err)
					}
				}
				if got := hooks.Begins(); got != 2 {
					t.Errorf("%d transactions, want 2", got)
				}
			})
		})
	}
}

// Whoever may write now that the others did not is a writer like them.
func TestDecisionsThatWriteInTheSecondTry(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		hooks.AtCommit(func(context.Context) error { return errors.New("the disk is gone") })
		var ops []sqlstore.Operation
		for i := range 3 { // the first one counts
			ops = append(ops, sqlstore.NewOperation(keyOf(i), func(st *tokenstore.State) error {
				if st.Budget.Failure.Count == 0 {
					st.Budget.Failure.Count++
				}
				return nil
			}))
		}
		s.Together(t.Context(), ops...)
		for i, op := range ops {
			if _, err := s.Outcome(t.Context(), op); !tokenstore.IsUnavailable(err) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// On a full disk, a stored token is found beside a write that fails, and a realm that
// has no row yet is read.
func TestDecisionsOnAFullDisk(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "tokens.db"), keyring(t))
	if _, err := save(t.Context(), s, "stored"); err != nil {
		t.Fatal(err)
	}
	if err := s.LimitPages(t.Context(), 1); err != nil { // as many as there are
		t.Fatal(err)
	}
	stored := reading("stored")
	another := sqlstore.NewOperation(realm.Ref{Realm: "another", Key: "main"}, func(*tokenstore.State) error { return nil })
	large := sqlstore.NewOperation(keyOf("large"), func(st *tokenstore.State) error {
		st.Save = &realm.Token{Access: realm.Hidden(strings.Repeat("a", 1<<20))}
		return nil
	})
	s.Together(t.Context(), large, stored, another)
	if st, err := s.Outcome(t.Context(), stored); err != nil || st.Token.Lineage != 1 {
		t.Errorf("stored: lineage %d, %v", st.Token.Lineage, err)
	}
	if _, err := s.Outcome(t.Context(), another); err != nil {
		t.Errorf("another: %v", err)
	}
	if _, err := s.Outcome(t.Context(), large); !tokenstore.IsUnavailable(err) {
		t.Errorf("large: %v", err)
	}
}

// A transaction that hangs before it has the realm's row, and whose callers wait on,
// is overtaken.
func TestTransactionThatHangsIsOvertaken(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	hooks := s.Hook()
	hooks.Patience = hooks.UsualPatience()
	gate, hangs := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(hangs); <-gate })
	hooks.AtBegin(func(context.Context) error {
		select {
		case <-hangs:
		default:
			first()
		}
		return nil
	})
	var work sync.WaitGroup
	work.Go(func() {
		if _, err := save(t.Context(), s, "hangs"); err != nil {
			t.Error(err)
		}
	})
	<-hangs
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := save(ctx, s, "other"); err != nil {
		t.Error(err)
	}
	close(gate)
	work.Wait()
	wantLineage(t, s, "hangs", 1)
	wantLineage(t, s, "other", 1)
}

var errDeadlock = &mysql.MySQLError{Number: 1213, SQLState: [5]byte([]byte("40001"))}

// once is a hook that fails the first time, when it has called do.
func once(err error, do func()) func(context.Context) error {
	isFirst := true
	return func(context.Context) error {
		if !isFirst {
			return nil
		}
		isFirst = false
		do()
		return err
	}
}

// A transaction that is tried again is written once, and decides nothing for those
// who have left meanwhile: nobody would make their calls.
func TestTransactionThatIsTriedAgain(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN())
	hooks := s.Hook()
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	decided := 0
	ops := savings(5)
	gone := sqlstore.NewOperation(keyOf("gone"), func(st *tokenstore.State) error {
		decided++
		st.Save = &realm.Token{Access: "a"}
		return nil
	})
	hooks.AtCommit(once(errDeadlock, func() { s.Leave(gone) }))
	s.Together(t.Context(), append(slices.Clone(ops), gone)...)
	wantSaved(t, s.Store, ops, 1)
	wantLineage(t, s.Store, "gone", 0)
	if st, err := s.Outcome(t.Context(), gone); !errors.Is(err, context.Canceled) || decided != 1 {
		t.Errorf("gone: decided %d times, lineage %d, %v", decided, st.Token.Lineage, err)
	}
	changes, _, err := s.Changes(t.Context(), cursor)
	if err != nil || len(changes) != len(ops) {
		t.Errorf("%d changes, want %d, %v", len(changes), len(ops), err)
	}
}

// Who leaves after the decision and before COMMIT is written with the others.
func TestCallerWhoLeavesBeforeTheCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		ops := savings(2)
		hooks.AtCommit(once(nil, func() { s.Leave(ops[0]) }))
		s.Together(t.Context(), ops...)
		wantSaved(t, s, ops, 1)
	})
}

// A COMMIT without an answer is found out about for all of its operations at once.
func TestUnknownCommitOfSeveral(t *testing.T) {
	m := testserver.MariaDB(t)
	p := newProxy(t, m.Addr())
	s := openMySQL(t, strings.Replace(m.DSN(), m.Addr(), p.Addr().String(), 1))
	hooks := s.Hook()
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	for round, want := range []struct {
		lose   int32
		begins int
	}{{1, 1}, {2, 2}} { // what was not done is done again
		p.lose.Store(want.lose)
		hooks.Begins()
		ops := savings(n)
		s.Together(t.Context(), ops...)
		wantSaved(t, s.Store, ops, int64(round)+1)
		if got := hooks.Begins(); got != want.begins {
			t.Errorf("lost %d: %d transactions, want %d", want.lose, got, want.begins)
		}
		changes, next, err := s.Changes(t.Context(), cursor)
		if err != nil || len(changes) != n {
			t.Errorf("lost %d: %d changes, want %d, %v", want.lose, len(changes), n, err)
		}
		cursor = next
	}
	if p.lost.Load() != 2 {
		t.Errorf("the proxy lost %d: the test proves nothing", p.lost.Load())
	}
}

// Each of as many operations as fit into a transaction sees the claims of those
// before it, and the same time.
func TestClaimsOfManyKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, _ *sqlstore.Hooks) {
		claiming := func(name any, seen *tokenstore.State) sqlstore.Operation {
			return sqlstore.NewOperation(keyOf(name), func(st *tokenstore.State) error {
				*seen = *st
				st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Deadline: st.Now.Add(time.Minute)}
				return nil
			})
		}
		var before tokenstore.State
		s.Together(t.Context(), claiming("before", &before))
		const n = 64
		seen, ops := make([]tokenstore.State, n), make([]sqlstore.Operation, n)
		for i := range n {
			ops[i] = claiming(i, &seen[i])
		}
		s.Together(t.Context(), ops...)
		for i, st := range seen {
			if st.Open != i+1 || !st.Now.Equal(seen[0].Now) || st.Now.Before(before.Now) {
				t.Errorf("%d: %d claims were open at %s, after %s", i, st.Open, st.Now, before.Now)
			}
		}
		if st, err := s.Peek(t.Context(), keyOf("another")); err != nil || st.Open != n+1 {
			t.Errorf("%d claims are open, %v", st.Open, err)
		}
	})
}

// The other nodes are told of what they are to hear, though no row changes.
func TestAnnouncementAlone(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN())
	_, cursor, err := s.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	announce := sqlstore.NewOperation(ref, func(st *tokenstore.State) error { st.Announce = true; return nil })
	s.Together(t.Context(), announce)
	if _, err := s.Outcome(t.Context(), announce); err != nil {
		t.Fatal(err)
	}
	changes, _, err := s.Changes(t.Context(), cursor)
	if err != nil || len(changes) != 1 || changes[0].Ref != ref {
		t.Errorf("%v, %v", changes, err)
	}
}

// What many large tokens need is more than a server takes in one packet.
func TestLargeTokensTogether(t *testing.T) {
	s := openMySQL(t, testserver.MariaDB(t).DSN()).Store
	var ops []sqlstore.Operation
	for i := range 24 { // 24 MiB; the server takes 16
		ops = append(ops, sqlstore.NewOperation(keyOf(i), func(st *tokenstore.State) error {
			st.Save = &realm.Token{Access: realm.Hidden(strings.Repeat("a", 1<<20))}
			return nil
		}))
	}
	s.Together(t.Context(), ops...)
	wantSaved(t, s, ops, 1)
}

// Close waits until a transaction that runs has ended.
func TestCloseWaitsForATransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		begun, ended := make(chan struct{}), make(chan struct{})
		hooks.AtCommit(func(ctx context.Context) error {
			close(begun)
			<-ctx.Done() // Close cancels it
			runtime.Gosched()
			close(ended)
			return ctx.Err()
		})
		var work sync.WaitGroup
		work.Go(func() {
			// Its caller has not left.
			if _, err := save(t.Context(), s, "0"); !tokenstore.IsUnavailable(err) || errors.Is(err, context.Canceled) {
				t.Errorf("the one that ran: %v", err)
			}
		})
		<-begun
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		select {
		case <-ended:
		default:
			t.Error("closed while the transaction runs")
		}
		work.Wait()
		if _, err := save(t.Context(), s, "0"); !tokenstore.IsUnavailable(err) {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Close does not wait for ever for a transaction that does not end.
func TestCloseLeavesATransactionThatHangs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		s.CloseAfter(time.Millisecond)
		begun, gate := make(chan struct{}), make(chan struct{})
		hooks.AtBegin(func(context.Context) error {
			close(begun)
			<-gate
			return errors.New("the server is gone")
		})
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := save(t.Context(), s, "0"); !tokenstore.IsUnavailable(err) {
				t.Errorf("the one that hung: %v", err)
			}
		})
		<-begun
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("Close waits for a transaction that hangs")
		}
		close(gate)
		work.Wait()
	})
}

// Each key is looked up by itself, however many there are and whatever the tables
// hold: a scan would hold the rows of everybody else.
func TestKeysAreLookedUp(t *testing.T) {
	m := testserver.MariaDB(t)
	s := openMySQL(t, m.DSN()).Store
	db := s.WritingPool() // with its settings
	fill := func(from, to int) {
		execute(t, db, fmt.Sprintf("INSERT INTO tokens_claims (realm, ref_key, state, version) SELECT 'wx', seq, '{}', 1 FROM seq_%d_to_%d", from, to))
		execute(t, db, fmt.Sprintf("INSERT INTO tokens_tokens (realm, ref_key, lineage) SELECT 'wx', seq, 1 FROM seq_%d_to_%d", from, to))
	}
	from := 1
	for _, rows := range []int{3, 100_000} {
		fill(from, rows)
		from = rows + 1
		for _, analyzed := range []bool{false, true} {
			if analyzed {
				execute(t, db, "ANALYZE TABLE tokens_claims, tokens_tokens")
			}
			for _, keys := range []int{1, 5, 50} {
				names := make([]string, keys)
				for i := range names {
					names[i] = fmt.Sprint(i + 1)
				}
				query, args := s.LockKeysQuery("wx", names, true)
				access := explain(t, db, query, args)
				for _, table := range []string{"c", "t"} {
					if by := access[table]; by != "eq_ref" && by != "const" {
						t.Errorf("%d rows, %d keys, analyzed %v: %s is read by %q", rows, keys, analyzed, table, by)
					}
				}
			}
		}
	}
}

// explain says by which kind of access each table of a query is read.
func explain(t *testing.T, db *sql.DB, query string, args []any) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	access := map[string]string{}
	for rows.Next() {
		cells := make([]sql.NullString, len(columns))
		dest := make([]any, len(columns))
		for i := range cells {
			dest[i] = &cells[i]
		}
		if err := rows.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		access[cells[slices.Index(columns, "table")].String] = cells[slices.Index(columns, "type")].String
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return access
}

// Whoever waits for a COMMIT does not wait for what is old to be cleared away, and
// neither do the operations behind it. Close ends that.
func TestNobodyWaitsForClearingAway(t *testing.T) {
	onBoth(t, func(t *testing.T, s *sqlstore.Store, hooks *sqlstore.Hooks) {
		var begun, ended atomic.Int64
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		hooks.Afterwards(func(open context.Context) error {
			begun.Add(1)
			select {
			case <-open.Done():
				ended.Add(1)
			case <-ctx.Done(): // the test has failed
			}
			return nil
		})
		for i := range 2 {
			if _, err := save(ctx, s, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
			wantLineage(t, s, fmt.Sprint(i), 1)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if begun.Load() != 2 || ended.Load() != 2 {
			t.Errorf("cleared away %d times, %d of them ended by Close; want 2", begun.Load(), ended.Load())
		}
	})
}
