package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// entry is what memory knows of one (realm, key). A hit reads live, used,
// suspect and, if the token is due, queued: nothing else. There may be a
// million entries: mind the size.
type entry struct {
	live atomic.Pointer[live]
	// suspect: the store may know better than memory. The next use compares
	// them.
	suspect suspicion
	// accepted: the API accepted the live token at least once.
	accepted atomic.Bool
	// queued: its renewal waits in the queue of its realm.
	queued atomic.Bool
	// used is the tick of the last use, see tickOf.
	used atomic.Uint32

	mu sync.Mutex
	// revision grows when what was known is forgotten: a flight that began
	// before does not publish its result.
	revision uint32
	// fetches are the calls to the provider that this node made.
	fetches uint32
	// activity is nil for an entry that has none.
	activity *activity
}

// activity is what an entry has while something is under way or went wrong.
type activity struct {
	flight *flight
	// comparison compares memory with the store while flight does something
	// else.
	comparison *flight
	failure    *failure
	// unsaved is the outcome of a call that the store did not take yet.
	unsaved     *claim.Outcome
	earlyDeaths earlyDeaths
	// floor bounds how often a refused token is replaced.
	floor healFloor
}

// live is a token in memory. There may be a million: mind the size.
type live struct {
	lease realm.Lease    // what callers get; its Source is memory
	owner *catalog.Realm // the realm that the lease was made for
	// from is when its life begins, see claim.BeginOfLife.
	from realm.Instant
	// renewAt is when its renewal is due; 0 for never.
	renewAt     realm.Instant
	fingerprint realm.Fingerprint
}

// slack is how long before its end a token is not handed out any more: it
// still has to reach the provider.
const slack = time.Second

// isUsable reports whether the token may be handed out now.
func (l *live) isUsable(now realm.Instant) bool {
	return l.lease.Expires == 0 || l.from <= now && now < l.lease.Expires-realm.Instant(slack/time.Microsecond)
}

// isDue reports whether it is time to renew the token.
func (l *live) isDue(now realm.Instant) bool { return l.renewAt != 0 && now >= l.renewAt }

// issued is when the token was asked for. It is computed from the begin of its
// life, so that an entry need not hold it.
func (l *live) issued() realm.Instant {
	if l.lease.Expires == 0 {
		return 0
	}
	return l.from + min(realm.Instant(claim.MaxClockSkew.Microseconds()), (l.lease.Expires-l.from)/2)
}

// life is how long the token lives; 0 for a token without an end.
func (l *live) life() time.Duration { return l.lease.Expires.Sub(l.issued()) }

// tickOf is the time in units of about a second. The last use of an entry is
// noted once in a tick, so that the cores do not fight for its memory.
func tickOf(now realm.Instant) uint32 { return uint32(now >> 20) }

// ticks is a duration in ticks, rounded up.
func ticks(d time.Duration) uint32 { return uint32(d.Microseconds()>>20) + 1 }

// touch notes a use.
func (e *entry) touch(now realm.Instant) {
	if tick := tickOf(now); e.used.Load() != tick {
		e.used.Store(tick)
	}
}

// isInUse reports whether the token was used in the second half of a life.
func (e *entry) isInUse(now realm.Instant, life time.Duration) bool {
	return tickOf(now)-e.used.Load() <= ticks(life/2)+1
}

// activityLocked returns the activity, and makes it if there is none.
func (e *entry) activityLocked() *activity {
	if e.activity == nil {
		e.activity = new(activity)
	}
	return e.activity
}

// trimLocked gives back the memory of an activity that holds nothing.
func (e *entry) trimLocked() {
	if a := e.activity; a != nil && *a == (activity{}) {
		e.activity = nil
	}
}

// flightLocked is the flight that is under way; nil for none.
func (e *entry) flightLocked() *flight {
	if e.activity == nil {
		return nil
	}
	return e.activity.flight
}

// currentFlight is flightLocked for callers without the lock.
func (e *entry) currentFlight() *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flightLocked()
}

// state returns the failure and the unsaved outcome; nil for none.
func (e *entry) state() (*failure, *claim.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.activity == nil {
		return nil, nil
	}
	return e.activity.failure, e.activity.unsaved
}

