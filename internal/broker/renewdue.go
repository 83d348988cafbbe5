package broker

import (
	"context"
	"errors"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// IsDue reports whether the token is to be renewed, and whether there is one: its
// time has come, or it has ended or belongs to another recipe, whoever uses it.
// This process may have seen none of its uses. One that the realm keeps warm is
// also due if there is none. Nothing is asked of the provider; Ensure does that.
func (v *View) IsDue(ctx context.Context, ref realm.Ref) (due, found bool, err error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return false, false, err
	}
	now := realm.InstantOf(v.pool.now())
	if l := v.pool.live(ref); l != nil && l.owner == c && l.isUsable(now) {
		return l.isDue(now), true, nil
	}
	if err := v.openStore(ctx, c, ref); err != nil {
		return false, false, err
	}
	stored, _, err := v.pool.callers.Token(ctx, ref)
	switch {
	case errors.Is(err, tokenstore.ErrTokenNotFound):
		return c.KeptWarm(), false, nil
	case err != nil:
		return false, false, catalog.StoreError(err)
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return false, true, err
	}
	bound, err := c.Bind(secret)
	if err != nil {
		return false, true, unfitSecret(c.Program, secret, err)
	}
	stored = v.pool.local(stored)
	at := v.renewAt(c, ref, stored, 0)
	return stored.Fingerprint != bound.Fingerprint() || at != 0 && at <= now, true, nil
}
