package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Outlook counts the tokens in memory by the word for their state, and the
// renewals that are due in each of so many steps, the first of which begins at from. may reports whether
// a token counts; nil: all do.
func (v *View) Outlook(from time.Time, steps int, step time.Duration, may func(realm.Ref) bool) (byState map[string]int, renewals []int) {
	now := realm.InstantOf(v.pool.now())
	var counts [states]int
	renewals = make([]int, steps)
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		if may != nil && !may(ref) {
			return true
		}
		counts[v.currentState(ref, e, now)]++
		if l := e.live.Load(); l != nil && l.renewAt != 0 {
			// What is overdue is renewed in the first step.
			if i := int(max(l.renewAt.Sub(realm.InstantOf(from)), 0) / step); i < steps {
				renewals[i]++
			}
		}
		return true
	})
	byState = make(map[string]int, states)
	for s := range states {
		byState[s.String()] = counts[s]
	}
	return byState, renewals
}
