package broker

import (
	"math"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// upstreamLink is what an edge knows of its connection to the other instance. It
// implements tokenstore.UpstreamListener.
type upstreamLink struct {
	pool *Pool
	// generation grows when what was read of realms may be old; read is what was read
	// last of each.
	generation atomic.Uint64
	read       *xsync.Map[string, readRealm]
	// heard is what was heard in the last hearingLasts; that of the zero Ref is about
	// everything.
	heard *xsync.Map[realm.Ref, notice]
	// deafSince is since when no changes are heard, as a realm.Instant; 0 while they
	// are.
	deafSince atomic.Int64
	// isReached: the other instance has answered since the start.
	isReached atomic.Bool
	// refused is what the other instance refused.
	refused refusals
}

// readRealm is what the other instance said of a realm, and in which generation it was
// asked.
type readRealm struct {
	generation uint64
	said       realm.Realm
}

// notice is that something was heard: when, and the least lineage of a token that only
// a node can give which knows of it, too.
type notice struct {
	at    time.Time
	knows int64
}

// anyLineage is for a notice of which no token tells whether its giver knows of it.
const anyLineage = math.MaxInt64

func newUpstreamLink(p *Pool) *upstreamLink {
	return &upstreamLink{pool: p, read: xsync.NewMap[string, readRealm](), heard: xsync.NewMap[realm.Ref, notice]()}
}

// isCurrent reports whether nothing was heard, or missed, of a realm since it was
// read.
func (u *upstreamLink) isCurrent(id string) bool {
	last, ok := u.read.Load(id)
	return ok && last.generation == u.generation.Load() && u.deafSince.Load() == 0
}

// isWhatWasRead reports whether a realm that memory has is the one that was read last.
// Just after that was read, memory may have the one before.
func (u *upstreamLink) isWhatWasRead(c *catalog.Realm) bool {
	last, _ := u.read.Load(c.Written.ID)
	return reflect.DeepEqual(last.said, c.Written)
}

// Hears implements tokenstore.UpstreamListener: all that memory has is compared with
// the other instance before it is used again.
func (u *upstreamLink) Hears() {
	u.isReached.Store(true)
	u.note(realm.Ref{}, anyLineage)
	u.generation.Add(1)
	u.pool.entries.Range(func(_ realm.Ref, e *entry) bool {
		e.suspectOlder(0)
		return true
	})
	u.pool.callers.resume() // it answers: what is suspect is compared, and not served
	u.deafSince.Store(0)
	u.pool.hearsUntil.Store(int64(neverDeaf))
	u.pool.watchers.tellGap()
}

// IsDeaf implements tokenstore.UpstreamListener.
func (u *upstreamLink) IsDeaf() {
	now := realm.InstantOf(u.pool.now())
	if u.deafSince.CompareAndSwap(0, int64(now)) {
		u.pool.hearsUntil.Store(int64(now))
		u.pool.watchers.rouse()
	}
}

// deaf returns since when no changes are heard; the zero time while they are.
func (u *upstreamLink) deaf() time.Time { return realm.Instant(u.deafSince.Load()).Time() }

// Changed implements tokenstore.UpstreamListener.
func (u *upstreamLink) Changed(ref realm.Ref, lineage int64, state string) {
	u.note(ref, firstKnowing(lineage, state))
	if ref.Key == "" {
		u.realmChanged(ref.Realm, state)
	} else if e, ok := u.pool.entries.Load(ref); ok {
		u.tokenChanged(ref, e, lineage, state)
	}
	u.pool.watchers.tell(Change{Realm: ref.Realm, Key: ref.Key, Lineage: lineage, State: state})
}

// firstKnowing is the least lineage of a token whose giver knows of a notice; 0 for a
// notice of what no giver needs to know.
func firstKnowing(lineage int64, state string) int64 {
	switch state {
	case stateDead:
		return lineage + 1
	case StateLive: // 0: a fixed token was loaded there; of another value other words tell
		return lineage
	case stateIdle.String(), stateExpired.String(), stateFailing.String():
		return 0
	}
	return anyLineage
}

// The other instance may be several nodes, of which the one that told of a change knows
// it first. Another one may give for a while what it knew before. So an answer counts
// for feedInterval only, while a notice is so young that its giver may have missed it.

// note remembers a notice for hearingLasts: by then each node knows, or says nothing.
func (u *upstreamLink) note(ref realm.Ref, knows int64) {
	if knows == 0 {
		return
	}
	n := notice{at: time.Now(), knows: knows}
	u.heard.Compute(ref, func(old notice, _ bool) (notice, xsync.ComputeOp) {
		n.knows = max(n.knows, old.knows)
		return n, xsync.UpdateOp
	})
	time.AfterFunc(hearingLasts, func() {
		u.heard.Compute(ref, func(last notice, _ bool) (notice, xsync.ComputeOp) {
			if last.at.Equal(n.at) {
				return last, xsync.DeleteOp
			}
			return last, xsync.CancelOp
		})
	})
}

// knowing is the least lineage of a token of ref whose giver knows of all that was heard
// lately; 0 if nothing was.
func (u *upstreamLink) knowing(ref realm.Ref) int64 {
	all, _ := u.heard.Load(realm.Ref{})
	whole, _ := u.heard.Load(realm.Ref{Realm: ref.Realm})
	one, _ := u.heard.Load(ref)
	return max(all.knows, whole.knows, one.knows)
}

// askAgain has a (realm, key) asked for again before it is used, and what failed is
// forgotten. A token that memory has is not taken away.
func (u *upstreamLink) askAgain(ref realm.Ref) {
	u.read.Delete(ref.Realm)
	if e, ok := u.pool.entries.Load(ref); ok {
		e.suspectOlder(0)
	}
}

// realmChanged has a realm read again before its tokens are used. Those of a realm
// that is gone are not used any more, whether the other instance answers or not.
func (u *upstreamLink) realmChanged(id, state string) {
	u.generation.Add(1)
	u.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		switch {
		case ref.Realm != id:
		case state == stateDeleted:
			e.forget()
			u.pool.discard(ref, e)
		default:
			e.suspectOlder(0)
		}
		return true
	})
}

