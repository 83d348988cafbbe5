package broker

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What is done while no claim can be written, because the store is away. A
// realm that gets refresh tokens makes no calls then: what it would be given
// could not be kept. Any other realm serves its token to its end, and then each
// node asks the provider for itself, once in outageInterval for a key.

// outageInterval is how often a node may ask a provider for a key without a
// claim.
const outageInterval = 30 * time.Second

// withoutClaim goes on after the claim could not be written, because of away. A
// provider that ends the old token with each new one is asked by one node of
// all, as far as the shared cache can tell.
func (a *attempt) withoutClaim(ctx context.Context, r *claim.Request, away error) (*realm.Lease, error) {
	owner, p := a.flight.owner, a.flight.purpose
	if !tokenstore.IsUnavailable(away) || r.CanRefresh || p == claim.Renew || p.IsForced() || owner.Program.Unattended() {
		return nil, a.fault(away) // a row may be damaged
	}
	if err := a.reserved.pay(); err != nil {
		a.flight.isRefused = true
		return nil, err
	}
	if wait := a.pool.outage.take(a.ref, a.now()); wait > 0 {
		return nil, tooSoon(away, wait)
	}
	if l, ok := a.pool.store.(tokenstore.Leaser); ok && owner.Config.Semantics == realm.SemanticsRotate {
		if granted, known := l.Lease(ctx, a.ref, outageInterval); known && !granted {
			return nil, tooSoon(away, time.Second)
		}
	}
	a.log.Warn("the store cannot be written; this node asks the provider for itself")
	d := claim.Decision{Parent: a.stored.Lineage}
	o := claim.NewOutcome(r, d)
	o.Stage = claim.Unclaimed
	res, err := a.send(ctx, r, d, nil, time.Now())
	if err != nil {
		var cause *grant.Error
		if !errors.As(err, &cause) {
			return nil, away
		}
		a.recordCall(cause)
		f := a.fail(realm.CodeTokenUnavailable, cause, 1, outageInterval)
		return nil, f.firstError(f.at)
	}
	a.warn(res.Warnings)
	a.receive(o, res)
	if o.Use == claim.ForWaiters {
		return a.serveWaiters(o)
	}
	lease, err := a.save(ctx, o)
	a.recordCall(nil)
	return lease, err
}

// publishUnsaved hands out a token that the store did not take, because of
// failed; but not if a refresh token came with it: that has to be safe first.
func (a *attempt) publishUnsaved(o *claim.Outcome, failed error) (*realm.Lease, error) {
	token := a.pool.local(o.Token)
	if o.Cause != nil || o.Use == claim.OnlyRefreshToken || token.Refresh != "" || o.Request.CanRefresh || !a.isGood(token) {
		return nil, failed
	}
	token.Lineage = a.stored.Lineage
	// The next use has it saved, and not that of a token that is due.
	return a.publishUntil(token, realm.FromUpstream, a.now().Add(storeRetry))
}

func tooSoon(err error, wait time.Duration) error {
	return &realm.Error{
		Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
		Detail: "the store cannot be written, and the provider was asked a moment ago", RetryAfter: wait, Err: err,
	}
}

// perKeyLimit holds when the last call without a claim was made for each key.
// The zero value is ready.
type perKeyLimit struct {
	mu   sync.Mutex
	last map[realm.Ref]realm.Instant
}

// take allows a call now and notes it, or returns how long it takes until one
// is allowed.
func (l *perKeyLimit) take(ref realm.Ref, now realm.Instant) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.last[ref]; ok && last <= now {
		if left := outageInterval - now.Sub(last); left > 0 {
			return left
		}
	}
	if l.last == nil {
		l.last = map[realm.Ref]realm.Instant{}
	}
	l.last[ref] = now
	return 0
}

// count is how many keys are served without claims.
func (l *perKeyLimit) count(now realm.Instant) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref, last := range l.last {
		if now.Sub(last) > outageInterval {
			delete(l.last, ref)
			continue
		}
		n++
	}
	return n
}
