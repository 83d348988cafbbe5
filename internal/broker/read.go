package broker

import (
	"context"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Read is Token for somebody who is shown the token. CodeForbidden if the realm
// or the secret is inject_only: nothing is asked of the store and the provider
// for him then.
func (v *View) Read(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if v.pool.upstream == nil && !v.isInMemory(c, ref) {
		if err := v.mayRead(ctx, c, ref); err != nil {
			return nil, err
		}
	}
	return readable(v.leaseFor(ctx, c, ref))
}

// ReadBy is Read with another way to the token: obtain is Flush or Authorize, or
// calls Heal. It is not called for a token that nobody is shown, so that nothing
// is spent in vain.
func (v *View) ReadBy(
	ctx context.Context, ref realm.Ref, obtain func(context.Context, realm.Ref) (*realm.Lease, error),
) (*realm.Lease, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if err := v.mayRead(ctx, c, ref); err != nil {
		return nil, err
	}
	return readable(obtain(ctx, ref))
}

// isInMemory reports whether the lease in memory tells who may read the token. If
// another node may have changed the secret, it does not.
func (v *View) isInMemory(c *catalog.Realm, ref realm.Ref) bool {
	e, ok := v.pool.entries.Load(ref)
	if !ok {
		return false
	}
	l, now := e.live.Load(), realm.InstantOf(v.pool.now())
	return l != nil && l.owner == c && l.isUsable(now) && !v.pool.isSuspect(e, now)
}

// mayRead returns CodeForbidden if nobody is shown the token of the secret, and
// the error of a secret that cannot be read.
func (v *View) mayRead(ctx context.Context, c *catalog.Realm, ref realm.Ref) error {
	if c.Config.InjectOnly.IsOn() {
		return errInjectOnly
	}
	if v.pool.upstream != nil { // the token that there is tells
		_, err := readable(v.leaseFor(ctx, c, ref))
		return err
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	switch {
	case err != nil:
		return err
	case secret.InjectOnly:
		return errInjectOnly
	}
	return nil
}

// readable returns the lease if it may be shown. What its flight knew counts: the
// secret may have changed since mayRead was asked.
func readable(lease *realm.Lease, err error) (*realm.Lease, error) {
	if err == nil && lease.InjectOnly {
		return nil, errInjectOnly
	}
	return lease, err
}

var errInjectOnly = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: "the realm or the secret is inject_only: its token is put into proxied requests and shown to nobody",
}
