package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// sameTokenRetry is how soon the provider is asked again after it gave the
// token again that its API refuses.
const sameTokenRetry = time.Second

// lifelessRetry is how soon the provider may be asked again after a token whose
// life was zero or less.
const lifelessRetry = time.Second

// settle closes the claim of a call with its outcome. A refresh token is put
// into the spool first, if there is one: the way to another machine's disk is
// longer and may be broken.
func (a *attempt) settle(ctx context.Context, o *claim.Outcome) (tokenstore.State, error) {
	isSpooled := a.spool(o)
	failpoint.Hit("spooled")
	sent := a.pool.now()
	// A caller waits no longer than patience, but for what became of a refresh
	// token: that is not known to anybody else.
	ctx, coordinate := withoutBudget(context.WithoutCancel(ctx)), a.pool.callers.Coordinate
	if o.Source.SendsRefreshToken() || o.Token.Refresh != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, tokenstore.Timeout)
		defer cancel()
		coordinate = a.pool.store.Coordinate
	}
	if a.leaveSlot != nil {
		// The call is over. The claim of whoever waits for its place may share the
		// transaction, in which it is decided on after this outcome.
		ctx = tokenstore.WithQueued(ctx, a.leaveSlot)
	}
	s, err := coordinate(ctx, a.ref, func(s *tokenstore.State) error {
		o.Settle(s)
		return nil
	})
	if err != nil {
		return tokenstore.State{}, catalog.StoreError(err)
	}
	failpoint.Hit("saved")
	a.pool.setClock(s.Now, sent)
	if isSpooled {
		a.pool.unspool(o.Request.ID)
	}
	return s, nil
}

// save saves what a call gave and then publishes it. An outcome that the store
// does not take is kept for the next flight, so that the provider is not asked
// for another token.
func (a *attempt) save(ctx context.Context, o *claim.Outcome) (*realm.Lease, error) {
	now := a.now()
	s, err := a.settle(ctx, o)
	if err != nil {
		a.entry.keepUnsaved(o, a.origin(), now)
		a.pool.schedule.later(a.ref, a.entry, now.Add(storeRetry))
		a.log.Warn("token fetched and not saved; it is kept in memory", zap.Error(err))
		return a.publishUnsaved(o, err)
	}
	a.entry.clearUnsaved(o)
	if o.Cause != nil {
		wait, count := storedWait(&s)
		return nil, newFailure(a.origin(), realm.CodeTokenUnavailable, o.Cause, count, now, wait).firstError(now)
	}
	return a.present(ctx, o, s.Token)
}

// present publishes the saved token: that of the call, or of somebody who was
// faster.
func (a *attempt) present(ctx context.Context, o *claim.Outcome, saved realm.Token) (*realm.Lease, error) {
	if err := a.checkSecret(ctx); err != nil {
		return nil, err
	}
	switch o.Use {
	case claim.OnlyRefreshToken:
		return nil, errStale
	case claim.ForWaiters:
		return a.serveWaiters(o)
	case claim.ForAll:
	}
	a.stored = a.pool.local(saved)
	if a.isSameToken(o) && a.stored.Access == a.flight.failed {
		f := a.fail(realm.CodeTokenUnavailable, claim.ErrSameToken, 1, sameTokenRetry)
		a.log.Warn("the provider gives the token again that its API refuses")
		return nil, f.firstError(f.at)
	}
	if !a.isGood(a.stored) {
		return nil, errStale
	}
	// What is compared is the token that callers had until now. During the renewal
	// of a token that its successor ends, that one is withheld.
	before := a.entry.live.Load()
	if before == nil {
		before = a.flight.withheld
	}
	renewAt := a.view.renewAt(a.flight.owner, a.ref, a.stored, o.Took)
	if a.flight.purpose == claim.Renew && before != nil && before.lease.Access == a.stored.Access &&
		before.lease.Expires.Time().Sub(a.stored.ExpiresAt).Abs() < sameEnd {
		// The provider has nothing new before the end: it is not asked again.
		renewAt = realm.InstantOf(a.stored.ExpiresAt)
	} else {
		a.log.Info("token fetched",
			zap.Stringer("why", a.flight.purpose), zap.Bool("refreshed", o.Source.SendsRefreshToken()), zap.Duration("took", o.Took),
			zap.Int64("lineage", a.stored.Lineage), zap.Time("expires_at", a.stored.ExpiresAt))
		a.pool.notify(func(ob Observer) { ob.Refreshed(a.ref, a.flight.purpose.String(), a.stored.ExpiresAt) })
	}
	lease, err := a.publishUntil(a.stored, realm.FromUpstream, renewAt)
	if err == nil {
		failpoint.Hit("published")
	}
	return lease, err
}

// sameEnd is how far two answers may be apart that tell the same end.
const sameEnd = 2 * time.Second

// serveWaiters hands a token that has no life left to those who wait for it,
// and to nobody else.
func (a *attempt) serveWaiters(o *claim.Outcome) (*realm.Lease, error) {
	now, end := a.now(), realm.InstantOf(a.pool.local(o.Token).ExpiresAt)
	until := max(now.Add(lifelessRetry), end)
	a.entry.recordFailure(pause(a.origin(), now, until.Sub(now)), a.revision)
	l := &live{}
	if err := a.place(l, o.Token.Access, o.Token.Kept); err != nil {
		return nil, a.fault(err)
	}
	l.lease.Expires, l.lease.Source = max(now, end), realm.FromUpstream
	return &l.lease, nil
}
