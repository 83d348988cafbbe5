package broker

import (
	"context"
	"time"

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

// recheck is asked about a token in memory that another node may have replaced:
// this node heard of a change, or it hears nothing. It returns the token that
// may be handed out, nil for none.
//
// If the provider ends a token with the next one, or if nobody said that it does
// not, the store is asked first. If the store does not answer, the token is
// served to its end: it is more likely to be good than not, and there is no
// other. Any other token is good whatever was issued since: it is compared in
// the background.
func (v *View) recheck(ctx context.Context, e *entry, c *catalog.Realm, ref realm.Ref) *live {
	if !mayEndPrevious(c) {
		if changes, compared := e.changes.Load(), e.compared.Load(); changes != compared && e.compared.CompareAndSwap(compared, changes) {
			v.startVerify(e, c, ref)
		}
		return e.live.Load()
	}
	if v.pool.callers.isSilent.Load() {
		return e.live.Load()
	}
	// A change that is heard during the comparison needs another one. Whoever has
	// waited for three of them takes what there is.
	for range 3 {
		f := e.currentFlight()
		if f == nil {
			f, _ = v.joinOrStart(c, ref, goal{purpose: claim.Verify})
		}
		if f.purpose == claim.Verify {
			select {
			case <-f.done:
			case <-ctx.Done():
				return nil
			}
		} else if a, err := v.newAttempt(ctx, e, newFlight(c, goal{purpose: claim.Verify}), ref); err == nil {
			// A renewal is under way, which may wait for its turn. The comparison
			// does not wait for that.
			if _, err = a.run(ctx); err != nil {
				time.AfterFunc(storeRetry, e.suspect)
			}
		}
		if !e.isSuspect() {
			break
		}
	}
	return e.live.Load()
}
