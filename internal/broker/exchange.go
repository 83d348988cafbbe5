package broker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// codePatience is how long a code waits for its exchange: for a call that is
// under way, for a quota, for a pause that the provider asked for.
const codePatience = 30 * time.Second

// exchange turns the code of an authorization, whose state was taken, into a
// token. Its attempt is that of a flight that nobody joins: what it publishes
// is there for everybody.
type exchange struct {
	attempt  *attempt
	begun    tokenstore.Authorization
	callback grant.Callback
}

// code is an authorization code, and what it was asked for with.
type code struct {
	authorization grant.Authorization
	value         realm.Hidden
	kept          realm.Kept // what the realm reads of the callback
}

// isByPerson reports whether a person authorizes, and not the server itself.
func isByPerson(begun tokenstore.Authorization) bool { return begun.Call == tokenstore.CallID{} }

// newExchange prepares the exchange of a code that a callback brought.
func (v *View) newExchange(ctx context.Context, begun tokenstore.Authorization, cb grant.Callback) (*exchange, error) {
	c, err := v.catalog.Realm(ctx, begun.Ref.Realm)
	if err != nil {
		return nil, err
	}
	f := newFlight(c, goal{purpose: claim.Exchange})
	a, err := v.newAttempt(ctx, v.pool.entry(begun.Ref), f, begun.Ref)
	if a == nil {
		return nil, err
	}
	x := &exchange{attempt: a, begun: begun, callback: cb}
	if err != nil {
		cause := unfit(err.Error())
		x.closeClaim(ctx, cause)
		return nil, badCallback(cause.Error())
	}
	x.callback = a.bound.ReadCode(cb)
	_, err = a.readStored(ctx)
	return x, err
}

// run exchanges the code.
func (x *exchange) run(ctx context.Context) (*realm.Lease, again, error) {
	a := x.attempt
	r := a.claimRequest(claim.Exchange)
	r.CodeCall = x.begun.Call
	giveUp := func(err error) (*realm.Lease, again, error) {
		a.pool.logLost(x.begun.Ref, err)
		x.closeClaim(ctx, unfit("the code could not be exchanged in time"))
		return nil, nil, err
	}
	if err := x.getParents(ctx); err != nil {
		return giveUp(err)
	}
	d, began, err := x.claim(ctx, r)
	if err != nil {
		return giveUp(err)
	}
	return a.spend(ctx, r, d, &code{
		authorization: grant.Authorization{State: x.callback.State, Verifier: x.begun.Verifier}, value: x.callback.Code,
		kept: a.bound.KeptOf(x.callback),
	}, began)
}

// getParents gets the tokens that the exchange sends. Whoever asked for the code
// himself has them already.
func (x *exchange) getParents(ctx context.Context) error {
	if x.attempt.parents != nil {
		return nil
	}
	return x.attempt.getParents(ctx)
}

// claim asks for the claim until it is granted. A code does not live long: it
// waits for no more than it must.
func (x *exchange) claim(ctx context.Context, r *claim.Request) (d claim.Decision, began time.Time, err error) {
	a := x.attempt
	for giveUpAt := time.Now().Add(codePatience); ; {
		began = time.Now()                                                // the real clock: the claim runs out by it
		if d, err = a.decide(context.WithoutCancel(ctx), r); err != nil { // a pool that closes ends waiting only
			return d, began, err
		}
		switch {
		case d.Verdict == claim.Go:
			failpoint.Hit("code_claimed")
			return d, began, nil
		case began.Add(d.Wait).After(giveUpAt) && d.Verdict != claim.InProgress, began.After(giveUpAt):
			return d, began, a.refuse(d)
		case d.Verdict == claim.InProgress:
			err = a.await(ctx, d.Holder, d.Wait)
		default:
			err = a.pool.sleep(ctx, max(d.Wait, pollFirst))
		}
		if err != nil {
			return d, began, err
		}
	}
}

