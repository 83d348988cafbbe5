package inject

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Source answers "the token of (realm, key)". Errors are *realm.Error.
type Source interface {
	// Renew returns a live token other than the one that the API refused,
	// fetching one only where the failed one is still the current one. It is
	// an error when there is no other.
	Renew(ctx context.Context, ref realm.Ref, failed realm.Hidden) (*realm.Lease, error)
	// Worked tells that the API accepted the token of the lease: at most once
	// for each answer, and only where the realm can tell a dead token. It is
	// on the way of every answer, so it has to be cheap.
	Worked(ref realm.Ref, lease *realm.Lease)
}
