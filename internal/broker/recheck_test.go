package broker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ledger remembers which token the provider of a rotate realm issued last: it
// is the only one that lives.
type ledger struct{ last atomic.Pointer[realm.Lease] }

// renews has node a replace the token, and notes the new one.
func (l *ledger) renews(t *testing.T, a *node) {
	t.Helper()
	lease, err := a.Flush(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	l.last.Store(lease)
}

// isLive reports whether node b hands out the token that lives.
func (l *ledger) isLive(t *testing.T, b *node) bool {
	t.Helper()
	lease, err := b.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	return lease.Access == l.last.Load().Access
}

// The other node handed out the predecessor once more after it had heard of the
// new token: memory was served first, and compared afterwards. A token that its
// successor ends is dead then, also past an overlap.
func TestNoDeadPredecessorAfterTheMessage(t *testing.T) {
	for name, overlap := range map[string]time.Duration{"at once": 0, "after an overlap": time.Second} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, func(c *realm.Config) {
				c.Semantics, c.Overlap = realm.SemanticsRotate, realm.Duration(overlap)
			})
			var l ledger
			dead := 0
			for range 100 {
				l.renews(t, a)
				b.pool.storeChanged(wx)
				a.clock.advance(2 * overlap)
				for range 100 {
					if !l.isLive(t, b) {
						dead++
					}
				}
			}
			if dead > 0 {
				t.Errorf("%d dead tokens of 10,000", dead)
			}
		})
	}
}

// The same with what really brings the message: once the poll of the feed has
// come, no dead token is handed out.
func TestNoDeadPredecessorAfterThePoll(t *testing.T) {
	db := testserver.MariaDB(t)
	p, c := newProvider(t), newClock()
	a, b := nodeOn(t, mysqlStore(t, db), p, c), nodeOn(t, mysqlStore(t, db), p, c)
	config := a.wechat()
	config.Semantics = realm.SemanticsRotate
	a.saveRealm(t, "wx", config)
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	var l ledger
	l.renews(t, a)
	if !l.isLive(t, b) {
		t.Fatal("b has another token")
	}
	feed, _ := b.pool.store.(tokenstore.ChangeFeed)
	_, cursor, err := feed.Changes(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		l.renews(t, a)
		if cursor, err = b.pool.poll(t.Context(), feed, cursor); err != nil {
			t.Fatal(err)
		}
		if !l.isLive(t, b) {
			t.Error("a dead token after the poll")
		}
	}
}

// gated is a store whose reads of tokens wait for a gate, after they were made.
type gated struct {
	tokenstore.Store
	gate    atomic.Pointer[chan struct{}] // nil: they do not wait
	reached chan struct{}
}

func (s *gated) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	t, source, err := s.Store.Token(ctx, ref)
	if gate := s.gate.Load(); gate != nil {
		s.reached <- struct{}{}
		<-*gate
	}
	return t, source, err
}

// While one caller compared memory with the store, all others were served the
// token that was suspected; and whoever joined a comparison that had read the
// store before the message was served what that had found.
func TestNoDeadPredecessorDuringTheComparison(t *testing.T) {
	for name, isOld := range map[string]bool{"a comparison is under way": false, "it began before the message": true} {
		t.Run(name, func(t *testing.T) {
			a, other := pair(t, func(c *realm.Config) { c.Semantics = realm.SemanticsRotate })
			store := &gated{Store: other.pool.store, reached: make(chan struct{}, 100)}
			b := nodeOn(t, store, a.provider, a.clock)
			var l ledger
			l.renews(t, a)
			if !l.isLive(t, b) {
				t.Fatal("b has another token")
			}
			gate := make(chan struct{})
			if !isOld {
				l.renews(t, a)
			}
			b.pool.storeChanged(wx)
			store.gate.Store(&gate)
			first := make(chan struct{})
			go func() {
				defer close(first)
				_, _ = b.Token(t.Context(), wx)
			}()
			<-store.reached
			if isOld {
				l.renews(t, a)
				b.pool.storeChanged(wx)
			}
			served := make(chan realm.Hidden, 10)
			for range cap(served) {
				go func() {
					lease, err := b.Token(t.Context(), wx)
					if err != nil {
						t.Error(err)
						served <- ""
						return
					}
					served <- lease.Access
				}()
			}
			time.Sleep(20 * time.Millisecond) // the callers wait by now, or were served
			store.gate.Store(nil)
			close(gate)
			<-first
			for range cap(served) {
				if token := <-served; token != l.last.Load().Access {
					t.Errorf("a dead token was served: %q", token.Reveal())
				}
			}
		})
	}
}

