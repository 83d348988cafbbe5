package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// stateLife is how long after its begin an authorization may come back.
	stateLife = 10 * time.Minute
	// callbackWait is how long the provider has to call the callback after
	// the server itself asked for a code. Until then nobody asks again.
	callbackWait = time.Minute
	// recently is how young a token is that serves whoever asks for a new
	// authorization: of many who ask at about the same time, the first may
	// have been served before the last has asked.
	recently = 3 * time.Second
)

// Authorize obtains a token by a new authorization, without a person and
// whatever refresh token there is: one for all who ask within three seconds,
// over all nodes, or who wait.
//
// Errors: CodeNotAuthorizable where the realm has no recipes for that, or
// needs a person; else those of Token.
func (v *View) Authorize(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	c, err := v.authorizable(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	return v.join(ctx, c, ref, aim{kind: authorize})
}

// Authorizable is the error of Authorize that any secret of the realm would
// get: CodeNotAuthorizable, CodeRealmNotFound; nil where there is none.
func (v *View) Authorizable(ctx context.Context, realmID string) error {
	_, err := v.authorizable(ctx, realmID)
	return err
}

func (v *View) authorizable(ctx context.Context, realmID string) (*catalog.Realm, error) {
	c, err := v.catalog.Realm(ctx, realmID)
	switch {
	case err != nil:
		return nil, err
	case !c.Program.CanAuthorize():
		return nil, notAuthorizable(c.Program.NoAuthorize())
	case !c.Program.Unattended():
		return nil, notAuthorizable("the realm is authorized by a person: GET /api/secret/{realm}/{key}/authorize gives the link")
	}
	return c, nil
}

// AuthorizeURL begins an authorization by a person and returns what that
// person opens. It is good for ten minutes and once, and holds the state: keep
// it out of logs. CodeNotAuthorizable; else as Secret.
func (v *View) AuthorizeURL(ctx context.Context, ref realm.Ref) (string, error) {
	c, err := v.catalog.Realm(ctx, ref.Realm)
	if err != nil {
		return "", err
	}
	if !c.Program.CanAuthorize() {
		return "", notAuthorizable(c.Program.NoAuthorize())
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	if err != nil {
		return "", err
	}
	bound, err := c.Program.Bind(secret)
	if err != nil {
		return "", notAuthorizable("the secret does not fit the realm: " + err.Error())
	}
	a := grant.NewAuthorization()
	link, err := bound.AuthorizeURL(a)
	if cause := new(grant.Error); errors.As(err, &cause) {
		return "", notAuthorizable(cause.Detail)
	} else if err != nil {
		return "", err
	}
	if err := v.pool.begin(ctx, ref, bound, a, tokenstore.CallID{}); err != nil {
		return "", err
	}
	return link, nil
}

// begin stores what the callback will be checked against. Nothing is sent
// before.
func (p *Pool) begin(ctx context.Context, ref realm.Ref, b *grant.Bound, a grant.Authorization, attempt tokenstore.CallID) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := p.Open(ctx); err != nil {
		return catalog.StoreError(err)
	}
	err := p.store.BeginAuthorization(ctx, tokenstore.Authorization{
		State: tokenstore.HashState(a.State), Ref: ref, CallbackURL: b.CallbackURL(), Verifier: a.Verifier,
		Call: attempt, Fingerprint: b.Fingerprint(),
	}, stateLife)
	if err != nil {
		return catalog.StoreError(err)
	}
	failpoint.Hit("authorization_begun")
	return nil
}

// askForCode has the server itself ask for a code, under the claim that was
// granted. The provider answers with a redirect to the callback, which is read
// here, or calls the callback, perhaps that of another node, perhaps before it
// answers: whoever has the code goes on with the claim.
func (t *task) askForCode(ctx context.Context, w *asks, v verdict, began time.Time) (*realm.Lease, again, error) {
	a := grant.NewAuthorization()
	end := &ended{asks: w, verdict: v, asked: true}
	if err := t.pool.begin(ctx, t.ref, t.bound, a, w.id); err != nil {
		return nil, nil, t.leave(ctx, end, errNotBegun, err)
	}
	sent := t.calls()
	cb, err := t.bound.Authorize(context.WithoutCancel(ctx), t.client, a, t.bounded(w, v, began))
	t.pool.fetched(t.ref.Realm, sent, err)
	switch {
	case err != nil:
		return t.unasked(ctx, end, err)
	case cb == nil:
		return t.called(ctx, end)
	}
	begun, err := t.pool.take(ctx, cb.State)
	switch {
	case errors.Is(err, tokenstore.ErrAuthorizationNotFound): // somebody was told as well, and has it
		return nil, t.outcome(end), nil
	case err != nil:
		return nil, nil, t.leave(ctx, end, errNotTaken, catalog.StoreError(err))
	}
	if cause := t.objection(begun, *cb); cause != nil {
		return t.settleFailure(ctx, end, cause)
	}
	return t.exchange(ctx, begun, *cb)
}

// leave closes a claim under which nothing more is done, because the store
// failed. Where it fails here too, the claim runs out.
func (t *task) leave(ctx context.Context, end *ended, cause *grant.Error, err error) error {
	end.cause = cause
	_, _ = t.settle(ctx, end)
	return err
}

// errNotBegun is the cause of a call that was not made, because the store did
// not take the state.
var errNotBegun = &grant.Error{
	Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true,
	Detail: "the state of the authorization could not be stored",
}

// errNotTaken is the cause of a code that is given up, because the store does
// not say whether somebody else has it.
var errNotTaken = &grant.Error{
	Class: grant.Retryable, Kind: grant.KindRequest, NotSent: true,
	Detail: "the state of the authorization could not be consumed",
}

// errNoCallback is the failure of an authorization that nobody called back for.
var errNoCallback = &grant.Error{
	Class: grant.Retryable, Kind: grant.KindTimeout,
	Detail: "the provider was asked for a code and did not call the callback",
}

// unasked takes down that the provider gave no code; unless the callback was
// called all the same, and that is what counts.
func (t *task) unasked(ctx context.Context, end *ended, err error) (*realm.Lease, again, error) {
	if s, failed := t.pool.store.Peek(ctx, t.ref); failed == nil && s.Claim.ID != end.id {
		return nil, t.outcome(end), nil
	}
	return t.settleFailure(ctx, end, err)
}

// called keeps the claim for the callback, and waits for what comes of it.
func (t *task) called(ctx context.Context, end *ended) (*realm.Lease, again, error) {
	held := false
	_, err := t.pool.coordinate(ctx, t.ref, func(s *tokenstore.State) {
		a := &s.Claim
		if held = a.ID == end.id; held {
			callOver(s, s.Now)
			a.Deadline = s.Now.Add(callbackWait)
			a.Phase = tokenstore.PhaseAwaiting
		}
	})
	if err != nil {
		return nil, nil, err
	}
	if held {
		failpoint.Hit("callback_awaited")
		end.wait = callbackWait
		end.holder = end.id
	}
	return nil, func(ctx context.Context) error {
		if held {
			if err := t.await(ctx, end.verdict); err != nil {
				return err
			}
		}
		return t.outcome(end)(ctx)
	}, nil
}

// outcome finds out what became of an authorization whose claim somebody else
// went on with. A token is found by trying once more.
func (t *task) outcome(end *ended) again {
	return func(ctx context.Context) error {
		var s tokenstore.State
		for {
			var err error
			if s, err = t.pool.store.Peek(ctx, t.ref); err != nil {
				return catalog.StoreError(err)
			}
			left := s.Claim.Deadline.Sub(s.Now)
			if s.Claim.ID == (tokenstore.CallID{}) || left <= 0 {
				break
			}
			if err := t.await(ctx, verdict{holder: s.Claim.ID, wait: left}); err != nil {
				return err
			}
		}
		if s.Claim.ID == end.id { // still: nobody called
			_, _, err := t.settleFailure(ctx, end, errNoCallback)
			return err
		}
		if err := t.current(ctx); err != nil {
			return err // it was long ago: this is no outcome of the secret of now
		}
		now := realm.InstantOf(t.pool.now())
		if cause := causeOf(s.Claim.Failure); cause != nil && waits(s.Claim.Failure, s.Now) && s.Token.Lineage == end.parent {
			tr := t.pool.troubleOf(&s, cause, now)
			t.e.suffer(tr, t.revision)
			return tr.first(now)
		}
		return nil
	}
}

// coordinate is Coordinate for what cannot fail itself.
func (p *Pool) coordinate(ctx context.Context, ref realm.Ref, do func(*tokenstore.State)) (tokenstore.State, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	s, err := p.store.Coordinate(ctx, ref, func(s *tokenstore.State) error {
		do(s)
		return nil
	})
	if err != nil {
		return s, catalog.StoreError(err)
	}
	return s, nil
}

func notAuthorizable(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeNotAuthorizable, Status: http.StatusConflict, Detail: why}
}
