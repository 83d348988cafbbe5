package fakeprovider

import "time"

// Semantics is what fetching again does to the token before.
type Semantics string

// The semantics (the words of a realm's `semantics`).
const (
	Same     Semantics = "same"     // the same token while it is valid
	Rotate   Semantics = "rotate"   // a new one, which ends the old one
	Parallel Semantics = "parallel" // a new one beside the old one
)

// Rule is how the access tokens of a provider live.
type Rule struct {
	Semantics Semantics
	// Life of a new token.
	Life time.Duration
	// Overlap is how long an overtaken token lives on (rotate; and same, when
	// a new one is forced). It never makes a life longer.
	Overlap time.Duration
	// RenewBelow is the remaining life below which `same` gives a new token;
	// the old one lives to its end. Zero: only when the old one has ended.
	RenewBelow time.Duration
	// Extends: asking again sets the life of the same token to the whole.
	Extends bool
	// ForceGap is the time after a new token in which forcing another one is
	// ignored and gives the same one.
	ForceGap time.Duration
	// Newest is how many tokens of an app live at most; older ones end at
	// once. Zero: as many as there are.
	Newest int
}

// again returns the current token of a series where the rule gives it again.
func (r Rule) again(cur *record, force bool, now time.Time) bool {
	if r.Semantics != Same || cur == nil || cur.state(now) != live {
		return false
	}
	if force {
		return now.Sub(cur.issuedAt) < r.ForceGap
	}
	return cur.endsAt.Sub(now) >= r.RenewBelow
}

// overtakes reports whether a new token ends the current one.
func (r Rule) overtakes(force bool) bool {
	return r.Semantics == Rotate || (r.Semantics == Same && force)
}
