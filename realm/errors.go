package realm

import (
	"fmt"
	"time"
)

// FieldError says which field of an input is wrong, and why. Field is the
// path that the user typed: "config.arguments[1].place".
type FieldError struct {
	Field  string
	Reason string
}

// Error is "config.url: must be an absolute URL".
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Fieldf makes a FieldError.
func Fieldf(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Code names an error for programs; it stands in every problem document.
type Code string

// The codes. The documents list each of them with what to do
// about it.
const (
	CodeRealmNotFound    Code = "realm_not_found"
	CodeSecretNotFound   Code = "secret_not_found"
	CodeNotProxyable     Code = "not_proxyable"
	CodeHostNotAllowed   Code = "host_not_allowed"
	CodeTokenUnavailable Code = "token_unavailable"
	CodeReauthRequired   Code = "reauth_required"
	CodeBudgetSpent      Code = "budget_spent"
	CodeReadOnly         Code = "read_only"
	CodeForbidden        Code = "forbidden"
	CodeInvalidField     Code = "invalid_field"
	CodeConflict         Code = "conflict"
	CodeFixedToken       Code = "fixed_token"
	CodeNotActive        Code = "not_yet_active"
	CodeUnavailable      Code = "store_unavailable"
	CodeNotFound         Code = "not_found"
	CodeMethod           Code = "method_not_allowed"
	CodeTooLarge         Code = "too_large"
	CodeMediaType        Code = "unsupported_media_type"
	CodeDamaged          Code = "damaged"
	CodeInternal         Code = "internal"
	CodeNotAuthorizable  Code = "not_authorizable"
	CodeBadCallback      Code = "bad_callback"
	CodeCompanyNotFound  Code = "company_not_found"
	CodeAuditUnavailable Code = "audit_unavailable"
	CodeRateLimited      Code = "rate_limited"
	CodeUnreachable      Code = "upstream_unreachable"
)

// IsKnown reports whether this version knows the code: what another instance sends may
// be anything.
func (c Code) IsKnown() bool {
	switch c {
	case CodeRealmNotFound, CodeSecretNotFound, CodeNotProxyable, CodeHostNotAllowed, CodeTokenUnavailable,
		CodeReauthRequired, CodeBudgetSpent, CodeReadOnly, CodeForbidden, CodeInvalidField, CodeConflict, CodeFixedToken,
		CodeNotActive, CodeUnavailable, CodeNotFound, CodeMethod, CodeTooLarge, CodeMediaType, CodeDamaged, CodeInternal,
		CodeNotAuthorizable, CodeBadCallback, CodeCompanyNotFound, CodeAuditUnavailable, CodeRateLimited, CodeUnreachable:
		return true
	default:
		return false
	}
}

// Error is an error with a meaning for the caller: what a problem document
// says. Detail never holds anything confidential.
type Error struct {
	Code Code
	// Status is the HTTP status on the proxy's side; the admin API maps some
	// codes to others.
	Status int
	Detail string
	// RetryAfter is how long asking again is useless; zero for not known.
	RetryAfter time.Duration
	// Class says what kind of failure a provider's is: retryable, throttled or
	// hopeless; "" where no provider failed.
	Class string
	// ProviderCode and ProviderMessage are the provider's own words,
	// redacted, where it refused. The message is for those who may administrate
	// and in no document by itself (see problem.From); Detail does not hold it.
	ProviderCode    string
	ProviderMessage string
	// Err is the cause, for logs; it is never shown.
	Err error
}

// Error is the code and the detail.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Detail }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
