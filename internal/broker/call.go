package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// shortWait is up to how long a flight waits for the provider to be asked,
// instead of telling its callers to come back.
const shortWait = 2 * time.Second

// call asks the provider: once, unless somebody else does, it was asked in
// vain a moment ago, or it gave a token that was not saved yet.
func (t *task) call(ctx context.Context) (*realm.Lease, error) {
	if t.f.kind == heal {
		t.bury()
	}
	if why := t.f.owner.Program.Inactive(); why != "" {
		return nil, &realm.Error{Code: realm.CodeNotActive, Status: http.StatusConflict, Detail: why}
	}
	if kept := t.e.lastTrouble().unsaved(); kept != nil {
		lease, err := t.keep(ctx, kept)
		if err == nil || !tokenstore.IsUnavailable(err) || kept.token.Refresh != "" {
			return lease, err
		}
		// What was kept has ended meanwhile.
	}
	if err := t.e.holdOff(t.f.kind, realm.InstantOf(t.pool.now())); err != nil {
		return nil, err
	}
	if err := t.outlast(ctx); err != nil {
		return nil, err
	}
	for {
		lease, next, err := t.inLane(ctx)
		if next == nil {
			return lease, err
		}
		if err := next(ctx); err != nil {
			return nil, err
		}
	}
}

// again is what a flight does before it tries once more; nil for never.
type again func(ctx context.Context) error

// atOnce tries once more without a wait.
func atOnce(context.Context) error { return nil }

// after waits for so long.
func (t *task) after(d time.Duration) again {
	return func(ctx context.Context) error { return t.pool.sleep(ctx, d) }
}

// inLane tries when there is a place among the realm's calls. Who has to wait
// for something else waits without one.
func (t *task) inLane(ctx context.Context) (*realm.Lease, again, error) {
	leave, err := t.pool.schedule.enter(ctx, t.ref.Realm, t.terms(t.f.owner).concurrency)
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	return t.try(ctx)
}

// outlast waits for the last moment of a token's life to pass, where the
// provider would give it once more until then.
func (t *task) outlast(ctx context.Context) error {
	left := t.stored.ExpiresAt.Sub(t.pool.now())
	same := t.f.owner.Config.Semantics == realm.SemanticsSame && t.f.owner.Config.Overlap == 0
	if !same || t.f.kind.forced() || t.f.kind == heal || left <= 0 || left > slack || t.stored.Fingerprint != t.bound.Fingerprint() {
		return nil
	}
	return t.pool.sleep(ctx, left)
}

// try asks for the claim and does what the verdict says.
func (t *task) try(ctx context.Context) (lease *realm.Lease, next again, err error) {
	w := t.asks()
	began := time.Now() // the real clock: the claim runs out by it
	failpoint.Hit("before_claim")
	v, err := t.claim(ctx, w)
	if err != nil {
		lease, err = t.unclaimed(ctx, w, err)
		return lease, nil, err
	}
	switch v.ruling {
	case granted:
		if v.source == noRefresh && t.f.owner.Program.Unattended() {
			return t.askForCode(ctx, w, v, began)
		}
		return t.spend(ctx, w, v, began)
	case served:
		lease, err = t.publish(t.pool.local(v.token), realm.FromDatabase, 0)
		return lease, nil, err
	case busy:
		if t.f.kind == renew && !t.f.waited {
			return nil, nil, errElsewhere
		}
		return nil, func(ctx context.Context) error { return t.awaitCurrent(ctx, v) }, nil
	case outpaced:
		return nil, t.after(pollFirst), nil
	case lapsed:
		return nil, nil, t.lapse(v)
	case refused:
	}
	if v.wait <= shortWait && (v.scope != scopeKey || v.cause == nil) && t.f.kind != flush {
		return nil, t.after(v.wait), nil
	}
	return nil, nil, t.refuse(v)
}

// asks is what this attempt wants of the provider.
func (t *task) asks() *asks {
	return &asks{
		terms: t.terms(t.f.owner), id: tokenstore.NewCallID(), node: t.pool.node, kind: t.f.kind,
		after: t.base, failed: t.f.failed, refuted: t.refuted && !t.force, initial: t.bound.SecretRefreshToken(), reseeded: t.bound.Reseeded,
		fingerprint: t.bound.Fingerprint(), draw: t.pool.draw,
		usable: func(token realm.Token) bool { return t.good(t.pool.local(token)) },
	}
}

