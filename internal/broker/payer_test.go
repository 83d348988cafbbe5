package broker

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// allowance is a payer who may cause so many calls.
type allowance struct {
	limit       int64
	asked, paid atomic.Int64
	// hold, if it is set, keeps MayPay until it is closed; reached tells that
	// somebody asks.
	hold, reached chan struct{}
}

func (a *allowance) MayPay() *realm.Error {
	a.asked.Add(1)
	if a.hold != nil {
		a.reached <- struct{}{}
		<-a.hold
	}
	if a.paid.Load() < a.limit {
		return nil
	}
	return &realm.Error{Code: realm.CodeRateLimited, Status: http.StatusTooManyRequests, RetryAfter: time.Minute, Detail: "too many token requests"}
}

func (a *allowance) Paid() (takeBack func()) {
	a.paid.Add(1)
	return func() { a.paid.Add(-1) }
}

func (a *allowance) context(t *testing.T) context.Context {
	t.Helper()
	return WithPayer(t.Context(), a)
}

// owes asserts how many calls were paid.
func (a *allowance) owes(t *testing.T, want int64) {
	t.Helper()
	if got := a.paid.Load(); got != want {
		t.Errorf("%d calls paid, want %d", got, want)
	}
}

// wantRefused asserts the payer's own error.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	wantError(t, err, realm.CodeRateLimited, http.StatusTooManyRequests)
	var e *realm.Error
	if errors.As(err, &e) && e.RetryAfter != time.Minute {
		t.Errorf("come back in %v", e.RetryAfter)
	}
}

// wantNoClaim asserts that nothing keeps others from making the call.
func (n *node) wantNoClaim(t *testing.T, ref realm.Ref) {
	t.Helper()
	s, err := n.pool.store.Peek(t.Context(), ref)
	if err != nil || s.Claim.Phase != tokenstore.PhaseNone {
		t.Errorf("the claim is %+v %v", s.Claim, err)
	}
}

// joining is a context that tells when somebody waits for a flight with it.
type joining struct {
	context.Context
	joined chan struct{}
}

func (c joining) Done() <-chan struct{} {
	select {
	case c.joined <- struct{}{}:
	default:
	}
	return c.Context.Done()
}

// joins begins to wait with a payer, nil for none, and returns when it waits.
func (n *node) joins(t *testing.T, p *allowance, g goal, result chan<- error) {
	t.Helper()
	c, err := n.Catalog().Realm(t.Context(), wx.Realm)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if p != nil {
		ctx = p.context(t)
	}
	waits := joining{ctx, make(chan struct{}, 1)}
	go func() {
		_, err := n.join(waits, c, wx, g)
		result <- err
	}()
	<-waits.joined
}

// A token in memory costs nobody anything, whatever he may still pay, and the
// payer is not asked.
func TestTokenInMemoryIsNotPaid(t *testing.T) {
	n, p := ready(t), &allowance{limit: 1}
	ctx := p.context(t)
	for _, source := range []realm.Source{realm.FromUpstream, realm.FromMemory, realm.FromMemory} {
		lease, err := n.Token(ctx, wx)
		if err != nil || lease.Source != source {
			t.Fatalf("%v %v", lease, err)
		}
	}
	if _, err := n.Proxyable(ctx, wx); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 1)
	if asked := p.asked.Load(); asked != 1 {
		t.Errorf("the payer was asked %d times", asked)
	}
	if allocations := testing.AllocsPerRun(100, func() { _, _ = n.Token(ctx, wx) }); allocations != 0 {
		t.Errorf("a hit allocates %v times", allocations)
	}
}

// Another node's token serves a payer who may cause no call.
func TestStoredTokenIsNotPaid(t *testing.T) {
	a, b := pair(t, nil)
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	p := &allowance{}
	lease, err := b.Token(p.context(t), wx)
	if err != nil || lease.Source != realm.FromDatabase {
		t.Fatalf("%v %v", lease, err)
	}
	p.owes(t, 0)
}

// While another node makes the call, a payer who may cause none waits for it.
func TestCallOfAnotherNodeIsNotPaid(t *testing.T) {
	a, b := pair(t, nil)
	gate, reached := make(chan struct{}), make(chan struct{}, 2)
	a.provider.then(blocks(gate, reached, gives(7200)))
	result := make(chan error, 2)
	a.joins(t, nil, goal{purpose: claim.Load}, result)
	<-reached
	p := &allowance{}
	b.joins(t, p, goal{purpose: claim.Load}, result)
	close(gate)
	for range 2 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	p.owes(t, 0)
}

