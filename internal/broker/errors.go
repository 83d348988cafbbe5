package broker

import (
	"errors"
	"net/http"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
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

func unavailable(status int, detail string, err error) *realm.Error {
	return &realm.Error{Code: realm.CodeTokenUnavailable, Status: status, Detail: detail, Err: err}
}

// misfit is the error of a secret that cannot be bound: of a value that cannot
// stand where the realm puts it, it names the field.
func misfit(p *grant.Program, s realm.Secret, err error) *realm.Error {
	const detail = "the secret does not fit the realm: "
	if wrong := p.CheckSecret(s); wrong != nil {
		return &realm.Error{Code: realm.CodeInvalidField, Status: http.StatusConflict, Detail: detail + wrong.Error(), Err: wrong}
	}
	return unavailable(http.StatusBadGateway, detail+err.Error(), err)
}
