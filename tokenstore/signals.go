package tokenstore

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Signals is implemented by caches that the nodes can talk through. Like the
// rest of a cache it is a hint: none of it fails, and all of it may be lost.
type Signals interface {
	Waker
	Leaser
	// Wake tells the other nodes that something happened to a (realm, key).
	Wake(ctx context.Context, ref realm.Ref)
	// PutAndWake is Put of a token, and Wake, in one.
	PutAndWake(ctx context.Context, ref realm.Ref, t realm.Token)
}

// signalLevels and signalFeedLevels have a cache with Signals.
type signalLevels struct {
	*levels
	Waker
	Leaser
}

type signalFeedLevels struct {
	*levels
	ChangeFeed
	Waker
	Leaser
}

var (
	_ Store      = (*signalLevels)(nil)
	_ Rereader   = (*signalFeedLevels)(nil)
	_ ChangeFeed = (*signalFeedLevels)(nil)
	_ Waker      = (*signalFeedLevels)(nil)
	_ Leaser     = (*signalFeedLevels)(nil)
)
