package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var (
	// errStale: the secret changed while its token was obtained.
	errStale = errors.New("secret changed meanwhile")
	// errNotWhole: a comparison is left out, since not all of the secret is known.
	errNotWhole = errors.New("the secret is not known as a whole")
)

// attempt is one try of a flight to get a token: what it is about, and what it
// has found so far. Its times are those of this machine's clock.
type attempt struct {
	view   *View
	pool   *Pool
	entry  *entry
	flight *flight
	ref    realm.Ref
	log    *zap.Logger // names the realm and the key
	bound  *grant.Bound
	// isInjectOnly: the realm or the secret keeps the token from everybody.
	isInjectOnly bool
	// mayBeOld: the store did not answer when the secret was read, so that it is the
	// one that this node read last.
	mayBeOld bool
	// askAt is when a source is to be asked again for a field of the secret, endsAt when
	// the first value of a source ends; zero for never.
	askAt, endsAt time.Time
	// revision is that of the entry when the attempt began.
	revision uint32
	// stored is the token of the store; zero if there is none.
	stored realm.Token
	// newerThan is the lineage that a new token has to be newer than.
	newerThan int64
	// acceptance tells whether the API had accepted the flight's failed token
	// before it refused it.
	acceptance claim.Acceptance
	// force asks the provider for a new token even if it would give the old one
	// again.
	force bool
	// leaveSlot gives back the place among the realm's calls, once; nil where there
	// is none.
	leaveSlot func()
	// reserved is the call that it asks for, or is about to make.
	reserved *reservation
	// took is how long the last call took.
	took time.Duration
	// parents are the tokens of other credentials that its calls send. Those that
	// the provider refused are renewed once (isParentRenewed); renewed are those
	// that were bought for it.
	parents, renewed parents
	isParentRenewed  bool
}

// newAttempt begins an attempt: it reads the secret and binds it to the realm.
// If the secret does not fit the realm, the attempt is returned beside the
// error.
func (v *View) newAttempt(ctx context.Context, e *entry, f *flight, ref realm.Ref) (*attempt, error) {
	a := v.prepare(e, f, ref)
	secret, err := v.secretFor(ctx, f, ref)
	if err != nil {
		if !f.owner.Program.Fetches() && errors.Is(err, catalog.ErrNoValue) {
			e.withdraw(a.revision) // the token is the value itself
		}
		return nil, a.fault(err)
	}
	a.askAt, a.endsAt = f.owner.Times(secret)
	a.isInjectOnly = f.owner.Config.InjectOnly.IsOn() || secret.InjectOnly
	_, a.mayBeOld = v.pool.callers.silentSince("")
	if a.bound, err = f.owner.Bind(secret); err != nil {
		return a, a.fault(unfitSecret(f.owner.Program, secret, err))
	}
	if a.isForgotten() {
		return nil, errStale // a source gave another value than before
	}
	return a, nil
}

// secretFor reads the secret for a flight. Who has a token waits for a comparison: it
// asks no source.
func (v *View) secretFor(ctx context.Context, f *flight, ref realm.Ref) (realm.Secret, error) {
	if f.purpose != claim.Verify {
		return v.catalog.Secret(ctx, f.owner, ref)
	}
	secret, isWhole, err := v.catalog.KnownSecret(ctx, f.owner, ref)
	if err == nil && !isWhole {
		err = errNotWhole
	}
	return secret, err
}

// isForgotten reports whether what was known has been forgotten since the attempt
// began.
func (a *attempt) isForgotten() bool {
	a.entry.mu.Lock()
	defer a.entry.mu.Unlock()
	return a.entry.revision != a.revision
}

