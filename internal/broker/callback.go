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

// callbackSlots is how many callbacks at a time may ask the store for their
// state. Anybody may send a callback, and whoever has work for the store must
// not wait behind all of them.
const callbackSlots = 4

// Callback takes what the provider sent to the callback of a realm: the state
// is consumed, and the code exchanged for a token, which is saved. It goes on
// when ctx ends, unless so many callbacks came at once that this one still
// waits for its turn: then nothing is consumed. It returns whose token was
// saved.
//
// Errors: CodeBadCallback if nothing is exchanged, because the state is
// unknown, was used, has ended or belongs to another realm, because there is no
// code, or the provider says why not; else those of Flush.
func (v *View) Callback(ctx context.Context, realmID string, cb grant.Callback) (realm.Ref, error) {
	release, err := v.pool.acquireCallbackSlot(ctx)
	if err != nil {
		return realm.Ref{}, err
	}
	type outcome struct {
		ref realm.Ref
		err error
	}
	result := make(chan outcome, 1)
	// Nothing of it belongs to the caller, who may leave: the code is taken.
	if !v.pool.start(func(ctx context.Context) {
		ref, err := v.handleCallback(ctx, realmID, cb, release)
		result <- outcome{ref, err}
	}) {
		release()
		return realm.Ref{}, errClosed
	}
	select {
	case o := <-result:
		return o.ref, o.err
	case <-ctx.Done():
		return realm.Ref{}, gaveUp(ctx)
	}
}

// acquireCallbackSlot waits for a slot among the callbacks that take their
// state. A caller that left at once gets one, too, if one is free.
func (p *Pool) acquireCallbackSlot(ctx context.Context) (release func(), err error) {
	release = func() { <-p.callbackSlots }
	select {
	case p.callbackSlots <- struct{}{}:
		return release, nil
	default:
	}
	select {
	case p.callbackSlots <- struct{}{}:
		return release, nil
	case <-p.base.Done():
		return nil, errClosed
	case <-ctx.Done():
		return nil, gaveUp(ctx)
	}
}

// handleCallback does the work of a callback, whatever happens. It calls release
// as soon as the store has been asked for the state.
func (v *View) handleCallback(ctx context.Context, realmID string, cb grant.Callback, release func()) (ref realm.Ref, err error) {
	defer func() {
		if r := recover(); r != nil {
			v.pool.logPanic(r, "panic while exchanging a code", zap.String("realm", realmID))
			ref, err = realm.Ref{}, errPanic
		}
	}()
	begun, err := v.pool.consumeState(ctx, cb.State, release)
	if err == nil {
		err = v.answer(ctx, realmID, begun, cb)
	}
	switch {
	case err == nil:
		return begun.Ref, nil
	case ctx.Err() != nil:
		return realm.Ref{}, errClosed
	}
	return realm.Ref{}, err
}

// consumeState consumes the state of a callback, and calls release.
func (p *Pool) consumeState(ctx context.Context, state realm.Hidden, release func()) (tokenstore.Authorization, error) {
	defer release()
	opening, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	if err := p.Open(opening); err != nil {
		return tokenstore.Authorization{}, catalog.StoreError(err)
	}
	begun, err := p.takeAuthorization(ctx, state)
	switch {
	case errors.Is(err, tokenstore.ErrAuthorizationNotFound):
		return begun, badCallback("the state is unknown, was used, or has ended")
	case err != nil:
		return begun, catalog.StoreError(err)
	}
	return begun, nil
}

// takeAuthorization removes an authorization from the store and returns it.
// After that nobody else gets it, on any node: a pool that closes goes on with
// it.
func (p *Pool) takeAuthorization(ctx context.Context, state realm.Hidden) (tokenstore.Authorization, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenstore.Timeout)
	defer cancel()
	begun, err := p.store.TakeAuthorization(ctx, tokenstore.HashState(state))
	if err == nil {
		failpoint.Hit("state_taken")
	}
	return begun, err
}

func badCallback(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeBadCallback, Status: http.StatusBadRequest, Detail: why}
}