// claim asks for the claim, durably.
func (t *task) claim(ctx context.Context, w *asks) (v verdict, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	sent := t.pool.now()
	s, err := t.pool.store.Coordinate(ctx, t.ref, func(s *tokenstore.State) error {
		v = w.decide(s)
		if v.ruling == lapsed && t.pool.lapsing != nil {
			t.pool.lapsing(t.ref)
		}
		v.known = known(s)
		return nil
	})
	if err != nil {
		return v, catalog.StoreError(err)
	}
	t.pool.setClock(s.Now, sent)
	t.pool.budgets.Store(t.ref.Realm, left(&s.Budget, w.windows, s.Now))
	return v, nil
}

const (
	pollLeast = 10 * time.Millisecond
	pollFirst = 50 * time.Millisecond
	pollMost  = 500 * time.Millisecond
)

// await waits until the claim of another node is closed or void, or should be:
// the store's clock may have gone back. Being woken is a hint that may be lost,
// so the store is looked at, too.
func (t *task) await(ctx context.Context, v verdict) error {
	end := time.Now().Add(v.wait)
	for pause := pollFirst; ; pause = min(pause*3/2, pollMost) {
		timer := time.NewTimer(min(pause, max(time.Until(end), pollLeast)))
		select {
		case <-t.f.woken:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return unavailable(http.StatusGatewayTimeout, "no token in time", ctx.Err())
		}
		timer.Stop()
		s, err := t.pool.store.Peek(ctx, t.ref)
		if err != nil {
			return catalog.StoreError(err)
		}
		if s.Claim.ID != v.holder || !s.Claim.Deadline.After(s.Now) || time.Now().After(end) {
			return nil
		}
	}
}

// awaitCurrent is await; then nothing is sent of a secret of before.
func (t *task) awaitCurrent(ctx context.Context, v verdict) error {
	if err := t.await(ctx, v); err != nil {
		return err
	}
	return t.current(ctx)
}

// refuse tells callers to come back later, and this node not to ask the store
// before.
func (t *task) refuse(v verdict) error {
	now := realm.InstantOf(t.pool.now())
	tr := &trouble{
		code: realm.CodeTokenUnavailable, cause: v.cause, fails: v.fails,
		at: now, until: now + realm.Instant(v.wait.Microseconds()),
	}
	if v.scope == scopeBudget {
		tr.code = realm.CodeBudgetSpent
	}
	if !v.tight || !t.f.kind.forced() { // else the refresh token goes on doing its work
		t.e.suffer(tr, t.revision)
	}
	news := !v.tight && t.pool.schedule.hold(t.ref.Realm, v, now, tr.until)
	if v.scope == scopeBudget {
		t.pool.observe(func(o Observer) { o.BudgetSpent(t.ref) })
		if news {
			t.pool.log.Warn("the realm's limits allow no call to the provider now",
				zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.Duration("next_in", v.wait))
		}
	}
	return tr.again(t.f.kind, now)
}

// lapse says that a person has to authorize again.
func (t *task) lapse(v verdict) error {
	now := realm.InstantOf(t.pool.now())
	old := t.e.lastTrouble()
	tr := &trouble{
		code: realm.CodeReauthRequired, cause: v.cause,
		at: now, until: now + realm.Instant(lapsedWait.Microseconds()),
	}
	if old == nil || old.code != realm.CodeReauthRequired {
		why := "the provider refuses every refresh token: somebody has to authorize again"
		if v.cause == nil {
			why = "there is no refresh token: somebody has to authorize first"
		}
		t.pool.log.Error(why,
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), causeField(v.cause))
		t.pool.observe(func(o Observer) { o.ReauthRequired(t.ref) })
	}
	t.e.suffer(tr, t.revision)
	return tr.again(t.f.kind, now)
}

// causeField is the cause of a failure for a log; it may be missing.
func causeField(cause *grant.Error) zap.Field {
	if cause == nil {
		return zap.Skip()
	}
	return zap.Error(cause)
}

// spend makes the call that was claimed. Another one may follow at once: with
// another refresh token, or by force.
func (t *task) spend(ctx context.Context, w *asks, v verdict, began time.Time) (*realm.Lease, again, error) {
	failpoint.Hit("claimed")
	if t.f.kind == renew && t.f.owner.EndsPrevious() {
		t.e.bar(t.f)
	}
	end := &ended{asks: w, verdict: v}
	res, err := t.request(ctx, w, v, began)
	if err != nil {
		return t.settleFailure(ctx, end, err)
	}
	t.warn(res.Warnings)
	t.take(end, res)
	if t.insists(end) && !t.force && t.f.owner.Program.TakesForce() {
		// The provider gives what its API refuses. It may be asked harder.
		t.force, end.harder = true, true
		if _, err := t.settle(ctx, end); err != nil {
			return nil, nil, err
		}
		return nil, atOnce, nil
	}
	lease, err := t.keep(ctx, end)
	return lease, nil, err
}

