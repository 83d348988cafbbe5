package broker

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// lifelessWait is how soon the provider may be asked again after a token
	// whose life was zero or less.
	lifelessWait = time.Second
	// storeWait is how soon work that nobody waits for is tried again after
	// the store failed.
	storeWait = time.Second
	// lapsedWait is how soon it is looked again whether a person has
	// authorized anew.
	lapsedWait = time.Minute
)

// trouble is what this node remembers of work that failed: until when it is of
// no use to ask the store again, and what callers are told meanwhile. What all
// nodes have to know is in the store. It is immutable; nil is none.
type trouble struct {
	code  realm.Code // of what callers are told; "" where nothing failed
	cause *grant.Error
	fails int
	at    realm.Instant // of the failure
	until realm.Instant
	// kept is a call whose outcome the store did not take yet.
	kept *ended
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

// keptOnly is what must not be forgotten.
func (t *trouble) keptOnly() *trouble {
	if t == nil || t.kept == nil {
		return nil
	}
	return &trouble{at: t.at, until: t.until, kept: t.kept}
}

// failed says whether callers are to be told of it.
func (t *trouble) failed() bool { return t != nil && t.code != "" }

// waits says whether the provider is to be left alone now. A clock that went
// back would make it wait for ever.
func (t *trouble) waits(now realm.Instant) bool { return t != nil && t.at <= now && now < t.until }

// left is how long still.
func (t *trouble) left(now realm.Instant) time.Duration {
	return time.Duration(max(t.until-now, 0)) * time.Microsecond
}

// holdOff returns the error of the last call while the provider is to be left
// alone. A flush that asks all the same asks for too much.
func (e *entry) holdOff(k kind, now realm.Instant) error {
	t := e.lastTrouble()
	if !t.failed() || !t.waits(now) || k.forced() && t.code == realm.CodeReauthRequired {
		return nil
	}
	if k.forced() && t.cause != nil && t.cause.Class == grant.Hopeless && now >= t.at+realm.Instant(insist.Microseconds()) {
		return nil
	}
	return t.again(k, now)
}

func (e *entry) lastTrouble() *trouble {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doing == nil {
		return nil
	}
	return e.doing.trouble
}

// suffer remembers trouble, unless what the flight knew has been forgotten
// since. A call whose outcome is still to be saved stays.
func (e *entry) suffer(t *trouble, revision uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revision != revision {
		return
	}
	w := e.work()
	if t.kept == nil && w.trouble != nil && w.trouble.kept != nil {
		kept := *t
		kept.kept, t = w.trouble.kept, &kept
	}
	w.trouble = t
}

// postpone notes that the outcome of a call is still to be saved, whatever
// else was forgotten since. The token in memory is due then: the provider may
// have ended it. What gave nothing does not take the place of a refresh token:
// its claim runs out.
func (e *entry) postpone(kept *ended, now realm.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.work().trouble.unsaved(); old != nil && old.token.Refresh != "" && kept.token.Refresh == "" {
		return
	}
	e.work().trouble = &trouble{at: now, until: now + realm.Instant(storeWait.Microseconds()), kept: kept}
	if l := e.live.Load(); l != nil && !l.due(now) {
		due := *l
		due.renewAt = now
		e.live.Store(&due)
	}
}

// saved ends what postpone began.
func (e *entry) saved(kept *ended) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doing != nil && e.doing.trouble != nil && e.doing.trouble.kept == kept {
		e.doing.trouble = nil
		e.rest()
	}
}

// pause makes work that failed before the provider was asked wait a moment.
func (e *entry) pause(now realm.Instant) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w := e.work(); !w.trouble.waits(now) {
		w.trouble = w.trouble.rested(now)
	}
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
func (t *trouble) again(k kind, now realm.Instant) *realm.Error {
	err := t.error(http.StatusServiceUnavailable, t.detail(), now)
	switch {
	case t.code == realm.CodeReauthRequired:
		err.Status, err.RetryAfter = http.StatusBadGateway, 0
	case k == flush:
		err.Code = realm.CodeBudgetSpent
	}
	return err
}

func (t *trouble) detail() string {
	switch {
	case t.code == realm.CodeReauthRequired && t.cause != nil:
		return "somebody has to authorize again: the provider refused every refresh token, the last time: " + t.cause.Error()
	case t.code == realm.CodeReauthRequired:
		return "somebody has to authorize first: there is no refresh token"
	case t.code == realm.CodeBudgetSpent:
		return "the realm's limits allow no call to the provider now"
	case t.cause == nil:
		return "the provider is left alone for a moment"
	}
	return fmt.Sprintf("waiting after %d failed token requests, the last: %s", t.fails, t.cause.Error())
}

func (t *trouble) error(status int, detail string, now realm.Instant) *realm.Error {
	e := &realm.Error{Code: t.code, Status: status, Detail: detail, RetryAfter: t.left(now)}
	if t.cause != nil {
		e.ProviderCode, e.ProviderMessage, e.Err = t.cause.ProviderCode, t.cause.ProviderMessage, t.cause
	}
	return e
}

// sleep waits, unless the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
	}
}
