package tokenstore

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Upstream is implemented by a store that is no store, but another instance which
// gives its tokens to this one: to an edge. There are no claims then, and no calls
// to providers: the other instance makes them.
type Upstream interface {
	// Obtain asks for a token. ErrUnavailable, if the other instance does not answer
	// or is none; else the *realm.Error with which it refuses.
	Obtain(ctx context.Context, ref realm.Ref, want Wanted) (Given, error)
	// Listen tells what the other instance tells of changes, until ctx ends. Its
	// goroutine is the only one that tells.
	Listen(ctx context.Context, to UpstreamListener)
}

// Wanted says which token is asked for. The zero value is the current one.
type Wanted struct {
	// Rejected is a token that the provider's API refused: another one is wanted.
	// "" for none.
	Rejected realm.Hidden
	// Flush: one that is fetched now.
	Flush bool
}

// Given is a token that another instance gave.
type Given struct {
	Access realm.Hidden
	// Left is how long it lives from the moment on at which it was asked for. That
	// is no time of a clock: the clocks of two machines may differ. It lives for
	// ever if HasEnd is false.
	Left   time.Duration
	HasEnd bool
	// Lineage is that of the other instance; 0 for none.
	Lineage int64
	// Source is where the other instance found it.
	Source realm.Source
	// InjectOnly: nobody is shown the token.
	InjectOnly bool
	// Placed is what is made of the secret, where the token alone is not enough;
	// else nil.
	Placed *realm.Placed
}

// UpstreamListener is told what an Upstream hears. Its methods do not block.
type UpstreamListener interface {
	// Hears: from now on changes are told. What happened before is not known.
	Hears()
	// IsDeaf: no change is told any more.
	IsDeaf()
	// Changed: something became of a token; without a key, of a realm. state is
	// dead, deleted, changed, or that of the token.
	Changed(ref realm.Ref, lineage int64, state string)
}
