package test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// soonest is the least time between two fetches of tokens that are renewed by
// shortRefresh, on a machine that never stands still. A node's clock runs from
// before the request, and the provider's begins where that arrives: a slow machine
// has the rest of the half. Nodes that do not know of each other fetch at once.
const soonest = 1500 * time.Millisecond

// atOnce is what nodes take at most that do not know of each other.
const atOnce = 300 * time.Millisecond

// pauses watches how long the machine stands still: a virtual one may, for seconds,
// and a request that was under way arrives that much later.
type pauses struct{ longest atomic.Int64 }

func watchPauses(t *testing.T) *pauses {
	t.Helper()
	const every = 20 * time.Millisecond
	p := new(pauses)
	go func() {
		for t.Context().Err() == nil {
			before := time.Now()
			time.Sleep(every)
			p.longest.Store(max(p.longest.Load(), int64(time.Since(before)-every)))
		}
	}()
	return p
}

// wantApart checks by the ledger that a token was fetched no sooner than it was
// time, and returns how many were fetched.
func (p *pauses) wantApart(t *testing.T, app string, events []fakeprovider.Event) (fetched int) {
	t.Helper()
	paused := time.Duration(p.longest.Load())
	var last time.Time
	for _, e := range events {
		if e.Kind != fakeprovider.Asked {
			continue
		}
		if apart := e.At.Sub(last); !last.IsZero() && apart < max(soonest-paused, atOnce) {
			t.Errorf("%s: fetched again after %v; the machine stood still for up to %v", app, apart, paused)
		}
		last = e.At
		fetched++
	}
	return fetched
}
