package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// errStale: the secret changed while its token was obtained.
var errStale = errors.New("secret changed meanwhile")

// obtain does what a flight is for. When the secret changes while it works,
// it begins again with the new one: a token of the old is never published.
func (v *View) obtain(ctx context.Context, e *entry, f *flight, ref realm.Ref) (*realm.Lease, error) {
	if err := v.open(ctx, f.owner, ref); err != nil {
		return nil, err
	}
	for range 3 {
		lease, err := v.attempt(ctx, e, f, ref)
		if !errors.Is(err, errStale) {
			return lease, err
		}
	}
	return nil, unavailable(http.StatusServiceUnavailable, "the secret keeps changing", nil)
}

// open opens the store, if that was not done yet. A credential that the
// configuration defines can do without, as long as the store is away.
func (v *View) open(ctx context.Context, c *catalog.Realm, ref realm.Ref) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := v.pool.Open(ctx)
	if err == nil {
		return nil
	}
	if _, defined := c.Secrets[ref.Key]; defined && tokenstore.IsUnavailable(err) {
		return nil
	}
	return catalog.StoreError(err)
}

// task is one attempt: what it is about, and what it found so far. Its times
// are those of this machine's clock.
type task struct {
	*View
	e        *entry
	f        *flight
	ref      realm.Ref
	bound    *grant.Bound
	revision uint32
	// stored is the token of the store; zero where there is none.
	stored realm.Token
	// base is the lineage that a new token has to be newer than.
	base int64
	// refuted: the token that failed never worked.
	refuted bool
	// force asks the provider for a new token even where it would give the
	// old one again.
	force bool
}

func (v *View) attempt(ctx context.Context, e *entry, f *flight, ref realm.Ref) (*realm.Lease, error) {
	t := &task{View: v, e: e, f: f, ref: ref, force: f.kind == flush}
	e.mu.Lock()
	t.revision = e.revision
	e.mu.Unlock()
	secret, err := v.catalog.Secret(ctx, f.owner, ref)
	if err != nil {
		return nil, err
	}
	if !f.owner.Program.Fetches() {
		return t.fixed(secret)
	}
	if t.bound, err = f.owner.Program.Bind(secret); err != nil {
		return nil, misfit(f.owner.Program, secret, err)
	}
	if lease := t.fromMemory(); lease != nil {
		return lease, nil
	}
	return t.fromStore(ctx)
}

// fromStore takes the stored token, or goes on to the provider. A store that
// cannot be read does not stop a call: what may be done without it is decided
// later.
func (t *task) fromStore(ctx context.Context) (*realm.Lease, error) {
	source, err := t.read(ctx)
	if t.f.kind == verify {
		if err != nil {
			return nil, err
		}
		return nil, t.verify()
	}
	if err == nil && t.storedServes() {
		return t.publish(t.stored, source, 0)
	}
	return t.call(ctx)
}

// fixed is the way of a realm without a token request.
func (t *task) fixed(secret realm.Secret) (*realm.Lease, error) {
	if t.f.kind.forced() || t.f.kind == heal {
		return nil, &realm.Error{
			Code: realm.CodeFixedToken, Status: http.StatusExpectationFailed,
			Detail: "the realm has a fixed token: there is nothing to fetch",
		}
	}
	var token realm.Token
	var err error
	if t.bound, err = t.f.owner.Program.Bind(secret); err == nil {
		token, err = t.bound.Fixed()
	}
	if err != nil && t.f.owner.Program.CheckSecret(secret) != nil {
		return nil, misfit(t.f.owner.Program, secret, err)
	}
	if err != nil {
		return nil, &realm.Error{
			Code: realm.CodeFixedToken, Status: http.StatusBadGateway,
			Detail: "the realm has a fixed token, and the secret does not hold it: " + err.Error(), Err: err,
		}
	}
	if token.Expired(t.pool.now().Add(slack)) {
		return nil, unavailable(http.StatusBadGateway, "the fixed token of the secret has ended", nil)
	}
	return t.publish(token, realm.FromDatabase, 0)
}

// fromMemory makes a lease for this configuration of a token that another one
// obtained: after a reload the token stays.
func (t *task) fromMemory() *realm.Lease {
	l := t.e.live.Load()
	if t.f.kind != load || l == nil || l.fingerprint != t.bound.Fingerprint() || !l.usable(realm.InstantOf(t.pool.now())) {
		return nil
	}
	fresh := *l
	fresh.owner = t.f.owner
	if t.place(&fresh, l.lease.Access) != nil || !t.e.publish(&fresh, t.revision) {
		return nil
	}
	return &fresh.lease
}

