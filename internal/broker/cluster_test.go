package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// pair is two nodes on one store, with one clock.
func pair(t *testing.T, change func(*realm.Config)) (a, b *node) {
	t.Helper()
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	a, b = nodeOn(t, newStore(t, path, c), p, c), nodeOn(t, newStore(t, path, c), p, c)
	config := a.wechat()
	if change != nil {
		change(&config)
	}
	a.saveRealm(t, "wx", config)
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	return a, b
}

// Two nodes want a token at the same time: one fetches, the other waits for it
// and hears of it by looking, since nothing wakes it here.
func TestOneFetchForTwoNodes(t *testing.T) {
	a, b := pair(t, nil)
	gate, reached := make(chan struct{}), make(chan struct{}, 2)
	a.provider.then(blocks(gate, reached, gives(7200)))
	got := make(chan realm.Hidden, 40)
	for i := range 40 {
		n := []*node{a, b}[i%2]
		go func() {
			lease, err := n.Token(t.Context(), wx)
			if err != nil {
				t.Error(err)
				lease = &realm.Lease{}
			}
			got <- lease.Access
		}()
	}
	<-reached
	close(gate)
	for range 40 {
		if access := <-got; access != "T-1-app" {
			t.Errorf("got %q", access.Reveal())
		}
	}
	if calls := a.provider.calls.Load(); calls != 1 {
		t.Errorf("%d calls to the provider", calls)
	}
}

// A pause that the provider asks for holds for every key of the realm, and for
// every node.
func TestRetryAfterHoldsTheRealm(t *testing.T) {
	a, b := pair(t, nil)
	other := realm.Ref{Realm: "wx", Key: "other"}
	a.saveSecret(t, other, "key_1", "app2", "key_2", "s3cret-value")
	a.provider.then(fails(http.StatusTooManyRequests, "Retry-After", "7"))
	_, err := a.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
	for range 6 {
		for _, n := range []*node{a, b} {
			for _, ref := range []realm.Ref{wx, other} {
				_, err := n.Token(t.Context(), ref)
				var e *realm.Error
				if !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > 7*time.Second {
					t.Fatalf("%v: %v", ref, err)
				}
			}
		}
		if calls := a.provider.calls.Load(); calls != 1 {
			t.Fatalf("%d calls within the pause", calls)
		}
		a.clock.advance(800 * time.Millisecond)
	}
	a.clock.advance(3 * time.Second)
	a.provider.then(gives(7200))
	want(t, b.View, other, "T-2-app2", realm.FromUpstream)
}

// A provider that fails is asked by the back-off, however many ask for it on
// however many nodes and keys; only one call at a time tries.
func TestStormOnAProviderThatFails(t *testing.T) {
	a, b := pair(t, nil)
	refs := make([]realm.Ref, 10)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}
		a.saveSecret(t, refs[i], "key_1", fmt.Sprint("app-", i), "key_2", "s3cret-value")
	}
	a.provider.then(fails(http.StatusInternalServerError))
	for range 60 {
		var storm sync.WaitGroup
		for i := range 200 {
			storm.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				if _, err := []*node{a, b}[i%2].Token(ctx, refs[i%10]); err == nil {
					t.Error("the provider is down")
				}
			})
		}
		storm.Wait()
		a.clock.advance(time.Second)
	}
	// 1 + the doublings up to the cap of a minute; the clock of the test also
	// moves with every short wait of a flight.
	if calls := a.provider.calls.Load(); calls > 40 {
		t.Errorf("%d calls to the provider", calls)
	}
}

// A token endpoint that hangs costs those nothing who hold a live token; who
// waits for it leaves when they want.
func TestEndpointThatHangs(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	gate, reached := make(chan struct{}), make(chan struct{}, 2)
	n.provider.then(blocks(gate, reached, gives(7200)))
	defer close(gate)
	n.clock.advance(6700 * time.Second)
	for range 1000 {
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
	}
	<-reached // the renewal hangs
	for range 1000 {
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
	}
	n.saveSecret(t, realm.Ref{Realm: "wx", Key: "cold"}, "key_1", "cold", "key_2", "s3cret-value")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	if _, err := n.Token(ctx, realm.Ref{Realm: "wx", Key: "cold"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left: %v", err)
	}
}

// The claim of a process that died runs out, and another node takes over; what
// the dead one had sent is not known, and is not sent again while the old token
// lives.
func TestTakeOver(t *testing.T) {
	a, b := pair(t, func(c *realm.Config) {
		c.Limits.Timeout = realm.Duration(time.Second)
	})
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	a.provider.then(blocks(gate, reached, gives(7200)))
	defer close(gate)
	go func() { _, _ = a.Token(context.WithoutCancel(t.Context()), wx) }()
	<-reached
	a.provider.then(gives(7200))
	a.clock.advance(time.Second + claim.Margin)
	want(t, b.View, wx, "T-2-app", realm.FromUpstream)
}

// The last moment of a token whose provider gives the same one until its end:
// nobody is given it once more, and the provider is asked once.
func TestSameTokenAtItsEnd(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Semantics = realm.SemanticsSame
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	end := n.clock.now().Add(2 * time.Hour)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, _ int64) {
		number, left := int64(1), end.Sub(n.clock.now())
		if left <= 0 {
			number, left = 2, 2*time.Hour
		}
		gives(int(left/time.Second))(w, r, number)
	})
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(2*time.Hour - 1200*time.Millisecond)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.clock.advance(700 * time.Millisecond)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	if calls := n.provider.calls.Load(); calls != 2 {
		t.Errorf("%d calls to the provider, want 2", calls)
	}
}

// A provider of which nobody said that it gives the same token again is asked
// once ahead of the end, and then not before it.
func TestSameTokenIsLearned(t *testing.T) {
	n := ready(t)
	end := n.clock.now().Add(2 * time.Hour)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, _ int64) {
		gives(int(end.Sub(n.clock.now())/time.Second))(w, r, 1)
	})
	n.Drive()
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	for range 118 {
		n.turns(t, time.Minute, 10*time.Second)
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
	}
	if calls := n.provider.calls.Load(); calls != 2 {
		t.Errorf("%d calls to the provider, want 2", calls)
	}
}
