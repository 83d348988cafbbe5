package broker

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

var (
	errDiscarded = errors.New("entry was discarded")
	errClosed    = &realm.Error{Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable, Detail: "shutting down", RetryAfter: time.Second}
	errPanic     = &realm.Error{Code: realm.CodeInternal, Status: http.StatusInternalServerError, Detail: "internal error; the log says more"}
)

func unavailable(status int, detail string, err error) *realm.Error {
	return &realm.Error{Code: realm.CodeTokenUnavailable, Status: status, Detail: detail, Err: err}
}

func notActive(why string) *realm.Error {
	return &realm.Error{Code: realm.CodeNotActive, Status: http.StatusConflict, Detail: why}
}

// withoutValue is the error of a call for which a value has to be pushed first. It
// ends with the push.
func withoutValue(unpushed *grant.Error) *realm.Error {
	return unavailable(http.StatusServiceUnavailable, unpushed.Detail, unpushed)
}

// unfitDetail begins the error of a secret that does not fit its realm.
const unfitDetail = "the secret does not fit the realm: "

// unfitSecret is the error of a secret that cannot be bound. If a value cannot
// stand where the realm puts it, the error names the field.
func unfitSecret(p *grant.Program, s realm.Secret, err error) *realm.Error {
	if refused := new(realm.Error); errors.As(err, &refused) {
		return refused // the realm has a host that the secret was not entered for
	}
	if wrong := p.CheckSecret(s); wrong != nil {
		return &realm.Error{Code: realm.CodeInvalidField, Status: http.StatusConflict, Detail: unfitDetail + wrong.Error(), Err: wrong}
	}
	if !p.Fetches() {
		return noFixedToken(err)
	}
	return unavailable(http.StatusBadGateway, unfitDetail+err.Error(), err)
}

// noFixedToken is the error of a secret that does not hold the token of its realm.
func noFixedToken(err error) *realm.Error {
	return &realm.Error{
		Code: realm.CodeFixedToken, Status: http.StatusBadGateway,
		Detail: "the realm has a fixed token, and the secret does not hold it: " + err.Error(), Err: err,
	}
}
