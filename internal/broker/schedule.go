package broker

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/reload"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// horizon is how far the schedule looks ahead. What is due later is found
	// by the next sweep over memory, so that a token that is not due costs the
	// schedule no memory.
	horizon = 30 * time.Second
	// tick is how often the schedule looks at the clock, which may jump.
	tick = time.Second
)

// schedule renews tokens ahead of their end: those that are used, and those of
// realms that are kept warm. It belongs to the pool; the newest configuration
// that was started drives it. One that renews on demand lets it rest: the process
// may be stopped between two requests, and callers start what is due (renewAhead).
type schedule struct {
	pool   *Pool
	driver reload.Newest[View]

	mu      sync.Mutex
	heap    renewals
	swept   realm.Instant // up to when the heap is complete
	changed chan struct{}
	queues  map[string]*realmQueue

	turning  sync.Mutex // guards the rest
	rested   bool       // the last turn was on demand
	cronAt   time.Time  // the next run of cronOf's expression
	cronOf   *View
	warmed   realm.Instant // when the realms of warmedOf that are kept warm were looked at
	warmedOf *View
}

// The way of a renewal: a token that is published, or found by a sweep, stands in
// the heap until it is due. Then it goes into the queue of its realm, which lets it
// start when the realm's calls have room for it (realmqueue.go). The flight that it
// becomes tells the schedule when it has finished, and what failed is planned again.

// renewal is a token whose renewal is due at an instant.
type renewal struct {
	at  realm.Instant
	ref realm.Ref
	e   *entry
	goal
}

func newSchedule(p *Pool) *schedule {
	return &schedule{pool: p, changed: make(chan struct{}, 1), queues: map[string]*realmQueue{}}
}

// published takes notice of a token in memory.
func (s *schedule) published(ref realm.Ref, e *entry, l *live, now realm.Instant) {
	if l.renewAt != 0 && l.renewAt < l.lease.Expires && l.renewAt <= now.Add(horizon) {
		s.later(ref, e, l.renewAt)
	}
}

// later has the renewal of a (realm, key) looked at, at an instant.
func (s *schedule) later(ref realm.Ref, e *entry, at realm.Instant) {
	s.plan(renewal{at: at, ref: ref, e: e, goal: goal{purpose: claim.Renew}})
}

// isOnDemand reports whether the configuration that drives has nothing started at
// its time: callers start it.
func (s *schedule) isOnDemand() bool {
	v := s.driver.Load()
	return v != nil && v.onDemand
}

// plan has something looked at when it is due. On demand nobody would look: the
// next request for the token does.
func (s *schedule) plan(r renewal) {
	if s.isOnDemand() {
		return
	}
	s.mu.Lock()
	heap.Push(&s.heap, r)
	first := s.heap[0].at == r.at
	s.mu.Unlock()
	if first {
		s.wake()
	}
}

func (s *schedule) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run drives the schedule until ctx ends.
func (s *schedule) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.changed:
		case <-ctx.Done():
			return
		}
		if wait, more := s.turn(); more {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// turn starts what is due and returns how long to wait for the next turn, unless
// there is none until the driver changes.
func (s *schedule) turn() (wait time.Duration, more bool) {
	s.turning.Lock()
	defer s.turning.Unlock()
	now := realm.InstantOf(s.pool.now())
	v := s.driver.Load()
	switch {
	case v == nil:
		return tick, true
	case v.onDemand:
		s.rest()
		return 0, false
	case s.rested:
		s.rested = false
		s.advanceAll(v)
	}
	if s.outdated(now) {
		s.sweep(now)
	}
	s.runCron(v, now.Time())
	s.warm(v, now)
	for _, r := range s.due(now) {
		v.renewDue(r, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.heap) == 0 {
		return tick, true
	}
	return min(max(time.Duration(s.heap[0].at-now)*time.Microsecond, time.Millisecond), tick), true
}

// rest gives up what is planned. The first turn after it looks at all entries.
func (s *schedule) rest() {
	s.rested, s.warmedOf = true, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heap, s.swept = nil, 0
}

// outdated reports whether the heap does not reach far enough, or the clock went
// back.
func (s *schedule) outdated(now realm.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.swept - now
	return ahead < realm.Instant((horizon/2).Microseconds()) || ahead > realm.Instant((2*horizon).Microseconds())
}

// sweep fills the heap with all that is due within the horizon.
func (s *schedule) sweep(now realm.Instant) {
	until := now.Add(horizon)
	s.mu.Lock()
	found := s.heap
	s.heap = nil
	s.mu.Unlock()
	s.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		if at := e.nextRenewal(); at != 0 && at <= until && !e.queued.Load() {
			found = append(found, renewal{at: at, ref: ref, e: e, goal: goal{purpose: claim.Renew}})
		}
		return true
	})
	// A caller that takes the lock does not wait for this. To look at an entry
	// twice is harmless.
	slices.SortFunc(found, func(a, b renewal) int { return cmp.Compare(a.at, b.at) })
	found = slices.CompactFunc(found, func(a, b renewal) bool { return a == b })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.heap { // what was added meanwhile
		heap.Push(&found, r)
	}
	s.heap, s.swept = found, until
}

