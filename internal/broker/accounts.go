package broker

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// freshFor is how young a token is that RenewNow leaves alone, at most.
const freshFor = time.Minute

// Ensure is Token; but one that is due for renewal is renewed before it
// returns. The lease's Source is realm.FromUpstream where it was obtained now.
func (v *View) Ensure(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	lease, err := v.Token(ctx, ref)
	if err != nil || lease.Source == realm.FromUpstream {
		return lease, err
	}
	if l := v.pool.live(ref); l != nil && l.isDue(realm.InstantOf(v.pool.now())) {
		return v.join(ctx, l.owner, ref, goal{purpose: claim.Renew, isAwaited: true})
	}
	return lease, nil
}

// RenewNow renews a token although it is not due. fresh says that it was left
// alone, because it is younger than a minute and a tenth of its life, or that
// the provider gave the same one again. Errors as Flush.
func (v *View) RenewNow(ctx context.Context, ref realm.Ref) (lease *realm.Lease, fresh bool, err error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, false, err
	}
	before, err := v.leaseFor(ctx, c, ref)
	if err != nil || before.Source == realm.FromUpstream {
		return before, false, err
	}
	if l := v.pool.live(ref); l != nil && l.isYoung(realm.InstantOf(v.pool.now())) {
		return before, true, nil
	}
	lease, err = v.join(ctx, c, ref, goal{purpose: claim.Renew, fromProvider: true, isAwaited: true})
	return lease, err == nil && lease.Access == before.Access, err
}

// live is the token in memory; nil for none.
func (p *Pool) live(ref realm.Ref) *live {
	e, ok := p.entries.Load(ref)
	if !ok {
		return nil
	}
	return e.live.Load()
}

// young reports whether the token was obtained a moment ago.
func (l *live) isYoung(now realm.Instant) bool {
	age := now.Sub(l.issued())
	return l.lease.Expires != 0 && age < min(freshFor, l.life()/10)
}

// Concurrency is how many calls of a realm may be under way, over all nodes.
// CodeRealmNotFound.
func (v *View) Concurrency(ctx context.Context, realmID string) (int, error) {
	c, err := v.catalog.Realm(ctx, realmID)
	if err != nil {
		return 0, err
	}
	return v.terms(c).Concurrency, nil
}
