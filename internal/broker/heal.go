package broker

import (
	"context"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Heal returns a token other than the one that the provider's API refused; blame
// is what the answers to such requests tell about the refusal. If that token was
// replaced already, the new one is returned and nothing is fetched: only the
// token that is current now is replaced. For a request that is at fault itself
// nothing is fetched, either.
//
// isBought reports whether the token was fetched for this very call: only then
// does the API's next answer tell whether the refused token was really dead. If
// a renewal ends the token before it, requests that come during the renewal are
// refused because of the renewal.
//
// Errors are those of Token; CodeTokenUnavailable also if the provider gives the
// very same token again, or if fresh tokens did not help a moment ago.
func (v *View) Heal(ctx context.Context, ref realm.Ref, refused realm.Hidden, blame realm.Blame) (_ *realm.Lease, isBought bool, _ error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, false, err
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		l, now := e.live.Load(), realm.InstantOf(v.pool.now())
		if l != nil && l.lease.Access != refused && v.pool.isSuspect(e, now) {
			l = v.recheck(ctx, e, c, ref)
		}
		if l != nil && l.owner == c && l.lease.Access != refused && l.isUsable(now) {
			return &l.lease, false, nil
		}
	}
	if blame == realm.BlameRequest {
		return nil, false, unavailable(http.StatusBadGateway, "no token cures this refusal", nil)
	}
	lease, isOurs, err := v.wait(ctx, c, ref, goal{purpose: claim.Heal, failed: refused, blame: blame})
	return lease, isOurs && err == nil && lease.Source == realm.FromUpstream, err
}

// Helped takes notice that a token which Heal fetched cured the refusal for
// which it was fetched: the token before it had really died.
func (v *View) Helped(ref realm.Ref, lease *realm.Lease) {
	e, ok := v.pool.entries.Load(ref)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.activity == nil || !e.activity.floor.lift(lease.Access) {
		return
	}
	if e.activity.earlyDeaths.countEarly() {
		v.pool.warnContention(ref)
	}
	e.trimLocked()
}

// Worked takes notice that the provider's API accepted a token. A token that is
// refused before that counts as a failed call to the provider.
func (v *View) Worked(ref realm.Ref, lease *realm.Lease) {
	e, ok := v.pool.entries.Load(ref)
	if !ok || e.accepted.Load() {
		return
	}
	if l := e.live.Load(); l != nil && l.lease.Access == lease.Access {
		e.accepted.Store(true)
	}
}

// recordHeal notes that a heal fetched a token.
func (e *entry) recordHeal(now realm.Instant, token realm.Hidden) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.activityLocked().floor.record(now, token)
}

// checkFloor returns the error of a refusal for which no token is fetched now,
// because others did not help. A token that has ended is replaced nevertheless.
func (a *attempt) checkFloor() error {
	e, now := a.entry, a.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live.Load()
	if e.activity == nil || l == nil || l.lease.Access != a.flight.failed || !l.isUsable(now) {
		return nil
	}
	wait := e.activity.floor.waitFor(now, a.flight.blame)
	if wait == 0 {
		return nil
	}
	return &realm.Error{
		Code: realm.CodeTokenUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: wait,
		Detail: "the API refuses the token, and a fresh one did not help a moment ago",
	}
}
