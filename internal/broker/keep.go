package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// unsaved is a call whose outcome the store did not take yet; nil for none.
func (t *trouble) unsaved() *ended {
	if t == nil {
		return nil
	}
	return t.kept
}

// keep saves what a call gave and then publishes it. The store has its full
// time for that, however long the provider took; what it does not take is kept
// for the next flight, so that the provider is not asked for another one.
func (t *task) keep(ctx context.Context, end *ended) (*realm.Lease, error) {
	now := realm.InstantOf(t.pool.now())
	s, err := t.settle(ctx, end)
	if err != nil {
		t.e.postpone(end, now)
		t.pool.schedule.later(t.ref, t.e, now+realm.Instant(storeWait.Microseconds()))
		t.pool.log.Warn("token fetched and not saved; it is kept in memory",
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.Error(err))
		return t.publishUnsaved(end, err)
	}
	t.e.saved(end)
	if end.cause != nil {
		return nil, t.pool.troubleOf(&s, end.cause, now).first(now)
	}
	return t.present(ctx, end, s.Token)
}

// settle closes the claim of a call with its outcome. A refresh token is put
// into the spool first, where there is one: the way to another machine's disk
// is longer and may be broken.
func (t *task) settle(ctx context.Context, end *ended) (tokenstore.State, error) {
	spooled := t.spool(end)
	failpoint.Hit("spooled")
	ctx, cancel := bounded(context.WithoutCancel(ctx))
	defer cancel()
	sent := t.pool.now()
	s, err := t.pool.store.Coordinate(ctx, t.ref, func(s *tokenstore.State) error {
		end.settle(s)
		return nil
	})
	if err != nil {
		return tokenstore.State{}, catalog.StoreError(err)
	}
	failpoint.Hit("saved")
	t.pool.setClock(s.Now, sent)
	if spooled {
		t.pool.unspool(end.id)
	}
	return s, nil
}

// present publishes what a call came to: its token, or that of somebody who
// was faster.
func (t *task) present(ctx context.Context, end *ended, saved realm.Token) (*realm.Lease, error) {
	if err := t.current(ctx); err != nil {
		return nil, err
	}
	if end.discard {
		return nil, errStale
	}
	if end.once {
		return t.once(end)
	}
	t.stored = t.pool.local(saved)
	if t.insists(end) && t.stored.Access == t.f.failed {
		return nil, t.stubborn()
	}
	if !t.good(t.stored) {
		return nil, errStale
	}
	lease, err := t.announce(end)
	if err == nil {
		failpoint.Hit("published")
	}
	return lease, err
}

// announce publishes the stored token, and tells the story of its renewal in
// one line.
func (t *task) announce(end *ended) (*realm.Lease, error) {
	l := t.e.live.Load()
	if l == nil {
		l = t.f.barred
	}
	renewAt := t.renewAt(t.f.owner, t.ref, t.stored, end.took)
	if t.f.kind == renew && l != nil && l.lease.Access == t.stored.Access && near(l.lease.Expires.Time(), t.stored.ExpiresAt) {
		// The provider has nothing new before the end: it is not asked again.
		renewAt = realm.InstantOf(t.stored.ExpiresAt)
	} else {
		t.pool.log.Info("token fetched",
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.String("why", t.f.kind.String()),
			zap.Bool("refreshed", end.source.refreshes()), zap.Duration("took", end.took),
			zap.Int64("lineage", t.stored.Lineage), zap.Time("expires_at", t.stored.ExpiresAt))
		t.pool.observe(func(o Observer) { o.Refreshed(t.ref, t.f.kind.String(), t.stored.ExpiresAt) })
	}
	return t.publishUntil(t.stored, realm.FromUpstream, renewAt)
}

// current makes sure that the secret is still the one that the token was
// obtained with: another node may have changed it meanwhile.
func (t *task) current(ctx context.Context) error {
	secret, err := t.catalog.Secret(context.WithoutCancel(ctx), t.f.owner, t.ref)
	if err != nil {
		return err
	}
	if b, err := t.f.owner.Program.Bind(secret); err != nil || b.Fingerprint() != t.bound.Fingerprint() {
		return errStale
	}
	return nil
}

// once is a token that has no life left: it serves those who wait, nobody
// else.
func (t *task) once(end *ended) (*realm.Lease, error) {
	now := realm.InstantOf(t.pool.now())
	until := max(now+realm.Instant(lifelessWait.Microseconds()), realm.InstantOf(t.pool.local(end.token).ExpiresAt))
	t.e.suffer(&trouble{at: now, until: until}, t.revision)
	l := &live{}
	if err := t.place(l, end.token.Access); err != nil {
		return nil, err
	}
	l.lease.Expires, l.lease.Source = max(now, realm.InstantOf(t.pool.local(end.token).ExpiresAt)), realm.FromUpstream
	return &l.lease, nil
}

// stubborn is what callers are told when the provider gives the token again
// that its API refuses.
func (t *task) stubborn() error {
	now := realm.InstantOf(t.pool.now())
	tr := &trouble{
		code: realm.CodeTokenUnavailable, cause: errSame, fails: 1,
		at: now, until: now + realm.Instant(time.Second.Microseconds()),
	}
	t.e.suffer(tr, t.revision)
	t.pool.log.Warn("the provider gives the token again that its API refuses",
		zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key))
	return tr.first(now)
}
