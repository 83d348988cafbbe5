package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/quota"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// shortWait is up to how long a flight waits for the provider to be asked,
	// instead of telling its callers to come back.
	shortWait = 2 * time.Second
	// slotRetry is how soon a flight tries again when calls for other keys take
	// all places of the realm, on this node and on others.
	slotRetry = 50 * time.Millisecond
)

// call gets a token from the provider: by one call, unless somebody else is
// making it, it was made in vain a moment ago, or it gave a token that was not
// saved yet.
func (a *attempt) call(ctx context.Context) (*realm.Lease, error) {
	if a.flight.purpose == claim.Heal {
		if err := a.checkFloor(); err != nil {
			return nil, err
		}
		a.noteRejected()
	}
	program := a.flight.owner.Program
	if why := program.Inactive(); why != "" {
		return nil, a.fault(notActive(why))
	}
	// A token that the provider gave and the store did not take comes first: to
	// ask for another one would end it, or cost a refresh token.
	failed, unsaved := a.entry.state()
	if unsaved != nil {
		lease, err := a.save(ctx, unsaved)
		if err == nil || !tokenstore.IsUnavailable(err) || unsaved.Token.Refresh != "" {
			return lease, err
		}
		// The unsaved token has ended meanwhile.
	}
	// What this node knows to be useless is not asked of the store again.
	if err := failed.rejects(a.origin(), a.flight.purpose, a.now()); err != nil {
		return nil, err
	}
	if err := a.outlast(ctx); err != nil {
		return nil, err
	}
	// The store may answer again by now. Then nothing is sent of an older secret: it
	// would be refused, and the failure would be told of the newer one.
	if a.mayBeOld && a.isStale(ctx) {
		return nil, errStale
	}
	for budgeted := ctx; ; {
		if err := a.getParents(ctx); err != nil {
			return nil, err
		}
		lease, next, err := a.inSlot(budgeted)
		if next == nil {
			return lease, err
		}
		if err := next(budgeted); err != nil {
			return nil, err
		}
		budgeted = withBudget(ctx) // that of before was for the way to the first decision
	}
}

// outlast waits for the last moment of a token's life to pass if the provider
// would give the same token again until then.
func (a *attempt) outlast(ctx context.Context) error {
	c, p := &a.flight.owner.Config, a.flight.purpose
	left := a.stored.ExpiresAt.Sub(a.pool.now())
	isSame := c.Semantics == realm.SemanticsSame && c.Overlap == 0
	if !isSame || p.IsForced() || p == claim.Heal || left <= 0 || left > slack || a.stored.Fingerprint != a.bound.Fingerprint() {
		return nil
	}
	return a.pool.sleep(ctx, left)
}

// again is what a flight does before it asks for the claim once more; nil for
// never.
type again func(ctx context.Context) error

// atOnce asks once more without a wait.
func atOnce(context.Context) error { return nil }

// after waits for d.
func (a *attempt) after(d time.Duration) again {
	return func(ctx context.Context) error { return a.pool.sleep(ctx, d) }
}

// inSlot asks for the claim, and makes the call, when there is a place among
// the calls of the realm. Whoever has to wait for something else afterwards
// waits without a place.
func (a *attempt) inSlot(ctx context.Context) (lease *realm.Lease, next again, err error) {
	release, err := a.pool.schedule.acquire(ctx, a.ref.Realm, a.view.terms(a.flight.owner).Concurrency)
	if err != nil {
		return nil, nil, err
	}
	a.leaveSlot = sync.OnceFunc(release) // settle may do it before
	defer a.leaveSlot()
	a.reserved = &reservation{payer: a.flight.payer}
	defer a.reserved.end()

	r := a.claimRequest(a.flight.purpose)
	began := time.Now() // the real clock: the claim runs out by it
	failpoint.Hit("before_claim")
	d, err := a.decide(ctx, r)
	if err != nil {
		lease, err = a.withoutClaim(ctx, r, err)
		return lease, nil, err
	}
	// Every verdict but Go leaves the call to somebody else, or to another time.
	// What has to be waited for is returned as next, so that the place among the
	// realm's calls is free meanwhile.
	switch d.Verdict {
	case claim.Go:
		if d.Source == claim.NoRefreshToken && a.flight.owner.Program.Unattended() {
			return (&login{attempt: a, request: r, decision: d, began: began}).run(ctx)
		}
		return a.spend(ctx, r, d, nil, began)
	case claim.UseStored:
		lease, err = a.publish(a.pool.local(d.Token), realm.FromDatabase, 0)
		return lease, nil, err
	case claim.InProgress:
		if a.flight.purpose == claim.Renew && !a.flight.isAwaited {
			return nil, nil, errElsewhere
		}
		return nil, func(ctx context.Context) error {
			if err := a.await(ctx, d.Holder, d.Wait); err != nil {
				return err
			}
			return a.checkSecret(ctx) // nothing is sent of a secret that was replaced meanwhile
		}, nil
	case claim.Refused:
		a.flight.isRefused = true
		return nil, nil, d.Refusal
	case claim.NoSlot:
		return nil, a.after(slotRetry), nil
	case claim.NeedsAuthorization:
		if unpushed := a.bound.Unpushed(grant.FetchRecipe); unpushed != nil {
			return nil, nil, a.fault(withoutValue(unpushed))
		}
		return nil, nil, a.needsAuthorization(d)
	case claim.Wait:
	}
	// A wait that is short is waited for, unless it is the key's own failure, which
	// callers are to hear of, or a flush, which is answered at once.
	isTold := d.Scope == claim.KeyScope && d.Cause != nil && !claim.IsOfDeadParent(d.Cause) // that one is being renewed
	if d.Wait <= shortWait && !isTold && a.flight.purpose != claim.Flush {
		return nil, a.after(d.Wait), nil
	}
	return nil, nil, a.refuse(d)
}