// nextRenewal is when the entry is to be looked at; 0 for never.
func (e *entry) nextRenewal() realm.Instant {
	l := e.live.Load()
	if l == nil || l.renewAt == 0 || l.renewAt >= l.lease.Expires {
		return 0
	}
	at := l.renewAt
	if f, _ := e.state(); f != nil && f.until > at {
		at = f.until
	}
	return at
}

// due takes what is due out of the heap.
func (s *schedule) due(now realm.Instant) []renewal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []renewal
	for len(s.heap) > 0 && s.heap[0].at <= now {
		list = append(list, heap.Pop(&s.heap).(renewal))
	}
	return list
}

// renewDue queues the renewal of an entry, unless that has happened since, has
// to wait, or nobody uses the token. Without an entry it is the alarm of a realm
// whose renewals had to wait.
func (v *View) renewDue(r renewal, now realm.Instant) {
	if r.e == nil {
		v.pool.schedule.advance(v, r.ref.Realm)
		return
	}
	f, unsaved := r.e.state()
	if unsaved == nil {
		switch {
		case !r.isWanted(r.e.live.Load(), now):
			return
		case f.isActive(now):
			r.at = f.until
			v.pool.schedule.plan(r)
			return
		}
	}
	v.pool.schedule.queue(v, r)
}

// isWanted reports whether there is still something to do with l, the token in
// memory: to renew it, or to get one if it is kept warm.
func (r *renewal) isWanted(l *live, now realm.Instant) bool {
	if l == nil {
		return r.purpose == claim.Load
	}
	r.goal = goal{purpose: claim.Renew}
	return l.isDue(now) && (r.e.isInUse(now, l.life()) || l.owner.KeptWarm())
}

// renewAhead asks for the renewal of a token that is used. It takes no lock if
// the renewal waits for its turn already, perhaps for minutes.
func (v *View) renewAhead(e *entry, ref realm.Ref, now realm.Instant) {
	s := v.pool.schedule
	if e.queued.Load() && s.driver.Load() != nil && !s.isOnDemand() { // otherwise callers move the queue on
		return
	}
	if f, _ := e.state(); !f.isActive(now) && e.currentFlight() == nil {
		s.queue(v, renewal{at: now, ref: ref, e: e, goal: goal{purpose: claim.Renew}})
	}
}

// startRenewal starts a renewal whose turn it is. It reports whether there was
// still something to do: another flight may have been faster.
func (v *View) startRenewal(c *catalog.Realm, r renewal) bool {
	if e, ok := v.pool.entries.Load(r.ref); !ok || e != r.e {
		return false
	}
	now := realm.InstantOf(v.pool.now())
	r.e.mu.Lock()
	if r.e.flightLocked() != nil || r.goal == (goal{purpose: claim.Renew}) && !r.e.isOverdueLocked(now) {
		r.e.mu.Unlock()
		return false
	}
	f := newFlight(c, r.goal)
	f.isQueued = true
	r.e.activityLocked().flight = f
	r.e.mu.Unlock()
	v.launch(r.e, f, r.ref)
	return true
}

// isOverdueLocked reports whether the live token is to be renewed, or an outcome
// is to be saved.
func (e *entry) isOverdueLocked(now realm.Instant) bool {
	if l := e.live.Load(); l != nil && l.isDue(now) {
		return true
	}
	return e.activity != nil && e.activity.unsaved != nil
}

// finished lets the next renewal of the realm start after a flight, and has a
// renewal that came to nothing tried again.
func (s *schedule) finished(v *View, e *entry, f *flight, ref realm.Ref) {
	if f.isQueued {
		s.renewed(ref.Realm)
		s.advance(v, ref.Realm)
	}
	isWarm := f.isQueued && f.owner.KeptWarm()
	if f.err == nil || catalog.IsNotFound(f.err) || f.purpose != claim.Renew && !isWarm {
		return
	}
	now := realm.InstantOf(s.pool.now())
	failed, _ := e.state()
	if failed.needsPerson() && e.live.Load() == nil {
		return // whoever authorizes brings a token; it is looked for with all that are kept warm
	}
	at := now.Add(storeRetry)
	if failed.isActive(now) {
		at = failed.until
	}
	g := goal{purpose: claim.Renew}
	if isWarm {
		g.purpose = claim.Load
	}
	s.plan(renewal{at: at, ref: ref, e: e, goal: g})
}

// renewals is a heap by time.
type renewals []renewal

func (h renewals) Len() int           { return len(h) }
func (h renewals) Less(i, j int) bool { return h[i].at < h[j].at }
func (h renewals) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *renewals) Push(x any) { *h = append(*h, x.(renewal)) }

// Pop implements heap.Interface.
func (h *renewals) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
