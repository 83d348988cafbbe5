package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func realmNotFound() *realm.Error {
	return &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusNotFound, Detail: "there is no such realm"}
}

func secretNotFound() *realm.Error {
	return &realm.Error{Code: realm.CodeSecretNotFound, Status: http.StatusNotFound, Detail: "the realm has no such secret"}
}

func readOnly(what string) *realm.Error {
	return &realm.Error{Code: realm.CodeReadOnly, Status: http.StatusConflict, Detail: what + " is defined in the Caddyfile"}
}

// twinOf refuses a new id or key: what matches paths in front of the gateway may
// not tell it from the other one.
func twinOf(other string) *realm.Error {
	return &realm.Error{
		Code: realm.CodeConflict, Status: http.StatusConflict,
		Detail: fmt.Sprintf("%q is there already, and differs in upper and lower case only", other),
	}
}

// IsNotFound reports whether there is no such realm or secret.
func IsNotFound(err error) bool {
	var e *realm.Error
	return errors.As(err, &e) && (e.Code == realm.CodeRealmNotFound || e.Code == realm.CodeSecretNotFound)
}

// IsPassing reports whether an error is about a state of the store, or of the instance
// that an edge asks, that passes: it says nothing of what was asked for.
func IsPassing(err error) bool {
	var e *realm.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case realm.CodeUnavailable, realm.CodeAuditUnavailable, realm.CodeInternal, realm.CodeRateLimited:
		return true
	default:
		return false
	}
}

// StoreError is the error of a store as a caller sees it: a *realm.Error with
// CodeUnavailable, or CodeAuditUnavailable where the entry of the audit could
// not be written, or with CodeDamaged where the store works and what it keeps
// about this one thing is damaged. Cancellations stay what they are.
func StoreError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if refused := new(realm.Error); errors.As(err, &refused) { // by the instance that an edge asks
		return refused
	}
	if errors.Is(err, tokenstore.ErrAudit) {
		return &realm.Error{
			Code: realm.CodeAuditUnavailable, Status: http.StatusServiceUnavailable,
			Detail: "the audit cannot be written now, and nothing is done without it", RetryAfter: time.Second, Err: err,
		}
	}
	if isDamaged(err) {
		return &realm.Error{
			Code: realm.CodeDamaged, Status: http.StatusServiceUnavailable,
			Detail: "what is stored is damaged: it was altered, or an old version of it was put back; delete it and create it again, or restore the database",
			Err:    err,
		}
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

// isDamaged reports whether a row is damaged. A database that is broken as a
// whole is unavailable.
func isDamaged(err error) bool {
	return errors.Is(err, tokenstore.ErrDamaged) && !errors.Is(err, tokenstore.ErrUnavailable)
}

// changeError turns the error of a store's method for realms, secrets or
// companies into the caller's. What the caller's change function returned
// passes as it is.
func changeError(err error) error {
	var field *realm.FieldError
	var own *realm.Error
	var twin *tokenstore.TwinError
	switch {
	case err == nil, errors.As(err, &field), errors.As(err, &own):
		return err
	case errors.Is(err, tokenstore.ErrRealmNotFound):
		return realmNotFound()
	case errors.Is(err, tokenstore.ErrSecretNotFound):
		return secretNotFound()
	case errors.Is(err, tokenstore.ErrCompanyNotFound):
		return &realm.Error{Code: realm.CodeCompanyNotFound, Status: http.StatusNotFound, Detail: "there is no company with this taxpayer id"}
	case errors.As(err, &twin):
		return twinOf(twin.Other)
	case errors.Is(err, tokenstore.ErrRealmHasSecrets):
		return &realm.Error{
			Code: realm.CodeConflict, Status: http.StatusConflict,
			Detail: "the realm still has secrets: delete them first, or add ?cascade=true",
		}
	}
	return StoreError(err)
}