// tokenChanged takes notice of what became of a token. One that is dead is not
// handed out from here on; one of which that is not certain is compared first.
func (u *upstreamLink) tokenChanged(ref realm.Ref, e *entry, lineage int64, state string) {
	l := e.live.Load()
	switch {
	case state == stateDeleted:
		e.forget()
		u.pool.discard(ref, e)
	case state == stateDead:
		e.dropToken(func(l *live) bool { return l.lease.Lineage <= lineage })
		e.suspectOlder(lineage + 1)
	case state == StateLive && lineage == 0: // a fixed token was loaded there; of another value other words tell
	case state == StateLive:
		e.dropToken(func(l *live) bool { return l.lease.Lineage < lineage && l.owner.EndsPrevious() })
		if l == nil || l.lease.Lineage != lineage {
			e.suspectOlder(lineage)
		}
	default:
		e.suspectOlder(0)
	}
}

// dropToken takes the token away if it is meant, and lets flights go on.
func (e *entry) dropToken(isMeant func(*live) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live.Load(); l != nil && isMeant(l) {
		e.live.Store(nil)
	}
}

// suspectOlder makes the token suspect: there is one of this lineage, or with 0 nobody
// knows what there is. A flight that is under way, and brings an older one, may have
// missed that. What failed may work now.
func (e *entry) suspectOlder(lineage int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.activity; a != nil {
		for _, f := range []*flight{a.flight, a.comparison} {
			if f == nil {
				continue
			}
			f.newest = max(f.newest, lineage)
			if lineage == 0 {
				f.heard = max(f.heard, staleMemory)
			}
		}
	}
	e.clearFailureLocked()
	if e.live.Load() != nil { // what is not there is asked for in any case
		e.suspect.raise()
	}
}
