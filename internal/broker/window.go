package broker

import (
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// windowMarks is about how many marks one window keeps. Calls that are closer
// together than a window's share of it are kept as one mark, which counts
// until the last of them has left the window: a quota is never exceeded, in
// any window, and at most one share of it is left unused.
const windowMarks = 64

// spend notes a call in all windows, and forgets what has left them. A window
// that this realm does not have counts on for as long as it is: another node may
// have another configuration.
func spend(b *tokenstore.Budget, windows []realm.Window, now time.Time) {
	var kept []tokenstore.Spending
	for _, w := range windows {
		per := w.Per.Std()
		if slices.ContainsFunc(kept, ofLength(per)) {
			continue
		}
		kept = append(kept, tokenstore.Spending{Per: per, Calls: noted(spendingOf(b, per), per, now), Named: now})
	}
	for _, s := range b.Windows {
		if !slices.ContainsFunc(kept, ofLength(s.Per)) && s.Named.Add(s.Per).After(now) {
			s.Calls = noted(s.Calls, s.Per, now)
			kept = append(kept, s)
		}
	}
	b.Windows = kept
}

func ofLength(per time.Duration) func(tokenstore.Spending) bool {
	return func(s tokenstore.Spending) bool { return s.Per == per }
}

// noted are the calls that still count, and one more.
func noted(calls []tokenstore.Calls, per time.Duration, now time.Time) []tokenstore.Calls {
	calls = current(calls, per, now)
	if last := len(calls) - 1; last >= 0 && now.Sub(calls[last].First) < per/windowMarks {
		calls[last].Last, calls[last].N = later(now, calls[last].Last), calls[last].N+1
		return calls
	}
	return append(calls, tokenstore.Calls{First: now, Last: now, N: 1})
}

// done notes when a call ended that was claimed at an instant: the provider
// counted it somewhere in between.
func done(b *tokenstore.Budget, started, ended time.Time) {
	for _, s := range b.Windows {
		for i := len(s.Calls) - 1; i >= 0; i-- {
			if c := s.Calls[i]; !started.Before(c.First) {
				s.Calls[i].Last = later(c.Last, ended)
				break
			}
		}
	}
}

// underWay are calls that were claimed and have not ended: those of a window
// that is shorter than they may take could reach the provider in another one.
type underWay struct {
	calls int
	most  time.Duration // that one may take
}

// spent is how long it takes until the windows allow one more call; 0 for now.
func spent(b *tokenstore.Budget, windows []realm.Window, now time.Time, open underWay) time.Duration {
	var wait time.Duration
	for _, w := range windows {
		per := w.Per.Std()
		calls := current(spendingOf(b, per), per, now)
		over := -w.Calls
		for _, c := range calls {
			over += c.N
		}
		if per < open.most {
			over += open.calls
		}
		// The oldest calls leave first, until one more fits.
		for _, c := range calls {
			if over < 0 {
				break
			}
			over -= c.N
			wait = max(wait, c.Last.Add(per).Sub(now))
		}
		if over >= 0 { // those under way alone are enough
			wait = max(wait, pollFirst)
		}
	}
	return wait
}

// left is how many calls the tightest window still allows; -1 without one.
func left(b *tokenstore.Budget, windows []realm.Window, now time.Time) int {
	least := -1
	for _, w := range windows {
		n := w.Calls
		for _, c := range current(spendingOf(b, w.Per.Std()), w.Per.Std(), now) {
			n -= c.N
		}
		if n = max(n, 0); least < 0 || n < least {
			least = n
		}
	}
	return least
}

func spendingOf(b *tokenstore.Budget, per time.Duration) []tokenstore.Calls {
	for _, s := range b.Windows {
		if s.Per == per {
			return s.Calls
		}
	}
	return nil
}

// current copies the calls that still count.
func current(calls []tokenstore.Calls, per time.Duration, now time.Time) []tokenstore.Calls {
	kept := make([]tokenstore.Calls, 0, len(calls)+1)
	for _, c := range calls {
		if c.Last.Add(per).After(now) {
			kept = append(kept, c)
		}
	}
	return kept
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
