package inject

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Source answers "the token of (realm, key)". Errors are *realm.Error.
type Source interface {
	// Token returns the live token, from memory where it can. The lease is
	// shared and immutable.
	Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
}