// Whatever needs a call is refused to a payer who may cause none: before the
// call, and without a claim that would keep others from making it.
func TestNoCallForAPayerOverHisLimit(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(10 * time.Minute) // old enough for RenewNow
	p := &allowance{}
	ctx := p.context(t)
	for name, ask := range map[string]func() error{
		"flush": func() error { _, err := n.Flush(ctx, wx); return err },
		"heal": func() error {
			_, isBought, err := n.Heal(ctx, wx, "T-1-app", realm.BlameToken)
			if isBought {
				t.Error("a refused heal bought a token")
			}
			return err
		},
		"renew":   func() error { _, _, err := n.RenewNow(ctx, wx); return err },
		"dry run": func() error { _, err := n.Test(ctx, wx, nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, ask())
			n.wantNoClaim(t, wx) //nolint:contextcheck // the payer's is for what is asked
			if failed, _ := n.pool.entry(wx).state(); failed != nil {
				t.Errorf("others hear of it: %+v", failed)
			}
			lease, err := n.Token(ctx, wx)
			if err != nil || lease.Source != realm.FromMemory {
				t.Errorf("the token in memory: %v %v", lease, err)
			}
		})
	}
	n.clock.advance(2 * time.Hour)
	_, err := n.Token(ctx, wx)
	wantRefused(t, err)
	n.wantNoClaim(t, wx)
	p.owes(t, 0)
	if calls := calls64(n); calls != 1 {
		t.Errorf("%d calls to the provider", calls)
	}
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
}

// A process without its store asks the provider for itself. That is paid, too.
func TestCallWithoutAClaimIsPaid(t *testing.T) {
	n, store := readyWithFaults(t)
	store.unwritable.Store(true)
	poor, rich := &allowance{}, &allowance{limit: 1}
	_, err := n.Token(poor.context(t), wx)
	wantRefused(t, err)
	lease, err := n.Token(rich.context(t), wx)
	if err != nil || lease.Source != realm.FromUpstream {
		t.Fatalf("%v %v", lease, err)
	}
	poor.owes(t, 0)
	rich.owes(t, 1)
}

// Each call to the provider counts once, those that fail included.
func TestEachCallIsPaidOnce(t *testing.T) {
	n, p := ready(t), &allowance{limit: 100}
	ctx := p.context(t)
	lease, err := n.Token(ctx, wx)
	if err != nil {
		t.Fatal(err)
	}
	p.owes(t, 1)
	if _, _, err = n.Heal(ctx, wx, lease.Access, realm.BlameToken); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 2)
	if _, err = n.Flush(ctx, wx); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 3)
	if _, err = n.Test(ctx, wx, nil); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 4)
	n.provider.then(fails(http.StatusInternalServerError))
	if _, err = n.Flush(ctx, wx); err == nil {
		t.Fatal("no error")
	}
	p.owes(t, int64(calls64(n)))
	if calls := calls64(n); calls != 5 {
		t.Errorf("%d calls", calls)
	}
}

// A token that comes again is asked for by force: that is a call of its own, and
// the payer is asked before it.
func TestSecondCallOfAFlightIsPaid(t *testing.T) {
	for limit, code := range map[int64]realm.Code{2: "", 1: realm.CodeRateLimited} {
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
		p := &allowance{limit: limit}
		_, _, err := n.Heal(p.context(t), wx, "T-1-app", realm.BlameToken)
		if code == "" && err != nil {
			t.Fatal(err)
		} else if code != "" {
			wantRefused(t, err)
		}
		p.owes(t, limit)
		n.wantNoClaim(t, wx)
	}
}

// An authorization without a person is two calls. Once there is a code, it is
// exchanged even if the payer has reached his limit with asking for it: it would
// be lost.
func TestAuthorizationIsPaid(t *testing.T) {
	s := newCodeServer(t)
	n, p := s.account(t, true), &allowance{limit: 1}
	if _, err := n.Authorize(p.context(t), jd); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 2)
	n.clock.advance(time.Minute)
	_, err := n.Authorize(p.context(t), jd)
	wantRefused(t, err)
	n.wantNoClaim(t, jd)
	if asked := s.authorizations(); asked != 1 {
		t.Errorf("%d authorizations", asked)
	}
}