// objection is why the callback brings no code; nil if it does.
func (x *exchange) objection() *grant.Error {
	a, begun := x.attempt, x.begun
	program := a.flight.owner.Program
	switch {
	case !program.CanAuthorize():
		return unfit(program.NoAuthorize())
	case begun.CallbackURL != a.bound.CallbackURL():
		return unfit("callback_url has changed since the authorization began")
	case begun.Client != (realm.Digest{}) && begun.Client != a.bound.ClientDigest():
		// Another client cannot exchange the code, and must not try: the code
		// would go to an endpoint that it was not meant for.
		return unfit("the client has changed since the authorization began")
	case !isByPerson(begun) && begun.Fingerprint != a.bound.Fingerprint():
		// The code may be that of another user, whose password was replaced.
		return unfit("the realm or its secret has changed since the authorization began")
	}
	return a.bound.Judge(x.callback)
}

// reject ends an authorization that brought no code. Those who wait for it are
// told why.
func (x *exchange) reject(ctx context.Context, cause *grant.Error) error {
	x.attempt.pool.logLost(x.begun.Ref, cause)
	x.closeClaim(ctx, cause)
	return badCallback(cause.Summary())
}

// closeClaim closes the claim under which the server asked for a code that
// comes to nothing. If the store fails, the claim runs out.
func (x *exchange) closeClaim(ctx context.Context, cause *grant.Error) {
	if isByPerson(x.begun) {
		return
	}
	a := x.attempt
	r := &claim.Request{
		Terms: a.view.terms(a.flight.owner), ID: x.begun.Call, Key: a.ref.Key, Purpose: claim.Authorize,
		Digests: claim.FixedDigest(x.begun.Fingerprint), Random: a.pool.random,
	}
	if a.bound != nil && a.bound.Fingerprint() == x.begun.Fingerprint {
		r.Digests = a.bound // else the failure is of a secret that was replaced
	}
	o := claim.NewOutcome(r, claim.Decision{Source: claim.FromCode})
	o.Stage, o.Cause = claim.CodeRequest, cause
	_, _ = a.settle(ctx, o)
}

// isOfUse returns nil if what the code gave is of use although the secret has
// changed since: a refresh token is, and an access token if nothing changed
// that decides about it.
func (x *exchange) isOfUse(ctx context.Context) error {
	s, err := x.attempt.pool.callers.Peek(ctx, x.begun.Ref)
	switch {
	case err != nil:
		return catalog.StoreError(err)
	case s.Token.Refresh == "" && x.attempt.checkSecret(ctx) != nil:
		return badCallback("the secret has changed since the authorization began")
	}
	return nil
}

// answer goes on with an authorization whose state was taken.
func (v *View) answer(ctx context.Context, realmID string, begun tokenstore.Authorization, cb grant.Callback) error {
	ctx, cancel := context.WithTimeout(ctx, codePatience+2*tokenstore.Timeout)
	defer cancel()
	x, err := v.newExchange(context.WithoutCancel(ctx), begun, cb)
	if err != nil {
		v.pool.logLost(begun.Ref, err)
		return err
	}
	defer v.pool.storeChanged(begun.Ref) // callers on this node are woken
	if realmID != begun.Ref.Realm {
		return x.reject(ctx, unfit("the callback was that of another realm"))
	}
	if cause := x.objection(); cause != nil {
		return x.reject(ctx, cause)
	}
	_, _, err = x.run(ctx)
	if errors.Is(err, errStale) {
		return x.isOfUse(ctx)
	}
	return err
}

// unfit is the failure of a callback that does not fit what is here. The
// provider refused nothing: it may be asked again.
func unfit(why string) *grant.Error {
	return &grant.Error{Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true, Detail: why}
}

// logLost tells of an authorization that brought no token: the page that a
// person sees does not say why.
func (p *Pool) logLost(ref realm.Ref, why error) {
	p.log.Warn("authorization failed", zap.String("realm", ref.Realm), zap.String("key", ref.Key), zap.Error(why))
}
