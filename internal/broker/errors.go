package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

type computeOp = xsync.ComputeOp

const (
	updateOp = xsync.UpdateOp
	deleteOp = xsync.DeleteOp
	cancelOp = xsync.CancelOp
)

var (
	errDiscarded = errors.New("entry was discarded")
	errClosed    = &realm.Error{Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable, Detail: "shutting down", RetryAfter: time.Second}
	errPanic     = &realm.Error{Code: realm.CodeInternal, Status: http.StatusInternalServerError, Detail: "internal error; the log says more"}
)

func realmNotFound() *realm.Error {
	return &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusNotFound, Detail: "realm 不存在"}
}

func secretNotFound() *realm.Error {
	return &realm.Error{Code: realm.CodeSecretNotFound, Status: http.StatusNotFound, Detail: "secret 不存在"}
}

func readOnly(what string) *realm.Error {
	return &realm.Error{Code: realm.CodeReadOnly, Status: http.StatusConflict, Detail: what + " is defined in the Caddyfile"}
}

func unavailable(status int, detail string, err error) *realm.Error {
	return &realm.Error{Code: realm.CodeTokenUnavailable, Status: status, Detail: detail, Err: err}
}

// isNotFound says whether there is no such realm or secret.
func isNotFound(err error) bool {
	var e *realm.Error
	return errors.As(err, &e) && (e.Code == realm.CodeRealmNotFound || e.Code == realm.CodeSecretNotFound)
}

// storeFailed is the error of a store as a caller sees it. Cancellations stay
// what they are.
func storeFailed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	detail := "the store cannot be used now"
	switch {
	case errors.Is(err, tokenstore.ErrKey):
		detail = "the store was sealed with another encryption key"
	case errors.Is(err, context.DeadlineExceeded):
		detail = "the store did not answer in time"
	}
	return &realm.Error{
		Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
		Detail: detail, RetryAfter: time.Second, Err: err,
	}
}
