package access

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]Limit{
		"":          {},
		"100/s":     {100, time.Second},
		"1/m":       {1, time.Minute},
		"60/h":      {60, time.Hour},
		"5000/d":    {5000, 24 * time.Hour},
		"1000000/s": {1_000_000, time.Second},
	} {
		got, err := ParseLimit(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q: %v (%q), %v", text, got, got, err)
		}
	}
	for text, want := range map[string]string{
		"100/x": `has the unit "x"; there are s, m (minute), h and d`, "100/": `has the unit ""`, "100/S": `has the unit "S"`, "100/s/s": `has the unit "s/s"`,
		"0/s": "allows no calls", "-5/s": "allows no calls", "00/h": "allows no calls",
		"1000001/s": "too many calls; 1000000 is the limit", "99999999999999999999/d": "too many calls",
		"100": "is not a limit; write 100/s", "s": "is not a limit", "/s": "no whole number", "1.5/s": "no whole number", "+5/s": "no whole number", " 5/s": "no whole number",
		"1e3/s": "no whole number", "--5/s": "no whole number", "0x5/s": "no whole number", "1_000/s": "no whole number", "-99999999999999999999/s": "no whole number",
	} {
		_, err := ParseLimit(text)
		var field *realm.FieldError
		if !errors.As(err, &field) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestBucketAgreesWithTheModel: the model is a bucket that has tokens, in
// fractions.
func TestBucketAgreesWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Units that are multiples of the calls: the model does not round.
		l := Limit{rapid.Int64Range(1, 20).Draw(t, "calls"), 232792560 * time.Microsecond}
		b, each := newBucket(l), float64(l.Per)/float64(l.Calls)
		now, tokens := int64(1e18), float64(l.Calls)
		for range 100 {
			step := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(l.Per)), rapid.Just(int64(each))).Draw(t, "step")
			now += step
			tokens = min(float64(l.Calls), tokens+float64(step)/each)
			want := time.Duration(0)
			if tokens < 1 {
				want = time.Duration((1 - tokens) * each)
			}
			near := func(got time.Duration) bool {
				return (got-want).Abs() <= time.Microsecond && (got == 0) == (want < time.Microsecond)
			}
			if got := b.wait(now); !near(got) && want > time.Microsecond {
				t.Fatalf("wait %v, want %v", got, want)
			}
			if rapid.IntRange(0, 3).Draw(t, "forced") == 0 {
				b.force(now)
				tokens = max(0, tokens-1)
				continue
			}
			got := b.take(now)
			if got == 0 {
				if want > time.Microsecond {
					t.Fatalf("taken %v too early", want)
				}
				tokens = max(0, tokens-1)
			} else if !near(got) {
				t.Fatalf("told to wait %v, want %v", got, want)
			}
		}
	})
}

// TestBucketGivesBackWhatWasTaken: a call that found the bucket empty, or with less
// than one call, takes what there is. If it is not made, no more than that comes back.
func TestBucketGivesBackWhatWasTaken(t *testing.T) {
	b, now := newBucket(Limit{2, time.Minute}), int64(1e18)
	wantWait := func(want time.Duration) {
		t.Helper()
		if got := b.wait(now); got != want {
			t.Errorf("wait %v, want %v", got, want)
		}
	}
	b.force(now)
	b.force(now)
	wantWait(30 * time.Second)
	b.giveBack(b.force(now))
	wantWait(30 * time.Second)
	now += int64(10 * time.Second)
	third := b.force(now) // takes a third of a call
	wantWait(30 * time.Second)
	b.giveBack(third)
	wantWait(20 * time.Second)
	now += int64(time.Hour)
	first, second := b.force(now), b.force(now)
	b.giveBack(first)
	b.giveBack(second)
	for range 2 {
		wantWait(0)
		b.force(now)
	}
	wantWait(30 * time.Second)
}

// TestRetryAfterIsRight: after the wait that a caller is told, and not before,
// the next call is allowed.
func TestRetryAfterIsRight(t *testing.T) {
	for _, text := range []string{"1/s", "3/s", "7/m", "100/s", "60/h", "999999/s", "1/d"} {
		l, _ := ParseLimit(text)
		b, now := newBucket(l), int64(1e18)
		for range l.Calls {
			if wait := b.take(now); wait != 0 {
				t.Fatalf("%s: wait %v", text, wait)
			}
		}
		wait := b.take(now)
		// Rounded down, there would be more calls in a long time than allowed.
		if short, over := wait*time.Duration(l.Calls) < l.Per, (wait-1)*time.Duration(l.Calls) >= l.Per; short || over {
			t.Errorf("%s: %v", text, wait)
		}
		if b.take(now+int64(wait)-1) == 0 || b.take(now+int64(wait)) != 0 || b.take(now+int64(wait)) == 0 {
			t.Errorf("%s: allowed at another time than %v", text, wait)
		}
		// A clock that went back does not close for long.
		if b.take(now-int64(3*l.Per)) != 0 {
			t.Errorf("%s: closed since the clock went back", text)
		}
	}
}