// known are the tokens that the provider gave before, and may quote.
func known(s *tokenstore.State) []realm.Hidden {
	tokens := []realm.Hidden{s.Token.Access, s.Token.Refresh}
	for _, c := range s.Claim.Candidates {
		tokens = append(tokens, c.Access, c.Refresh)
	}
	return tokens
}

// bounded says how a call is made that was claimed.
func (t *task) bounded(w *asks, v verdict, began time.Time) grant.Request {
	req := grant.Request{
		Force: t.force, DefaultTimeout: t.callTimeout, RefreshToken: v.refresh,
		Known: append(v.known, t.stored.Access, t.f.failed),
	}
	req.SendBy, req.EndBy = w.bounds(began)
	return req
}

// request makes one HTTP call. It is sent within the timeout of the claim, or
// not at all, and ends before the claim does, however long that took to get.
func (t *task) request(ctx context.Context, w *asks, v verdict, began time.Time) (grant.Result, error) {
	req := t.bounded(w, v, began)
	sent := t.calls()
	res, err := t.send(context.WithoutCancel(ctx), w, v, req)
	t.pool.fetched(t.ref.Realm, sent, err)
	return res, err
}

// calls counts a call that is sent now, by the real clock: it is the network
// that takes time.
func (t *task) calls() time.Time {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	t.e.fetches++
	return time.Now()
}

// send makes the call that what is sent asks for.
func (t *task) send(ctx context.Context, w *asks, v verdict, req grant.Request) (grant.Result, error) {
	switch v.source {
	case noRefresh:
		return t.bound.Fetch(ctx, t.client, req)
	case fromCode:
		return t.bound.Exchange(ctx, t.client, w.code.Authorization, w.code.code, req)
	case fromToken, fromSecret, fromCandidate:
	}
	return t.bound.Refresh(ctx, t.client, req)
}

// take notes what the provider gave, in the store's time.
func (t *task) take(end *ended, res grant.Result) {
	end.took, end.token = res.Took, t.pool.remote(res.Token)
	// What ends before it reaches the provider is of use to those only who
	// wait for it.
	left := res.Token.ExpiresAt.Sub(t.pool.now())
	end.once = res.Once || !res.Token.ExpiresAt.IsZero() && left <= slack
	t.e.mu.Lock()
	end.discard = t.e.revision != t.revision
	t.e.mu.Unlock()
}

// insists says whether the provider gave the token again that its API refuses.
func (t *task) insists(end *ended) bool {
	return t.f.kind == heal && end.token.Access == t.f.failed
}

// settleFailure takes down a failed call and returns what its callers are
// told.
func (t *task) settleFailure(ctx context.Context, end *ended, err error) (*realm.Lease, again, error) {
	if !errors.As(err, &end.cause) {
		end.cause = &grant.Error{Class: grant.Retryable, Kind: grant.KindConnection, Detail: "internal"}
	}
	s, err := t.settle(ctx, end)
	if err != nil {
		t.e.postpone(end, realm.InstantOf(t.pool.now()))
	}
	if end.cause.Class == grant.Hopeless && t.f.kind != exchange && errors.Is(t.current(ctx), errStale) {
		return nil, nil, errStale // what was refused is not the secret of now
	}
	now := realm.InstantOf(t.pool.now())
	tr := t.pool.troubleOf(&s, end.cause, now)
	if !end.code.byPerson() {
		known := *tr
		if c := causeOf(s.Claim.Failure); c != nil && waits(s.Claim.Failure, s.Now) {
			known.cause = c // what others have found out since is what is waited for
		}
		t.e.suffer(&known, t.revision)
	}
	t.pool.log.Warn("token not fetched",
		zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.String("why", t.f.kind.String()),
		zap.Stringer("class", end.cause.Class), zap.Error(end.cause), zap.Duration("next_in", tr.left(now)))
	if err == nil && end.turnedDown() {
		return nil, atOnce, nil // the next decision says whether anything is left
	}
	return nil, nil, tr.first(now)
}

// troubleOf is what this node remembers of a failure: as long as the store
// says, or a moment where that could not be asked.
func (p *Pool) troubleOf(s *tokenstore.State, cause *grant.Error, now realm.Instant) *trouble {
	wait := storeWait
	fails := 1
	if !s.Now.IsZero() {
		until := s.Claim.Failure.Until
		if waits(s.Budget.Failure, s.Now) {
			until = later(until, s.Budget.Failure.Until)
		}
		wait, fails = max(until.Sub(s.Now), 0), max(s.Claim.Failure.Count, 1)
	}
	return &trouble{
		code: realm.CodeTokenUnavailable, cause: cause, fails: fails,
		at: now, until: now + realm.Instant(wait.Microseconds()),
	}
}
