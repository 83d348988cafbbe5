package grant

import (
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Class says what to do about a failed call.
type Class int

// The classes. A hopeless failure stays one until somebody changes the secret
// or the realm: a wrong client secret, an unknown app id.
const (
	Retryable Class = iota
	Throttled
	Hopeless
)

func (c Class) String() string {
	return [...]string{"retryable", "throttled", "hopeless"}[c]
}

// Kind says what happened.
type Kind string

// The kinds of failure.
const (
	KindTimeout    Kind = "timeout"    // no complete answer in time
	KindConnection Kind = "connection" // no connection, or it broke
	KindForbidden  Kind = "forbidden"  // the address must not be dialled
	KindRefused    Kind = "refused"    // the provider said no
	// KindInvalidGrant: the provider refused the refresh token itself, and
	// certainly (RFC 6749 section 5.2, and what others say instead). Of a
	// refresh only.
	KindInvalidGrant Kind = "invalid_grant"
	KindBadResponse  Kind = "bad_response" // the answer could not be read
	KindTooLarge     Kind = "too_large"    // more than 1 MiB
	KindRedirect     Kind = "redirect"     // a redirect, which is never followed
	KindRequest      Kind = "bad_request"  // the request could not be made
	KindInactive     Kind = "not_yet_active"
	KindDenied       Kind = "denied" // the callback says that access was denied
	// KindDeadParent: the provider refused the token of another credential that
	// was sent, and not what the secret itself holds.
	KindDeadParent Kind = "dead_parent"
)

// Error is a failed call. It holds nothing confidential: the provider's words
// are redacted, the body and the URL are not in it.
type Error struct {
	Class Class
	Kind  Kind
	// Status is the HTTP status, 0 where there was no answer.
	Status int
	// ProviderCode and ProviderMessage are the provider's own words (errcode
	// and errmsg, error and error_description, code and msg), redacted and
	// at most 200 characters each.
	ProviderCode    string
	ProviderMessage string
	// RetryAfter is what the provider asked for.
	RetryAfter time.Duration
	// NotSent: certainly no byte of the request left. The same refresh token
	// may be sent again at once.
	NotSent bool
	// doubtful: a refusal of which the provider's answer does not say that
	// nothing was done.
	doubtful bool
	// deadParents are those of DeadParents.
	deadParents []realm.Ref
	// Detail says more, for people.
	Detail string
}

// Uncertain reports whether the provider may have done what was asked, although
// nothing usable came back: a refresh token that was sent may be spent. It is
// certain that it has not where nothing was sent, and where the provider
// refused: a status 4xx, or a document that says why and holds no token.
// Everything else is uncertain: no complete answer, an unreadable one, a
// redirect, a status 5xx.
func (e *Error) Uncertain() bool {
	switch e.Kind {
	case KindForbidden, KindRequest, KindInactive, KindInvalidGrant, KindDenied:
		return false
	case KindDeadParent: // refused before the rest was looked at
		return isUnsure(e.Status)
	case KindRefused:
		// 408 comes from gateways that gave up a server behind them, too.
		return !e.NotSent && (e.doubtful || isUnsure(e.Status))
	default:
		return !e.NotSent
	}
}

// NotAsked reports whether this side turned the call down before the provider
// was asked for anything: the address must not be dialled, the secret does not
// fit the recipe, the realm has no such recipe. To find that out again costs no
// call, so it is not to be remembered: an allow_private that is added counts
// from the next request on.
func (e *Error) NotAsked() bool {
	return e.NotSent && (e.Kind == KindForbidden || e.Kind == KindRequest || e.Kind == KindInactive)
}

// Refusal reports whether the provider turned down what it was asked for, be it
// in words that are not known, and not because of a fault of its own. To ask
// for the same again may count against an account.
func (e *Error) Refusal() bool {
	switch {
	case e.Class == Hopeless:
		return true
	case e.Class == Throttled, e.Kind != KindRefused && e.Kind != KindDenied:
		return false
	}
	return !ownFault(e.Status, wordOf(e.ProviderCode))
}

// Error is one line without anything confidential. It holds the provider's
// words and is for those who administrate: logs, the status, the dry run.
func (e *Error) Error() string { return e.line(e.ProviderMessage) }

// Summary is Error without the provider's words, for the apps that use a token.
// A provider writes its words for whoever holds the credential, and no mask
// makes certain that they tell nothing about it. Of an address that is not listed it
// says which one the provider saw: that is no secret, and the one thing to know.
func (e *Error) Summary() string { return e.line("") }

func (e *Error) line(words string) string {
	s := string(e.Kind)
	if e.Status != 0 {
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.ProviderCode != "" {
		s += " " + e.ProviderCode
	}
	if words != "" {
		s += " " + words
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if u, ok := e.UnlistedAddress(); ok {
		s += ". The provider takes calls from listed addresses only. " + u.Advice()
	}
	return s
}
