package broker

import (
	"context"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// faulty is a real store that can be made to fail.
type faulty struct {
	tokenstore.Store
	unwritable atomic.Bool // nothing about tokens can be written
	unsavable  atomic.Bool // claims can be written, and tokens cannot be saved
	unreadable atomic.Bool // secrets cannot be read
	hangs      atomic.Bool // realms are never read to the end
	shut       atomic.Bool // it cannot be opened
	hanging    atomic.Int32
}

func (s *faulty) Open(ctx context.Context) error {
	if s.shut.Load() {
		return tokenstore.ErrUnavailable
	}
	return s.Store.Open(ctx)
}

func (s *faulty) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	if s.unwritable.Load() {
		return tokenstore.State{}, tokenstore.ErrUnavailable
	}
	return s.Store.Coordinate(ctx, ref, func(state *tokenstore.State) error {
		if err := decide(state); err != nil || state.Save == nil || !s.unsavable.Load() {
			return err
		}
		return tokenstore.ErrUnavailable
	})
}

func (s *faulty) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	if s.unreadable.Load() {
		return realm.Secret{}, tokenstore.ErrUnavailable
	}
	return s.Store.Secret(ctx, ref)
}

func (s *faulty) Realm(ctx context.Context, id string) (realm.Realm, error) {
	if s.hangs.Load() {
		s.hanging.Add(1)
		defer s.hanging.Add(-1)
		<-ctx.Done()
		return realm.Realm{}, ctx.Err()
	}
	return s.Store.Realm(ctx, id)
}

func readyWithFaults(t *testing.T) (*node, *faulty) {
	t.Helper()
	c := newClock()
	store := &faulty{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	return n, store
}

// idle waits until no flight of the entry is under way.
func (n *node) idle(t *testing.T) {
	t.Helper()
	eventually(t, "the flight lands", func() bool {
		e, ok := n.pool.entries.Load(wx)
		if !ok {
			return true
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.flightLocked() == nil
	})
}

// A store that can be read and not written (a full disk, a read-only server)
// costs one call to the provider and not one for each request: this node asks
// for itself, and the token is kept until it can be saved.
func TestUnsavedTokenIsKept(t *testing.T) {
	for name, damage := range map[string]func(*faulty, bool){
		"no claim can be written": func(s *faulty, on bool) { s.unwritable.Store(on) },
		"no token can be saved":   func(s *faulty, on bool) { s.unsavable.Store(on) },
	} {
		t.Run(name, func(t *testing.T) {
			n, store := readyWithFaults(t)
			damage(store, true)
			want(t, n.View, wx, "T-1-app", realm.FromUpstream)
			for range 20 {
				want(t, n.View, wx, "T-1-app", realm.FromMemory)
				n.idle(t)
			}
			if status := n.Status(t.Context()).Tokens[0]; status.LastError == "" {
				t.Errorf("the status hides it: %+v", status)
			}
			damage(store, false)
			eventually(t, "the token is saved", func() bool {
				n.clock.advance(time.Second)
				_ = n.has(t, "T-1-app")
				stored, _, err := store.Token(t.Context(), wx)
				return err == nil && stored.Access == "T-1-app"
			})
			n.idle(t)
			if status := n.Status(t.Context()).Tokens[0]; status.LastError != "" {
				t.Errorf("the status still complains: %+v", status)
			}
			if calls := n.provider.calls.Load(); calls != 1 {
				t.Fatalf("%d calls to the provider, want 1", calls)
			}
		})
	}
}

// A node that starts while the database is away serves what its configuration
// defines; what it fetched is saved when the database is back.
func TestStartWithoutTheStore(t *testing.T) {
	c := newClock()
	store := &faulty{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	store.shut.Store(true)
	n := nodeOn(t, store, newProvider(t), c)
	v := n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: n.wechat()}, Secrets: []realm.Secret{{
		Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"},
	}}})
	want(t, v, wx, "T-1-app", realm.FromUpstream)
	want(t, v, wx, "T-1-app", realm.FromMemory)
	store.shut.Store(false)
	eventually(t, "the token is saved", func() bool {
		c.advance(time.Second)
		_, _ = v.Token(t.Context(), wx)
		stored, _, err := store.Token(t.Context(), wx)
		return err == nil && stored.Access == "T-1-app"
	})
	if calls := n.provider.calls.Load(); calls != 1 {
		t.Errorf("%d calls to the provider, want 1", calls)
	}
}

