package broker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// spend makes the call that was claimed; code is what is exchanged, nil if none
// is. Another call may follow at once: with another refresh token, or by force.
func (a *attempt) spend(ctx context.Context, r *claim.Request, d claim.Decision, code *code, began time.Time) (*realm.Lease, again, error) {
	failpoint.Hit("claimed")
	if a.flight.purpose == claim.Renew && a.flight.owner.EndsPrevious() {
		a.entry.withhold(a.flight)
	}
	// From here on the outcome is what counts: it is settled whatever happens, and
	// what cannot be settled is kept.
	o := claim.NewOutcome(r, d)
	res, err := a.send(ctx, r, d, code, began)
	if err != nil {
		// The answer may lack what the realm reads of it, and still hold the only
		// refresh token that is good.
		if res.Token.Refresh != "" {
			o.Token = a.pool.remote(res.Token)
		}
		return a.callFailed(ctx, o, err)
	}
	a.warn(res.Warnings)
	a.receive(o, res)
	if a.isSameToken(o) && !a.force && a.flight.owner.Program.TakesForce() {
		// The provider gives the token again that its API refuses. It may be
		// asked by force.
		a.force, o.Stage = true, claim.BeforeForce
		a.recordCall(nil)
		if _, err := a.settle(ctx, o); err != nil {
			return nil, nil, err
		}
		return nil, atOnce, nil
	}
	lease, err := a.save(ctx, o)
	a.recordCall(nil) // whatever became of the token
	return lease, nil, err
}

// send makes one HTTP call. It is sent within the timeout of the claim, or not
// at all, and ends before the claim does, however long the claim took to get.
// The caller's context does not cut it off: the answer may hold the only refresh
// token that is good.
func (a *attempt) send(ctx context.Context, r *claim.Request, d claim.Decision, code *code, began time.Time) (res grant.Result, err error) {
	ctx = context.WithoutCancel(ctx)
	client, req := a.view.client, a.callOptions(r, d, began)
	sent := a.countCall()
	switch d.Source {
	case claim.NoRefreshToken:
		res, err = a.bound.Fetch(ctx, client, req)
	case claim.FromCode:
		req.Kept = code.kept
		res, err = a.bound.Exchange(ctx, client, code.authorization, code.value, req)
	case claim.FromToken, claim.FromSecret, claim.FromCandidate:
		res, err = a.bound.Refresh(ctx, client, req)
	}
	a.took = time.Since(sent)
	a.pool.fetched(a.ref.Realm, sent, err)
	a.view.noteParents(a.parents, a.renewed, err)
	return res, err
}

// callOptions says how a call is made that was claimed.
func (a *attempt) callOptions(r *claim.Request, d claim.Decision, began time.Time) grant.Request {
	req := grant.Request{
		Force: a.force, DefaultTimeout: a.view.callTimeout, RefreshToken: d.RefreshToken, Kept: d.Kept,
		Parents: a.parents.forCall(a.renewed),
		Known:   append(d.PreviousTokens, a.stored.Access, a.flight.failed),
		Report:  a.flight.report,
	}
	if req.Report != nil {
		*req.Report = grant.Report{} // of the call before it, if there was one
	}
	req.SendBy, req.EndBy = r.Bounds(began)
	return req
}

// countCall counts a call that is sent now. It returns the instant, by the real
// clock: it is the network that takes time.
func (a *attempt) countCall() time.Time {
	if !a.reserved.use() && !a.flight.owner.Program.ComputesToken() {
		paid(a.flight.payer)
	}
	a.entry.mu.Lock()
	defer a.entry.mu.Unlock()
	a.entry.fetches++
	return time.Now()
}

// receive takes what the provider gave into the outcome, with the store's
// times, and decides whom the token serves.
func (a *attempt) receive(o *claim.Outcome, res grant.Result) {
	o.Took, o.Token = res.Took, a.pool.remote(res.Token)
	// A token that ends before it reaches the provider is of use only to those
	// who wait for it.
	left := res.Token.ExpiresAt.Sub(a.pool.now())
	if res.Once || !res.Token.ExpiresAt.IsZero() && left <= slack {
		o.Use = claim.ForWaiters
	}
	a.entry.mu.Lock()
	defer a.entry.mu.Unlock()
	if a.entry.revision != a.revision {
		o.Use = claim.OnlyRefreshToken
		return
	}
	a.flight.owner.Trust(a.ref)
}

// isSameToken reports whether the flight is to replace a token, and the provider
// gave that one again, be it for a code.
func (a *attempt) isSameToken(o *claim.Outcome) bool {
	return a.flight.purpose == claim.Heal && o.Token.Access == a.flight.failed
}

// callFailed records a call that failed, and returns what its callers are told.
func (a *attempt) callFailed(ctx context.Context, o *claim.Outcome, err error) (*realm.Lease, again, error) {
	if !errors.As(err, &o.Cause) {
		o.Cause = &grant.Error{Class: grant.Retryable, Kind: grant.KindConnection, Detail: "internal"}
	}
	cause := o.Cause
	a.recordCall(cause)
	s, err := a.settle(ctx, o)
	if err != nil {
		a.entry.keepUnsaved(o, a.origin(), a.now())
	}
	if cause.Refusal() {
		a.flight.owner.Doubt(a.ref)
	}
	if cause.Refusal() && a.flight.purpose != claim.Exchange && a.isStale(ctx) {
		return nil, nil, errStale // what was refused is not the secret of now
	}
	wait, count := storedWait(&s)
	if cause.Kind == grant.KindForbidden {
		// Nothing was sent, and nothing is stored. This node alone remembers it,
		// until its configuration or the realm changes; and for as long as a hopeless
		// refusal, because each attempt takes a call from the quota.
		wait, count = o.Request.BackoffCap, 1
	}
	f := newFailure(a.origin(), realm.CodeTokenUnavailable, cause, count, a.now(), wait)
	if !o.Request.IsByPerson() {
		remembered := *f
		if c := claim.CauseOf(s.Claim.Failure); c != nil && claim.IsPaused(s.Claim.Failure, s.Now) {
			remembered.cause = c // what others have found out since is what is waited for
		}
		a.entry.recordFailure(&remembered, a.revision)
	}
	a.log.Warn("token not fetched",
		zap.Stringer("why", a.flight.purpose), zap.Stringer("class", cause.Class), zap.Error(cause), zap.Duration("next_in", wait))
	if err == nil && o.IsRefreshTokenRefused() {
		return nil, atOnce, nil // the next decision finds out whether anything is left
	}
	if next := a.afterDeadParent(ctx, cause); next != nil && err == nil {
		return nil, next, nil
	}
	return nil, nil, f.firstError(f.at)
}
