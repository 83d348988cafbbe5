package broker

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestLevels(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.pool.forgetAll()
	want(t, n.View, wx, "T-1-app", realm.FromDatabase)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	if got := n.provider.calls.Load(); got != 1 {
		t.Fatalf("%d calls to the provider, want 1", got)
	}
}

// crowd asks for one token with many callers at once.
func crowd(n *node, callers int, ask func() (*realm.Lease, error)) (tokens map[string]int, errs []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	tokens = map[string]int{}
	for range callers {
		wg.Go(func() {
			lease, err := ask()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			tokens[lease.Access.Reveal()]++
		})
	}
	wg.Wait()
	return tokens, errs
}

func TestColdCallers(t *testing.T) {
	n := ready(t)
	tokens, errs := crowd(n, 300, func() (*realm.Lease, error) { return n.Token(t.Context(), wx) })
	if len(errs) > 0 || tokens["T-1-app"] != 300 || n.provider.calls.Load() != 1 {
		t.Fatalf("300 callers: %v, %d errors (%v), %d fetches", tokens, len(errs), errors.Join(errs...), n.provider.calls.Load())
	}
}

func TestColdCallersShareAFailure(t *testing.T) {
	n := ready(t)
	n.provider.then(fails(http.StatusInternalServerError))
	_, errs := crowd(n, 300, func() (*realm.Lease, error) { return n.Token(t.Context(), wx) })
	if len(errs) != 300 || n.provider.calls.Load() != 1 {
		t.Fatalf("%d of 300 failed, %d calls, want 300 and 1", len(errs), n.provider.calls.Load())
	}
	for _, err := range errs {
		var e *realm.Error
		if !errors.As(err, &e) || e.Code != realm.CodeTokenUnavailable || e.RetryAfter <= 0 {
			t.Fatalf("a caller got %v", err)
		}
	}
	// Left alone for at most a second, then asked again and found well.
	n.provider.then(gives(7200))
	n.clock.advance(time.Second)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
}

func TestCallerThatLeavesHarmsNobody(t *testing.T) {
	n := ready(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, gives(7200)))
	first, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := n.Token(first, wx)
		left <- err
	}()
	<-reached
	second := make(chan error)
	go func() {
		_, err := n.Token(t.Context(), wx)
		second <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("the one that left got %v", err)
	}
	close(gate)
	if err := <-second; err != nil {
		t.Fatalf("the one that stayed got %v", err)
	}
	if n.provider.calls.Load() != 1 {
		t.Fatalf("%d calls, want 1", n.provider.calls.Load())
	}
}

func TestDeadlineOfACaller(t *testing.T) {
	n := ready(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, gives(7200)))
	defer close(gate)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	impatient, stop := context.WithDeadline(ctx, time.Now().Add(time.Millisecond))
	defer stop()
	_, err := n.Token(impatient, wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusGatewayTimeout)
}

func wantError(t *testing.T, err error, code realm.Code, status int) {
	t.Helper()
	var e *realm.Error
	if !errors.As(err, &e) || e.Code != code || e.Status != status {
		t.Fatalf("got %v, want %s with %d", err, code, status)
	}
}

func TestUnknown(t *testing.T) {
	n := ready(t)
	_, err := n.Token(t.Context(), realm.Ref{Realm: "nobody", Key: "main"})
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
	for _, key := range []string{"", "other", "MAIN", "main "} {
		_, err = n.Token(t.Context(), realm.Ref{Realm: "wx", Key: key})
		wantError(t, err, realm.CodeSecretNotFound, http.StatusNotFound)
	}
	if size := n.pool.entries.Size(); size != 0 {
		t.Fatalf("%d entries stay behind for keys that do not exist", size)
	}
}

func TestRenewedAheadOfItsEnd(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, gives(7200)))
	n.clock.advance(6700 * time.Second) // within ten minutes of its end
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	<-reached // the renewal is under way, and nobody waits for it
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	close(gate)
	eventually(t, "the new token is in memory", func() bool {
		lease, err := n.Token(t.Context(), wx)
		return err == nil && lease.Access.Reveal() == "T-2-app"
	})
	if n.provider.calls.Load() != 2 {
		t.Fatalf("%d calls, want 2", n.provider.calls.Load())
	}
}

