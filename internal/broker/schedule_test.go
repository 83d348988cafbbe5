package broker

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// turns moves the clock in steps, and lets the schedule do its work at each.
func (n *node) turns(t *testing.T, d, step time.Duration) {
	t.Helper()
	for end := n.clock.now().Add(d); n.clock.now().Before(end); {
		n.clock.advance(step)
		n.pool.schedule.turn()
		n.settled(t)
	}
}

// settled waits until nothing is under way.
func (n *node) settled(t *testing.T) {
	t.Helper()
	eventually(t, "all flights land", func() bool {
		busy := false
		n.pool.entries.Range(func(_ realm.Ref, e *entry) bool {
			busy = busy || e.currentFlight() != nil
			return !busy
		})
		return !busy
	})
}

// Nobody asks at the moment of the renewal: a token that is used is renewed
// all the same, an idle one is not, and one that is kept warm always is.
func TestScheduleRenewsWhatIsUsed(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	n.saveRealm(t, "wx", c)
	c.KeepWarm = realm.On
	n.saveRealm(t, "warm", c)
	idle, warm := realm.Ref{Realm: "wx", Key: "idle"}, realm.Ref{Realm: "warm", Key: "main"}
	for _, ref := range []realm.Ref{wx, idle, warm} {
		n.saveSecret(t, ref, "key_1", ref.Realm+"-"+ref.Key, "key_2", "s3cret-value")
	}
	n.Drive()
	calls := func(ref realm.Ref) (count int) { return n.provider.of(ref.Realm + "-" + ref.Key) }
	for _, ref := range []realm.Ref{wx, idle} {
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the warm one is fetched without a use", func() bool { return calls(warm) == 1 })
	for range 20 { // ten hours
		if _, err := n.Token(t.Context(), wx); err != nil {
			t.Fatal(err)
		}
		n.turns(t, 30*time.Minute, 30*time.Second)
	}
	if calls(wx) < 5 || calls(wx) > 7 || calls(warm) < 5 || calls(warm) > 7 || calls(idle) != 1 {
		t.Errorf("in ten hours: %d fetches of the used one, %d of the warm one, %d of the idle one", calls(wx), calls(warm), calls(idle))
	}
}

func calls64(n *node) int { return int(n.provider.calls.Load()) }

// 2,000 tokens end within one minute, and the provider takes 20 calls a
// second: none is used after its end, the rate is kept, and nobody waits.
func TestScheduleSpreadsRenewals(t *testing.T) {
	const keys, rate = 2000, 20
	s := simulate(t, fakeprovider.Options{
		Style: fakeprovider.WeChat, Quotas: []fakeprovider.Quota{}, Total: []fakeprovider.Quota{{Calls: rate, Per: time.Second}},
	}, func(c *realm.Config) {
		c.Limits.Windows = []realm.Window{{Calls: rate, Per: realm.Duration(time.Second)}}
		c.Limits.Concurrency = 8
	})
	refs := make([]realm.Ref, keys)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprint("k", i)}
		s.saveSecret(t, refs[i], "key_1", "app", "key_2", "s3cret-value")
		token := realm.Hidden(s.fake.Steal("app"))
		end := s.clock.now().Add(2*time.Hour + time.Duration(i)*time.Minute/keys)
		if _, err := s.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: refs[i], Token: &token, ExpiresAt: &end}); err != nil {
			t.Fatal(err)
		}
	}
	s.Drive()
	s.use(t, refs)
	s.turns(t, 95*time.Minute, 10*time.Minute)
	s.use(t, refs)
	fetched := s.fake.Fetches()
	s.turns(t, 26*time.Minute, time.Second)
	if n := s.fake.Fetches() - fetched; n != keys || s.fake.Refusals() != 0 {
		t.Errorf("%d fetches of %d tokens, %d refused", n, keys, s.fake.Refusals())
	}
	if peak := s.fake.PeakRate(time.Second); peak > rate {
		t.Errorf("%d calls in a second, allowed are %d", peak, rate)
	}
	before := s.fake.Fetches()
	s.use(t, refs)
	if s.fake.Fetches() != before {
		t.Errorf("%d callers had to wait for a fetch", s.fake.Fetches()-before)
	}
}

