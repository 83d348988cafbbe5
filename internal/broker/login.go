package broker

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// callbackWait is how long the provider has to call the callback after the
// server itself asked for a code. Until then nobody asks again.
const callbackWait = time.Minute

// login is an authorization without a person: the server itself asks for a
// code, under a claim that was granted. The provider answers with a redirect to
// the callback, which is read here, or it calls the callback, perhaps that of
// another node, perhaps before it answers: whoever has the code goes on with
// the claim.
type login struct {
	attempt  *attempt
	request  *claim.Request
	decision claim.Decision
	began    time.Time // when the claim was asked for, by the real clock
}

// run asks for a code and exchanges it, or waits until somebody else has done
// so.
func (l *login) run(ctx context.Context) (*realm.Lease, again, error) {
	a := l.attempt
	authorization := grant.NewAuthorization()
	o := claim.NewOutcome(l.request, l.decision)
	o.Stage = claim.CodeRequest
	if err := a.pool.begin(ctx, a.ref, a.bound, authorization, l.request.ID); err != nil {
		return nil, nil, l.abandon(ctx, o, errNotBegun, err)
	}
	ctx = withoutBudget(ctx) // from here on a code may be on its way
	sent := a.countCall()
	// The state is durable: whoever the provider calls, and however soon, finds it.
	cb, err := a.bound.Authorize(context.WithoutCancel(ctx), a.view.client, authorization, a.callOptions(l.request, l.decision, l.began))
	a.pool.fetched(a.ref.Realm, sent, err)
	a.view.noteParents(a.parents, a.renewed, err)
	if err != nil {
		// The provider gave no code. But if the callback was called nevertheless,
		// that is what counts.
		if s, failed := a.pool.callers.Peek(ctx, a.ref); failed == nil && s.Claim.ID != l.request.ID {
			return nil, l.awaitOutcome(o), nil
		}
		return a.callFailed(ctx, o, err)
	}
	if cb == nil {
		return l.awaitCallback(ctx, o)
	}
	// A redirect may come beside a call of the callback. Whoever takes the state,
	// which only one can, has the code.
	begun, err := a.pool.takeAuthorization(ctx, cb.State)
	switch {
	case errors.Is(err, tokenstore.ErrAuthorizationNotFound): // the callback was called, too, and whoever took it has the code
		return nil, l.awaitOutcome(o), nil
	case err != nil:
		return nil, nil, l.abandon(ctx, o, errNotTaken, catalog.StoreError(err))
	}
	x := &exchange{attempt: a, begun: begun, callback: *cb}
	if cause := x.objection(); cause != nil {
		return a.callFailed(ctx, o, cause)
	}
	return x.run(ctx)
}

// abandon closes a claim under which nothing more is done, because the store
// failed with err. If it fails here too, the claim runs out.
func (l *login) abandon(ctx context.Context, o *claim.Outcome, cause *grant.Error, err error) error {
	o.Cause = cause
	_, _ = l.attempt.settle(ctx, o)
	return err
}

var (
	// errNotBegun is the cause of a call that was not made, because the store
	// did not take the state.
	errNotBegun = &grant.Error{
		Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true,
		Detail: "the state of the authorization could not be stored",
	}
	// errNotTaken is the cause of a code that is given up, because the store
	// does not say whether somebody else has it.
	errNotTaken = &grant.Error{
		Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true,
		Detail: "the state of the authorization could not be consumed",
	}
	// errNoCallback is the failure of an authorization that nobody called back
	// for.
	errNoCallback = &grant.Error{
		Class: grant.Retryable, Kind: grant.KindTimeout,
		Detail: "the provider was asked for a code and did not call the callback",
	}
)

// awaitCallback keeps the claim for the callback, and waits for its outcome.
func (l *login) awaitCallback(ctx context.Context, o *claim.Outcome) (*realm.Lease, again, error) {
	a, id := l.attempt, l.request.ID
	s, err := a.pool.callers.Coordinate(ctx, a.ref, func(s *tokenstore.State) error {
		claim.AwaitCallback(s, id, callbackWait)
		return nil
	})
	if err != nil {
		return nil, nil, catalog.StoreError(err)
	}
	if s.Claim.ID != id {
		return nil, l.awaitOutcome(o), nil
	}
	failpoint.Hit("callback_awaited")
	return nil, func(ctx context.Context) error {
		if err := a.await(ctx, id, callbackWait); err != nil {
			return err
		}
		return l.awaitOutcome(o)(ctx)
	}, nil
}

// awaitOutcome finds out what became of an authorization whose claim somebody
// else went on with. A token is found by asking for the claim once more.
func (l *login) awaitOutcome(o *claim.Outcome) again {
	a := l.attempt
	return func(ctx context.Context) error {
		var s tokenstore.State
		for {
			var err error
			if s, err = a.pool.callers.Peek(ctx, a.ref); err != nil {
				return catalog.StoreError(err)
			}
			left := s.Claim.Deadline.Sub(s.Now)
			if s.Claim.Phase == tokenstore.PhaseNone || left <= 0 {
				break
			}
			if err := a.await(ctx, s.Claim.ID, left); err != nil {
				return err
			}
		}
		if s.Claim.ID == l.request.ID { // still: nobody called
			_, _, err := a.callFailed(ctx, o, errNoCallback)
			return err
		}
		if err := a.checkSecret(ctx); err != nil {
			return err // it was long ago: this is no outcome of the secret of now
		}
		cause := claim.CauseOf(s.Claim.Failure)
		if cause == nil || !claim.IsPaused(s.Claim.Failure, s.Now) || s.Token.Lineage != o.Parent {
			return nil
		}
		wait, count := storedWait(&s)
		f := a.fail(realm.CodeTokenUnavailable, cause, count, wait)
		return f.firstError(f.at)
	}
}
