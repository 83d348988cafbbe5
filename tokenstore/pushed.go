package tokenstore

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Pushed are the values that were pushed to the fields of a secret, such as a
// ticket that the provider brings every ten minutes. They lie over the fields of
// the secret itself until they end.
type Pushed struct {
	// Fields are the values by the name of their field, those that have ended as
	// well.
	Fields map[string]PushedValue
	// Now is the time of the store when it was asked: the times of the values
	// are of its clock, too.
	Now time.Time
}

// PushedValue is one of them.
type PushedValue struct {
	Value realm.Hidden
	// UpdatedAt is when it was pushed, ExpiresAt when it ends; zero for never.
	UpdatedAt, ExpiresAt time.Time
}

// HasEnded reports whether the value counts as absent at a time of the store.
func (v PushedValue) HasEnded(now time.Time) bool {
	return !v.ExpiresAt.IsZero() && !now.Before(v.ExpiresAt)
}

// PushedStore keeps values that were pushed, sealed together with the names of
// their fields and their ends. Like SecretStore it does not check that their
// secret exists in it: the Caddyfile may define it. They are deleted with their
// secret, and with their realm.
type PushedStore interface {
	// Pushed returns the values of a secret; that there are none is no error.
	Pushed(ctx context.Context, ref realm.Ref) (Pushed, error)
	// Push sets the value of one field for so long; 0: without an end. It touches
	// neither the secret nor its token. Values of which the row is damaged are
	// given up: what is pushed counts.
	Push(ctx context.Context, ref realm.Ref, field string, value realm.Hidden, life time.Duration) (PushedValue, error)
}
