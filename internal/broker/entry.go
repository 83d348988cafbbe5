package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// entry is what memory knows of one (realm, key). A hit reads live, used and
// suspect and, of a token that is due, waiting: nothing else. There may be a
// million: mind the size.
type entry struct {
	live atomic.Pointer[live]
	// suspect: the store may know better. The next use has it checked in the
	// background.
	suspect atomic.Bool
	// proven: the API accepted the live token.
	proven atomic.Bool
	// waiting: its renewal is in the queue of its realm.
	waiting atomic.Bool
	// used is the tick of the last use, see tickOf.
	used atomic.Uint32

	mu sync.Mutex
	// revision grows when what was known is forgotten: a flight that began
	// before does not publish its result.
	revision uint32
	// fetches made by this node.
	fetches uint32
	// doing is nil for an entry that rests.
	doing *doing
}

// doing is what an entry has while something is under way or went wrong.
type doing struct {
	flight  *flight
	trouble *trouble
	// deaths are the ends before their time of this entry's tokens, in a row.
	deaths deaths
}

// live is a token in memory. There may be a million: mind the size.
type live struct {
	lease realm.Lease    // what callers get; its Source is memory
	owner *catalog.Realm // the realm that the lease was made for
	// from is when its life begins, see begins.
	from realm.Instant
	// renewAt is when its renewal is due; 0 for never.
	renewAt     realm.Instant
	lineage     int64
	fingerprint realm.Fingerprint
}

// slack is how long before its end a token is not handed out any more: it
// still has to reach the provider.
const slack = time.Second

// usable says whether the token may be handed out now.
func (l *live) usable(now realm.Instant) bool {
	return l.lease.Expires == 0 || l.from <= now && now < l.lease.Expires-realm.Instant(slack/time.Microsecond)
}

// skew is how far the clocks of two nodes may differ.
const skew = 5 * time.Minute

// begins is when the life of a token begins. Before that the clock must have
// gone back since the token was issued: when it ends is not known any more.
func begins(t realm.Token) time.Time {
	return t.IssuedAt.Add(-min(skew, max(t.ExpiresAt.Sub(t.IssuedAt), 0)))
}

// due says whether it is time to renew.
func (l *live) due(now realm.Instant) bool { return l.renewAt != 0 && now >= l.renewAt }

// issued is when the token was asked for: what begins made of it, undone.
func (l *live) issued() realm.Instant {
	if l.lease.Expires == 0 {
		return 0
	}
	return l.from + min(realm.Instant(skew.Microseconds()), (l.lease.Expires-l.from)/2)
}

// life is how long the token lives; 0 for one without an end.
func (l *live) life() time.Duration {
	return time.Duration(l.lease.Expires-l.issued()) * time.Microsecond
}

// tickOf is the time in units of about a second: an entry's last use is noted
// once in a tick, so that the cores do not fight for its memory.
func tickOf(now realm.Instant) uint32 { return uint32(now >> 20) }

// ticks is a duration in ticks, rounded up.
func ticks(d time.Duration) uint32 { return uint32(d.Microseconds()>>20) + 1 }

// touch notes a use.
func (e *entry) touch(now realm.Instant) {
	if tick := tickOf(now); e.used.Load() != tick {
		e.used.Store(tick)
	}
}

// active says whether the token was used in the second half of a life.
func (e *entry) active(now realm.Instant, life time.Duration) bool {
	return tickOf(now)-e.used.Load() <= ticks(life/2)+1
}

// work returns what is under way; the caller holds the lock.
func (e *entry) work() *doing {
	if e.doing == nil {
		e.doing = new(doing)
	}
	return e.doing
}

// rest gives back what is not needed; the caller holds the lock.
func (e *entry) rest() {
	if e.doing != nil && e.doing.flight == nil && e.doing.trouble == nil && e.doing.deaths == (deaths{}) {
		e.doing = nil
	}
}

// underWay is the flight, nil for none; the caller holds the lock.
func (e *entry) underWay() *flight {
	if e.doing == nil {
		return nil
	}
	return e.doing.flight
}

// flying is underWay for those who do not hold the lock.
func (e *entry) flying() *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.underWay()
}

// forget drops all that is known, the failures too; but not a token that is
// still to be saved, which may hold what everything hangs on.
func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revision++
	e.pardon()
	e.live.Store(nil)
}

// pardon drops the failures; the caller holds the lock.
func (e *entry) pardon() {
	if e.doing == nil {
		return
	}
	e.doing.trouble = e.doing.trouble.keptOnly()
	e.rest()
}

// publish makes l the token of the entry, unless what the flight knew has
// been forgotten since. Trouble is over, unless l is the token that was there
// before.
func (e *entry) publish(l *live, revision uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revision != revision {
		return false
	}
	if old := e.live.Load(); old == nil || old.lineage != l.lineage || old.lease.Access != l.lease.Access {
		e.proven.Store(false)
		e.pardon()
	}
	e.live.Store(l)
	return true
}

// entry returns the entry of a reference, and makes it where there is none.
func (p *Pool) entry(ref realm.Ref) *entry {
	if e, ok := p.entries.Load(ref); ok {
		return e
	}
	e, _ := p.entries.LoadOrStore(ref, new(entry))
	return e
}

// discard removes an entry of a reference that does not exist, so that
// requests for made-up keys leave nothing behind.
func (p *Pool) discard(ref realm.Ref, e *entry) {
	p.entries.Compute(ref, func(old *entry, loaded bool) (*entry, computeOp) {
		if loaded && old == e {
			return nil, deleteOp
		}
		return old, cancelOp
	})
}