// deaf is a store whose answers can be held up: no node hears anything then.
type deaf struct {
	tokenstore.Store
	fails atomic.Bool
	reads atomic.Int64
}

var errDeaf = errors.Join(tokenstore.ErrUnavailable, errors.New("no connection"))

func (s *deaf) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	s.reads.Add(1)
	if s.fails.Load() {
		return realm.Token{}, 0, errDeaf
	}
	return s.Store.Token(ctx, ref)
}

// A node that hears nothing of the others (its process was stopped, or the feed
// fails) asks the store before it serves a token that another node may have
// ended. If the store does not answer either, the token is served to its end,
// and the status says so.
func TestDeafNodeAsksTheStore(t *testing.T) {
	a, other := pair(t, func(c *realm.Config) { c.Semantics = realm.SemanticsRotate })
	store := &deaf{Store: other.pool.store}
	b := nodeOn(t, store, a.provider, a.clock)
	b.pool.hears(a.clock.now())
	var l ledger
	l.renews(t, a)
	if !l.isLive(t, b) {
		t.Fatal("b has another token")
	}
	before := store.reads.Load()
	for range 100 {
		l.isLive(t, b)
	}
	if n := store.reads.Load() - before; n != 0 {
		t.Fatalf("a node that hears asked the store %d times", n)
	}
	l.renews(t, a)
	if l.isLive(t, b) {
		t.Fatal("the test shows nothing: b had heard of it")
	}
	a.clock.advance(hearingLasts)
	if !l.isLive(t, b) {
		t.Error("a deaf node serves a dead token and does not ask")
	}
	store.fails.Store(true)
	lease, err := b.Token(t.Context(), wx)
	if err != nil || lease.Access != l.last.Load().Access {
		t.Errorf("without the store: %v", err)
	}
	if note := noteOf(t, b); !strings.Contains(note, "does not hear of the other nodes") {
		t.Errorf("the status says %q", note)
	}
	store.fails.Store(false)
	b.pool.hears(a.clock.now())
	if note := noteOf(t, b); note != "" {
		t.Errorf("the status of a node that hears says %q", note)
	}
}

func noteOf(t *testing.T, n *node) string {
	t.Helper()
	for _, s := range n.Status(t.Context()).Tokens {
		if s.Realm == wx.Realm && s.Key == wx.Key {
			return s.Note
		}
	}
	t.Fatal("the status does not know the token")
	return ""
}

// heldUp is a store whose reads of tokens can be held up.
type heldUp struct {
	tokenstore.Store
	gate    chan struct{} // nil: nothing is held up
	reached chan struct{}
}

func (s *heldUp) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	token, source, err := s.Store.Token(ctx, ref)
	if s.gate != nil {
		s.reached <- struct{}{}
		<-s.gate
	}
	return token, source, err
}

// All callers wait for the comparison, and not only the first: the others got
// the dead predecessor while it was under way. And what is heard during the
// comparison is compared, too.
func TestNoDeadPredecessorDuringAComparison(t *testing.T) {
	a, other := pair(t, func(c *realm.Config) { c.Semantics = realm.SemanticsRotate })
	store := &heldUp{Store: other.pool.store, reached: make(chan struct{}, 100)}
	b := nodeOn(t, store, a.provider, a.clock)
	var l ledger
	l.renews(t, a)
	if !l.isLive(t, b) {
		t.Fatal("b has another token")
	}
	l.renews(t, a)
	gate := make(chan struct{})
	store.gate = gate
	b.pool.storeChanged(wx)
	got := make(chan realm.Hidden, 20)
	caller := func() {
		lease, err := b.Token(t.Context(), wx)
		if err != nil {
			t.Error(err)
			lease = new(realm.Lease)
		}
		got <- lease.Access
	}
	go caller()
	<-store.reached // the comparison has read the second token
	l.renews(t, a)
	b.pool.storeChanged(wx)
	for range cap(got) - 1 {
		go caller()
	}
	select {
	case access := <-got:
		t.Errorf("a caller was served %q during the comparison", access.Reveal())
		got <- access
	case <-store.reached: // or the next comparison has begun already
	case <-time.After(100 * time.Millisecond):
	}
	close(gate)
	for range cap(got) {
		if access := <-got; access != l.last.Load().Access {
			t.Errorf("a caller got %q, the live token is %q", access.Reveal(), l.last.Load().Access.Reveal())
		}
	}
}
