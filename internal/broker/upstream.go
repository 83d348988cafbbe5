package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// An edge takes its tokens from another instance (tokenstore.Upstream). It has the
// same entries, flights and floors as any node, and in the place of store, claim and
// call one question to that instance. What it hears of changes is in
// upstreamfeed.go.

const (
	// upstreamPlaces is how many questions about the tokens of one realm are under
	// way at a time, so that a provider that hangs takes no more connections.
	upstreamPlaces = 64
	// leastRepeat is how soon what the other instance refused is asked again.
	leastRepeat = time.Second
)

// obtainGiven is obtain on an edge.
func (v *View) obtainGiven(ctx context.Context, e *entry, f *flight, ref realm.Ref) (*realm.Lease, error) {
	if err := v.pool.awaitOpen(ctx); err != nil {
		return nil, catalog.StoreError(err)
	}
	for range 3 {
		a := v.prepare(e, f, ref)
		// What is said of the realm counts as of now: it may have been changed while
		// nothing was heard.
		c, err := v.currentRealm(ctx, ref.Realm)
		if err != nil {
			return nil, a.notGiven(err)
		}
		lease, err := a.runGiven(ctx, c)
		if err == nil && v.pool.link.deaf().IsZero() && !v.pool.link.isCurrent(ref.Realm) { // what it says now is not known
			time.AfterFunc(storeRetry, e.suspect.raise)
		}
		if !errors.Is(err, errStale) {
			return lease, err
		}
	}
	return nil, unavailable(http.StatusServiceUnavailable, "the secret keeps changing", nil)
}

// currentRealm is the realm as the other instance has it. If that does not answer, or
// cannot now, it is the one that is known. A notice that comes while it is asked for, or
// that is older than the answer which others wait for already, has it asked for again.
func (v *View) currentRealm(ctx context.Context, id string) (*catalog.Realm, error) {
	p := v.pool
	for range maxComparisons {
		c, err := v.catalog.Realm(ctx, id)
		if err != nil || p.link.isCurrent(id) && p.link.isWhatWasRead(c) {
			return c, err
		}
		var refused *realm.Error
		err = p.cache.Reread(ctx, id)
		if errors.As(err, &refused) && !catalog.IsPassing(refused) {
			return nil, err
		}
		if err != nil || !p.link.deaf().IsZero() {
			break
		}
	}
	return v.catalog.Realm(ctx, id)
}

// runGiven takes the token from memory, or from the other instance, for the realm c.
func (a *attempt) runGiven(ctx context.Context, c *catalog.Realm) (*realm.Lease, error) {
	e, f := a.entry, a.flight
	if l := e.live.Load(); f.purpose == claim.Load && l != nil && l.owner == c && l.isUsable(a.now()) && !a.pool.isSuspect(e, a.now()) {
		return &l.lease, nil // another flight brought it
	}
	if f.purpose == claim.Heal {
		if err := a.checkFloor(); err != nil {
			return nil, err
		}
		a.noteRejected()
	}
	if failed, _ := e.state(); f.purpose != claim.Verify {
		if err := failed.rejects(a.origin(), f.purpose, a.now()); err != nil {
			return nil, err
		}
	}
	if f.purpose != claim.Verify && f.purpose != claim.Renew {
		if err := mayPay(f.payer); err != nil {
			f.isRefused = true
			return nil, err
		}
	}
	got, err := a.askUpstream(ctx)
	switch {
	case err != nil:
		return nil, a.notGiven(err)
	case f.purpose == claim.Heal && got.Access == f.failed:
		return nil, &realm.Error{
			Code: realm.CodeTokenUnavailable, Status: http.StatusBadGateway, RetryAfter: leastRepeat,
			Detail: "the API refuses the token, and there is no other one",
		}
	}
	return a.take(got, c)
}

// asked is an answer of the other instance, with the time at which it was asked.
type asked struct {
	tokenstore.Given
	sent realm.Instant
	took time.Duration
}

