package adminapi

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// pushedDocument is a value that was pushed, as it is shown: without the value.
type pushedDocument struct {
	UpdatedAt time.Time `json:"updated_at"`
	// ExpiresAt is nil for a value without an end.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// pushAnswer is the answer to a push.
type pushAnswer struct {
	Success string `json:"success"`
	pushedDocument
}

func showPushed(v tokenstore.PushedValue) pushedDocument {
	d := pushedDocument{UpdatedAt: v.UpdatedAt.UTC()}
	if !v.ExpiresAt.IsZero() {
		end := v.ExpiresAt.UTC()
		d.ExpiresAt = &end
	}
	return d
}

func (a *api) push(ctx context.Context, r *request) (any, error) {
	o, err := decodeObject(r.body)
	if err != nil {
		return nil, err
	}
	field, err := o.need("field")
	if err != nil {
		return nil, err
	}
	var value realm.Hidden
	if _, err := o.take("value", &value); err != nil {
		return nil, err
	}
	life, err := takeSeconds(o, "expires_in")
	if err != nil {
		return nil, err
	}
	if err := o.end(); err != nil {
		return nil, err
	}
	saved, err := a.catalog.Push(ctx, r.secretRef(), field, value, life)
	return pushAnswer{success, showPushed(saved)}, err
}

// takeSeconds takes a life in seconds; 0 for null and for none.
func takeSeconds(o object, name string) (time.Duration, error) {
	var n *int64
	if _, err := o.take(name, &n); err != nil || n == nil {
		return 0, err
	}
	most := int64(realm.MaxLifetime / time.Second)
	if *n < 1 || *n > most {
		return 0, realm.Fieldf(name, "must be 1 to %d seconds; leave it out for a value without an end", most)
	}
	return time.Duration(*n) * time.Second, nil
}
