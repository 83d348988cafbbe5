package broker

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestChangedSecretDropsItsToken(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.saveSecret(t, wx, "key_1", realm.Mask) // a masked value is no change
	want(t, n.View, wx, "T-1-app", realm.FromDatabase)
	n.saveSecret(t, wx, "key_1", "other")
	want(t, n.View, wx, "T-2-other", realm.FromUpstream)
}

// A ticket that is pushed every ten minutes does not end a token of two hours,
// neither on the node that it is pushed to nor in the store. Another field that
// changes with it does.
func TestVolatileFieldDropsNoToken(t *testing.T) {
	a, b := pair(t, func(c *realm.Config) { c.Volatile = []string{"key_2"} })
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	a.saveSecret(t, wx, "key_2", "another ticket")
	want(t, a.View, wx, "T-1-app", realm.FromDatabase)
	want(t, b.View, wx, "T-1-app", realm.FromDatabase)
	a.saveSecret(t, wx, "key_1", "other", "key_2", "a third ticket")
	want(t, a.View, wx, "T-2-other", realm.FromUpstream)
}

// The result of a flight that began with the old secret is not published:
// its callers get a token of the new one.
func TestSecretChangedInFlight(t *testing.T) {
	n := ready(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 2)
	n.provider.then(blocks(gate, reached, gives(7200)))
	got := make(chan string)
	go func() {
		lease, err := n.Token(t.Context(), wx)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- lease.Access.Reveal()
	}()
	<-reached
	n.saveSecret(t, wx, "key_1", "other")
	close(gate)
	if token := <-got; token != "T-2-other" {
		t.Fatalf("the waiting caller got %q", token)
	}
	want(t, n.View, wx, "T-2-other", realm.FromMemory)
	if stored, _, err := n.pool.store.Token(t.Context(), wx); err != nil || stored.Lineage != 1 {
		t.Fatalf("the token of the old secret was stored: lineage %d, %v", stored.Lineage, err)
	}
}

// hooked is a real store that tells a test what is done to it.
type hooked struct {
	tokenstore.Store
	read   func() // after a realm was read
	saved  func() // after a token was saved
	closed func() // before it is closed
}

func (s *hooked) Realm(ctx context.Context, id string) (realm.Realm, error) {
	r, err := s.Store.Realm(ctx, id)
	if s.read != nil {
		s.read()
	}
	return r, err
}

func (s *hooked) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	saves := false
	state, err := s.Store.Coordinate(ctx, ref, func(state *tokenstore.State) error {
		err := decide(state)
		saves = state.Save != nil
		return err
	})
	if saves && s.saved != nil {
		s.saved()
	}
	return state, err
}

func (s *hooked) Close() error {
	if s.closed != nil {
		s.closed()
	}
	return s.Store.Close()
}

