package broker

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// hanging is a store that can hang like a server that was stopped: what is
// asked of it does not return, and does not look at its context.
type hanging struct {
	tokenstore.Store
	mu   sync.Mutex
	gate chan struct{} // closed: it answers
	only string        // the realm whose rows are locked; "" for everything
	// waits counts those who had to wait, but for the probes in the background.
	waits atomic.Int64
}

func newHanging(s tokenstore.Store) *hanging {
	h := &hanging{Store: s, gate: make(chan struct{})}
	close(h.gate)
	return h
}

func (h *hanging) stop(only string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gate, h.only = make(chan struct{}), only
}

func (h *hanging) goOn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.gate)
}

func (h *hanging) wait(writes bool, id string) {
	h.mu.Lock()
	gate, isOpen := h.gate, h.only != "" && (!writes || h.only != id)
	h.mu.Unlock()
	if isOpen {
		return
	}
	select {
	case <-gate:
	default:
		h.waits.Add(1)
		<-gate
	}
}

func (h *hanging) Open(ctx context.Context) error {
	h.wait(false, "")
	return h.Store.Open(ctx)
}

func (h *hanging) Ping(ctx context.Context) error {
	h.mu.Lock()
	gate, isOpen := h.gate, h.only != ""
	h.mu.Unlock()
	if !isOpen {
		<-gate
	}
	return h.Store.Ping(ctx)
}

func (h *hanging) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	h.wait(false, "")
	return h.Store.Secret(ctx, ref)
}

func (h *hanging) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	h.wait(false, "")
	return h.Store.Token(ctx, ref)
}

func (h *hanging) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	h.wait(true, ref.Realm)
	return h.Store.Coordinate(ctx, ref, decide)
}

// A database that hangs made callers wait for it in each step on their way: 69 s
// at the end of a token. A caller waits once, those after it do not wait, and
// the provider is asked without a claim, as if the database were away. When it
// answers again, everything goes on with it.
func TestCallersWaitOnceForAStoreThatHangs(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	h := newHanging(newStore(t, path, c))
	n := nodeOn(t, h, p, c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.setPatience(short)
	h.stop("")
	defer func() {
		n.setPatience(longPatience)
		h.goOn()
		eventually(t, "the store is used again", func() bool {
			return !isSilent(n, "")
		})
	}()
	c.advance(2 * time.Hour) // the token ends
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	if waits := h.waits.Load(); waits != 1 {
		t.Errorf("the first caller waited %d times", waits)
	}
	for range 100 {
		want(t, n.View, wx, "T-2-app", realm.FromMemory)
		c.advance(storeRetry) // the token is to be saved
	}
	if waits := h.waits.Load(); waits != 1 {
		t.Errorf("the callers after it waited %d times", waits-1)
	}
}

// A lock on the rows of one realm that is never given up stops that realm, and
// no other.
func TestLockThatIsNeverGivenUp(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	h := newHanging(newStore(t, path, c))
	n := nodeOn(t, h, p, c)
	other := realm.Ref{Realm: "other", Key: "k"}
	for _, ref := range []realm.Ref{wx, other} {
		n.saveRealm(t, ref.Realm, n.wechat())
		n.saveSecret(t, ref, "key_1", "app-"+ref.Realm, "key_2", "s3cret-value")
	}
	n.setPatience(defaultPatience) // the reads on the way are answered
	h.stop("wx")
	defer h.goOn()
	want(t, n.View, wx, "T-1-app-wx", realm.FromUpstream)
	n.setPatience(longPatience)
	waits := h.waits.Load() // its own, and the probe's
	if s := n.Status(t.Context()); s.WithoutClaims != 1 {
		t.Errorf("%d keys are served without claims", s.WithoutClaims)
	}
	want(t, n.View, other, "T-2-app-other", realm.FromUpstream)
	if waits < 1 || isSilent(n, other.Realm) {
		t.Error("another realm is taken to be locked")
	}
	if s, err := n.pool.store.Peek(t.Context(), other); err != nil || s.Token.Lineage != 1 {
		t.Errorf("the other realm's token is not saved: %v", err)
	}
}

func isSilent(n *node, part string) bool {
	_, ok := n.pool.callers.silentSince(part)
	return ok
}

// short is the patience of tests whose store does not answer at all.
const short = 10 * time.Millisecond

// wantImpatient asks for a token and fails if the store is waited for more than
// once.
func wantImpatient(t *testing.T, n *node, h *hanging, ref realm.Ref) {
	t.Helper()
	if _, err := n.Token(t.Context(), ref); !tokenstore.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	if waits := h.waits.Load(); waits != 1 {
		t.Errorf("waited %d times", waits)
	}
}

// A store that hangs when it is opened made callers wait five times as long.
func TestOpeningIsNotWaitedForLonger(t *testing.T) {
	c := newClock()
	h := newHanging(newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c))
	n := nodeOn(t, h, newProvider(t), c)
	n.setPatience(short)
	h.stop("")
	defer h.goOn()
	wantImpatient(t, n, h, wx)
}

// hangingLogin hangs from the moment that an authorization begins.
type hangingLogin struct{ *hanging }

func (h hangingLogin) BeginAuthorization(ctx context.Context, a tokenstore.Authorization, life time.Duration) error {
	h.stop("")
	h.wait(false, "")
	return h.Store.BeginAuthorization(ctx, a, life)
}

// The same of a store that hangs while a login begins.
func TestBeginOfALoginIsNotWaitedForLonger(t *testing.T) {
	s, c := newCodeServer(t), newClock()
	h := hangingLogin{newHanging(newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c))}
	n := nodeOn(t, h, nil, c)
	n.saveRealm(t, jd.Realm, s.config(true))
	n.saveSecret(t, jd, "client_id", "app")
	defer h.goOn()
	n.setPatience(defaultPatience) // what comes before it is answered
	wantImpatient(t, n, h.hanging, jd)
}

// slow is a store that answers, but slowly, by the clock of a test. What would take
// longer than the caller waits is answered when he has gone.
type slow struct {
	tokenstore.Store
	takes atomic.Int64
	clock *clock
}

func (s *slow) wait(ctx context.Context) {
	takes := time.Duration(s.takes.Load())
	if b, _ := ctx.Value(budgetKey{}).(*budget); b.of(longPatience) < takes {
		<-ctx.Done()
		return
	}
	s.clock.advance(takes)
}

func (s *slow) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	s.wait(ctx)
	return s.Store.Secret(ctx, ref)
}

func (s *slow) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	s.wait(ctx)
	return s.Store.Token(ctx, ref)
}

func (s *slow) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	s.wait(ctx)
	return s.Store.Coordinate(ctx, ref, decide)
}

// The steps of a caller's way together take no longer than patience, however
// often the store just answers in time.
func TestStepsShareTheirPatience(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	s := &slow{Store: newStore(t, path, c), clock: newClock()}
	n := nodeOn(t, s, p, c)
	n.pool.callers.now = s.clock.now
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	s.takes.Store(int64(longPatience/2 - time.Millisecond)) // two steps fit, the third does not
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if s := n.Status(t.Context()); s.WithoutClaims != 1 {
		t.Errorf("the third step was waited for: %d keys are served without claims", s.WithoutClaims)
	}
}