func TestLiveTokenOutlivesAFailedRenewal(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.provider.then(fails(http.StatusServiceUnavailable))
	n.clock.advance(6700 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	eventually(t, "the renewal failed", func() bool { return n.Status(t.Context()).Tokens[0].LastError != "" })
	n.clock.advance(498 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	// A second before its end it is not handed out any more.
	n.clock.advance(time.Second)
	_, err := n.Token(t.Context(), wx)
	if err == nil {
		t.Fatal("a token was handed out in its last second")
	}
}

func TestTokenWithoutALife(t *testing.T) {
	n := ready(t)
	n.provider.then(gives(0))
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(time.Second)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	if _, _, err := n.pool.store.Token(t.Context(), wx); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("it was stored: %v", err)
	}
	// Within the second callers wait for it to pass, together.
	tokens, errs := crowd(n, 20, func() (*realm.Lease, error) { return n.Token(t.Context(), wx) })
	if len(errs) > 0 || len(tokens) > 2 {
		t.Fatalf("%v %v", tokens, errs)
	}
}

func TestThrottledCallersHearWhen(t *testing.T) {
	n := ready(t)
	n.provider.then(fails(http.StatusTooManyRequests, "Retry-After", "70"))
	for range 2 {
		_, err := n.Token(t.Context(), wx)
		wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
		var e *realm.Error
		if errors.As(err, &e); e.RetryAfter != 70*time.Second {
			t.Fatalf("retry after %v, want 70s", e.RetryAfter)
		}
	}
	if n.provider.calls.Load() != 1 {
		t.Fatalf("%d calls, want 1", n.provider.calls.Load())
	}
}

func TestFlush(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	lease, err := n.Flush(t.Context(), wx)
	if err != nil || lease.Access.Reveal() != "T-2-app" || lease.Source != realm.FromUpstream {
		t.Fatalf("%v, %v", lease, err)
	}
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
}

// A hopeless failure is not asked for again by requests, but a person who
// flushes may claim.RetryFloor, once a second.
func TestFlushMayInsist(t *testing.T) {
	n := ready(t)
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
	})
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.clock.advance(2 * time.Second)
	_, err = n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
	if _, err = n.Flush(t.Context(), wx); err == nil || n.provider.calls.Load() != 2 {
		t.Fatalf("%v, %d calls", err, n.provider.calls.Load())
	}
	_, err = n.Flush(t.Context(), wx)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	if n.provider.calls.Load() != 2 {
		t.Fatalf("insisted twice in a second: %d calls", n.provider.calls.Load())
	}
}

func TestFixedToken(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "fixed", realm.Config{API: "https://api.example.com", Inject: []realm.Injection{
		{Place: realm.PlaceHeader, Name: "x-api-key"},
	}})
	ref := realm.Ref{Realm: "fixed", Key: "k"}
	n.saveSecret(t, ref)
	_, err := n.Token(t.Context(), ref)
	wantError(t, err, realm.CodeFixedToken, http.StatusBadGateway)
	token := realm.Hidden("sk-live-1")
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: ref, Token: &token}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, ref, "sk-live-1", realm.FromDatabase)
	want(t, n.View, ref, "sk-live-1", realm.FromMemory)
	lease, err := n.Proxyable(t.Context(), ref)
	if err != nil || lease.Expires != 0 || lease.Values[0] != "sk-live-1" || lease.Target.Inject[0].Name != "X-Api-Key" {
		t.Fatalf("%+v %v", lease, err)
	}
	_, err = n.Flush(t.Context(), ref)
	wantError(t, err, realm.CodeFixedToken, http.StatusExpectationFailed)
	ends := n.clock.now().Add(time.Hour)
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: ref, Token: &token, ExpiresAt: &ends}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, ref, "sk-live-1", realm.FromDatabase)
	n.clock.advance(time.Hour)
	_, err = n.Token(t.Context(), ref)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
}

func TestNotProxyable(t *testing.T) {
	n := newNode(t)
	for id, strip := range map[string]func(*realm.Config){
		"no-api":    func(c *realm.Config) { c.API = "" },
		"no-inject": func(c *realm.Config) { c.Inject = nil },
	} {
		c := n.wechat()
		strip(&c)
		n.saveRealm(t, id, c)
		ref := realm.Ref{Realm: id, Key: "main"}
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
		_, err := n.Proxyable(t.Context(), ref)
		wantError(t, err, realm.CodeNotProxyable, http.StatusConflict)
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatalf("%s cannot be read either: %v", id, err)
		}
	}
}

// Where a request goes is known without a token, also where a field of the secret
// is in the path, and is the same as the lease then says.
func TestDestination(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.API = "http://api.example.com/{secret.key_1}/v1"
	n.saveRealm(t, wx.Realm, c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	for range 2 { // without a token in memory, and with one
		target, err := n.Destination(t.Context(), wx)
		if err != nil || target.API.Path != "/app/v1" {
			t.Fatalf("%v %v", target, err)
		}
		lease, err := n.Proxyable(t.Context(), wx)
		if err != nil || lease.Target.API.Path != target.API.Path {
			t.Fatal(err)
		}
	}
	for ref, code := range map[realm.Ref]realm.Code{
		{Realm: "nope", Key: "main"}: realm.CodeRealmNotFound, {Realm: wx.Realm, Key: "nope"}: realm.CodeSecretNotFound,
	} {
		_, err := n.Destination(t.Context(), ref)
		wantError(t, err, code, http.StatusNotFound)
	}
	if got := n.provider.of("app"); got != 1 {
		t.Errorf("%d token requests", got)
	}
}

// A panic in a flight reaches its callers as an error, and the next flight
// starts as if nothing had been.
func TestPanicInAFlight(t *testing.T) {
	c := newClock()
	store := &panicky{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	store.armed = true
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeInternal, http.StatusInternalServerError)
	store.armed = false
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
}

type panicky struct {
	tokenstore.Store
	armed bool
}

func (s *panicky) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	if s.armed {
		panic("boom")
	}
	return s.Store.Token(ctx, ref)
}
