package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Stats sums up what this node knows, for metrics.
type Stats struct {
	Realms map[string]*RealmStats
	// WithoutClaims is as in Status.
	WithoutClaims int
	// DeafFor is how long this node has not heard what changes elsewhere (Pool.Deaf);
	// 0 while it hears.
	DeafFor time.Duration
}

// RealmStats sums up the tokens of one realm.
type RealmStats struct {
	// Tokens counts the (realm, key) in memory by the word for their state.
	Tokens map[string]int
	// ExpiresIn is how long the live token lives that ends first, Age how long
	// ago the oldest live one was asked for; -1 where there is none with an end.
	ExpiresIn time.Duration
	Age       time.Duration
	// BudgetLeft is as in TokenStatus; -1 without windows, or when this node
	// did not ask yet.
	BudgetLeft int
	// Waiting counts the renewals that wait for their turn.
	Waiting int
}

// Stats looks at every token in memory once, and allocates for realms only.
// What memory still has of a realm that is in the configuration no more is not
// counted.
func (v *View) Stats() Stats {
	now := realm.InstantOf(v.pool.now())
	sums := map[string]*summed{}
	for _, id := range v.catalog.Defined() {
		sums[id] = newSummed()
	}
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		l := e.live.Load()
		f, _ := e.state()
		if !v.catalog.IsDefined(ref.Realm) && l != nil && l.owner.Defined {
			return true
		}
		s, ok := sums[ref.Realm]
		if !ok {
			s = newSummed()
			sums[ref.Realm] = s
		}
		s.add(l, stateOf(l, v.standing(ref.Realm, f, now), now), now)
		return true
	})
	st := Stats{Realms: make(map[string]*RealmStats, len(sums)), WithoutClaims: v.pool.outage.count(now)}
	if since := v.pool.Deaf(); !since.IsZero() {
		st.DeafFor = v.pool.now().Sub(since)
	}
	for id, s := range sums {
		st.Realms[id] = s.total()
		if n, ok := v.pool.budgets.Load(id); ok {
			st.Realms[id].BudgetLeft = n.left
		}
	}
	v.pool.schedule.eachQueue(func(id string, n int) {
		if r, ok := st.Realms[id]; ok {
			r.Waiting = n
		}
	})
	return st
}

// summed is what one realm's tokens add up to.
type summed struct {
	tokens         [states]int
	first, longest realm.Instant // the least time left, the greatest age; -1 for none
}

func newSummed() *summed { return &summed{first: -1, longest: -1} }

func (s *summed) add(l *live, st state, now realm.Instant) {
	s.tokens[st]++
	if l == nil || l.lease.Expires == 0 || !l.isUsable(now) {
		return
	}
	if left := l.lease.Expires - now; s.first < 0 || left < s.first {
		s.first = left
	}
	s.longest = max(s.longest, now-l.issued(), 0)
}

func (s *summed) total() *RealmStats {
	r := &RealmStats{Tokens: make(map[string]int, states), BudgetLeft: -1, ExpiresIn: -1, Age: -1}
	for st, n := range s.tokens {
		r.Tokens[state(st).String()] = n
	}
	if s.first >= 0 {
		r.ExpiresIn, r.Age = micros(s.first), micros(s.longest)
	}
	return r
}

// micros is the time between two instants.
func micros(i realm.Instant) time.Duration { return time.Duration(i) * time.Microsecond }
