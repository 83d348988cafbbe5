package broker

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
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
// that was started drives it.
type schedule struct {
	pool   *Pool
	driver atomic.Pointer[View]

	mu      sync.Mutex
	heap    renewals
	swept   realm.Instant // up to when the heap is complete
	changed chan struct{}
	lanes   map[string]*lane
	drivers []*View // those that were started, the newest last

	turning  sync.Mutex // guards the rest
	cronAt   time.Time  // the next run of cronOf's expression
	cronOf   *View
	warmed   realm.Instant // when the realms of warmedOf that are kept warm were looked at
	warmedOf *View
}

// renewal is a token whose renewal is due at an instant.
type renewal struct {
	at  realm.Instant
	ref realm.Ref
	e   *entry
	aim aim
}

func newSchedule(p *Pool) *schedule {
	return &schedule{pool: p, changed: make(chan struct{}, 1), lanes: map[string]*lane{}}
}

// published takes notice of a token in memory.
func (s *schedule) published(ref realm.Ref, e *entry, l *live, now realm.Instant) {
	if l.renewAt != 0 && l.renewAt < l.lease.Expires && l.renewAt <= now+realm.Instant(horizon.Microseconds()) {
		s.later(ref, e, l.renewAt)
	}
}

// later has the renewal of a (realm, key) looked at, at an instant.
func (s *schedule) later(ref realm.Ref, e *entry, at realm.Instant) {
	s.plan(renewal{at: at, ref: ref, e: e, aim: aim{kind: renew}})
}

// plan has something looked at when it is due.
func (s *schedule) plan(r renewal) {
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
		timer.Reset(s.turn())
	}
}

// turn starts what is due and returns how long to wait for the next turn.
func (s *schedule) turn() time.Duration {
	s.turning.Lock()
	defer s.turning.Unlock()
	now := realm.InstantOf(s.pool.now())
	v := s.driver.Load()
	if v == nil {
		return tick
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
		return tick
	}
	return min(max(time.Duration(s.heap[0].at-now)*time.Microsecond, time.Millisecond), tick)
}

// outdated says whether the heap does not reach far enough, or the clock went
// back.
func (s *schedule) outdated(now realm.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ahead := s.swept - now
	return ahead < realm.Instant((horizon/2).Microseconds()) || ahead > realm.Instant((2*horizon).Microseconds())
}

// sweep fills the heap with all that is due within the horizon.
func (s *schedule) sweep(now realm.Instant) {
	until := now + realm.Instant(horizon.Microseconds())
	s.mu.Lock()
	found := s.heap
	s.heap = nil
	s.mu.Unlock()
	s.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		if at := e.nextRenewal(); at != 0 && at <= until && !e.waiting.Load() {
			found = append(found, renewal{at: at, ref: ref, e: e, aim: aim{kind: renew}})
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
	if t := e.lastTrouble(); t != nil && t.until > at {
		at = t.until
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

// renewDue starts the renewal of an entry, unless that has happened since, is
// to wait, or nobody uses the token. Without an entry it is the alarm of a
// realm that had to wait.
func (v *View) renewDue(r renewal, now realm.Instant) {
	if r.e == nil {
		v.pool.schedule.advance(v, r.ref.Realm)
		return
	}
	l, t := r.e.live.Load(), r.e.lastTrouble()
	if t.unsaved() == nil {
		switch {
		case !r.wanted(l, now):
			return
		case t.waits(now):
			r.at = t.until
			v.pool.schedule.plan(r)
			return
		}
	}
	v.pool.schedule.queue(v, r)
}

// wanted says whether there is still something to do, with the token that is
// in memory: to renew it, or to get one that is kept warm.
func (r *renewal) wanted(l *live, now realm.Instant) bool {
	if l == nil {
		return r.aim.kind == load
	}
	r.aim = aim{kind: renew}
	return l.due(now) && (r.e.active(now, l.life()) || l.owner.KeptWarm())
}

// ahead asks for the renewal of a token that is used. One whose renewal waits
// for its turn, perhaps for minutes, takes no lock.
func (v *View) ahead(e *entry, ref realm.Ref, now realm.Instant) {
	s := v.pool.schedule
	if e.waiting.Load() && s.driver.Load() != nil { // else it is the callers that move the queue on
		return
	}
	if !e.lastTrouble().waits(now) && e.flying() == nil {
		s.queue(v, renewal{at: now, ref: ref, e: e, aim: aim{kind: renew}})
	}
}

// renewQueued starts a renewal whose turn it is; false where there is nothing
// to do, any more: another flight was faster.
func (v *View) renewQueued(c *catalog.Realm, r renewal) bool {
	if e, ok := v.pool.entries.Load(r.ref); !ok || e != r.e {
		return false
	}
	now := realm.InstantOf(v.pool.now())
	r.e.mu.Lock()
	if r.e.underWay() != nil || r.aim == (aim{kind: renew}) && !r.e.overdue(now) {
		r.e.mu.Unlock()
		return false
	}
	f := newFlight(c, r.aim)
	f.queued = true
	r.e.work().flight = f
	r.e.mu.Unlock()
	v.launch(r.e, f, r.ref)
	return true
}

// overdue says whether the live token is to be renewed, or one is to be saved;
// the caller holds the lock.
func (e *entry) overdue(now realm.Instant) bool {
	if l := e.live.Load(); l != nil && l.due(now) {
		return true
	}
	return e.doing != nil && e.doing.trouble.unsaved() != nil
}

// landed lets the next renewal of the realm start, and has one that came to
// nothing tried again.
func (s *schedule) landed(v *View, e *entry, f *flight, ref realm.Ref) {
	if f.queued {
		s.renewed(ref.Realm)
		s.advance(v, ref.Realm)
	}
	warm := f.queued && f.owner.KeptWarm()
	if f.err == nil || catalog.IsNotFound(f.err) || f.kind != renew && !warm {
		return
	}
	now, t := realm.InstantOf(s.pool.now()), e.lastTrouble()
	if t.failed() && t.code == realm.CodeReauthRequired && e.live.Load() == nil {
		return // whoever authorizes brings a token; it is looked for with all that are kept warm
	}
	at := now + realm.Instant(storeWait.Microseconds())
	if t.waits(now) {
		at = t.until
	}
	a := aim{kind: renew}
	if warm {
		a.kind = load
	}
	s.plan(renewal{at: at, ref: ref, e: e, aim: a})
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