// The same, in the last moment before the token would be published.
func TestSecretChangedWhileItsTokenIsSaved(t *testing.T) {
	c := newClock()
	store := &hooked{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	store.saved = func() {
		store.saved = nil
		n.saveSecret(t, wx, "key_1", "other")
	}
	want(t, n.View, wx, "T-2-other", realm.FromUpstream)
	want(t, n.View, wx, "T-2-other", realm.FromMemory)
}

func TestChangedRealm(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	c := n.wechat()
	c.Inject[0].Name = "token" // does not decide about the token
	n.saveRealm(t, "wx", c)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	lease, err := n.Proxyable(t.Context(), wx)
	if err != nil || lease.Target.Inject[0].Name != "token" {
		t.Fatalf("%+v %v", lease, err)
	}
	c.Arguments = slices.Clone(c.Arguments)
	c.Arguments[1].Name = "appsecret" // does
	n.saveRealm(t, "wx", c)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
}

// A reload makes another view of the same pool: the token stays where what
// decides about it stayed.
func TestReload(t *testing.T) {
	n := newNode(t)
	define := func(appid, name string) catalog.Definition {
		c := n.wechat()
		c.Inject[0].Name = name
		return catalog.Definition{Realm: realm.Realm{ID: "wx", Config: c}, Secrets: []realm.Secret{{
			Ref: wx, Fields: map[string]realm.Hidden{"key_1": realm.Hidden(appid), "key_2": "s3cret-value"},
		}}}
	}
	before := n.configure(t, define("app", "access_token"))
	want(t, before, wx, "T-1-app", realm.FromUpstream)
	after := n.configure(t, define("app", "token"))
	want(t, after, wx, "T-1-app", realm.FromMemory)
	lease, err := after.Proxyable(t.Context(), wx)
	if err != nil || lease.Target.Inject[0].Name != "token" {
		t.Fatalf("%+v %v", lease, err)
	}
	// The old configuration still drains, with its own rules.
	want(t, before, wx, "T-1-app", realm.FromMemory)
	want(t, n.configure(t, define("app2", "token")), wx, "T-2-app2", realm.FromUpstream)
}

// unclosed is a store that somebody else closes.
type unclosed struct{ *hooked }

func (unclosed) Close() error { return nil }

// While a new configuration is rolled out, two recipes are in use for one secret.
// Each node keeps the token of its own: it is not fetched against the other.
func TestTwoConfigurations(t *testing.T) {
	c := newClock()
	p := newProvider(t)
	store := newStore(t, filepath.Join(t.TempDir(), "x.db"), c)
	a := nodeOn(t, store, p, c)
	b := nodeOn(t, unclosed{&hooked{Store: store}}, p, c)
	def := func(key string) catalog.Definition {
		cfg := a.wechat()
		cfg.Arguments = append(cfg.Arguments, realm.Argument{Name: "v", Place: realm.PlaceURL, Value: key})
		return catalog.Definition{Realm: realm.Realm{ID: "wx", Config: cfg}, Secrets: []realm.Secret{{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s"}}}}
	}
	a.View, b.View = a.configure(t, def("1")), b.configure(t, def("2"))
	for range 5 {
		for _, n := range []*node{a, b} {
			n.pool.storeChanged(wx) // as the feed does
			if _, err := n.Token(t.Context(), wx); err != nil {
				t.Fatal(err)
			}
			n.idle(t)
			if _, err := n.Token(t.Context(), wx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if calls := p.calls.Load(); calls != 2 {
		t.Errorf("%d calls, want one for each", calls)
	}
}

// A realm of the configuration serves secrets of the store as well.
func TestStoredSecretOfADefinedRealm(t *testing.T) {
	n := newNode(t)
	n.View = n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: n.wechat()}})
	n.saveSecret(t, wx, "key_1", "app1", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app1", realm.FromUpstream)
}

func TestDeleted(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	wantError(t, n.Catalog().DeleteRealm(t.Context(), "wx", false), realm.CodeConflict, http.StatusConflict)
	if err := n.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeSecretNotFound, http.StatusNotFound)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	if err := n.Catalog().DeleteRealm(t.Context(), "wx", true); err != nil {
		t.Fatal(err)
	}
	_, err = n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
	wantError(t, n.Catalog().DeleteRealm(t.Context(), "wx", true), realm.CodeRealmNotFound, http.StatusNotFound)
}

func TestImportedToken(t *testing.T) {
	n := ready(t)
	token, ends := realm.Hidden("imported-1"), n.clock.now().Add(time.Hour)
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, Token: &token, ExpiresAt: &ends}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, wx, "imported-1", realm.FromDatabase)
	if n.provider.calls.Load() != 0 {
		t.Fatal("the provider was asked although a live token was imported")
	}
	var field *realm.FieldError
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, Token: &token}); !errors.As(err, &field) || field.Field != "expires_at" {
		t.Fatalf("a token without an end was taken: %v", err)
	}
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, ExpiresAt: &ends}); !errors.As(err, &field) || field.Field != "expires_at" {
		t.Fatalf("an end without a token was taken: %v", err)
	}
}

// Two nodes on one store that fetch at the same time, since the claim of the
// first ran out: the token whose request was sent later is the one that stays,
// whoever answers first.
func TestOlderTokenNeverOverwritesANewerOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	p, c := newProvider(t), newClock()
	a := nodeOn(t, newStore(t, path, c), p, c)
	a.saveRealm(t, "wx", a.wechat())
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	b := nodeOn(t, newStore(t, path, c), p, c)

	older, reached := make(chan struct{}), make(chan struct{}, 1)
	p.then(blocks(older, reached, gives(7200)))
	got := make(chan *realm.Lease)
	go func() {
		lease, err := a.Token(t.Context(), wx)
		if err != nil {
			t.Error(err)
		}
		got <- lease
	}()
	<-reached // a has sent its request; b sends one later and is answered first
	c.advance(defaultTimeout + claim.Margin)
	p.then(gives(7200))
	want(t, b.View, wx, "T-2-app", realm.FromUpstream)
	close(older)
	if lease := <-got; lease.Access.Reveal() != "T-2-app" {
		t.Fatalf("a goes on with %q, which the provider may have replaced", lease.Access.Reveal())
	}
	stored, _, err := a.pool.store.Token(t.Context(), wx)
	if err != nil || stored.Access != "T-2-app" || stored.Lineage != 1 {
		t.Fatalf("stored: %q lineage %d, %v", stored.Access.Reveal(), stored.Lineage, err)
	}
}

func TestClosingWaitsForFlights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	p, c := newProvider(t), newClock()
	var saved atomic.Bool
	store := &hooked{Store: newStore(t, path, c), saved: func() { saved.Store(true) }}
	store.closed = func() {
		if !saved.Load() {
			t.Error("the store was closed under a flight")
		}
	}
	n := &node{pool: New(store, zaptest.NewLogger(t), c.now, WithPatience(longPatience)), clock: c, provider: p}
	n.View = n.configure(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	p.then(blocks(gate, reached, gives(7200)))
	asked := make(chan error)
	go func() {
		_, err := n.Token(t.Context(), wx)
		asked <- err
	}()
	<-reached
	closed := make(chan error, 1)
	go func() { closed <- n.pool.Destruct() }()
	<-n.pool.base.Done()
	close(gate)
	if err := errors.Join(<-asked, <-closed); err != nil {
		t.Fatal(err)
	}
	_, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "later"})
	wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
	again := nodeOn(t, newStore(t, path, c), p, c)
	want(t, again.View, wx, "T-1-app", realm.FromDatabase)
}
