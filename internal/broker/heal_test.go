package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// simulated is a node whose realm is a simulated provider's, and a clock that
// both share.
type simulated struct {
	*node
	fake *fakeprovider.Provider
	log  *observer.ObservedLogs
}

func simulate(t *testing.T, opts fakeprovider.Options, change func(*realm.Config)) *simulated {
	t.Helper()
	n := newNode(t)
	core, log := observer.New(zapcore.InfoLevel)
	n.pool.log = zap.New(core)
	opts.Now = n.clock.now
	opts.Credentials = map[string]string{"app": "s3cret-value"}
	s := &simulated{node: n, fake: fakeprovider.New(opts), log: log}
	n.saveRealm(t, "wx", s.realm(s.fake.Start(t), change))
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	return s
}

func (s *simulated) realm(base string, change func(*realm.Config)) realm.Config {
	c := s.wechat()
	c.URL = base + "/cgi-bin/token"
	c.Arguments = append(c.Arguments, realm.Argument{Name: "grant_type", Place: realm.PlaceURL, Value: "client_credential"})
	if change != nil {
		change(&c)
	}
	return c
}

func (s *simulated) take(t *testing.T) *realm.Lease {
	t.Helper()
	lease, err := s.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// A thousand requests fail with one token: the provider is asked once, and all
// of them get the new token, the late ones too.
func TestRenewOnce(t *testing.T) {
	s := simulate(t, fakeprovider.Options{Style: fakeprovider.WeChat}, nil)
	old := s.take(t)
	s.Worked(wx, old)
	s.fake.Revoke(old.Access.Reveal())
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() {
			lease, err := s.heal(t.Context(), wx, old.Access)
			if err != nil || lease.Access == old.Access || !s.fake.Live(lease.Access.Reveal()) {
				t.Errorf("%v %v", lease, err)
			}
		})
	}
	calls.Wait()
	s.clock.advance(time.Minute)
	lease, err := s.heal(t.Context(), wx, old.Access)
	if err != nil || lease.Access != s.take(t).Access {
		t.Errorf("a late failure: %v %v", lease, err)
	}
	if n := s.fake.Fetches(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// A provider that gives the same token again is not asked in a loop: once, and
// then after a wait.
func TestRenewTheSameToken(t *testing.T) {
	n := newNode(t)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, _ int64) { gives(7200)(w, r, 1) })
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	for range 20 {
		_, err := n.heal(t.Context(), wx, "T-1-app")
		var e *realm.Error
		if !errors.As(err, &e) || e.Code != realm.CodeTokenUnavailable {
			t.Fatalf("got %v", err)
		}
	}
	if calls := n.provider.calls.Load(); calls != 2 {
		t.Fatalf("%d calls to the provider, want 2", calls)
	}
	want(t, n.View, wx, "T-1-app", realm.FromMemory) // the provider says that it lives
	for range 60 {
		n.clock.advance(time.Second)
		_, _ = n.heal(t.Context(), wx, "T-1-app")
	}
	if calls := n.provider.calls.Load(); calls > 9 {
		t.Fatalf("%d calls to the provider in a minute", calls)
	}
}

// Where the recipe can ask harder, that is done at once: WeChat's stable_token
// gives a dead token again until a new one is forced.
func TestRenewByForce(t *testing.T) {
	n := newNode(t)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, call int64) {
		if r.URL.Query().Get("force") != "true" {
			call = 1
		}
		gives(7200)(w, r, call)
	})
	c := n.wechat()
	c.Arguments = append(c.Arguments, realm.Argument{Name: "force", Place: realm.PlaceURL, Value: "{force}"})
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	lease, err := n.heal(t.Context(), wx, "T-1-app")
	if err != nil || lease.Access != "T-3-app" {
		t.Fatalf("%v %v", lease, err)
	}
	if calls := n.provider.calls.Load(); calls != 3 {
		t.Fatalf("%d calls to the provider, want 3", calls)
	}
}

// An API that refuses every token meets the back-off of a provider that is
// down, though each call to the token endpoint succeeds.
func TestRenewWhenEverythingIsRefused(t *testing.T) {
	s := simulate(t, fakeprovider.Options{Style: fakeprovider.WeChat, Quotas: []fakeprovider.Quota{}}, nil)
	for range 3600 {
		s.clock.advance(time.Second)
		lease := s.take(t)
		_, _ = s.heal(t.Context(), wx, lease.Access)
	}
	if n := s.fake.Fetches(); n > 130 || n < 50 {
		t.Errorf("%d fetches in an hour, promised are 130 at the most", n)
	}
	// One that works ends it.
	fetched := s.fake.Fetches()
	s.clock.advance(2 * time.Minute)
	lease := s.take(t)
	s.Worked(wx, lease)
	for range 2 {
		renewed, err := s.heal(t.Context(), wx, lease.Access)
		if err != nil {
			t.Fatal(err)
		}
		s.Worked(wx, renewed)
		s.Helped(wx, renewed)
		lease = renewed
	}
	if n := s.fake.Fetches() - fetched; n != 2 {
		t.Errorf("%d fetches for two tokens that had worked", n)
	}
}

