package broker

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Examine looks at a secret that was saved a moment ago. One that does not fit its
// realm is failing from then on, and not only once somebody wants its token. It asks
// no provider. A store that does not answer is no matter: the first attempt looks,
// too.
func (v *View) Examine(ctx context.Context, ref realm.Ref) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return
	}
	if _, err := c.Bind(secret); err != nil {
		v.noteUnfit(ctx, c, ref)
	}
}

// noteUnfit has the state of a secret show that it does not fit. The entry comes
// first, and the secret is read once more after it: one that is deleted meanwhile
// leaves no entry behind.
func (v *View) noteUnfit(ctx context.Context, c *catalog.Realm, ref realm.Ref) {
	e := v.pool.entry(ref)
	if _, err := v.newAttempt(ctx, e, newFlight(c, goal{purpose: claim.Verify}), ref); catalog.IsNotFound(err) {
		v.pool.discard(ref, e)
		return
	}
	v.pool.tellState(ref, e)
}
