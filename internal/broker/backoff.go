package broker

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	firstWait = time.Second
	// defaultCap is the longest wait between two calls that fail, where the
	// realm says no other and the provider asks for no more.
	defaultCap = time.Minute
)

// draw returns a random duration below n. It is a variable of the pool, so
// that a test can repeat what happened.
type draw func(n time.Duration) time.Duration

func randomly(n time.Duration) time.Duration { return rand.N(n) } //nolint:gosec // spreads load, guards nothing

// backoff is how long the provider is left alone after so many failures in a
// row: a second that doubles up to limit, drawn between half and the whole of
// it, so that nodes do not keep step.
func (d draw) backoff(fails int, limit time.Duration) time.Duration {
	wait := min(firstWait<<min(max(fails, 1)-1, 16), limit)
	return wait/2 + d(wait/2+1)
}

// after is the trouble after one more failure, at an instant of the store.
func (d draw) after(t tokenstore.Failure, cause *grant.Error, now time.Time, limit time.Duration) tokenstore.Failure {
	n := tokenstore.Failure{Count: t.Count + 1, At: now, Cause: encodeCause(cause)}
	wait := limit
	if cause.Class != grant.Hopeless {
		wait = d.backoff(n.Count, limit)
	}
	n.Until = now.Add(max(wait, cause.RetryAfter))
	return n
}

// waits says whether the provider is to be left alone at an instant. A clock
// that went back would make it wait for ever.
func waits(t tokenstore.Failure, now time.Time) bool {
	return !now.Before(t.At) && now.Before(t.Until)
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

// causeOf reads what encodeCause wrote; nil where nothing failed.
func causeOf(t tokenstore.Failure) *grant.Error {
	var c causeForm
	if t.Cause == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(t.Cause), &c); err != nil {
		c.Detail = "the store's note on it cannot be read"
	}
	return &grant.Error{
		Class: c.Class, Kind: c.Kind, Status: c.Status,
		ProviderCode: c.Code, ProviderMessage: c.Message, Detail: c.Detail,
	}
}
