package broker

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Token returns the live token of (realm, key): from memory without a lock or
// an allocation, else from the store, else by one fetch for all who wait.
//
// Errors: CodeReauthRequired, CodeBudgetSpent, CodeRealmNotFound, CodeSecretNotFound, CodeTokenUnavailable,
// CodeNotActive, CodeUnavailable; or the error of a context that was
// cancelled.
func (v *View) Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.token(ctx, c, ref)
}

func (v *View) token(ctx context.Context, c *compiled, ref realm.Ref) (*realm.Lease, error) {
	if e, ok := v.pool.entries.Load(ref); ok {
		if l := e.live.Load(); l != nil && l.owner == c {
			now := realm.Instant(v.pool.now().UnixMicro())
			if l.usable(now) {
				e.touch(now)
				if l.due(now) {
					v.ahead(e, ref, now)
				}
				if e.suspect.Load() && e.suspect.CompareAndSwap(true, false) {
					v.verify(e, c, ref)
				}
				return &l.lease, nil
			}
		}
	}
	return v.join(ctx, c, ref, aim{kind: load})
}

// Proxyable returns the token for a proxied request. CodeNotProxyable where
// the realm does not say where the API is or where the token goes.
func (v *View) Proxyable(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if why := c.program.NotProxyable(); why != "" {
		return nil, &realm.Error{Code: realm.CodeNotProxyable, Status: http.StatusConflict, Detail: why}
	}
	lease, err := v.token(ctx, c, ref)
	if err == nil && lease.Target == nil {
		return nil, &realm.Error{
			Code: realm.CodeNotProxyable, Status: http.StatusConflict,
			Detail: "api or hosts cannot be filled in from this secret",
		}
	}
	return lease, err
}

// Flush fetches anew and returns the new token. CodeFixedToken for a realm
// that has no way to fetch one; else the errors of Token.
func (v *View) Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.join(ctx, c, ref, aim{kind: flush})
}

// realm returns the compiled realm: the configuration's own, else the
// store's. A stored realm never shadows a defined one.
func (v *View) realm(ctx context.Context, id string) (*compiled, error) {
	if c, ok := v.remembered(id); ok {
		return c, nil
	}
	return v.pool.loadRealm(ctx, id)
}

// remembered is realm, as far as memory knows.
func (v *View) remembered(id string) (*compiled, bool) {
	if c, ok := v.defined[id]; ok {
		return c, true
	}
	return v.pool.stored.Load(id)
}

// loadRealm reads a realm from the store and remembers it, unless it was
// changed while it was read.
func (p *Pool) loadRealm(ctx context.Context, id string) (*compiled, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := p.Open(ctx); err != nil {
		return nil, storeFailed(err)
	}
	epoch := p.epoch.Load()
	r, err := p.store.Realm(ctx, id)
	switch {
	case errors.Is(err, tokenstore.ErrRealmNotFound):
		return nil, realmNotFound()
	case err != nil:
		return nil, storeFailed(err)
	}
	c, err := compile(r, false)
	if err != nil {
		// It was compiled when it was saved: another version saved it.
		return nil, &realm.Error{
			Code: realm.CodeNotActive, Status: http.StatusConflict,
			Detail: "the stored realm is not understood: " + err.Error(), Err: err,
		}
	}
	kept, _ := p.stored.Compute(id, func(old *compiled, loaded bool) (*compiled, computeOp) {
		if loaded || p.epoch.Load() != epoch {
			return old, cancelOp
		}
		return c, updateOp
	})
	if kept != nil {
		return kept, nil
	}
	return c, nil
}
