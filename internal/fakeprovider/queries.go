package fakeprovider

import (
	"slices"
	"time"
)

// FetchesBetween counts the token requests that arrived from one instant of
// the provider's clock on and before another.
func (p *Provider) FetchesBetween(from, to time.Time, refs ...string) int {
	return len(p.where(refs, func(e Event) bool {
		return e.Kind == Asked && !e.At.Before(from) && e.At.Before(to)
	}))
}

// PeakRate is the greatest number of token requests that arrived within any
// time of this length.
func (p *Provider) PeakRate(window time.Duration, refs ...string) int {
	asked := p.of(Asked, refs)
	slices.SortStableFunc(asked, func(a, b Event) int { return a.At.Compare(b.At) }) // the clock may have been set back
	peak, first := 0, 0
	for last := range asked {
		for asked[last].At.Sub(asked[first].At) >= window {
			first++
		}
		peak = max(peak, last-first+1)
	}
	return peak
}

// Returned reports whether a token, access or refresh, left the provider: in an
// answer whose reader can get it out, or by Authorize. One that was issued and
// not returned is lost for sure; one that was returned may have been lost on
// its way.
func (p *Provider) Returned(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.returned[token]
}

// Spends returns the exchanges of refresh tokens, each token's first.
func (p *Provider) Spends(refs ...string) []Event { return p.of(Spent, refs) }

// StaleCalls returns the dead calls whose token had been dead for longer than
// d. Those with a token that only a fault refused are not among them.
func (p *Provider) StaleCalls(d time.Duration, refs ...string) []Event {
	return p.where(refs, func(e Event) bool {
		return e.Kind == CalledDead && !e.From.IsZero() && e.At.Sub(e.From) > d
	})
}