// use takes every token once.
func (s *simulated) use(t *testing.T, refs []realm.Ref) {
	t.Helper()
	for _, ref := range refs {
		if _, err := s.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}

// Of those that wait, the ones that were used last are renewed first.
func TestScheduleRenewsTheRecentlyUsedFirst(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Limits.Concurrency = 1
	n.saveRealm(t, "wx", c)
	refs := make([]realm.Ref, 8)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}
		n.saveSecret(t, refs[i], "key_1", fmt.Sprint("app-", i), "key_2", "s3cret-value")
		if _, err := n.Token(t.Context(), refs[i]); err != nil {
			t.Fatal(err)
		}
	}
	n.clock.advance(time.Hour)
	for _, i := range []int{3, 1, 4, 0, 5, 2, 7, 6} {
		n.clock.advance(10 * time.Second)
		if _, err := n.Token(t.Context(), refs[i]); err != nil {
			t.Fatal(err)
		}
	}
	n.clock.advance(55 * time.Minute)
	var order []string
	var mu sync.Mutex
	n.provider.then(func(w http.ResponseWriter, r *http.Request, call int64) {
		mu.Lock()
		order = append(order, r.URL.Query().Get("appid"))
		mu.Unlock()
		gives(7200)(w, r, call)
	})
	// All are due at once: the schedule learns of them before the first starts.
	s := n.pool.schedule
	n.wait("wx", time.Second)
	s.turn()
	n.clock.advance(2 * time.Second)
	s.turn()
	eventually(t, "all are renewed", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == len(refs) })
	want := []string{"app-6", "app-7", "app-2", "app-5", "app-0", "app-4", "app-1", "app-3"}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(order, want) {
		t.Errorf("order %v", order)
	}
}

// wait lets no renewal of a realm start for so long, and this configuration
// drive the schedule.
func (n *node) wait(realmID string, d time.Duration) {
	s := n.pool.schedule
	s.driver.Add(n.View)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queueLocked(realmID).until = realm.InstantOf(n.clock.now().Add(d))
}