// Whoever joins a flight that another caller began does not pay, and is not
// asked whether he may.
func TestJoinersDoNotPay(t *testing.T) {
	n := ready(t)
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, gives(7200)))
	first, poor := &allowance{limit: 1}, &allowance{}
	result := make(chan error, 3)
	n.joins(t, first, goal{purpose: claim.Load}, result)
	<-reached
	n.joins(t, poor, goal{purpose: claim.Load}, result)
	n.joins(t, first, goal{purpose: claim.Load}, result) // over his limit by now
	close(gate)
	for range 3 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	first.owes(t, 1)
	poor.owes(t, 0)
	if asked := poor.asked.Load(); asked != 0 {
		t.Errorf("who joined was asked %d times", asked)
	}
}

// If the payer who began a flight is refused, whoever joined it with another
// payer, or none, begins a flight of his own. Other callers of the same payer
// are refused with him, and do not ask the store again.
func TestJoinersAreNotRefusedForAnother(t *testing.T) {
	for name, other := range map[string]*allowance{"another payer": {limit: 1}, "no payer": nil} {
		t.Run(name, func(t *testing.T) {
			n, poor := ready(t), &allowance{hold: make(chan struct{}), reached: make(chan struct{}, 1)}
			refused, served := make(chan error, 3), make(chan error, 1)
			n.joins(t, poor, goal{purpose: claim.Load}, refused)
			<-poor.reached
			for range 2 {
				n.joins(t, poor, goal{purpose: claim.Load}, refused)
			}
			n.joins(t, other, goal{purpose: claim.Load}, served)
			close(poor.hold)
			for range 3 {
				wantRefused(t, <-refused)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if asked := poor.asked.Load(); asked != 1 {
				t.Errorf("the payer was asked %d times", asked)
			}
			poor.owes(t, 0)
			if other != nil {
				other.owes(t, 1)
			}
			if calls := calls64(n); calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

// A flush that is refused says nothing about who is content with the stored
// token, though both have the same payer.
func TestStoredTokenServesBesideARefusedFlush(t *testing.T) {
	a, b := pair(t, nil)
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	p := &allowance{hold: make(chan struct{}), reached: make(chan struct{}, 1)}
	flushed, loaded := make(chan error, 1), make(chan error, 1)
	b.joins(t, p, goal{purpose: claim.Flush}, flushed)
	<-p.reached
	b.joins(t, p, goal{purpose: claim.Load}, loaded)
	close(p.hold)
	wantRefused(t, <-flushed)
	if err := <-loaded; err != nil {
		t.Error(err)
	}
	p.owes(t, 0)
}

// Renewals of the schedule have no payer, though a use brought them about.
func TestScheduledRenewalIsNotPaid(t *testing.T) {
	n, p := ready(t), &allowance{limit: 1}
	n.Drive()
	ctx := p.context(t)
	if _, err := n.Token(ctx, wx); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(2*time.Hour - time.Minute) // within the lead
	lease, err := n.Token(ctx, wx)
	if err != nil || lease.Source != realm.FromMemory {
		t.Fatalf("%v %v", lease, err)
	}
	eventually(t, "the token is renewed", func() bool { return calls64(n) == 2 })
	n.settled(t)
	p.owes(t, 1)
}

// togetherStore lets no claim be acted on before so many were decided on, and fails
// them when they were if fails is set.
type togetherStore struct {
	tokenstore.Store
	fails   bool
	mu      sync.Mutex
	missing int
	all     chan struct{} // closed when none is missing
}

func (s *togetherStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	st, err := s.Store.Coordinate(ctx, ref, decide)
	s.mu.Lock()
	if s.missing--; s.missing == 0 {
		close(s.all)
	}
	isClaim := s.missing >= 0
	s.mu.Unlock()
	<-s.all
	if isClaim && s.fails {
		return tokenstore.State{}, tokenstore.ErrUnavailable
	}
	return st, err
}

// Decisions that share a transaction know of each other's calls: a payer who may
// cause one call causes one.
func TestCallsThatAreDecidedTogether(t *testing.T) {
	c, p := newClock(), &allowance{limit: 1}
	store := &togetherStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), missing: 3, all: make(chan struct{})}
	n := nodeOn(t, store, newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	var work sync.WaitGroup
	var refused atomic.Int64
	for _, key := range []string{"a", "b", "c"} {
		key := realm.Ref{Realm: "wx", Key: key}
		n.saveSecret(t, key, "key_1", "app", "key_2", "s3cret-value")
		work.Go(func() {
			if _, err := n.Token(p.context(t), key); err != nil {
				wantRefused(t, err)
				refused.Add(1)
			}
		})
	}
	work.Wait()
	p.owes(t, 1)
	if refused.Load() != 2 {
		t.Errorf("%d callers were refused, want 2", refused.Load())
	}
}

// A call is paid once, though its claim was not written and it is made without one;
// and not at all when it is not made.
func TestCallWithoutAClaimIsPaidOnce(t *testing.T) {
	c, p := newClock(), &allowance{limit: 1}
	store := &togetherStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), fails: true, missing: 1, all: make(chan struct{})}
	n := nodeOn(t, store, newProvider(t), c)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	if _, err := n.Token(p.context(t), wx); err != nil {
		t.Fatal(err)
	}
	p.owes(t, 1)

	rest := &allowance{limit: 1}
	store.mu.Lock()
	store.missing, store.all = 1, make(chan struct{})
	store.mu.Unlock()
	if _, err := n.Flush(rest.context(t), wx); err == nil {
		t.Fatal("flushed without a claim: the test proves nothing")
	}
	rest.owes(t, 0)
}

// lateStore makes the first decision when gate is closed: whoever asked for it has lost
// patience by then.
type lateStore struct {
	tokenstore.Store
	isRead        func() // is called when the token is read, before the decision
	first         atomic.Bool
	gate, decided chan struct{}
}

func (s *lateStore) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	s.isRead()
	return s.Store.Token(ctx, ref)
}

func (s *lateStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	if s.first.CompareAndSwap(false, true) {
		<-s.gate
		defer close(s.decided)
		ctx = context.WithoutCancel(ctx)
	}
	return s.Store.Coordinate(ctx, ref, decide)
}

// A decision that nobody waits for any more allows no call, and nobody pays for it.
func TestLateDecisionIsNotPaid(t *testing.T) {
	for name, isServed := range map[string]bool{"no call is made": false, "it is made without a claim": true} {
		t.Run(name, func(t *testing.T) {
			c, p := newClock(), &allowance{limit: 2}
			store := &lateStore{
				Store:  newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c),
				isRead: func() {}, gate: make(chan struct{}), decided: make(chan struct{}),
			}
			n := nodeOn(t, store, newProvider(t), c)
			n.saveRealm(t, "wx", n.wechat())
			n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
			store.isRead = func() { n.setPatience(short) }
			calls := int64(0)
			if isServed {
				_, err := n.Token(p.context(t), wx)
				if calls = 1; err != nil {
					t.Error(err)
				}
			} else if _, err := n.Flush(p.context(t), wx); !tokenstore.IsUnavailable(err) {
				t.Errorf("got %v", err)
			}
			n.setPatience(longPatience)
			close(store.gate)
			<-store.decided
			p.owes(t, calls)
			n.wantNoClaim(t, wx)
		})
	}
}

// slowToPay is an allowance of one call that lets others run between the question and
// the payment.
type slowToPay struct{ allowance }

func (s *slowToPay) MayPay() *realm.Error {
	err := s.allowance.MayPay()
	for range 100 {
		runtime.Gosched()
	}
	return err
}

// A late decision and the call without a claim, at the same time, pay for one call.
func TestCallThatIsReservedTwice(t *testing.T) {
	for range 100 {
		p := &slowToPay{allowance{limit: 2}}
		r := &reservation{payer: p}
		var work sync.WaitGroup
		for range 2 {
			work.Go(func() {
				if err := r.pay(); err != nil {
					t.Error(err)
				}
			})
		}
		work.Wait()
		p.owes(t, 1)
		r.end()
		p.owes(t, 0)
		if err := r.pay(); err == nil {
			t.Error("reserved when it was over")
		}
		p.owes(t, 0)
	}
}
