package broker

import (
	"hash/fnv"
	"math"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// defaultBefore is the share of a token's life before its end at which it
	// is renewed, maxBefore the longest such time.
	defaultBefore = 0.1
	maxBefore     = 10 * time.Minute
	// defaultJitter is the share of the life over which renewals are spread,
	// ahead of that time; it is capped at maxBefore too.
	defaultJitter = 0.1
)

// renewAt is when a token is to be renewed, 0 for never.
func (v *View) renewAt(c *catalog.Realm, ref realm.Ref, t realm.Token, took time.Duration) realm.Instant {
	if t.ExpiresAt.IsZero() {
		return 0
	}
	return realm.InstantOf(t.ExpiresAt.Add(-v.lead(&c.Config, ref, t.ExpiresAt.Sub(t.IssuedAt), took)))
}

// lead is how long ahead of its end a token is renewed: a share of its life,
// and at least three times what the last fetch took, so that it is there
// before anybody waits; but no more than half of the life.
//
// A provider that gives the same token again until it is about to end has
// nothing new before that (overlap says when): it is not asked.
func (v *View) lead(c *realm.Config, ref realm.Ref, life, took time.Duration) time.Duration {
	before := v.before
	if !c.RenewBefore.IsZero() {
		before = c.RenewBefore
	}
	m := margin(life, took, before)
	u := spread(ref)
	early := time.Duration(u * float64(min(time.Duration(float64(life)*v.jitter), maxBefore)))
	lead := min(m+early, life/2)
	if c.Semantics == realm.SemanticsSame {
		overlap := c.Overlap.Std()
		lead = min(lead, overlap/2+time.Duration(u*float64(overlap/2)))
	}
	return lead
}

func margin(life, took time.Duration, before realm.Lead) time.Duration {
	m := before.Fixed.Std()
	if m == 0 {
		m = min(time.Duration(float64(life)*before.Share), maxBefore)
	}
	return min(max(m, 3*took), life/2)
}

// spread is a number from 0 up to 1 that is always the same for a (realm,
// key), and different for others.
func spread(ref realm.Ref) float64 {
	h := fnv.New64a()
	_, _ = h.Write(ref.AppendTo(nil)) // never fails, see hash.Hash
	x := h.Sum64()
	x ^= x >> 32 // FNV's high bits hardly differ for keys that differ at their end
	x *= 0x9e3779b97f4a7c15
	return float64(x>>11) / math.Exp2(53)
}
