package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// defaultBefore is the share of a token's life before its end at which it
	// is renewed, maxBefore the longest such time.
	defaultBefore = 0.1
	maxBefore     = 10 * time.Minute
)

// renewAt is when a token is to be renewed: ahead of its end by a share of
// its life, by at least three times what the last fetch took, and by no more
// than half of the life.
func (v *View) renewAt(t realm.Token, took time.Duration) realm.Instant {
	if t.ExpiresAt.IsZero() {
		return 0
	}
	life := t.ExpiresAt.Sub(t.IssuedAt)
	return realm.InstantOf(t.ExpiresAt.Add(-margin(life, took, v.before, v.beforeFixed)))
}

func margin(life, took time.Duration, share float64, fixed time.Duration) time.Duration {
	m := fixed
	if m == 0 {
		m = min(time.Duration(float64(life)*share), maxBefore)
	}
	return min(max(m, 3*took), life/2)
}
