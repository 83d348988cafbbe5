package account

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// callbackTimeout bounds the wait for what a callback sets off. A token request may take a
// minute, and the store has to be asked before and after it.
const callbackTimeout = 2 * time.Minute

// Callback takes the answer of an authorization, as the provider wrote it into
// the query of callback_url, and exchanges its code. It returns whose token was saved.
//
// The broker goes on when the caller leaves. Once the state is consumed, the
// code is good for nothing but this exchange, and a browser that was closed
// would throw away what a person has just done.
//
// Errors: CodeBadCallback (400) for whatever is wrong with the callback
// itself; else what became of the exchange. None reflects the query.
func (s *Service) Callback(ctx context.Context, realmID, rawQuery string) (realm.Ref, error) {
	cb, err := grant.ParseCallback(rawQuery)
	if err != nil {
		return realm.Ref{}, &realm.Error{
			Code: realm.CodeBadCallback, Status: http.StatusBadRequest,
			Detail: "the callback cannot be read", Err: err,
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	return s.broker.Callback(ctx, realmID, cb)
}
