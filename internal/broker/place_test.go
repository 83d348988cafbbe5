package broker

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// orderedStore stops the second Coordinate of the first key, its outcome, once that
// has its place in the order, until the other key asks for its claim.
type orderedStore struct {
	tokenstore.Store
	first realm.Ref
	// before is how many flights wait for a place when the outcome is about to get
	// its own, after when it has it; waits counts them.
	before, after int
	waits         func() int

	mu       sync.Mutex
	asked    int           // for the first key
	others   chan struct{} // closed when another key asks
	isClosed bool
	saved    chan struct{} // closed when the outcome is saved
}

func (s *orderedStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	s.mu.Lock()
	isOutcome := false
	if ref == s.first {
		s.asked++
		isOutcome = s.asked == 2
	} else if !s.isClosed {
		s.isClosed = true
		close(s.others)
	}
	s.mu.Unlock()
	switch {
	case isOutcome:
		defer close(s.saved)
		s.before = s.waits()
		tokenstore.Queued(ctx)
		s.after = s.waits()
		select {
		case <-s.others:
		case <-ctx.Done():
			return tokenstore.State{}, ctx.Err()
		}
	case ref != s.first:
		<-s.saved // it is decided on afterwards
	}
	return s.Store.Coordinate(ctx, ref, decide)
}

// The place among the realm's calls is free for the next one as soon as the outcome
// of a call has its place in the store's order, and not only when it is durable. It is
// not free before: the claim of the next one would be decided on as long as the one
// of this call is open, refused, and asked for again later.
func TestPlaceIsFreeWhileTheOutcomeIsSaved(t *testing.T) {
	c := newClock()
	store := &orderedStore{
		Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), first: wx,
		others: make(chan struct{}), saved: make(chan struct{}),
	}
	provider := newProvider(t)
	reached, gate := make(chan struct{}, 1), make(chan struct{})
	provider.then(blocks(gate, reached, gives(7200)))
	n := nodeOn(t, store, provider, c)
	config := n.wechat()
	config.Limits.Concurrency = 1
	n.saveRealm(t, "wx", config)
	other := realm.Ref{Realm: "wx", Key: "other"}
	for _, ref := range []realm.Ref{wx, other} {
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
	}

	var work sync.WaitGroup
	fetch := func(ref realm.Ref) {
		work.Go(func() {
			if _, err := n.Token(t.Context(), ref); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
		})
	}
	fetch(wx)
	<-reached // it has the only place
	store.waits = func() int {
		n.pool.schedule.mu.Lock()
		defer n.pool.schedule.mu.Unlock()
		return len(n.pool.schedule.queueLocked("wx").callers)
	}
	fetch(other)
	eventually(t, "the other key waits for a place", func() bool { return store.waits() == 1 })
	close(gate)
	work.Wait()
	if store.before != 1 || store.after != 0 {
		t.Errorf("%d flights wait before the outcome has its place in the order, and %d after; want 1 and 0", store.before, store.after)
	}
}
