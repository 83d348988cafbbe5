package broker

import (
	"context"
	"sync/atomic"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// hearingLasts is how long a node counts as informed about what the other nodes
// do after the last time that it heard of them.
const hearingLasts = 3 * feedInterval

// neverDeaf is how long a node is informed that shares its store with nobody.
const neverDeaf = realm.Instant(1<<63 - 1)

// isDeaf reports whether this node has not heard for a while what other nodes
// change: the store does not answer, or this process was stopped.
func (p *Pool) isDeaf(now realm.Instant) bool { return now >= realm.Instant(p.hearsUntil.Load()) }

// mayEndPrevious reports whether a new token of the realm may end the one
// before: the provider does so, perhaps after an overlap, or nobody said that it
// does not.
func mayEndPrevious(c *catalog.Realm) bool {
	return c.Config.Semantics == realm.SemanticsRotate || c.Config.Semantics == ""
}

// suspicion is raised when the store may know better than memory, and dropped by
// a comparison that read the store after that. It counts how often it was
// raised: a comparison drops no suspicion that was raised while it was under
// way. The zero value is not raised.
type suspicion struct {
	state atomic.Uint32 // twice the count; odd while raised
}

func (s *suspicion) isRaised() bool { return s.state.Load()&1 != 0 }

func (s *suspicion) raise() {
	for {
		if old := s.state.Load(); s.state.CompareAndSwap(old, (old|1)+2) {
			return
		}
	}
}

// drop drops the suspicion if it is in the state that was seen, and reports
// whether it was raised then.
func (s *suspicion) drop(seen uint32) bool {
	return seen&1 != 0 && s.state.CompareAndSwap(seen, seen&^1)
}

// isSuspect reports whether another node may have replaced the token in memory:
// this node heard of a change, or it hears nothing.
func (p *Pool) isSuspect(e *entry, now realm.Instant) bool {
	return e.suspect.isRaised() || p.isDeaf(now)
}

// maxComparisons bounds how often a caller compares memory with the store while
// other nodes go on changing it.
const maxComparisons = 3

// recheck is asked about a token in memory that is suspect. It returns the token
// that may be handed out, nil for none.
//
// If the provider ends a token with the next one, or if nobody said that it does
// not, the store is asked first, and every caller waits for the answer. If the
// store does not answer, the token is served to its end: it is more likely to be
// good than not, and there is no other. Any other token is good whatever was
// issued since: it is compared in the background.
func (v *View) recheck(ctx context.Context, e *entry, c *catalog.Realm, ref realm.Ref) *live {
	// An edge hears of secrets and rights that are gone in the same way as of new
	// tokens: whatever it hears of is compared first.
	if v.pool.upstream == nil && !mayEndPrevious(c) {
		if e.suspect.drop(e.suspect.state.Load()) {
			v.startVerify(e, c, ref)
		}
		return e.live.Load()
	}
	for range maxComparisons {
		if v.pool.callers.isSilent.Load() {
			break
		}
		f := v.compare(e, c, ref)
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil
		}
		if !e.suspect.isRaised() { // otherwise f may have read the store before the last change
			break
		}
	}
	return e.live.Load()
}

// compare returns the flight that compares memory with the store, and starts
// one if there is none. A renewal that is under way may wait for its turn: the
// comparison does not wait for that.
func (v *View) compare(e *entry, c *catalog.Realm, ref realm.Ref) *flight {
	e.mu.Lock()
	a := e.activityLocked()
	slot := &a.flight
	if a.flight != nil && a.flight.purpose != claim.Verify {
		slot = &a.comparison
	}
	if f := *slot; f != nil {
		e.mu.Unlock()
		return f
	}
	f := newFlight(c, goal{purpose: claim.Verify})
	*slot = f
	e.mu.Unlock()
	v.launch(e, f, ref)
	return f
}
