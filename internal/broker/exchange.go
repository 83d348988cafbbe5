package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// codePatience is how long a code waits for its exchange: for a call that is
// under way, for a quota, for a pause that the provider asked for.
const codePatience = 30 * time.Second

// code is an authorization code, and what it was asked for with.
type code struct {
	grant.Authorization
	code realm.Hidden
	// attempt is the claim under which the server asked for it; zero where a
	// person did.
	attempt tokenstore.CallID
}

// askedBy says whether the code was asked for under a claim.
func (c *code) askedBy(id tokenstore.CallID) bool { return c != nil && c.attempt == id }

// byPerson says whether a person brought the code. When that comes to nothing,
// the token that there is goes on as if nothing had happened.
func (c *code) byPerson() bool { return c.askedBy(tokenstore.CallID{}) }

// codeTask is the task of exchanging a code: a flight that nobody joins. What
// it publishes is there for all.
func (v *View) codeTask(ctx context.Context, begun tokenstore.Authorization) (*task, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := v.catalog.Realm(ctx, begun.Ref.Realm)
	if err != nil {
		return nil, err
	}
	e := v.pool.entry(begun.Ref)
	t := &task{View: v, e: e, f: newFlight(c, aim{kind: exchange}), ref: begun.Ref}
	e.mu.Lock()
	t.revision = e.revision
	e.mu.Unlock()
	secret, err := v.catalog.Secret(ctx, c, begun.Ref)
	if err != nil {
		return nil, err
	}
	if t.bound, err = c.Program.Bind(secret); err != nil {
		cause := unfit("the secret does not fit the realm: " + err.Error())
		t.conclude(ctx, begun, cause)
		return nil, badCallback(cause.Error())
	}
	_, err = t.read(ctx)
	return t, err
}

// exchange spends the code of an authorization that was taken.
func (t *task) exchange(ctx context.Context, begun tokenstore.Authorization, cb grant.Callback) (*realm.Lease, again, error) {
	w := t.asks()
	w.kind = exchange
	w.code = &code{
		Authorization: grant.Authorization{State: cb.State, Verifier: begun.Verifier}, code: cb.Code, attempt: begun.Call,
	}
	v, began, err := t.claimForCode(ctx, w)
	if err != nil {
		t.pool.lost(begun.Ref, err)
		t.conclude(ctx, begun, unfit("the code could not be exchanged in time"))
		return nil, nil, err
	}
	return t.spend(ctx, w, v, began)
}

// objection is why a callback brings no code; nil where it does.
func (t *task) objection(begun tokenstore.Authorization, cb grant.Callback) *grant.Error {
	switch {
	case !t.f.owner.Program.CanAuthorize():
		return unfit(t.f.owner.Program.NoAuthorize())
	case begun.CallbackURL != t.bound.CallbackURL():
		return unfit("callback_url has changed since the authorization began")
	case begun.Call != (tokenstore.CallID{}) && begun.Fingerprint != t.bound.Fingerprint():
		// The code may be that of another user, whose password was replaced.
		return unfit("the realm or its secret has changed since the authorization began")
	}
	return t.bound.Judge(cb)
}

// unfit is a callback that does not fit what is here. The provider refused
// nothing: it may be asked again.
func unfit(why string) *grant.Error {
	return &grant.Error{Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true, Detail: why}
}

// lost tells of an authorization that brought no token: the page that a person
// sees does not say why.
func (p *Pool) lost(ref realm.Ref, why error) {
	p.log.Warn("authorization failed", zap.String("realm", ref.Realm), zap.String("key", ref.Key), zap.Error(why))
}

// conclude closes the claim under which the server asked for a code that comes
// to nothing. Where the store fails it runs out.
func (t *task) conclude(ctx context.Context, begun tokenstore.Authorization, cause *grant.Error) {
	if begun.Call == (tokenstore.CallID{}) {
		return // a person asked
	}
	w := &asks{terms: t.terms(t.f.owner), id: begun.Call, draw: t.pool.draw}
	_, _ = t.settle(ctx, &ended{asks: w, cause: cause, asked: true, verdict: verdict{source: fromCode}})
}

// claimForCode asks for the claim until it is granted. A code does not live
// long, so that it waits for no more than has to be.
func (t *task) claimForCode(ctx context.Context, w *asks) (v verdict, began time.Time, err error) {
	for patience := time.Now().Add(codePatience); ; {
		began = time.Now()                                               // the real clock: the claim runs out by it
		if v, err = t.claim(context.WithoutCancel(ctx), w); err != nil { // a pool that closes ends waiting only
			return v, began, err
		}
		switch {
		case v.ruling == granted:
			failpoint.Hit("code_claimed")
			return v, began, nil
		case began.Add(v.wait).After(patience) && v.ruling != busy, began.After(patience):
			return v, began, t.refuse(v)
		case v.ruling == busy:
			err = t.await(ctx, v)
		default:
			err = t.pool.sleep(ctx, max(v.wait, pollFirst))
		}
		if err != nil {
			return v, began, err
		}
	}
}