// While nothing can be written a token is served to its end, without a call;
// then this node asks for itself, at most every 30 seconds.
func TestServedToItsEndWithoutTheStore(t *testing.T) {
	n, store := readyWithFaults(t)
	n.provider.then(gives(600))
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	store.unwritable.Store(true)
	for range 50 {
		n.clock.advance(11 * time.Second)
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
		n.idle(t)
	}
	if calls := n.provider.calls.Load(); calls != 1 {
		t.Fatalf("%d calls to the provider, want 1", calls)
	}
	n.provider.then(gives(2))
	n.clock.advance(time.Minute)
	for range 60 {
		n.clock.advance(time.Second)
		_, _ = n.Token(t.Context(), wx)
		n.idle(t)
	}
	if calls := n.provider.calls.Load(); calls < 2 || calls > 4 {
		t.Fatalf("%d calls to the provider, want 1 and then one in 30 seconds", calls)
	}
	if s := n.Status(t.Context()); s.WithoutClaims != 1 {
		t.Errorf("the status hides it: %+v", s)
	}
}

// A flush that could not be saved is saved as soon as that is possible: the
// provider may have ended the token that is in memory.
func TestUnsavedFlush(t *testing.T) {
	n, store := readyWithFaults(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	store.unsavable.Store(true)
	if lease, err := n.Flush(t.Context(), wx); err != nil || lease.Access != "T-2-app" {
		t.Fatalf("%v %v", lease, err)
	}
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
	store.unsavable.Store(false)
	eventually(t, "the flushed token is saved", func() bool {
		n.clock.advance(time.Second)
		_ = n.has(t, "T-2-app")
		stored, _, err := store.Token(t.Context(), wx)
		return err == nil && stored.Access == "T-2-app"
	})
	store.unwritable.Store(true)
	if _, err := n.Flush(t.Context(), wx); err == nil {
		t.Fatal("a flush without a claim")
	}
	if calls := n.provider.calls.Load(); calls != 2 {
		t.Fatalf("%d calls to the provider, want 2", calls)
	}
}

// A token that was kept is not used for another secret.
func TestUnsavedTokenOfAnOldSecret(t *testing.T) {
	n, store := readyWithFaults(t)
	store.unsavable.Store(true)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	store.unsavable.Store(false)
	n.saveSecret(t, wx, "key_1", "other")
	want(t, n.View, wx, "T-2-other", realm.FromUpstream)
}

// A clock that was wrong and is set right must not leave a wait of years.
func TestBackOffAfterTheClockWentBack(t *testing.T) {
	n := ready(t)
	n.provider.then(fails(http.StatusServiceUnavailable))
	n.clock.advance(10 * 365 * 24 * time.Hour)
	if _, err := n.Token(t.Context(), wx); err == nil {
		t.Fatal("the provider is down")
	}
	n.clock.advance(-10 * 365 * 24 * time.Hour)
	n.provider.then(gives(7200))
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
}

// Nor a token that seems to live for years: its life is over when it would
// have been over.
func TestTokenOfAClockThatWentBack(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, 10 * 365 * 24 * time.Hour} {
		n := ready(t)
		n.clock.advance(jump)
		want(t, n.View, wx, "T-1-app", realm.FromUpstream)
		n.clock.advance(-jump)
		want(t, n.View, wx, "T-2-app", realm.FromUpstream)
		want(t, n.View, wx, "T-2-app", realm.FromMemory)
		n.clock.advance(7199 * time.Second)
		want(t, n.View, wx, "T-3-app", realm.FromUpstream)
	}
}

// Clocks of nodes differ a little: that takes no token away.
func TestTokenOfAClockAhead(t *testing.T) {
	n := ready(t)
	n.clock.advance(30 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(-30 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
}

// What another node changed while a flight was under way is looked at
// afterwards.
func TestChangeDuringAFlight(t *testing.T) {
	n, store := readyWithFaults(t)
	config := n.wechat()
	config.Semantics = realm.SemanticsParallel // else the store is asked before the token is used
	n.saveRealm(t, "wx", config)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, fails(http.StatusServiceUnavailable)))
	n.clock.advance(6700 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	<-reached
	if err := storetest.DropToken(t.Context(), store, wx); err != nil {
		t.Fatal(err)
	}
	n.pool.cache.Recheck(t.Context(), wx)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.provider.then(gives(7200))
	n.clock.advance(2 * time.Second)
	close(gate)
	eventually(t, "the deleted token is not used any more", func() bool { return !n.has(t, "T-1-app") })
}

// The clocks of two nodes may be a day apart: the times of a token are those
// of the store.
func TestNodesWhoseClocksDiffer(t *testing.T) {
	for name, off := range map[string]time.Duration{"fast": 24 * time.Hour, "slow": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			path, p, right, wrong := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock(), newClock()
			wrong.advance(off)
			both := func(d time.Duration) { right.advance(d); wrong.advance(d) }
			a, b := nodeOn(t, newStore(t, path, right), p, right), nodeOn(t, newStore(t, path, right), p, wrong)
			a.saveRealm(t, "wx", a.wechat())
			a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
			want(t, b.View, wx, "T-1-app", realm.FromUpstream)
			want(t, a.View, wx, "T-1-app", realm.FromDatabase)
			both(7190 * time.Second)
			want(t, a.View, wx, "T-1-app", realm.FromMemory)
			want(t, b.View, wx, "T-1-app", realm.FromMemory)
			a.idle(t)
			b.idle(t)
			both(10 * time.Second)
			for _, n := range []*node{a, b} {
				if n.has(t, "T-1-app") {
					t.Error("a token is handed out after its end")
				}
			}
		})
	}
}

