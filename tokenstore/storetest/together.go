package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// together is decisions that come while another one is being made: a store may
// write them in one transaction.
type together struct {
	gate   chan struct{} // closed when the first decision may end
	called sync.WaitGroup
	work   sync.WaitGroup
}

// testTogether: each of the decisions that are written together has its own
// outcome.
func testTogether(t *testing.T, b Backend) {
	const good = 12
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	key := func(name any) realm.Ref { return realm.Ref{Realm: "wx", Key: fmt.Sprint(name)} }
	coordinate(t, s, key("damaged"), func(st *tokenstore.State) { st.Claim.Failure.Count = 1 })
	coordinate(t, s, key("refused"), func(st *tokenstore.State) { st.Claim.Failure.Count = 1 })
	if !b.Unsealed {
		db.Alter(t, "UPDATE tokens_claims SET seal = ? WHERE ref_key = ?", []byte("short"), []byte("damaged"))
	}

	all := hold(t, s, key("first"))
	var mu sync.Mutex
	var open []int
	saved := make([]tokenstore.State, good)
	count := func(st *tokenstore.State) { st.Budget.Failure.Count++ }
	for i := range good {
		all.add(func() {
			var err error
			saved[i], err = s.Coordinate(t.Context(), key(i), func(st *tokenstore.State) error {
				mu.Lock()
				defer mu.Unlock()
				open = append(open, st.Open)
				count(st)
				child := token(i)
				st.Save = &child
				st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Node: tokenstore.NodeID(), Deadline: st.Now.Add(time.Minute)}
				return nil
			})
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	lineages := make([]int64, 2)
	for i := range lineages { // two for one key
		all.add(func() {
			st, err := s.Coordinate(t.Context(), key("twice"), func(st *tokenstore.State) error {
				count(st)
				child := token(i)
				st.Save, st.Claim.Failure.Count = &child, st.Claim.Failure.Count+1
				return nil
			})
			if err != nil || int64(st.Claim.Failure.Count) != st.Token.Lineage {
				t.Errorf("twice: after %d decisions lineage %d, %v", st.Claim.Failure.Count, st.Token.Lineage, err)
			}
			lineages[i] = st.Token.Lineage
		})
	}
	refusal := errors.New("not now")
	all.add(func() {
		_, err := s.Coordinate(t.Context(), key("refused"), func(st *tokenstore.State) error {
			count(st)
			st.Claim.Failure.Count = 99
			return refusal
		})
		if err != refusal { //nolint:errorlint // as it is, not wrapped
			t.Errorf("refused: %v", err)
		}
	})
	all.add(func() {
		defer func() {
			if got := recover(); got != "in the decision" {
				t.Errorf("the panic was %v", got)
			}
		}()
		_, _ = s.Coordinate(t.Context(), key("panics"), func(st *tokenstore.State) error {
			count(st)
			panic("in the decision")
		})
	})
	all.add(func() {
		_, err := s.Coordinate(t.Context(), key("damaged"), func(*tokenstore.State) error { return nil })
		if !b.Unsealed && !errors.Is(err, tokenstore.ErrDamaged) {
			t.Errorf("damaged: %v", err)
		}
	})
	gone, leave := context.WithCancel(t.Context())
	all.add(func() {
		_, err := s.Coordinate(gone, key("gone"), func(st *tokenstore.State) error { count(st); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("gone: %v", err)
		}
	})
	leave()
	all.release()

	slices.Sort(open)
	slices.Sort(lineages)
	for i := range good {
		got := peek(t, s, key(i))
		if got.Token != saved[i].Token || got.Token.Lineage != 1 || got.Claim.ID != saved[i].Claim.ID || open[i] != i {
			t.Errorf("%d: got lineage %d and claim %s of %s; %d claims were open", i, got.Token.Lineage, got.Claim.ID, saved[i].Claim.ID, open[i])
		}
	}
	if !slices.Equal(lineages, []int64{1, 2}) || peek(t, s, key("twice")).Token.Lineage != 2 {
		t.Errorf("twice: the lineages are %v", lineages)
	}
	if got := peek(t, s, key("refused")); got.Claim.Failure.Count != 1 || got.Budget.Failure.Count != good+2 || got.Open != good {
		t.Errorf("%d decisions counted, %d claims open, and of the refused one %d is written", got.Budget.Failure.Count, got.Open, got.Claim.Failure.Count)
	}
}

// hold begins a decision that does not end before release.
func hold(t *testing.T, s tokenstore.Store, ref realm.Ref) *together {
	t.Helper()
	all := &together{gate: make(chan struct{})}
	begun := make(chan struct{})
	all.work.Go(func() {
		_, err := s.Coordinate(t.Context(), ref, func(*tokenstore.State) error {
			select {
			case <-begun:
			default:
				close(begun)
			}
			<-all.gate
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	return all
}

// add runs do beside the others.
func (all *together) add(do func()) {
	all.called.Add(1)
	all.work.Go(func() {
		all.called.Done()
		do()
	})
}

// release lets the first decision end, once all others have begun, and waits for
// all.
func (all *together) release() {
	all.called.Wait()
	close(all.gate)
	all.work.Wait()
}
