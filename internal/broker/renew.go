package broker

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Renew returns a token other than the one that the provider's API refused.
// Whoever reports a token that was replaced already gets the new one, and
// costs nothing: only the token that is current now is renewed.
//
// Errors are those of Token; CodeTokenUnavailable also where the provider
// gives the very same token again.
func (v *View) Renew(ctx context.Context, ref realm.Ref, failed realm.Hidden) (*realm.Lease, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		l := e.live.Load()
		if l != nil && l.owner == c && l.lease.Access != failed && l.usable(realm.InstantOf(v.pool.now())) {
			return &l.lease, nil
		}
	}
	return v.join(ctx, c, ref, aim{kind: heal, failed: failed})
}

// Worked takes notice that the provider's API accepted a token. A token that is
// refused before that counts as a failed call to the provider.
func (v *View) Worked(ref realm.Ref, lease *realm.Lease) {
	e, ok := v.pool.entries.Load(ref)
	if !ok || e.proven.Load() {
		return
	}
	if l := e.live.Load(); l != nil && l.lease.Access == lease.Access {
		e.proven.Store(true)
	}
}