// claimRequest is what this attempt wants of the provider.
func (a *attempt) claimRequest(p claim.Purpose) *claim.Request {
	acceptance := a.acceptance
	if a.force {
		acceptance = claim.AcceptanceUnknown // the refusal was counted when the call was not by force
	}
	r := &claim.Request{
		Terms: a.view.terms(a.flight.owner), ID: tokenstore.NewCallID(), Node: a.pool.node, Key: a.ref.Key, Purpose: p,
		NewerThan: a.newerThan, IsParentRenewed: a.isParentRenewed, Failed: a.flight.failed, Acceptance: acceptance,
		Initial: a.bound.SecretRefreshToken(), IsReseeded: a.bound.Reseeded,
		Fingerprint: a.bound.Fingerprint(), Digests: a.bound, Random: a.pool.random,
		IsUsable: func(t realm.Token) bool { return a.isGood(a.pool.local(t)) }, MayRefresh: a.bound.MayRefresh,
	}
	r.CanFetch = r.CanFetch && a.bound.Unpushed(grant.FetchRecipe) == nil
	// A code that is there is not lost because asking for it was the last call, and
	// a token that is computed costs none.
	if p != claim.Exchange && !a.flight.owner.Program.ComputesToken() {
		r.MayPay = a.reserved.pay
	}
	return r
}

// decide asks for the claim, durably.
func (a *attempt) decide(ctx context.Context, r *claim.Request) (claim.Decision, error) {
	decided := make(chan claim.Decision, 1)
	sent := a.pool.now()
	s, err := a.pool.callers.Coordinate(ctx, a.ref, func(s *tokenstore.State) error {
		d := r.Decide(s)
		if d.Verdict == claim.NeedsAuthorization && a.pool.concluded != nil {
			a.pool.concluded(a.ref)
		}
		replace(decided, d)
		return nil
	})
	if err != nil {
		return claim.Decision{}, catalog.StoreError(err)
	}
	a.pool.setClock(s.Now, sent)
	a.pool.budgets.Store(a.ref.Realm, budgetLeft{
		left: quota.Remaining(&s.Budget, r.Windows, s.Now), isLow: quota.IsLow(&s.Budget, r.Windows, s.Now),
	})
	return <-decided, nil
}

// replace puts v into a channel of one in place of what is there: of several
// runs of a transaction the last one counts.
func replace[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// refuse tells callers to come back later, and keeps this node from asking the
// store until then.
func (a *attempt) refuse(d claim.Decision) error {
	code := realm.CodeTokenUnavailable
	if d.Scope == claim.QuotaScope {
		code = realm.CodeBudgetSpent
	}
	// A refusal of one key is remembered for that key. If the realm has to wait,
	// its renewals wait, too: each of them would be refused for the same reason.
	now := a.now()
	f := newFailure(a.origin(), code, d.Cause, d.Failures, now, d.Wait)
	if !d.RoomForOne || !a.flight.purpose.IsForced() { // otherwise the refresh token goes on doing its work
		a.entry.recordFailure(f, a.revision)
	}
	isNew := !d.RoomForOne && d.Scope != claim.KeyScope && a.pool.schedule.pauseRenewals(a.ref.Realm, now, f.until)
	if d.Scope == claim.QuotaScope {
		a.pool.notify(func(o Observer) { o.BudgetSpent(a.ref) })
		if isNew {
			a.log.Warn("the realm's limits allow no call to the provider now", zap.Duration("next_in", d.Wait))
		}
	}
	return f.laterError(a.flight.purpose, now)
}

// needsAuthorization tells that a person has to authorize the secret.
func (a *attempt) needsAuthorization(d claim.Decision) error {
	before, _ := a.entry.state()
	f := newFailure(a.origin(), realm.CodeReauthRequired, d.Cause, 0, a.now(), reauthRetry)
	if d.Cause == nil && a.stored != (realm.Token{}) {
		f.lacking = a.bound.Lacks(a.stored.Kept)
	}
	a.entry.recordFailure(f, a.revision)
	if !before.needsPerson() {
		why := "the provider refuses every refresh token: somebody has to authorize again"
		if f.lacking != "" {
			why = "somebody has to authorize again: " + f.lacking
		} else if d.Cause == nil {
			why = "there is no refresh token: somebody has to authorize first"
		}
		a.log.Error(why, causeField(d.Cause))
		a.pool.notify(func(o Observer) { o.ReauthRequired(a.ref) })
	}
	return f.laterError(a.flight.purpose, f.at)
}

// causeField is the cause of a failure for a log; it may be missing.
func causeField(cause *grant.Error) zap.Field {
	if cause == nil {
		return zap.Skip()
	}
	return zap.Error(cause)
}

// checkSecret returns errStale if the secret is not the one any more that the
// attempt began with: another node may have changed it meanwhile, or somebody has
// pushed a value.
func (a *attempt) checkSecret(ctx context.Context) error {
	secret, err := a.view.catalog.Secret(withoutBudget(context.WithoutCancel(ctx)), a.flight.owner, a.ref)
	if err != nil {
		return err
	}
	b, err := a.flight.owner.Bind(secret)
	if err != nil || b.Fingerprint() != a.bound.Fingerprint() || b.Digest(grant.FetchRecipe) != a.bound.Digest(grant.FetchRecipe) {
		return errStale
	}
	return nil
}

// isStale reports whether checkSecret returns errStale.
func (a *attempt) isStale(ctx context.Context) bool { return errors.Is(a.checkSecret(ctx), errStale) }
