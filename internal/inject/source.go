package inject

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Source answers "the token of (realm, key)". Errors are *realm.Error.
type Source interface {
	// Heal returns a live token other than the one that the API refused. It
	// fetches one only where the refused token is still the current one, and
	// where blame and earlier attempts allow that. bought reports that the token
	// was fetched for this very call, and not for somebody who came first.
	// Where there is no other token, that is an error. The lease is shared and
	// must not be changed.
	Heal(ctx context.Context, ref realm.Ref, refused realm.Hidden, blame realm.Blame) (lease *realm.Lease, bought bool, err error)
	// Helped tells that a token which was bought for a request cured its
	// refusal: the token before it was really dead.
	Helped(ref realm.Ref, lease *realm.Lease)
	// Worked tells that the API accepted the token of the lease. It is called at
	// most once for each answer, and only where the realm can tell a dead token.
	// It is on the way of every answer, so it has to be cheap.
	Worked(ref realm.Ref, lease *realm.Lease)
}