func limitedClient(t *testing.T, s *memoryStore, l tokenstore.ClientLimits) (*Registry, *Client) {
	t.Helper()
	s.set(tokenstore.Client{ID: "c", Users: []string{"u"}, Limits: l})
	r, v := newView(t, s, ViewConfig{})
	return r, mustBe(t, v, Caller{User: "u"}, "c")
}

// mustBe identifies a caller, who has to be the client of this id ("" for none).
func mustBe(t testing.TB, v *View, caller Caller, id string) *Client {
	t.Helper()
	c, err := v.Identify(caller)
	if err != nil || (c == nil) != (id == "") || c != nil && c.ID() != id {
		t.Fatalf("%+v is %v, %v; want %q", caller, c, err, id)
	}
	return c
}

func TestLimitsOfAClient(t *testing.T) {
	s, now := newMemoryStore(), time.Now()
	r, c := limitedClient(t, s, tokenstore.ClientLimits{Requests: "3/h", Concurrency: 2, Fetches: "1/m"})
	wantLimited := func(e *realm.Error, words string, after time.Duration) {
		t.Helper()
		if e == nil || e.Code != realm.CodeRateLimited || e.Status != 429 || !strings.Contains(e.Detail, words) || e.RetryAfter != after {
			t.Fatalf("%+v, want %q after %v", e, words, after)
		}
	}
	for range 2 {
		if e := c.Begin(now); e != nil {
			t.Fatal(e)
		}
	}
	wantLimited(c.Begin(now), "under way as it may: 2", time.Second)
	c.End()
	if e := c.Begin(now); e != nil { // what was refused has not counted
		t.Fatal(e)
	}
	c.End()
	wantLimited(c.Begin(now.Add(time.Millisecond)), "as it may: 3/h", 20*time.Minute)
	c.End()

	if e := c.MayFetch(now); e != nil {
		t.Fatal(e)
	}
	takeBack := c.Fetched(now)
	wantLimited(c.MayFetch(now), "token requests as it may: 1/m", time.Minute)
	takeBack() // it was not made
	if e := c.MayFetch(now); e != nil {
		t.Fatal(e)
	}
	c.Fetched(now)
	wantLimited(c.MayFetch(now.Add(30*time.Second)), "token requests as it may: 1/m", 30*time.Second)
	if e := c.MayFetch(now.Add(time.Minute)); e != nil {
		t.Fatal(e)
	}

	// Counters belong to the id: another configuration or other rules do not
	// reset them, another limit does.
	s.set(tokenstore.Client{ID: "c", Users: []string{"u"}, Comment: "other", Limits: tokenstore.ClientLimits{Requests: "3/h", Concurrency: 2, Fetches: "2/m"}})
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := r.View(ViewConfig{})
	if err != nil {
		t.Fatal(err)
	}
	next := mustBe(t, v, Caller{User: "u"}, "c")
	if next == c {
		t.Fatal("nothing was reloaded")
	}
	wantLimited(next.Begin(now.Add(time.Minute)), "as it may: 3/h", 19*time.Minute)
	if e := next.MayFetch(now); e != nil {
		t.Error("another limit has old counters")
	}
	if n := next.policy.tally.running.Load(); n != 0 {
		t.Errorf("%d requests run", n)
	}
}

func TestLimitsOfACaddyfileClientOutliveAReload(t *testing.T) {
	now := time.Now()
	r, first := newView(t, newMemoryStore(), ViewConfig{Clients: []tokenstore.Client{{ID: "c", Users: []string{"u"}, Limits: tokenstore.ClientLimits{Requests: "1/h"}}}})
	if e := mustBe(t, first, Caller{User: "u"}, "c").Begin(now); e != nil {
		t.Fatal(e)
	}
	second, err := r.View(ViewConfig{Clients: []tokenstore.Client{{ID: "c", Users: []string{"v"}, Limits: tokenstore.ClientLimits{Requests: "1/h"}}}})
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if e := mustBe(t, second, Caller{User: "v"}, "c").Begin(now); e == nil {
		t.Error("a reload of the configuration reset the counters")
	}
	second.Close()
	if len(r.tallies) != 0 || len(r.defined) != 0 {
		t.Errorf("%d counters and %d lives of nobody are left", len(r.tallies), len(r.defined))
	}
}

// TestLimitsUnderLoad: goroutines together take exactly what is allowed.
func TestLimitsUnderLoad(t *testing.T) {
	_, c := limitedClient(t, newMemoryStore(), tokenstore.ClientLimits{Requests: "1000/h", Concurrency: 3})
	now := time.Now()
	var taken, running, most atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if c.Begin(now) != nil {
					continue
				}
				taken.Add(1)
				n := running.Add(1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				running.Add(-1)
				c.End()
			}
		})
	}
	all.Wait()
	if taken.Load() > 1000 || most.Load() > 3 || c.policy.tally.running.Load() != 0 {
		t.Errorf("%d taken, %d at a time", taken.Load(), most.Load())
	}
	for c.Begin(now) == nil {
		c.End()
		taken.Add(1)
	}
	if taken.Load() != 1000 {
		t.Errorf("%d of 1000 taken", taken.Load())
	}
}
