// Package quota counts the calls to a provider in sliding windows, so that a
// realm never exceeds what its provider allows: at most so many calls in any
// period of a given length, over all keys and nodes.
//
// The counts are part of the realm's row in the store (tokenstore.Budget),
// which is read and written in the same transaction as the claim on a call. The
// functions here are pure: they look at no clock and do no I/O. All instants
// are the store's.
package quota

import (
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// marksPerWindow is about how many marks one window keeps. Calls that are
// closer together than this share of the window are kept as one mark, which
// counts until its last call has left the window. So a quota is never
// exceeded, and at most one share of it is left unused.
const marksPerWindow = 64

// inFlightWait is how long to wait when the calls that are under way alone use
// up a window: nobody knows when they will end.
const inFlightWait = 50 * time.Millisecond

// InFlight describes the calls of the realm that have begun and not ended.
type InFlight struct {
	Calls int
	// Longest is the longest time that one of them may take. A window that is
	// shorter counts them all: when exactly the provider will count such a call
	// is not known, and it may be in a later window than the one that it
	// began in.
	Longest time.Duration
}

// Record notes a call that begins now in all windows, and forgets the calls
// that have left them. Windows that the realm does not have, but had within
// their own length, count on: another node may have another configuration, and
// a configuration may be changed back.
func Record(b *tokenstore.Budget, windows []realm.Window, now time.Time) {
	var kept []tokenstore.Spending
	for _, w := range windows {
		per := w.Per.Std()
		if slices.ContainsFunc(kept, hasLength(per)) {
			continue
		}
		kept = append(kept, tokenstore.Spending{Per: per, Calls: withCall(callsIn(b, per), per, now), Named: now})
	}
	for _, s := range b.Windows {
		if !slices.ContainsFunc(kept, hasLength(s.Per)) && s.Named.Add(s.Per).After(now) {
			s.Calls = withCall(s.Calls, s.Per, now)
			kept = append(kept, s)
		}
	}
	b.Windows = kept
}

// Ended notes that the call that was recorded at started ended at ended. The
// provider counted it at some instant between the two, so that it leaves the
// windows only one window's length after its end.
func Ended(b *tokenstore.Budget, started, ended time.Time) {
	for _, s := range b.Windows {
		for i := len(s.Calls) - 1; i >= 0; i-- {
			if c := s.Calls[i]; !started.Before(c.First) {
				s.Calls[i].Last = latest(c.Last, ended)
				break
			}
		}
	}
}

// WaitFor returns how long it takes until the windows allow one more call; 0
// if they allow it now.
func WaitFor(b *tokenstore.Budget, windows []realm.Window, now time.Time, open InFlight) time.Duration {
	var wait time.Duration
	for _, w := range windows {
		per := w.Per.Std()
		calls := counting(callsIn(b, per), per, now)
		over := -w.Calls
		for _, c := range calls {
			over += c.N
		}
		if per < open.Longest {
			over += open.Calls
		}
		// The oldest calls leave the window first, until one more fits in.
		for _, c := range calls {
			if over < 0 {
				break
			}
			over -= c.N
			wait = max(wait, c.Last.Add(per).Sub(now))
		}
		if over >= 0 { // the calls in flight alone are too many
			wait = max(wait, inFlightWait)
		}
	}
	return wait
}

// Remaining returns how many calls the tightest window still allows; -1 if
// there are no windows.
func Remaining(b *tokenstore.Budget, windows []realm.Window, now time.Time) int {
	least := -1
	for _, w := range windows {
		if n := remainingIn(b, w, now); least < 0 || n < least {
			least = n
		}
	}
	return least
}

// IsLow reports whether one of the windows allows no more than a tenth of its
// calls.
func IsLow(b *tokenstore.Budget, windows []realm.Window, now time.Time) bool {
	return slices.ContainsFunc(windows, func(w realm.Window) bool { return remainingIn(b, w, now)*10 <= w.Calls })
}

// remainingIn is how many calls a window still allows.
func remainingIn(b *tokenstore.Budget, w realm.Window, now time.Time) int {
	n := w.Calls
	for _, c := range counting(callsIn(b, w.Per.Std()), w.Per.Std(), now) {
		n -= c.N
	}
	return max(n, 0)
}

// ClampToNow dates calls back to now that the store's clock, which went back
// since, had dated later. Otherwise they would use up the quota until the clock
// is there again. They count for no less time than they were meant to.
func ClampToNow(b *tokenstore.Budget, now time.Time) {
	for k, w := range b.Windows {
		b.Windows[k].Named = earliest(w.Named, now)
		for i, c := range w.Calls {
			w.Calls[i].First, w.Calls[i].Last = earliest(c.First, now), earliest(c.Last, now)
		}
	}
}

func hasLength(per time.Duration) func(tokenstore.Spending) bool {
	return func(s tokenstore.Spending) bool { return s.Per == per }
}

// withCall returns the calls that still count, and one more of now.
func withCall(calls []tokenstore.Calls, per time.Duration, now time.Time) []tokenstore.Calls {
	calls = counting(calls, per, now)
	if last := len(calls) - 1; last >= 0 && now.Sub(calls[last].First) < per/marksPerWindow {
		calls[last].Last, calls[last].N = latest(now, calls[last].Last), calls[last].N+1
		return calls
	}
	return append(calls, tokenstore.Calls{First: now, Last: now, N: 1})
}

// callsIn returns the calls of the window of this length; nil if there is none.
func callsIn(b *tokenstore.Budget, per time.Duration) []tokenstore.Calls {
	for _, s := range b.Windows {
		if s.Per == per {
			return s.Calls
		}
	}
	return nil
}

// counting copies the calls that still count.
func counting(calls []tokenstore.Calls, per time.Duration, now time.Time) []tokenstore.Calls {
	kept := make([]tokenstore.Calls, 0, len(calls)+1)
	for _, c := range calls {
		if c.Last.Add(per).After(now) {
			kept = append(kept, c)
		}
	}
	return kept
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
