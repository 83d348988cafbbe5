package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	firstWait = time.Second
	// waitCap is the longest wait between two calls that fail, unless the
	// provider asks for more.
	waitCap = time.Minute
	// insist is how soon a flush may try a hopeless call again: somebody may
	// have put right at the provider what no change here would show.
	insist = time.Second
	// lifelessWait is how soon the provider may be asked again after a token
	// whose life was zero or less.
	lifelessWait = time.Second
	// storeWait is how soon work that nobody waits for is tried again after
	// the store failed.
	storeWait = time.Second
)

// trouble is the memory of work that failed: until when the provider is left
// alone, and what callers are told meanwhile. It is immutable; nil is none.
type trouble struct {
	cause *grant.Error
	fails int
	at    realm.Instant // of the last failure
	until realm.Instant
	// kept is a token that the provider gave and the store did not take.
	kept *realm.Token
}

// next is the trouble after one more failure.
func (t *trouble) next(cause *grant.Error, now realm.Instant) *trouble {
	n := &trouble{cause: cause, fails: 1, at: now}
	if t != nil {
		n.fails, n.kept = t.fails+1, t.kept
	}
	wait := waitCap
	if cause.Class != grant.Hopeless {
		wait = min(firstWait<<min(n.fails-1, 16), waitCap)
		// Between half and the whole of it, so that nodes do not keep step.
		wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads load, guards nothing
	}
	n.until = now + realm.Instant(max(wait, cause.RetryAfter).Microseconds())
	return n
}

// lifeless is what remains of a token that nobody else could use.
func lifeless(now realm.Instant) *trouble {
	return &trouble{at: now, until: now + realm.Instant(lifelessWait.Microseconds())}
}

// unsaved is what remains of a token that the store did not take.
func unsaved(token realm.Token, now realm.Instant) *trouble {
	return &trouble{at: now, until: now + realm.Instant(storeWait.Microseconds()), kept: &token}
}

// rested is the trouble after work that failed before the provider was asked.
func (t *trouble) rested(now realm.Instant) *trouble {
	var n trouble
	if t != nil {
		n = *t
	}
	n.at, n.until = now, now+realm.Instant(storeWait.Microseconds())
	return &n
}

// failed says whether the last call failed.
func (t *trouble) failed() bool { return t != nil && t.cause != nil }

// waits says whether the provider is to be left alone now. A clock that went
// back would make it wait for ever.
func (t *trouble) waits(now realm.Instant) bool { return t != nil && t.at <= now && now < t.until }

// left is how long still.
func (t *trouble) left(now realm.Instant) time.Duration {
	return time.Duration(max(t.until-now, 0)) * time.Microsecond
}

// holdOff returns the error of the last call while the provider is to be left
// alone after a failure. A flush that asks all the same asks for too much.
func (e *entry) holdOff(k kind, now realm.Instant) error {
	t := e.lastTrouble()
	if !t.failed() || !t.waits(now) {
		return nil
	}
	if k == flush && t.cause.Class == grant.Hopeless && now >= t.at+realm.Instant(insist.Microseconds()) {
		return nil
	}
	err := t.again(now)
	if k == flush {
		err.Code = realm.CodeBudgetSpent
	}
	return err
}

// pause waits until the provider may be asked again after a token without a
// life: that is so soon that nobody has to be told.
func (e *entry) pause(ctx context.Context, now realm.Instant) error {
	t := e.lastTrouble()
	if t.failed() || !t.waits(now) {
		return nil
	}
	timer := time.NewTimer(min(t.left(now), lifelessWait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
	}
}

func (e *entry) lastTrouble() *trouble {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble
}

// first is what the callers of the failed call are told.
func (t *trouble) first(now realm.Instant) *realm.Error {
	status := http.StatusBadGateway
	switch {
	case t.cause.Class == grant.Throttled:
		status = http.StatusServiceUnavailable
	case t.cause.Kind == grant.KindTimeout:
		status = http.StatusGatewayTimeout
	}
	return t.error(status, "the provider gave no token: "+t.cause.Error(), now)
}

// again is what everybody else is told until the next call.
func (t *trouble) again(now realm.Instant) *realm.Error {
	return t.error(http.StatusServiceUnavailable,
		fmt.Sprintf("waiting after %d failed token requests, the last: %s", t.fails, t.cause.Error()), now)
}

func (t *trouble) error(status int, detail string, now realm.Instant) *realm.Error {
	return &realm.Error{
		Code: realm.CodeTokenUnavailable, Status: status, Detail: detail, RetryAfter: t.left(now),
		ProviderCode: t.cause.ProviderCode, ProviderMessage: t.cause.ProviderMessage, Err: t.cause,
	}
}