// askUpstream asks the other instance. That may have to wait for a provider, so that
// whoever waits long looks whether it answers at all. To compare what memory has is
// not waited for as long.
func (a *attempt) askUpstream(ctx context.Context) (asked, error) {
	p := a.pool
	if since, isSilent := p.callers.silentSince(""); isSilent {
		return asked{}, fmt.Errorf("%w: it has not answered since %s", tokenstore.ErrUnavailable, since.UTC().Format(time.RFC3339))
	}
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	if a.flight.purpose == claim.Verify {
		limited, cancel = context.WithTimeout(limited, 2*p.patience())
		defer cancel()
	} else {
		release, err := p.schedule.acquire(ctx, a.ref.Realm, upstreamPlaces)
		if err != nil {
			return asked{}, err
		}
		defer release()
	}
	watchdog := time.AfterFunc(p.patience()/2, func() {
		if p.upstreamIsAway(limited) {
			cancel()
		}
	})
	defer watchdog.Stop()
	got, err := a.question(limited)
	switch {
	case err == nil || ctx.Err() != nil || p.base.Err() != nil:
		return got, err
	case limited.Err() != nil:
		return got, fmt.Errorf("%w: it did not answer in time", tokenstore.ErrUnavailable)
	case tokenstore.IsUnavailable(err):
		// Until it answers again, nobody waits for it; unless it is this one question
		// that gets an odd answer, or that breaks a connection.
		p.upstreamIsAway(ctx)
	}
	return got, err
}

// upstreamIsAway finds out whether the other instance does not answer, and has that
// remembered. Whoever has gone meanwhile finds out nothing.
func (p *Pool) upstreamIsAway(ctx context.Context) bool {
	if p.callers.answers(ctx, "") || ctx.Err() != nil {
		return false
	}
	p.callers.suspend("")
	return true
}

// question is one question to the other instance. It is counted like a call to a
// provider; whoever caused one there has paid for it.
func (a *attempt) question(ctx context.Context) (asked, error) {
	want := tokenstore.Wanted{Flush: a.flight.purpose == claim.Flush && !a.flight.isRepeated}
	if a.flight.purpose == claim.Heal {
		want.Rejected = a.flight.failed
	}
	got, began := asked{sent: a.now()}, time.Now()
	knowing := a.pool.link.knowing(a.ref)
	var err error
	got.Given, err = a.pool.upstream.Obtain(ctx, a.ref, want)
	got.took = time.Since(began)
	outcome := "ok"
	var refused *realm.Error
	switch {
	case errors.As(err, &refused):
		outcome = string(refused.Code)
	case err != nil:
		outcome = string(realm.CodeUnavailable)
	case got.Source == realm.FromUpstream:
		paid(a.flight.payer)
	}
	if err == nil || refused != nil {
		a.pool.link.isReached.Store(true)
		if knowing = max(knowing, a.pool.link.knowing(a.ref)); knowing > got.Lineage {
			time.AfterFunc(feedInterval, func() { a.pool.link.askAgain(a.ref) })
		}
	}
	a.pool.notify(func(o Observer) { o.Fetched(a.ref.Realm, outcome, got.took) })
	a.entry.mu.Lock()
	defer a.entry.mu.Unlock()
	a.entry.fetches++
	return got, err
}