// The caller of a token whose renewal waits for its turn does not wait for the
// schedule.
func TestScheduleDoesNotHoldCallers(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(110 * time.Minute)
	n.wait("wx", time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	s := n.pool.schedule
	s.mu.Lock()
	defer s.mu.Unlock()
	served := make(chan struct{})
	go func() {
		defer close(served)
		if _, err := n.Token(t.Context(), wx); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-served:
	case <-time.After(2 * time.Minute):
		t.Error("the caller waits")
	}
}

// A renewal that was overtaken while it waited for its turn is not made: the
// token would be fetched twice.
func TestScheduleDropsWhatIsNotDueAnyMore(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(110 * time.Minute)
	s := n.pool.schedule
	n.wait("wx", time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	if _, err := n.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	n.clock.advance(2 * time.Second)
	s.turn()
	n.settled(t)
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
	if calls := calls64(n); calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

// A renewal that fails is tried again, with the waits of the back-off, while
// the token is served; when the provider is back it is soon renewed.
func TestScheduleTriesAgain(t *testing.T) {
	n := ready(t)
	n.Drive()
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.turns(t, 100*time.Minute, time.Minute)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.provider.then(fails(http.StatusServiceUnavailable))
	n.turns(t, 15*time.Minute, 5*time.Second)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	if calls := calls64(n); calls < 10 || calls > 40 {
		t.Errorf("%d calls", calls)
	}
	n.provider.then(gives(7200))
	n.turns(t, 2*time.Minute, 5*time.Second)
	if n.has(t, "T-1-app") {
		t.Error("it was not renewed within twice the cap")
	}
}

// A cron expression has all tokens renewed, idle ones too, by one of two
// nodes, and once.
func TestCronOncePerCluster(t *testing.T) {
	path, p, c := filepath.Join(t.TempDir(), "tokens.db"), newProvider(t), newClock()
	a, b := nodeOn(t, newStore(t, path, c), p, c), nodeOn(t, newStore(t, path, c), p, c)
	for _, n := range []*node{a, b} {
		v, err := n.pool.View(ViewConfig{Client: testClient(t, c.now), Cron: "CRON_TZ=UTC 0 4 * * *"})
		if err != nil {
			t.Fatal(err)
		}
		n.View = v
		n.Drive()
	}
	a.saveRealm(t, "wx", a.wechat())
	for i := range 5 {
		ref := realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}
		a.saveSecret(t, ref, "key_1", fmt.Sprint("app-", i), "key_2", "s3cret-value")
		if _, err := a.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	for range 130 { // from 03:04 to 05:14
		c.advance(time.Minute)
		a.pool.schedule.turn()
		b.pool.schedule.turn()
	}
	eventually(t, "all are renewed", func() bool { return p.calls.Load() >= 10 })
	a.settled(t)
	b.settled(t)
	for i := range 5 {
		if got := p.of(fmt.Sprint("app-", i)); got != 2 {
			t.Errorf("app-%d was fetched %d times, want once by a use and once by the run", i, got)
		}
	}
}

func TestParseCron(t *testing.T) {
	for _, text := range []string{"0 0 * * *", "0 0 0 * * ?", "CRON_TZ=Asia/Shanghai 30 3 * * 1-5", "@daily"} {
		if _, err := ParseCron(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "* * *", "61 * * * *", "0 0 31 2 *", "every day", "CRON_TZ=Nowhere 0 0 * * *"} {
		if _, err := ParseCron(text); err == nil {
			t.Errorf("%q is no cron expression", text)
		}
	}
}

// The newest configuration that was started drives the schedule; when it is
// gone, the one before does.
func TestDrivers(t *testing.T) {
	n := newNode(t)
	a, b := n.configure(t), n.configure(t)
	s := n.pool.schedule
	a.Drive()
	b.Drive()
	if s.driver.Load() != b {
		t.Error("not the newest")
	}
	b.Rest()
	if s.driver.Load() != a {
		t.Error("not the one before")
	}
	b.Rest()
	a.Rest()
	if s.driver.Load() != nil {
		t.Error("somebody still drives")
	}
}

// A store that hangs while a realm is read does not hold up the renewals of
// other realms.
func TestScheduleDoesNotWaitForTheStore(t *testing.T) {
	n, store := readyWithFaults(t)
	n.saveRealm(t, "away", n.wechat())
	away := realm.Ref{Realm: "away", Key: "main"}
	n.saveSecret(t, away, "key_1", "away", "key_2", "s3cret-value")
	n.Drive()
	for _, ref := range []realm.Ref{away, wx} {
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	n.clock.advance(110 * time.Minute)
	for _, ref := range []realm.Ref{away, wx} { // in use, and due
		e, _ := n.pool.entries.Load(ref)
		e.touch(realm.InstantOf(n.clock.now()))
	}
	n.saveRealm(t, "away", n.wechat()) // memory forgets the realm
	store.hangs.Store(true)
	eventually(t, "the realm is read on the side", func() bool {
		n.clock.advance(horizon / 2)
		n.pool.schedule.turn()
		return store.hanging.Load() > 0
	})
	eventually(t, "the other realm's token is renewed", func() bool { return n.provider.of("app") == 2 })
	store.hangs.Store(false)
}

// A realm that has no calls left does not make each of its tokens ask the
// store: they wait together.
func TestScheduleHoldsARealm(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Limits.Windows = []realm.Window{{Calls: 10, Per: realm.Duration(time.Hour)}}
	n.saveRealm(t, "wx", c)
	for i := range 10 {
		ref := realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	n.Drive()
	for range 2 {
		n.clock.advance(29 * time.Minute)
		for i := range 10 {
			if _, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.turns(t, 61*time.Minute, time.Minute)
	if calls := calls64(n); calls != 20 {
		t.Errorf("%d calls, want 20", calls)
	}
	var e *realm.Error
	_, err := n.Flush(t.Context(), realm.Ref{Realm: "wx", Key: "1"})
	if !errors.As(err, &e) || e.Code != realm.CodeBudgetSpent {
		t.Errorf("got %v", err)
	}
}

// A pause that was set by a clock ahead ends when that is put right.
func TestPauseAfterTheClockWentBack(t *testing.T) {
	s := newSchedule(&Pool{})
	now, wait := realm.Instant(time.Hour.Microseconds()), realm.Instant(time.Minute.Microseconds())
	q := s.queueLocked("wx")
	if !s.pauseRenewals("wx", now, now+wait) || s.pauseRenewals("wx", now+1, now+2*wait) {
		t.Error("not news once")
	}
	if !q.isPaused(now+wait) || q.isPaused(now+2*wait) {
		t.Error("not paused for the longer of the two")
	}
	if q.isPaused(0) {
		t.Error("paused for an hour and more")
	}
	if !s.pauseRenewals("wx", 0, wait) || !q.isPaused(0) || q.isPaused(wait) {
		t.Error("not paused by the new clock")
	}
}
