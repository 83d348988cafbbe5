package claim

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// firstBackoff is how long the provider is left alone after the first failure.
const firstBackoff = time.Second

// Random returns a random duration below n. It is a field of Request, so that a
// test can repeat what happened.
type Random func(n time.Duration) time.Duration

// Uniform is the Random of production.
func Uniform(n time.Duration) time.Duration { return rand.N(n) } //nolint:gosec // spreads load, guards nothing

// backoff is how long the provider is left alone after so many failures in a
// row: a second that doubles up to limit, drawn between half and the whole of
// it, so that nodes do not keep step.
func (random Random) backoff(failures int, limit time.Duration) time.Duration {
	wait := min(firstBackoff<<min(max(failures, 1)-1, 16), limit)
	return wait/2 + random(wait/2+1)
}

// failureAfter is what is remembered after one more failure, at an instant of
// the store, of a call with recipe.
func (r *Request) failureAfter(f tokenstore.Failure, cause *grant.Error, at time.Time, recipe grant.RecipeKind) tokenstore.Failure {
	next := tokenstore.Failure{Count: f.Count + 1, At: at, Cause: encodeCause(cause), Recipe: recipes[recipe], Digest: r.Digests.Digest(recipe)}
	wait := r.BackoffCap
	if cause.Class != grant.Hopeless {
		wait = r.Random.backoff(next.Count, r.BackoffCap)
	}
	next.Until = at.Add(max(wait, cause.RetryAfter))
	return next
}

// IsPaused reports whether the provider is left alone at an instant of the
// store because of a failure. A failure of the future does not count: the clock
// went back, and the pause would last until it is there again.
func IsPaused(f tokenstore.Failure, now time.Time) bool {
	return !now.Before(f.At) && now.Before(f.Until)
}

var (
	// errRefusedAtOnce is the failure of a call that gave a token which the API
	// refused at once.
	errRefusedAtOnce = &grant.Error{
		Class: grant.Retryable, Kind: grant.KindRefused,
		Detail: "the API refused the new token before any call succeeded with it",
	}
	// ErrSameToken is the failure of a call that gave the very token that the
	// API had refused.
	ErrSameToken = &grant.Error{
		Class: grant.Retryable, Kind: grant.KindRefused,
		Detail: "the provider gave the token again that its API refuses",
	}
)

// IsEarlyRefusal reports whether a failure is that the API refused new tokens
// before it accepted any of them.
func IsEarlyRefusal(cause *grant.Error) bool {
	return cause != nil && cause.Kind == errRefusedAtOnce.Kind && cause.Detail == errRefusedAtOnce.Detail
}

// IsOfDeadParent reports whether a call failed because the provider refused the
// token of another credential. It does not tell anything about the secret, nor
// about the provider.
func IsOfDeadParent(cause *grant.Error) bool {
	return cause != nil && cause.Kind == grant.KindDeadParent
}

// causeForm is a failure as the nodes tell it each other. A grant.Error holds
// nothing confidential.
type causeForm struct {
	Class   grant.Class `json:"class"`
	Kind    grant.Kind  `json:"kind"`
	Status  int         `json:"status,omitempty"`
	Code    string      `json:"code,omitempty"`
	Message string      `json:"message,omitempty"`
	Detail  string      `json:"detail,omitempty"`
}

func encodeCause(e *grant.Error) string {
	text, err := json.Marshal(causeForm{e.Class, e.Kind, e.Status, e.ProviderCode, e.ProviderMessage, e.Detail})
	if err != nil { // numbers and strings only
		return ""
	}
	return string(text)
}

// CauseOf returns the cause of a failure; nil if nothing failed.
func CauseOf(f tokenstore.Failure) *grant.Error {
	var c causeForm
	if f.Cause == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(f.Cause), &c); err != nil {
		c.Detail = "the cause that the store holds cannot be read"
	}
	return &grant.Error{
		Class: c.Class, Kind: c.Kind, Status: c.Status,
		ProviderCode: c.Code, ProviderMessage: c.Message, Detail: c.Detail,
	}
}
