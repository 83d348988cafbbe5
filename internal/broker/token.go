package broker

import (
	"context"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Token returns the live token of (realm, key): from memory without a lock or
// an allocation, else from the store, else by one fetch for all who wait.
//
// Errors: CodeReauthRequired, CodeBudgetSpent, CodeRealmNotFound,
// CodeSecretNotFound, CodeTokenUnavailable, CodeNotActive, CodeUnavailable; or
// the error of a context that was cancelled.
func (v *View) Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.leaseFor(ctx, c, ref)
}

func (v *View) leaseFor(ctx context.Context, c *catalog.Realm, ref realm.Ref) (*realm.Lease, error) {
	if e, ok := v.pool.entries.Load(ref); ok {
		if l := e.live.Load(); l != nil {
			now := realm.InstantOf(v.pool.now())
			if l.isUsable(now) && v.pool.isSuspect(e, now) {
				l = v.recheck(ctx, e, c, ref)
			}
			if l != nil && l.owner == c && l.isUsable(now) {
				e.touch(now)
				if l.isDue(now) {
					v.renewAhead(e, ref, now)
				}
				return &l.lease, nil
			}
		}
	}
	return v.join(ctx, c, ref, goal{purpose: claim.Load})
}

// Proxyable returns the token for a proxied request. CodeNotProxyable if the
// realm does not say where the API is or where the token goes, CodeHostNotAllowed
// if the provider says where the API is and the realm does not allow that.
func (v *View) Proxyable(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.proxyableRealm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	lease, err := v.leaseFor(ctx, c, ref)
	if err == nil && lease.Target.Refused != nil {
		return nil, lease.Target.Refused
	}
	return lease, err
}

func (v *View) proxyableRealm(ctx context.Context, id string) (*catalog.Realm, error) {
	c, err := v.catalog.Realm(ctx, id)
	if err != nil {
		return nil, err
	}
	if why := c.Program.NotProxyable(); why != "" {
		return nil, &realm.Error{Code: realm.CodeNotProxyable, Status: http.StatusConflict, Detail: why}
	}
	return c, nil
}

// CheckProxyable is the error that Proxyable has before a token is needed: of a
// realm or secret that there is not, of a realm that says too little, and of a
// secret that does not fit or was entered for other hosts.
func (v *View) CheckProxyable(ctx context.Context, ref realm.Ref) error {
	c, err := v.proxyableRealm(ctx, ref.Realm)
	if err != nil {
		return err
	}
	if v.pool.upstream != nil {
		return nil // more is known with the token
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return err
	}
	if _, err := c.Bind(secret); err != nil {
		return unfitSecret(c.Program, secret, err)
	}
	return nil
}

// Destination returns where requests of a secret go, without asking for its
// token: from memory, or from what the store says of the realm and the secret.
// Without an API in it, that is known only with the token.
// The errors are those of CheckProxyable, and of a secret that does not fit.
func (v *View) Destination(ctx context.Context, ref realm.Ref) (*realm.Target, error) {
	c, err := v.proxyableRealm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		if l := e.live.Load(); l != nil && l.owner == c {
			return l.lease.Target, nil
		}
	}
	if v.pool.upstream != nil {
		return v.givenTarget(ctx, c, ref)
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	bound, err := c.Bind(secret)
	if err != nil {
		return nil, err
	}
	return bound.Target(), nil
}

// givenTarget is Destination on an edge: what a secret decides comes with the token.
func (v *View) givenTarget(ctx context.Context, c *catalog.Realm, ref realm.Ref) (*realm.Target, error) {
	if c.Program.IsPlacedAlone() {
		return c.Program.WrittenTarget(), nil
	}
	lease, err := v.leaseFor(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	return lease.Target, nil
}

// Flush fetches a new token and returns it. CodeFixedToken for a realm that has
// no way to fetch one; else the errors of Token.
func (v *View) Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.join(ctx, c, ref, goal{purpose: claim.Flush})
}
