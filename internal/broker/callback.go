package broker

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// takingPlaces is how many callbacks at a time may ask the store for their
// state: anybody may send one, and whoever has work for the store must not
// wait behind all of them.
const takingPlaces = 4

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
		v.pool.lost(begun.Ref, err)
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
		return catalog.StoreError(err)
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
		return tokenstore.Authorization{}, catalog.StoreError(err)
	}
	begun, err := p.take(ctx, state)
	switch {
	case errors.Is(err, tokenstore.ErrAuthorizationNotFound):
		return begun, badCallback("the state is unknown, was used, or has ended")
	case err != nil:
		return begun, catalog.StoreError(err)
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

// misled ends an authorization that brought no code. Those who wait for it
// are told why.
func (t *task) misled(ctx context.Context, begun tokenstore.Authorization, cause *grant.Error) error {
	t.pool.lost(begun.Ref, cause)
	t.conclude(ctx, begun, cause)
	return badCallback(cause.Error())
}

func badCallback(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeBadCallback, Status: http.StatusBadRequest, Detail: why}
}
