package broker

import (
	"context"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Renew returns a live token other than the one that the API refused: the one
// in memory, or a new one where the failed token is still there.
func (v *View) Renew(ctx context.Context, ref realm.Ref, failed realm.Hidden) (*realm.Lease, error) {
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		l := e.live.Load()
		if l != nil && l.owner == c && l.lease.Access != failed && l.usable(realm.InstantOf(v.pool.now())) {
			return &l.lease, nil
		}
	}
	lease, err := v.join(ctx, c, ref, flush)
	if err == nil && lease.Access == failed {
		return nil, unavailable(http.StatusBadGateway, "the provider gave the token again that its API refused", nil)
	}
	return lease, err
}

// Worked notes that the API accepted the token of the lease.
func (v *View) Worked(realm.Ref, *realm.Lease) {}
