package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// entry is what memory knows of one (realm, key). A hit reads live and
// suspect and nothing else. There may be a million: mind the size.
type entry struct {
	live atomic.Pointer[live]
	// suspect: the store may know better. The next use has it checked in the
	// background.
	suspect atomic.Bool

	mu      sync.Mutex
	flight  *flight
	trouble *trouble
	// revision grows when what was known is forgotten: a flight that began
	// before does not publish its result.
	revision uint32
	// fetches made by this node.
	fetches uint32
}

// live is a token in memory. There may be a million: mind the size.
type live struct {
	lease realm.Lease // what callers get; its Source is memory
	owner *compiled   // the realm that the lease was made for
	// from is when its life begins, see begins.
	from realm.Instant
	// renewAt is when a use of the token starts its renewal; 0 for never.
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

// forget drops all that is known, the failures too.
func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revision++
	e.trouble = nil
	e.live.Store(nil)
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
		e.trouble = nil
	}
	e.live.Store(l)
	return true
}

// postpone notes that a token is still to be saved, unless what the flight
// knew has been forgotten since. The one in memory is due then: the provider
// may have ended it.
func (e *entry) postpone(t *trouble, revision uint32) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revision != revision {
		return false
	}
	e.trouble = t
	if l := e.live.Load(); l != nil && !l.due(t.at) {
		due := *l
		due.renewAt = t.at
		e.live.Store(&due)
	}
	return true
}

// rest makes a renewal that failed before the provider was asked wait a
// moment.
func (e *entry) rest(now realm.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.trouble.waits(now) {
		e.trouble = e.trouble.rested(now)
	}
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