// take publishes a token of the other instance. Its life is counted from when it was
// asked for: no other clock than that of this process decides about it.
func (a *attempt) take(got asked, c *catalog.Realm) (*realm.Lease, error) {
	t := realm.Token{Access: got.Access, IssuedAt: got.sent.Time(), Lineage: got.Lineage}
	if got.HasEnd {
		t.ExpiresAt = t.IssuedAt.Add(got.Left)
	}
	before := a.entry.live.Load()
	l := &live{owner: c, from: realm.InstantOf(claim.BeginOfLife(t)), renewAt: a.view.renewAt(c, a.ref, t, got.took)}
	l.lease.Expires, l.lease.Lineage, l.lease.Source = realm.InstantOf(t.ExpiresAt), t.Lineage, realm.FromMemory
	l.lease.InjectOnly = got.InjectOnly || c.Config.InjectOnly.IsOn()
	c.Program.PlaceGiven(&l.lease, got.Access, got.Placed)
	isSame := before != nil && before.lease.Access == l.lease.Access && before.lease.Lineage == l.lease.Lineage
	if isSame && got.HasEnd && a.flight.purpose == claim.Renew {
		// The other instance renews it when it thinks fit, and tells of it. Who does
		// not hear that asks again.
		l.renewAt = got.sent.Add(got.Left / 2)
	}
	isEnding := got.HasEnd && got.Left <= slack
	if !isEnding && !l.isUsable(a.now()) { // the answer took the life that was left, or the machine slept
		return nil, errStale
	}
	if !a.publishGiven(l, isEnding) {
		return nil, errStale
	}
	if isEnding { // it serves those who wait for it
		lease := l.lease
		lease.Source = got.Source
		return &lease, nil
	}
	a.entry.mu.Lock()
	a.entry.clearFailureLocked()
	a.entry.mu.Unlock()
	if a.flight.purpose == claim.Load || a.flight.purpose == claim.Heal {
		a.entry.touch(a.now())
	}
	a.pool.schedule.published(a.ref, a.entry, l, a.now())
	if !isSame {
		a.log.Info("token taken from the upstream",
			zap.Stringer("why", a.flight.purpose), zap.Duration("took", got.took), zap.Int64("lineage", t.Lineage), zap.Duration("left", got.Left))
		a.pool.notify(func(ob Observer) { ob.Refreshed(a.ref, a.flight.purpose.String(), t.ExpiresAt) })
	}
	lease := l.lease
	lease.Source = got.Source
	return &lease, nil
}

// publishGiven makes l the token of the entry. One that ends now only takes the place
// of the token before. It reports false if what the flight knew has been forgotten; and,
// once, if something was heard of after the question, which the answer may have missed.
func (a *attempt) publishGiven(l *live, isEnding bool) bool {
	e, f := a.entry, a.flight
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case f.isOvertaken(l.lease.Lineage) && !f.isRepeated:
		f.isRepeated, f.heard = true, nothing
		return false
	case !isEnding:
		return e.publishLocked(l, a.revision)
	case e.revision != a.revision:
		return false
	}
	e.live.Store(nil)
	return true
}

// isOvertaken reports whether an edge heard, during the flight, of something newer than
// a token of this lineage.
func (f *flight) isOvertaken(lineage int64) bool { return f.heard != nothing || f.newest > lineage }

// notGiven is what callers are told of a question that brought no token. A refusal
// is remembered as long as the other instance says, and ends a token that memory has
// if it says that there is none.
func (a *attempt) notGiven(err error) error {
	var refused *realm.Error
	if !errors.As(err, &refused) {
		if tokenstore.IsUnavailable(err) {
			return &realm.Error{
				Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable, RetryAfter: leastRepeat,
				Detail: "the instance that this edge takes its tokens from does not answer", Err: err,
			}
		}
		return err
	}
	if catalog.IsNotFound(err) || endsToken(refused, a.flight.purpose) {
		a.entry.forget()
		a.entry.mu.Lock()
		a.revision = a.entry.revision
		a.entry.mu.Unlock()
	}
	if catalog.IsNotFound(err) { // whoever makes up keys leaves nothing behind
		return err
	}
	f := newFailure(a.origin(), refused.Code, nil, 1, a.now(), max(refused.RetryAfter, leastRepeat))
	f.passedOn = refused
	a.rememberRefusal(f)
	return err
}

// endsToken reports whether a refusal means that the token which memory has may not
// be used any more. Whoever may not flush, or gets no other token for one that the
// API refuses, may still use what there is.
func endsToken(refused *realm.Error, p claim.Purpose) bool {
	switch {
	case catalog.IsPassing(refused) || p == claim.Flush:
		return false
	case refused.Code == realm.CodeForbidden:
		return true
	}
	return p == claim.Verify
}
