package access

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxCalls is the most calls in a unit that a limit may allow.
const maxCalls = 1_000_000

// Limit is so many calls in a unit of time. The zero value is no limit.
type Limit struct {
	Calls int64
	Per   time.Duration
}

// limitUnits are how a unit is written.
var limitUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// ParseLimit reads a limit: "100/s", "60/h", with the units s, m (minute), h and
// d. An empty text is no limit.
func ParseLimit(text string) (Limit, error) {
	if text == "" {
		return Limit{}, nil
	}
	calls, unit, ok := strings.Cut(text, "/")
	if !ok {
		return Limit{}, realm.Fieldf("", "is not a limit; write 100/s, 1000/m, 60/h or 5000/d")
	}
	per, ok := limitUnits[unit]
	if !ok {
		return Limit{}, realm.Fieldf("", "has the unit %q; there are s, m (minute), h and d", unit)
	}
	n, err := strconv.ParseInt(calls, 10, 64)
	switch {
	case isDigits(calls) && (err != nil || n > maxCalls):
		return Limit{}, realm.Fieldf("", "allows too many calls; %d is the limit, and without one there is none", maxCalls)
	case err != nil || !isDigits(strings.TrimPrefix(calls, "-")):
		return Limit{}, realm.Fieldf("", "has no whole number before the /; write 100/s")
	case n <= 0:
		return Limit{}, realm.Fieldf("", "allows no calls; a rule that denies does that")
	}
	return Limit{Calls: n, Per: per}, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// String is the limit as it is written: "100/s".
func (l Limit) String() string {
	for unit, per := range limitUnits {
		if l.Per == per {
			return strconv.FormatInt(l.Calls, 10) + "/" + unit
		}
	}
	return ""
}

// bucket counts calls against a limit. It is a token bucket that is full at
// first: all calls of a unit may come at once, and then they come back one by
// one. It is kept as one number, the time at which the bucket will be full again
// (this form is known as the generic cell rate algorithm), so that no lock is
// needed.
type bucket struct {
	limit Limit
	// each is how long it takes until a call comes back.
	each int64
	// burst is how far ahead of now full may be for one more call to be allowed.
	burst int64
	full  atomic.Int64
}

// newBucket makes a bucket, nil for no limit.
func newBucket(l Limit) *bucket {
	if l.Calls == 0 {
		return nil
	}
	each := (int64(l.Per) + l.Calls - 1) / l.Calls // rounded up, so that the limit holds
	return &bucket{limit: l, each: each, burst: (l.Calls - 1) * each}
}

// fullAt is when the bucket will be full, as it looks at now. It cannot be later
// than an empty bucket takes: then the clock went back, and what was counted
// before is forgotten.
func (b *bucket) fullAt(now, stored int64) int64 {
	if stored > now+b.burst+b.each {
		return now
	}
	return max(stored, now)
}

// take takes one call, or returns how long to wait for one.
func (b *bucket) take(now int64) (wait time.Duration) {
	for {
		stored := b.full.Load()
		full := b.fullAt(now, stored)
		if ahead := full - now; ahead > b.burst {
			return time.Duration(ahead - b.burst)
		}
		if b.full.CompareAndSwap(stored, full+b.each) {
			return 0
		}
	}
}

// wait returns how long to wait until a call could be taken.
func (b *bucket) wait(now int64) time.Duration {
	return time.Duration(max(0, b.fullAt(now, b.full.Load())-now-b.burst))
}

// force takes one call that was made whether it was allowed or not, and returns how
// much of it there was to take. An empty bucket stays empty, and gets no debt.
func (b *bucket) force(now int64) (taken int64) {
	for {
		stored := b.full.Load()
		before := b.fullAt(now, stored)
		taken = min(b.each, now+b.burst+b.each-before)
		if b.full.CompareAndSwap(stored, before+taken) {
			return taken
		}
	}
}

// giveBack gives back what force took of a call that is not made.
func (b *bucket) giveBack(taken int64) { b.full.Add(-taken) }

// tally is what is counted of a client on this node. It belongs to the client's
// id, so that it outlives changes of the client and of the configuration.
type tally struct {
	holders int // the views and the table that have the client; guarded by Registry.mu
	// requests and fetches are replaced when the limit changes; guarded by
	// Registry.mu. A compiled client has pointers of its own.
	requests, fetches *bucket
	running           atomic.Int64
	// used is the hour in which the client was seen last, in hours of Unix time;
	// noted is what of it the store knows.
	used, noted atomic.Int64
}

// bucketFor returns the bucket for a limit: the one there is, if the limit is
// still the same.
func bucketFor(b *bucket, l Limit) *bucket {
	if b != nil && b.limit == l {
		return b
	}
	return newBucket(l)
}

// see notes that the client is there.
func (t *tally) see(now time.Time) {
	if hour := now.Unix() / 3600; t.used.Load() < hour {
		t.used.Store(hour)
	}
}

// concurrencyRetry is how long a caller is told to wait for one of its own
// requests to end, which nobody knows.
const concurrencyRetry = time.Second

// Begin counts a request that begins, and notes that the client was seen. The
// error is 429 rate_limited; then End must not be called.
func (c *Client) Begin(now time.Time) *realm.Error {
	t := c.policy.tally
	t.see(now)
	if n := t.running.Add(1); c.policy.concurrency > 0 && n > c.policy.concurrency {
		t.running.Add(-1)
		return limited("the client has as many requests under way as it may: "+strconv.FormatInt(c.policy.concurrency, 10), concurrencyRetry)
	}
	if b := c.policy.requests; b != nil {
		if wait := b.take(now.UnixNano()); wait > 0 {
			t.running.Add(-1)
			return limited("the client has made as many requests as it may: "+b.limit.String(), wait)
		}
	}
	return nil
}

// End counts a request that ended.
func (c *Client) End() { c.policy.tally.running.Add(-1) }

// MayFetch reports by its error, 429 rate_limited, whether the client may cause
// a token request now. It takes nothing: whether one is made is known later.
func (c *Client) MayFetch(now time.Time) *realm.Error {
	if b := c.policy.fetches; b != nil {
		if wait := b.wait(now.UnixNano()); wait > 0 {
			return limited("the client has caused as many token requests as it may: "+b.limit.String(), wait)
		}
	}
	return nil
}

// Fetched counts a token request that the client caused. It returns what takes that
// back if the request is not made.
func (c *Client) Fetched(now time.Time) (takeBack func()) {
	b := c.policy.fetches
	if b == nil {
		return func() {}
	}
	taken := b.force(now.UnixNano())
	return func() { b.giveBack(taken) }
}

// limited is the refusal of a request over a limit. Less than a second is no
// Retry-After.
func limited(detail string, wait time.Duration) *realm.Error {
	return &realm.Error{
		Code: realm.CodeRateLimited, Status: http.StatusTooManyRequests, Detail: detail,
		RetryAfter: time.Duration(math.Ceil(wait.Seconds())) * time.Second,
	}
}