// A change that could not be looked at is looked at later.
func TestChangeWhileTheStoreFails(t *testing.T) {
	n, store := readyWithFaults(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if err := storetest.DropToken(t.Context(), store, wx); err != nil {
		t.Fatal(err)
	}
	store.unreadable.Store(true)
	n.pool.cache.Recheck(t.Context(), wx)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.idle(t)
	store.unreadable.Store(false)
	eventually(t, "the deleted token is not used any more", func() bool { return !n.has(t, "T-1-app") })
}

// A reload does not shorten the wait after a failed renewal.
func TestReloadKeepsTheBackOff(t *testing.T) {
	n := newNode(t)
	d := catalog.Definition{Realm: realm.Realm{ID: "wx", Config: n.wechat()}, Secrets: []realm.Secret{{
		Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"},
	}}}
	v := n.configure(t, d)
	want(t, v, wx, "T-1-app", realm.FromUpstream)
	n.provider.then(fails(http.StatusServiceUnavailable))
	n.clock.advance(6700 * time.Second)
	for range 20 {
		v = n.configure(t, d)
		want(t, v, wx, "T-1-app", realm.FromMemory)
		want(t, v, wx, "T-1-app", realm.FromMemory)
		n.idle(t)
	}
	if calls := n.provider.calls.Load(); calls != 2 {
		t.Fatalf("%d calls to the provider, want 2", calls)
	}
}

// A store that hangs holds nobody for longer than a bound.
func TestStoreThatHangs(t *testing.T) {
	t.Parallel()
	n, store := readyWithFaults(t)
	store.hangs.Store(true)
	for what, do := range map[string]func() error{
		"token": func() error { _, err := n.Token(t.Context(), realm.Ref{Realm: "cold", Key: "main"}); return err },
		"realm": func() error { _, err := n.Catalog().RealmInfo(t.Context(), "wx"); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			wantError(t, do(), realm.CodeUnavailable, http.StatusServiceUnavailable)
		})
	}
}

// stuck is a cache that nothing can be written to any more.
type stuck struct {
	tokenstore.Cache
	has atomic.Pointer[realm.Token]
}

func (c *stuck) Get(context.Context, realm.Ref) (realm.Token, bool) {
	if t := c.has.Load(); t != nil {
		return *t, true
	}
	return realm.Token{}, false
}
func (c *stuck) Put(context.Context, realm.Ref, realm.Token) {}
func (c *stuck) Delete(context.Context, realm.Ref, int64)    {}
func (c *stuck) Health(context.Context) []tokenstore.Health  { return nil }
func (c *stuck) Close() error                                { return nil }

// What another node changed is looked up in the database: the cache may be
// behind, and must not bring an older token back.
func TestChangeThatDidNotReachTheCache(t *testing.T) {
	c := newClock()
	db, cache := newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c).(tokenstore.Database), &stuck{}
	n := nodeOn(t, tokenstore.Levels(db, cache), newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	old, _, err := db.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	cache.has.Store(&old)
	newer := old
	newer.Access = "T-2-elsewhere"
	if _, err := storetest.SaveToken(t.Context(), db, wx, newer, old.Lineage); err != nil {
		t.Fatal(err)
	}
	n.pool.cache.Recheck(t.Context(), wx)
	eventually(t, "the newer token is used", func() bool { return n.has(t, "T-2-elsewhere") })
	n.pool.cache.Recheck(t.Context(), wx)
	want(t, n.View, wx, "T-2-elsewhere", realm.FromMemory)
	n.idle(t)
	want(t, n.View, wx, "T-2-elsewhere", realm.FromMemory)
}

// broken is a feed with a bug.
type broken struct{}

func (broken) Changes(context.Context, string) ([]tokenstore.Change, string, error) { panic("boom") }

// A panic in the feed of changes does not end the process.
func TestPanicInTheFeed(t *testing.T) {
	n := ready(t)
	if _, err := n.pool.poll(t.Context(), broken{}, ""); err == nil {
		t.Error("it was not noticed")
	}
}

// A realm that the feed names is dropped only if it is another one: what this
// node saved itself must be there while the store is away.
func TestRealmsOwnChange(t *testing.T) {
	n, store := readyWithFaults(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.pool.cache.Recheck(t.Context(), realm.Ref{Realm: "wx"})
	store.hangs.Store(true)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
}
