package broker

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// storeRetry is how soon work that nobody waits for is tried again after
	// the store failed.
	storeRetry = time.Second
	// reauthRetry is how soon this node looks again whether a person has
	// authorized the secret.
	reauthRetry = time.Minute
)

// failure is what this node remembers of work that failed: until when it is
// useless to ask the store again, and what callers are told until then. What
// all nodes have to know of it is in the store (tokenstore.Failure), which also
// decides whether a call may be made. So a failure that is forgotten costs one
// transaction and no call to a provider. It is immutable; nil is none.
type failure struct {
	// code is that of the error that callers get; "" if nobody is told: the
	// work is only left alone for a moment.
	code  realm.Code
	cause *grant.Error // nil if it was no call that failed
	count int          // calls that failed in a row
	at    realm.Instant
	until realm.Instant
	// of is the configuration and the realm that the work was done for. Another
	// configuration, or a realm that was changed, asks the store at once: what
	// failed may have been corrected.
	of origin
	// fault is what stands in the way before anything is asked, such as a secret that
	// does not fit; nil for none. It is shown, and keeps nobody from trying: every
	// attempt finds it out again, without a call, or finds that it is over.
	fault *realm.Error
	// faultEnds is when the fault no longer counts by itself; 0 for never. One of a
	// parent may be mended where this entry does not hear of it.
	faultEnds realm.Instant
	// passedOn is what the other instance refused an edge with; nil elsewhere.
	passedOn *realm.Error
	// lacking is what the stored token lacks, so that a person is needed: see
	// grant.Bound.Lacks. "" for nothing.
	lacking string
}

// origin is what a failure belongs to on this node.
type origin struct {
	view  *View
	realm *catalog.Realm
}

// newFailure is the failure of work that is not to be repeated for wait.
func newFailure(of origin, code realm.Code, cause *grant.Error, count int, now realm.Instant, wait time.Duration) *failure {
	return &failure{code: code, cause: cause, count: count, at: now, until: now.Add(wait), of: of}
}

// newFault is the failure of work that was not begun because of a fault.
func newFault(of origin, fault *realm.Error, now realm.Instant) *failure {
	return &failure{code: fault.Code, fault: fault, at: now, until: now, of: of}
}

// pause is a failure that nobody is told of.
func pause(of origin, now realm.Instant, wait time.Duration) *failure {
	return newFailure(of, "", nil, 0, now, wait)
}

// isTold reports whether callers are told of it.
func (f *failure) isTold() bool { return f != nil && f.code != "" }

// isActive reports whether the work is left alone now. A failure of the future
// does not count: the clock went back, and it would last until the clock is
// there again.
func (f *failure) isActive(now realm.Instant) bool { return f != nil && f.at <= now && now < f.until }

// needsPerson reports whether a person has to authorize the secret.
func (f *failure) needsPerson() bool { return f.isTold() && f.code == realm.CodeReauthRequired }

// waiting is the failure, with work that is left alone for wait from now on.
func (f *failure) waiting(now realm.Instant, wait time.Duration) *failure {
	other := *f
	other.at, other.until = now, now.Add(wait)
	return &other
}

// isFault reports whether nothing was asked because of a fault.
func (f *failure) isFault() bool { return f != nil && f.fault != nil }

// left is how long the work is still left alone.
func (f *failure) left(now realm.Instant) time.Duration { return max(f.until.Sub(now), 0) }

// rejects returns the error of the last call as long as the provider is left
// alone; nil if the store is to be asked. A forced request that comes too soon
// asks for too much.
func (f *failure) rejects(of origin, p claim.Purpose, now realm.Instant) error {
	if !f.isTold() || f.isFault() || !f.isActive(now) || f.of != of {
		return nil
	}
	if f.passedOn != nil {
		if p.IsForced() {
			return nil // the other instance decides
		}
		again := *f.passedOn
		again.RetryAfter = min(again.RetryAfter, f.left(now))
		return &again
	}
	if p.IsForced() {
		isThrottled := f.cause != nil && f.cause.Class == grant.Throttled
		if f.needsPerson() || f.cause != nil && !isThrottled && now >= f.at.Add(claim.RetryFloor) {
			return nil
		}
	}
	return f.laterError(p, now)
}

// firstError is what the callers of the failed call are told.
func (f *failure) firstError(now realm.Instant) *realm.Error {
	status := http.StatusBadGateway
	switch {
	case f.cause.Class == grant.Throttled:
		status = http.StatusServiceUnavailable
	case f.cause.Kind == grant.KindTimeout:
		status = http.StatusGatewayTimeout
	}
	return f.error(status, "the provider gave no token: "+f.cause.Summary(), now)
}

// laterError is what everybody else is told until the next call.
func (f *failure) laterError(p claim.Purpose, now realm.Instant) *realm.Error {
	err := f.error(http.StatusServiceUnavailable, f.detail(), now)
	switch {
	case f.needsPerson():
		err.Status, err.RetryAfter = http.StatusBadGateway, 0
	case p == claim.Flush:
		err.Code = realm.CodeBudgetSpent
	}
	return err
}

func (f *failure) error(status int, detail string, now realm.Instant) *realm.Error {
	e := &realm.Error{Code: f.code, Status: status, Detail: detail, RetryAfter: f.left(now)}
	if f.cause != nil {
		e.Class = f.cause.Class.String()
		e.ProviderCode, e.ProviderMessage, e.Err = f.cause.ProviderCode, f.cause.ProviderMessage, f.cause
	}
	return e
}

// kind is the word for what happened: why the provider is not asked, or what its
// call ended with. All are words of realm.Code, grant.Class and grant.Kind.
func (f *failure) kind() string {
	switch {
	case f.passedOn != nil:
		return string(f.code)
	case f.isFault() && f.code == realm.CodeNotActive:
		return string(grant.KindInactive)
	case f.isFault():
		return string(grant.KindRequest)
	case f.needsPerson(), f.code == realm.CodeBudgetSpent, f.cause == nil:
		return string(f.code)
	case f.cause.Class == grant.Throttled:
		return grant.Throttled.String()
	}
	return string(f.cause.Kind)
}

func (f *failure) detail() string {
	switch {
	case f.passedOn != nil:
		return f.passedOn.Detail
	case f.isFault():
		return f.fault.Detail
	case f.lacking != "":
		return "somebody has to authorize again: " + f.lacking
	case f.needsPerson() && f.cause != nil:
		return "somebody has to authorize again: the provider refused every refresh token, the last time: " + f.cause.Summary()
	case f.needsPerson():
		return "somebody has to authorize first: there is no refresh token"
	case f.code == realm.CodeBudgetSpent:
		return "the realm's limits allow no call to the provider now"
	case f.cause == nil:
		return "the provider is left alone for a moment"
	}
	return fmt.Sprintf("waiting after %d failed token requests, the last: %s", f.count, f.cause.Summary())
}

// storedWait is how long a call that failed is to be left alone, as the store
// says after it was settled, and how many failed in a row. While the store does
// not say it, that is a moment.
func storedWait(s *tokenstore.State) (wait time.Duration, count int) {
	if s.Now.IsZero() {
		return storeRetry, 1
	}
	until := s.Claim.Failure.Until
	if b := s.Budget.Failure; claim.IsPaused(b, s.Now) && b.Until.After(until) {
		until = b.Until
	}
	return max(until.Sub(s.Now), 0), max(s.Claim.Failure.Count, 1)
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
