package broker

import (
	"context"
	"errors"
	"net/http"
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

// takingPlaces is how many callbacks at a time may ask the store for their
// state: anybody may send one, and whoever has work for the store must not
// wait behind all of them.
const takingPlaces = 4

// code is an authorization code, and what it was asked for with.
type code struct {
	grant.Authorization
	code realm.Hidden
	// attempt is the claim under which the server asked for it; zero where a
	// person did.
	attempt tokenstore.AttemptID
}

// askedBy says whether the code was asked for under a claim.
func (c *code) askedBy(id tokenstore.AttemptID) bool { return c != nil && c.attempt == id }

// byPerson says whether a person brought the code. When that comes to nothing,
// the token that there is goes on as if nothing had happened.
func (c *code) byPerson() bool { return c.askedBy(tokenstore.AttemptID{}) }

// Callback takes what the provider sent to the callback of a realm: the state
// is consumed, and the code exchanged for a token, which is saved. It goes on
// when ctx ends, unless so many callbacks came at once that this one still
// waits for its turn: then nothing is consumed.
//
// Errors: CodeBadCallback where nothing is exchanged, because the state is
// unknown, was used, has ended or belongs to another realm, because there is
// no code, or the provider says why not; else those of Flush.
func (v *View) Callback(ctx context.Context, realmID string, cb grant.Callback) error {
	leave, err := v.pool.taker(ctx)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	// Nothing of it belongs to the caller, who may leave: the code is taken.
	if !v.pool.start(func(ctx context.Context) { result <- v.callback(ctx, realmID, cb, leave) }) {
		leave()
		return errClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

// taker waits for a place among the callbacks that take their state. Who calls
// and is gone at once gets one all the same, if there is one.
func (p *Pool) taker(ctx context.Context) (leave func(), err error) {
	leave = func() { <-p.taking }
	select {
	case p.taking <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case p.taking <- struct{}{}:
		return leave, nil
	case <-p.base.Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, gaveUp(ctx)
	}
}

// callback does the work of a callback, whatever happens; leave is called when
// the store has been asked for the state.
func (v *View) callback(ctx context.Context, realmID string, cb grant.Callback, leave func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			v.pool.panicked(r, "panic while exchanging a code", zap.String("realm", realmID))
			err = errPanic
		}
	}()
	begun, err := v.pool.taken(ctx, cb.State, leave)
	if err == nil {
		err = v.answer(ctx, realmID, begun, cb)
	}
	if err != nil && ctx.Err() != nil {
		return errClosed
	}
	return err
}

// answer goes on with an authorization whose state was taken.
func (v *View) answer(ctx context.Context, realmID string, begun tokenstore.Authorization, cb grant.Callback) error {
	ctx, cancel := context.WithTimeout(ctx, codePatience+2*storeTime)
	defer cancel()
	t, err := v.codeTask(context.WithoutCancel(ctx), begun)
	if err != nil {
		return err
	}
	defer v.pool.doubt(begun.Ref) // callers on this node are woken
	if realmID != begun.Ref.Realm {
		return t.misled(ctx, begun, unfit("the callback was that of another realm"))
	}
	if cause := t.objection(begun, cb); cause != nil {
		return t.misled(ctx, begun, cause)
	}
	_, _, err = t.exchange(ctx, begun, cb)
	if errors.Is(err, errStale) {
		return t.keptAll(ctx)
	}
	return err
}

// keptAll says whether what came is of use, although the secret has changed
// since: a refresh token is, and an access token where nothing changed that
// decides about it.
func (t *task) keptAll(ctx context.Context) error {
	s, err := t.pool.store.Peek(ctx, t.ref)
	switch {
	case err != nil:
		return storeFailed(err)
	case s.Token.Refresh == "" && t.current(ctx) != nil:
		return badCallback("the secret has changed since the authorization began")
	}
	return nil
}

// taken consumes the state of a callback, and leaves the place.
func (p *Pool) taken(ctx context.Context, state realm.Hidden, leave func()) (tokenstore.Authorization, error) {
	defer leave()
	opening, cancel := bounded(ctx)
	defer cancel()
	if err := p.Open(opening); err != nil {
		return tokenstore.Authorization{}, storeFailed(err)
	}
	begun, err := p.take(ctx, state)
	switch {
	case errors.Is(err, tokenstore.ErrAuthorizationNotFound):
		return begun, badCallback("the state is unknown, was used, or has ended")
	case err != nil:
		return begun, storeFailed(err)
	}
	return begun, nil
}

// take consumes a state. After that nobody else gets it, on any node: a pool
// that closes goes on with it.
func (p *Pool) take(ctx context.Context, state realm.Hidden) (tokenstore.Authorization, error) {
	ctx, cancel := bounded(context.WithoutCancel(ctx))
	defer cancel()
	begun, err := p.store.TakeAuthorization(ctx, tokenstore.HashState(state))
	if err == nil {
		failpoint.Hit("state_taken")
	}
	return begun, err
}

// codeTask is the task of exchanging a code: a flight that nobody joins. What
// it publishes is there for all.
func (v *View) codeTask(ctx context.Context, begun tokenstore.Authorization) (*task, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := v.realm(ctx, begun.Ref.Realm)
	if err != nil {
		return nil, err
	}
	e := v.pool.entry(begun.Ref)
	t := &task{View: v, e: e, f: newFlight(c, aim{kind: exchange}), ref: begun.Ref}
	e.mu.Lock()
	t.revision = e.revision
	e.mu.Unlock()
	secret, err := v.secret(ctx, c, begun.Ref)
	if err != nil {
		return nil, err
	}
	if t.bound, err = c.program.Bind(secret); err != nil {
		return nil, t.misled(ctx, begun, unfit("the secret does not fit the realm: "+err.Error()))
	}
	_, err = t.read(ctx)
	return t, err
}

// exchange spends the code of an authorization that was taken.
func (t *task) exchange(ctx context.Context, begun tokenstore.Authorization, cb grant.Callback) (*realm.Lease, again, error) {
	w := t.asks()
	w.kind = exchange
	w.code = &code{
		Authorization: grant.Authorization{State: cb.State, Verifier: begun.Verifier}, code: cb.Code, attempt: begun.Attempt,
	}
	v, began, err := t.claimForCode(ctx, w)
	if err != nil {
		t.lost(begun.Ref, err)
		t.conclude(ctx, begun, unfit("the code could not be exchanged in time"))
		return nil, nil, err
	}
	return t.spend(ctx, w, v, began)
}

// objection is why a callback brings no code; nil where it does.
func (t *task) objection(begun tokenstore.Authorization, cb grant.Callback) *grant.Error {
	switch {
	case !t.f.owner.program.CanAuthorize():
		return unfit(t.f.owner.program.NoAuthorize())
	case begun.CallbackURL != t.bound.CallbackURL():
		return unfit("callback_url has changed since the authorization began")
	case begun.Attempt != (tokenstore.AttemptID{}) && begun.Fingerprint != t.bound.Fingerprint():
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

// misled ends an authorization that brought no code. Those who wait for it
// are told why.
func (t *task) misled(ctx context.Context, begun tokenstore.Authorization, cause *grant.Error) error {
	t.lost(begun.Ref, cause)
	t.conclude(ctx, begun, cause)
	return badCallback(cause.Error())
}

// lost tells of an authorization that brought no token: the page that a person
// sees does not say why.
func (t *task) lost(ref realm.Ref, why error) {
	t.pool.log.Warn("authorization failed", zap.String("realm", ref.Realm), zap.String("key", ref.Key), zap.Error(why))
}

// conclude closes the claim under which the server asked for a code that comes
// to nothing. Where the store fails it runs out.
func (t *task) conclude(ctx context.Context, begun tokenstore.Authorization, cause *grant.Error) {
	if begun.Attempt == (tokenstore.AttemptID{}) {
		return // a person asked
	}
	w := &asks{terms: t.terms(t.f.owner), id: begun.Attempt, draw: t.pool.draw}
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

func badCallback(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeBadCallback, Status: http.StatusBadRequest, Detail: why}
}
