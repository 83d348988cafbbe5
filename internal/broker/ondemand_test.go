package broker

import (
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// onDemand makes a node's configuration one that renews on demand.
func (n *node) onDemand(t *testing.T) *node {
	t.Helper()
	v, err := n.pool.View(ViewConfig{Client: testClient(t, n.clock.now), OnDemand: true})
	if err != nil {
		t.Fatal(err)
	}
	n.View = v
	n.Drive()
	return n
}

// rests waits until the schedule has no turn before the driver changes.
func (n *node) rests(t *testing.T) {
	t.Helper()
	if _, more := n.pool.schedule.turn(); more {
		t.Fatal("the schedule goes on by itself")
	}
}

// No loop renews a token, however much time passes: the request that finds it
// due is answered with it, waits for nothing, and the renewal happens beside it.
func TestOnDemandRenewsBesideARequest(t *testing.T) {
	n := ready(t).onDemand(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.rests(t)
	n.clock.advance(110 * time.Minute)
	n.rests(t)
	n.settled(t)
	if calls := calls64(n); calls != 1 {
		t.Fatalf("%d calls without a request", calls)
	}
	gate, reached := make(chan struct{}), make(chan struct{}, 1)
	n.provider.then(blocks(gate, reached, gives(7200)))
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	<-reached // the renewal is under way, and the provider does not answer
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	close(gate)
	n.settled(t)
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
	if calls := calls64(n); calls != 2 {
		t.Errorf("%d calls", calls)
	}
}

// A token that is not due is left alone; one that has ended is fetched for the
// request that wants it, as after a long sleep of the process.
func TestOnDemandAfterALongSleep(t *testing.T) {
	n := ready(t).onDemand(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(time.Hour)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.settled(t)
	if calls := calls64(n); calls != 1 {
		t.Fatalf("%d calls for a token that is not due", calls)
	}
	n.clock.advance(24 * time.Hour)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	n.clock.advance(-48 * time.Hour) // the clock went back: the token is of the future
	want(t, n.View, wx, "T-3-app", realm.FromUpstream)
}

// While a provider refuses, requests do not make it be asked more often than its
// back-off allows, and each is served with the token that lives.
func TestOnDemandKeepsTheBackOff(t *testing.T) {
	n := ready(t).onDemand(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(110 * time.Minute)
	n.provider.then(fails(http.StatusServiceUnavailable, "Retry-After", "60"))
	for range 100 { // within a hundred seconds
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
		n.settled(t)
		n.clock.advance(time.Second)
	}
	if calls := calls64(n); calls < 2 || calls > 3 {
		t.Errorf("%d calls, want one at first and one or two attempts", calls)
	}
	n.provider.then(gives(7200))
	n.clock.advance(2 * time.Minute)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.settled(t)
	if n.has(t, "T-1-app") {
		t.Error("it was not renewed by the first request after the pause")
	}
}

// A realm whose renewals have to wait keeps them in its queue, and no alarm wakes
// anybody: the next request moves the queue on.
func TestOnDemandMovesAQueueOn(t *testing.T) {
	n := ready(t).onDemand(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(110 * time.Minute)
	now := realm.InstantOf(n.clock.now())
	n.pool.schedule.pauseRenewals("wx", now, now.Add(time.Minute))
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.settled(t)
	s := n.pool.schedule
	s.mu.Lock()
	planned := len(s.heap)
	s.mu.Unlock()
	if calls := calls64(n); calls != 1 || planned != 0 {
		t.Fatalf("%d calls, %d planned, while the realm's renewals wait", calls, planned)
	}
	n.clock.advance(2 * time.Minute)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.settled(t)
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
}

// A configuration with a loop that follows one without finds what is due, and
// what waits in a queue that nobody moved on.
func TestLoopAfterOnDemand(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveRealm(t, "other", n.wechat())
	other := realm.Ref{Realm: "other", Key: "main"}
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	n.saveSecret(t, other, "key_1", "other", "key_2", "s3cret-value")
	n.onDemand(t)
	for _, ref := range []realm.Ref{wx, other} {
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	n.rests(t)
	n.clock.advance(110 * time.Minute)
	now := realm.InstantOf(n.clock.now())
	n.pool.schedule.pauseRenewals("wx", now, now.Add(time.Minute))
	want(t, n.View, wx, "T-1-app", realm.FromMemory) // its renewal is queued
	e, _ := n.pool.entries.Load(other)
	e.touch(now)
	loop := n.configure(t)
	n.clock.advance(2 * time.Minute)
	loop.Drive()
	n.pool.schedule.turn()
	eventually(t, "both are renewed", func() bool { return n.provider.of("app") == 2 && n.provider.of("other") == 2 })
}

// renewDue renews a token if that is due, as the account service does.
func (n *node) renewDue(t *testing.T, ref realm.Ref) (found bool, err error) {
	t.Helper()
	due, found, err := n.IsDue(t.Context(), ref)
	if due {
		_, err = n.Ensure(t.Context(), ref)
	}
	return found, err
}

// Due is what has come to its time or has ended, also on a node that has seen none
// of it, and nothing else: not a fresh token, and not one that nobody ever wanted.
func TestIsDue(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	a := nodeOn(t, newStore(t, path, c), p, c)
	config := a.wechat()
	a.saveRealm(t, "wx", config)
	config.KeepWarm = realm.On
	a.saveRealm(t, "warm", config)
	never, warm := realm.Ref{Realm: "wx", Key: "never"}, realm.Ref{Realm: "warm", Key: "main"}
	for _, ref := range []realm.Ref{wx, never, warm} {
		a.saveSecret(t, ref, "key_1", ref.Realm+"-"+ref.Key, "key_2", "s3cret-value")
	}
	if _, err := a.Token(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	check := func(what string, calls map[string]int) {
		t.Helper()
		b := nodeOn(t, newStore(t, path, c), p, c).onDemand(t) // a new process, with nothing in memory
		for _, ref := range []realm.Ref{wx, never, warm} {
			if _, err := b.renewDue(t, ref); err != nil {
				t.Errorf("%s: %v: %v", what, ref, err)
			}
			if got := p.of(ref.Realm + "-" + ref.Key); got != calls[ref.String()] {
				t.Errorf("%s: %v was fetched %d times, want %d", what, ref, got, calls[ref.String()])
			}
		}
	}
	check("fresh", map[string]int{wx.String(): 1, warm.String(): 1})
	if due, found, err := nodeOn(t, newStore(t, path, c), p, c).IsDue(t.Context(), wx); due || !found || err != nil {
		t.Errorf("a fresh token of the store: due %v, found %v, %v", due, found, err)
	}
	c.advance(110 * time.Minute)
	check("due", map[string]int{wx.String(): 2, warm.String(): 2})
	c.advance(48 * time.Hour)
	check("ended", map[string]int{wx.String(): 3, warm.String(): 3})
}

// Timers of two nodes renew a token once, and a provider that fails is not asked
// before its pause is over, whichever node asks.
func TestDueOverTwoNodes(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	a := nodeOn(t, newStore(t, path, c), p, c).onDemand(t)
	b := nodeOn(t, newStore(t, path, c), p, c).onDemand(t)
	a.saveRealm(t, "wx", a.wechat())
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	c.advance(110 * time.Minute)
	both := func() (failed int) {
		var wait sync.WaitGroup
		var mu sync.Mutex
		for _, n := range []*node{a, b, a, b} {
			wait.Go(func() {
				if _, err := n.renewDue(t, wx); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		return failed
	}
	if failed := both(); failed != 0 || p.calls.Load() != 2 {
		t.Fatalf("%d failed, %d fetches", failed, p.calls.Load())
	}
	c.advance(110 * time.Minute)
	p.then(fails(http.StatusServiceUnavailable, "Retry-After", "600"))
	for i := range 3 {
		if failed := both(); failed != 4 || p.calls.Load() != 3 {
			t.Fatalf("round %d: %d failed, %d calls", i, failed, p.calls.Load())
		}
		c.advance(time.Second)
	}
	for _, n := range []*node{a, b} {
		if lease, err := n.Token(t.Context(), wx); err != nil || lease.Access.Reveal() != "T-2-app" {
			t.Errorf("the live token is not served: %v", err)
		}
	}
}

// A token of another recipe, or of other values, is due, and a secret that does
// not fit its realm is told.
func TestIsDueAfterAChange(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	due := func() bool {
		t.Helper()
		due, found, err := n.IsDue(t.Context(), wx)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		return due
	}
	if due() {
		t.Error("a fresh token is due")
	}
	changed := n.wechat()
	changed.Arguments = append(changed.Arguments, realm.Argument{Name: "v", Place: realm.PlaceURL, Value: "2"})
	n.saveRealm(t, "wx", changed)
	if !due() {
		t.Error("the token of another recipe is not due")
	}
	changed.Arguments[2].Value = "{secret.absent}"
	n.saveRealm(t, "wx", changed)
	if _, _, err := n.IsDue(t.Context(), wx); err == nil {
		t.Error("a secret that does not fit is not told")
	}
	for _, ref := range []realm.Ref{{Realm: "none", Key: "main"}, {Realm: "wx", Key: "none"}} {
		if due, found, _ := n.IsDue(t.Context(), ref); due || found {
			t.Errorf("%v is due", ref)
		}
	}
	if calls := calls64(n); calls != 1 {
		t.Errorf("%d calls", calls)
	}
}