// forget drops all that is known, failures included, but not an outcome that
// is still to be saved: it may hold the only refresh token that is good.
func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revision++
	e.clearFailureLocked()
	e.live.Store(nil)
}

// withdraw drops the token, unless what the flight knew has been forgotten since.
func (e *entry) withdraw(revision uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revision == revision {
		e.live.Store(nil)
	}
}

// clearFailureLocked drops the failure. While an outcome is still to be saved,
// the pause until the next attempt at that stays.
func (e *entry) clearFailureLocked() {
	a := e.activity
	if a == nil || a.failure == nil {
		return
	}
	if a.unsaved == nil {
		a.failure = nil
	} else {
		a.failure = pause(a.failure.of, a.failure.at, a.failure.until.Sub(a.failure.at))
	}
	e.trimLocked()
}

// recordFailure remembers a failure, unless what the flight knew has been
// forgotten since.
func (e *entry) recordFailure(f *failure, revision uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revision == revision {
		e.activityLocked().failure = f
	}
}

// backOff makes work that failed before the provider was asked wait.
// What is told of an earlier failure stays.
func (e *entry) backOff(of origin, now realm.Instant, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.activityLocked()
	switch f := a.failure; {
	case f.isActive(now):
	case f == nil:
		a.failure = pause(of, now, wait)
	default:
		a.failure = f.waiting(now, wait)
	}
}

// keepUnsaved notes that the outcome of a call is still to be saved, whatever
// else was forgotten since. The token in memory is due then: the provider may
// have ended it. A refresh token does not give way to an outcome without one,
// whose claim just runs out.
func (e *entry) keepUnsaved(o *claim.Outcome, of origin, now realm.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.activityLocked()
	if old := a.unsaved; old != nil && old.Token.Refresh != "" && o.Token.Refresh == "" {
		return
	}
	a.unsaved, a.failure = o, pause(of, now, storeRetry)
	if l := e.live.Load(); l != nil && !l.isDue(now) {
		due := *l
		due.renewAt = now
		e.live.Store(&due)
	}
}

// clearUnsaved ends what keepUnsaved began.
func (e *entry) clearUnsaved(o *claim.Outcome) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.activity; a != nil && a.unsaved == o {
		a.unsaved, a.failure = nil, nil
		e.trimLocked()
	}
}

// publish makes l the token of the entry, unless what the flight knew has been
// forgotten since. It ends the failure, unless l is the token that was there
// before.
func (e *entry) publish(l *live, revision uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.publishLocked(l, revision)
}

func (e *entry) publishLocked(l *live, revision uint32) bool {
	if e.revision != revision {
		return false
	}
	if old := e.live.Load(); old == nil || old.lease.Lineage != l.lease.Lineage || old.lease.Access != l.lease.Access {
		e.accepted.Store(false)
		e.clearFailureLocked()
	}
	e.live.Store(l)
	return true
}

// entry returns the entry of a reference, and makes it if there is none.
func (p *Pool) entry(ref realm.Ref) *entry {
	if e, ok := p.entries.Load(ref); ok {
		return e
	}
	e, _ := p.entries.LoadOrStore(ref, new(entry))
	return e
}

// discard removes the entry of a reference that does not exist, so that
// requests for made-up keys leave nothing behind.
func (p *Pool) discard(ref realm.Ref, e *entry) {
	p.entries.Compute(ref, func(old *entry, loaded bool) (*entry, xsync.ComputeOp) {
		if loaded && old == e {
			return nil, xsync.DeleteOp
		}
		return old, xsync.CancelOp
	})
}

// discardIdle removes an entry in which nothing is live or under way.
func (p *Pool) discardIdle(ref realm.Ref, e *entry) {
	p.entries.Compute(ref, func(old *entry, loaded bool) (*entry, xsync.ComputeOp) {
		// Whoever begins a flight looks afterwards whether the entry is still there.
		if loaded && old == e && e.isIdle() {
			return nil, xsync.DeleteOp
		}
		return old, xsync.CancelOp
	})
}

func (e *entry) isIdle() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.activity
	return e.live.Load() == nil && (a == nil || a.flight == nil && a.comparison == nil && a.unsaved == nil)
}