// prepare begins an attempt without a secret.
func (v *View) prepare(e *entry, f *flight, ref realm.Ref) *attempt {
	a := &attempt{
		view: v, pool: v.pool, entry: e, flight: f, ref: ref, force: f.purpose == claim.Flush, reserved: &reservation{},
		log: v.pool.log.With(zap.String("realm", ref.Realm), zap.String("key", ref.Key)),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a.revision = e.revision
	return a
}

// obtain does what a flight is for. If the secret changes while it works, it
// begins again with the new secret: a token of the old one is never published.
func (v *View) obtain(ctx context.Context, e *entry, f *flight, ref realm.Ref) (*realm.Lease, error) {
	if v.pool.upstream != nil {
		return v.obtainGiven(ctx, e, f, ref)
	}
	if err := v.openStore(ctx, f.owner, ref); err != nil {
		return nil, err
	}
	for range 3 {
		a, err := v.newAttempt(ctx, e, f, ref)
		var lease *realm.Lease
		if err == nil {
			lease, err = a.run(ctx)
		}
		if errors.Is(err, errNotWhole) {
			return nil, nil //nolint:nilnil // a comparison brings no token
		}
		if !errors.Is(err, errStale) {
			return lease, err
		}
	}
	return nil, unavailable(http.StatusServiceUnavailable, "the secret keeps changing", nil)
}

// openStore opens the store, if that was not done yet. A credential that the
// configuration defines does not need the store while that is away.
func (v *View) openStore(ctx context.Context, c *catalog.Realm, ref realm.Ref) error {
	err := v.pool.awaitOpen(ctx)
	if err == nil {
		return nil
	}
	if _, isDefined := c.Secrets[ref.Key]; isDefined && tokenstore.IsUnavailable(err) {
		return nil
	}
	return catalog.StoreError(err)
}

// run takes the token from memory, from the store, or from the provider. A
// store that cannot be read does not stop a call: what may be done without it
// is decided later, see outage.
func (a *attempt) run(ctx context.Context) (*realm.Lease, error) {
	if !a.flight.owner.Program.Fetches() {
		return a.fixedToken()
	}
	// After a reload the token stays: a lease for this configuration is made of
	// the token that another one obtained.
	l := a.entry.live.Load()
	if a.flight.purpose == claim.Load && l != nil && l.fingerprint == a.bound.Fingerprint() && l.isUsable(a.now()) {
		fresh := *l
		fresh.owner = a.flight.owner
		if a.place(&fresh, l.lease.Access, l.lease.Target.Kept) == nil && a.entry.publish(&fresh, a.revision) {
			return &fresh.lease, nil
		}
	}
	source, err := a.readStored(ctx)
	if a.flight.purpose == claim.Verify {
		if err != nil {
			return nil, err
		}
		return nil, a.verify()
	}
	if err == nil && a.isServedByStored() {
		return a.publish(a.stored, source, 0)
	}
	return a.call(ctx)
}

// fixedToken is the way of a realm without a token request.
func (a *attempt) fixedToken() (*realm.Lease, error) {
	// A flush and a heal want another token, and there is none.
	if p := a.flight.purpose; p.IsForced() || p == claim.Heal {
		return nil, &realm.Error{
			Code: realm.CodeFixedToken, Status: http.StatusExpectationFailed,
			Detail: "the realm has a fixed token: there is nothing to fetch",
		}
	}
	token, err := a.bound.Fixed()
	if err != nil {
		return nil, a.fault(noFixedToken(err))
	}
	if token.Expired(a.pool.now().Add(slack)) {
		return nil, a.fault(unavailable(http.StatusBadGateway, "the fixed token of the secret has ended", nil))
	}
	if a.askAt.IsZero() {
		return a.publish(token, realm.FromDatabase, 0)
	}
	// It holds values that end, or are asked for again: the token lives as long, and is
	// made anew when one of them is due. Who uses it hears of another value so.
	token.IssuedAt = a.pool.now()
	if token.ExpiresAt.IsZero() || !a.endsAt.IsZero() && a.endsAt.Before(token.ExpiresAt) {
		token.ExpiresAt = a.endsAt
	}
	return a.publishUntil(token, realm.FromDatabase, realm.InstantOf(a.askAt))
}

// readStored reads the stored token. A shared cache may not have what another
// node changed a moment ago: to verify and to heal, the database is read.
func (a *attempt) readStored(ctx context.Context) (realm.Source, error) {
	read := a.pool.callers.Token
	if p := a.flight.purpose; p == claim.Verify || p == claim.Heal {
		read = a.pool.callers.Reread
	}
	before := a.entry.live.Load()
	token, source, err := read(ctx, a.ref)
	if before != nil && err == nil && source == realm.FromDatabase && token.Lineage < before.lease.Lineage {
		// A lineage never goes back by itself. The seal of the row is good, so
		// that it is an old one: from a backup, or put back by somebody.
		a.log.Error("the stored token is older than the one that this node has: an old row was put back",
			zap.Int64("lineage", before.lease.Lineage), zap.Int64("stored", token.Lineage))
	}
	l := a.entry.live.Load()
	if l != nil {
		a.newerThan = l.lease.Lineage
	}
	switch {
	case errors.Is(err, tokenstore.ErrTokenNotFound):
		return 0, nil
	case err != nil:
		return 0, catalog.StoreError(err)
	}
	a.stored = a.pool.local(token)
	if a.flight.purpose.IsForced() || l == nil {
		a.newerThan = max(a.newerThan, token.Lineage)
	}
	return source, nil
}

// isServedByStored reports whether the stored token is what the flight is for.
func (a *attempt) isServedByStored() bool {
	if !a.isGood(a.stored) {
		return false
	}
	switch a.flight.purpose {
	case claim.Flush:
		return false
	case claim.Authorize:
		return a.pool.now().Sub(a.stored.IssuedAt) < recently
	case claim.Heal:
		return a.stored.Access != a.flight.failed
	case claim.Renew: // only if somebody else has renewed it
		l := a.entry.live.Load()
		return l == nil && !a.flight.fromProvider || l != nil && a.stored.Lineage > l.lease.Lineage
	default:
		return true
	}
}

// isGood reports whether a stored token may be used by this realm and secret,
// now. One that lacks what the realm reads of it is replaced, like one that has
// ended.
func (a *attempt) isGood(t realm.Token) bool {
	return t.Access != "" && t.Fingerprint == a.bound.Fingerprint() && !t.Expired(a.pool.now().Add(slack)) && !a.isEarly(t) &&
		a.bound.Lacks(t.Kept) == ""
}

// isEarly reports whether the clock went back since a token was issued, or the
// clock of the node that it was issued to is wrong.
func (a *attempt) isEarly(t realm.Token) bool {
	return !t.ExpiresAt.IsZero() && a.pool.now().Before(claim.BeginOfLife(t))
}

// verify compares memory with the store, and lets the store win. A token of the
// future changes nothing, and neither does one of another recipe: two nodes
// whose clocks or configurations disagree would fetch against each other.
func (a *attempt) verify() error {
	l, stored := a.entry.live.Load(), a.stored
	if l != nil && l.owner == a.flight.owner && l.lease.InjectOnly != a.isInjectOnly {
		changed := *l
		changed.lease.InjectOnly = a.isInjectOnly
		if !a.entry.publish(&changed, a.revision) {
			return errStale
		}
		l = &changed
	}
	if l == nil || l.lease.Lineage == stored.Lineage && a.isGood(stored) {
		return nil
	}
	isForeign := stored.Access != "" && stored.Fingerprint != a.bound.Fingerprint()
	isOurs := l.fingerprint == a.bound.Fingerprint() && l.isUsable(a.now())
	if isOurs && (a.isEarly(stored) || isForeign) {
		return nil
	}
	if a.isGood(stored) {
		_, err := a.publish(stored, realm.FromDatabase, 0)
		return err
	}
	a.entry.forget()
	return nil
}

// place fills in where the token of l goes, and whether that is all that it is for.
func (a *attempt) place(l *live, access realm.Hidden, kept realm.Kept) error {
	bound := a.bound.With(kept)
	values, shared, err := bound.Place(access)
	if err != nil {
		return unavailable(http.StatusBadGateway, "the token cannot be injected: "+err.Error(), err)
	}
	l.lease.Computed = bound.PerRequest(access, values)
	l.lease.Access, l.lease.Values, l.lease.Target, l.lease.InjectOnly = shared, values, bound.Target(), a.isInjectOnly
	return nil
}

// publish makes a token the one in memory, and returns a lease that says where
// it was found.
func (a *attempt) publish(t realm.Token, source realm.Source, took time.Duration) (*realm.Lease, error) {
	return a.publishUntil(t, source, a.view.renewAt(a.flight.owner, a.ref, t, took))
}

func (a *attempt) publishUntil(t realm.Token, source realm.Source, renewAt realm.Instant) (*realm.Lease, error) {
	l := &live{
		owner: a.flight.owner, fingerprint: a.bound.Fingerprint(),
		renewAt: renewAt, from: realm.InstantOf(claim.BeginOfLife(t)),
	}
	l.lease.Expires, l.lease.Lineage, l.lease.Source = realm.InstantOf(t.ExpiresAt), t.Lineage, realm.FromMemory
	if err := a.place(l, t.Access, t.Kept); err != nil {
		return nil, a.fault(err)
	}
	if !a.entry.publish(l, a.revision) {
		return nil, errStale
	}
	now := a.now()
	if a.flight.purpose == claim.Load || a.flight.purpose == claim.Heal {
		a.entry.touch(now)
	}
	a.pool.schedule.published(a.ref, a.entry, l, now)
	a.pool.tellState(a.ref, a.entry)
	lease := l.lease
	lease.Source = source
	return &lease, nil
}

func (a *attempt) now() realm.Instant { return realm.InstantOf(a.pool.now()) }

// origin is what a failure of the attempt belongs to.
func (a *attempt) origin() origin { return origin{a.view, a.flight.owner} }

// fail remembers a failure, which lasts for wait, on this node.
func (a *attempt) fail(code realm.Code, cause *grant.Error, count int, wait time.Duration) *failure {
	f := newFailure(a.origin(), code, cause, count, a.now(), wait)
	a.entry.recordFailure(f, a.revision)
	return f
}

// fault remembers, on this node, an error that stood in the way before the provider
// was asked, and returns it. It is found out again by the next attempt, so that there
// is nothing to wait for. What is no fault of a realm or a secret is not remembered.
func (a *attempt) fault(err error) error { return a.faultFor(0, err) }

// faultFor is fault, where it ends by itself after some time, unless that is 0.
func (a *attempt) faultFor(life time.Duration, err error) error {
	var known *realm.Error
	if !errors.As(err, &known) {
		return err
	}
	switch known.Code {
	case realm.CodeUnavailable, realm.CodeAuditUnavailable, realm.CodeInternal, realm.CodeRateLimited: // it is the store, or the caller
	case realm.CodeRealmNotFound, realm.CodeSecretNotFound: // there is nothing to show
	default:
		f := newFault(a.origin(), known, a.now())
		if life > 0 {
			f.faultEnds = f.at.Add(life)
		}
		a.entry.recordFailure(f, a.revision)
	}
	return err
}

// warn logs what was odd about an answer.
func (a *attempt) warn(warnings []string) {
	for _, w := range warnings {
		a.log.Warn(w)
	}
}
