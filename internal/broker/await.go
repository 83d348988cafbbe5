package broker

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// How often the store is read while a call of somebody else is awaited: first
// soon, then less often. Being woken by the cache is a hint that may be lost.
const (
	pollMin   = 10 * time.Millisecond
	pollFirst = 50 * time.Millisecond
	pollMax   = 500 * time.Millisecond
)

// await waits until the claim of another call is closed or void. It waits no
// longer than wait, by the real clock: the store's clock may go back.
func (a *attempt) await(ctx context.Context, holder tokenstore.CallID, wait time.Duration) error {
	ctx = withoutBudget(ctx) // to read the store now and then is not to wait for it
	end := time.Now().Add(wait)
	for interval := pollFirst; ; interval = min(interval*3/2, pollMax) {
		timer := time.NewTimer(min(interval, max(time.Until(end), pollMin)))
		select {
		case <-a.flight.woken:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
		}
		timer.Stop()
		s, err := a.pool.callers.Peek(ctx, a.ref)
		if err != nil {
			return catalog.StoreError(err)
		}
		if s.Claim.ID != holder || !s.Claim.Deadline.After(s.Now) || time.Now().After(end) {
			return nil
		}
	}
}