// read fetches the stored token. What another node changed may not have
// reached a shared cache: to verify, and to heal, the database is asked.
func (t *task) read(ctx context.Context) (realm.Source, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ask := t.pool.store.Token
	if s, ok := t.pool.store.(tokenstore.Rereader); ok && (t.f.kind == verify || t.f.kind == heal) {
		ask = s.Reread
	}
	token, source, err := ask(ctx, t.ref)
	if l := t.e.live.Load(); l != nil {
		t.base = l.lineage
	}
	switch {
	case errors.Is(err, tokenstore.ErrTokenNotFound):
		return 0, nil
	case err != nil:
		return 0, catalog.StoreError(err)
	}
	t.stored = t.pool.local(token)
	if t.f.kind.forced() || t.e.live.Load() == nil {
		t.base = max(t.base, token.Lineage)
	}
	return source, nil
}

// storedServes says whether the stored token is what the flight is for.
func (t *task) storedServes() bool {
	if !t.good(t.stored) {
		return false
	}
	switch t.f.kind {
	case flush:
		return false
	case authorize:
		return t.pool.now().Sub(t.stored.IssuedAt) < recently
	case heal:
		return t.stored.Access != t.f.failed
	case renew: // only if somebody else has done it
		l := t.e.live.Load()
		return l == nil && !t.f.anew || l != nil && t.stored.Lineage > l.lineage
	default:
		return true
	}
}

// good says whether a stored token may be used by this realm and secret, now.
func (t *task) good(token realm.Token) bool {
	return token.Access != "" && token.Fingerprint == t.bound.Fingerprint() &&
		!token.Expired(t.pool.now().Add(slack)) && !t.early(token)
}

// early says whether the clock went back since a token was issued, or the
// clock of the node that it was issued to is wrong.
func (t *task) early(token realm.Token) bool {
	return !token.ExpiresAt.IsZero() && t.pool.now().Before(begins(token))
}

// foreign says whether a stored token was got with another recipe or secret.
func (t *task) foreign(token realm.Token) bool {
	return token.Access != "" && token.Fingerprint != t.bound.Fingerprint()
}

// verify compares memory with the store, and lets the store win. A token from
// the future changes nothing, nor does one of another recipe: two nodes whose
// clocks, or whose configurations, disagree would fetch against each other.
func (t *task) verify() error {
	l := t.e.live.Load()
	if l == nil || (l.lineage == t.stored.Lineage && t.good(t.stored)) {
		return nil
	}
	ours := l.fingerprint == t.bound.Fingerprint() && l.usable(realm.InstantOf(t.pool.now()))
	if ours && (t.early(t.stored) || t.foreign(t.stored)) {
		return nil
	}
	if t.good(t.stored) {
		_, err := t.publish(t.stored, realm.FromDatabase, 0)
		return err
	}
	t.e.forget()
	return nil
}

// place fills in where the token of l goes.
func (t *task) place(l *live, access realm.Hidden) error {
	values, shared, err := t.bound.Place(access)
	if err != nil {
		return unavailable(http.StatusBadGateway, "the token cannot be injected: "+err.Error(), err)
	}
	l.lease.Access, l.lease.Values, l.lease.Target = shared, values, t.bound.Target()
	return nil
}

// publish makes a token the one in memory and returns it as it was found.
func (t *task) publish(token realm.Token, source realm.Source, took time.Duration) (*realm.Lease, error) {
	return t.publishUntil(token, source, t.renewAt(t.f.owner, t.ref, token, took))
}

func (t *task) publishUntil(token realm.Token, source realm.Source, renewAt realm.Instant) (*realm.Lease, error) {
	now := realm.InstantOf(t.pool.now())
	l := &live{
		owner: t.f.owner, lineage: token.Lineage, fingerprint: t.bound.Fingerprint(),
		renewAt: renewAt, from: realm.InstantOf(begins(token)),
	}
	l.lease.Expires, l.lease.Source = realm.InstantOf(token.ExpiresAt), realm.FromMemory
	if err := t.place(l, token.Access); err != nil {
		return nil, err
	}
	if !t.e.publish(l, t.revision) {
		return nil, errStale
	}
	if t.f.kind == load || t.f.kind == heal {
		t.e.touch(now)
	}
	t.pool.schedule.published(t.ref, t.e, l, now)
	lease := l.lease
	lease.Source = source
	return &lease, nil
}

// warn logs what was odd about an answer.
func (t *task) warn(warnings []string) {
	for _, w := range warnings {
		t.pool.log.Warn(w, zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key))
	}
}