// An app that makes the API refuse tokens at will, between calls that succeed,
// costs no more calls to the provider than min_interval allows.
func TestRenewAtWill(t *testing.T) {
	s := simulate(t, fakeprovider.Options{Style: fakeprovider.WeChat, Quotas: []fakeprovider.Quota{}}, func(c *realm.Config) {
		c.Limits.MinInterval = realm.Duration(10 * time.Second)
	})
	for range 600 {
		s.clock.advance(100 * time.Millisecond)
		lease := s.take(t)
		s.Worked(wx, lease)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it does not wait
		_, _ = s.heal(ctx, wx, lease.Access)
		s.idle(t)
	}
	if n := s.fake.Fetches(); n < 3 || n > 7 {
		t.Errorf("%d fetches in a minute, at most one in 10 s is allowed", n)
	}
}

// A provider whose new token ends the old one at once: nobody is handed the
// old one while the new one is made, and it comes back where that fails.
func TestBarrier(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Semantics = realm.SemanticsRotate
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	for _, fail := range []bool{true, false} {
		gate, reached := make(chan struct{}), make(chan struct{}, 1)
		answer := gives(7200)
		if fail {
			answer = fails(http.StatusServiceUnavailable)
		}
		n.provider.then(blocks(gate, reached, answer))
		n.clock.advance(6700 * time.Second)
		if fail {
			want(t, n.View, wx, "T-1-app", realm.FromMemory) // its renewal begins
		} else {
			n.clock.advance(2*time.Minute - 6700*time.Second)
			want(t, n.View, wx, "T-1-app", realm.FromMemory)
		}
		<-reached
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if lease, err := n.Token(ctx, wx); err == nil {
			t.Errorf("%v is handed out while the provider makes the next token", lease)
		}
		close(gate)
		n.idle(t)
	}
	want(t, n.View, wx, "T-3-app", realm.FromMemory)
}

// Callers that came while the token was held back for a renewal get it all the
// same when that fails: it still lives.
func TestBarrierOfARenewalThatFails(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Semantics = realm.SemanticsRotate
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, fails(http.StatusServiceUnavailable)))
	n.clock.advance(6700 * time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	<-reached
	e, _ := n.pool.entries.Load(wx)
	f := e.currentFlight()
	if f == nil || f.withheld == nil {
		t.Fatal("nothing is withheld")
	}
	errs := make(chan error, 1)
	go func() {
		lease, err := n.join(t.Context(), f.owner, wx, goal{purpose: claim.Load})
		if err == nil && lease.Access != "T-1-app" {
			t.Errorf("got %v", lease.Access.Reveal())
		}
		errs <- err
	}()
	close(gate)
	if err := <-errs; err != nil {
		t.Errorf("a caller is told %v, though the token lives", err)
	}
}

// A token endpoint that is out of calls: what lives is served, a flush is
// refused with the reason, and what has to be fetched is told when to come back.
func TestBudget(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Limits.Windows = []realm.Window{{Calls: 3, Per: realm.Duration(24 * time.Hour)}}
	n.saveRealm(t, "wx", c)
	for i := range 4 {
		n.saveSecret(t, realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}, "key_1", "app", "key_2", "s3cret-value")
	}
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	for range 2 {
		if _, err := n.Flush(t.Context(), wx); err != nil {
			t.Fatal(err)
		}
	}
	_, err := n.Flush(t.Context(), wx)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	var e *realm.Error
	if errors.As(err, &e); e.RetryAfter < 23*time.Hour || e.RetryAfter > 24*time.Hour+time.Minute {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	want(t, n.View, wx, "T-3-app", realm.FromMemory)
	_, err = n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "k0"})
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	_, err = n.heal(t.Context(), wx, "T-3-app")
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	if calls := n.provider.calls.Load(); calls != 3 {
		t.Fatalf("%d calls to the provider, want 3", calls)
	}
	_, err = n.Test(t.Context(), wx, nil)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	if left := n.Status(t.Context()).Tokens[0].BudgetLeft; left == nil || *left != 0 {
		t.Errorf("budget left: %v", left)
	}
	n.clock.advance(25 * time.Hour)
	want(t, n.View, realm.Ref{Realm: "wx", Key: "k1"}, "T-4-app", realm.FromUpstream)
	for range 2 {
		if report, err := n.Test(t.Context(), wx, nil); err != nil || report.Error != "" {
			t.Fatalf("%+v %v", report, err)
		}
	}
	_, err = n.Flush(t.Context(), wx)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
}
