package broker

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// fetch asks the provider: once, unless it was asked in vain a moment ago, or
// gave a token that was not saved yet.
func (t *task) fetch(ctx context.Context) (*realm.Lease, error) {
	if why := t.f.owner.program.Inactive(); why != "" {
		return nil, &realm.Error{Code: realm.CodeNotActive, Status: http.StatusConflict, Detail: why}
	}
	if kept := t.kept(); kept != nil {
		return t.keep(ctx, *kept, 0)
	}
	if err := t.e.holdOff(t.f.kind, realm.InstantOf(t.pool.now())); err != nil {
		return nil, err
	}
	if err := t.e.pause(ctx, realm.InstantOf(t.pool.now())); err != nil {
		return nil, err
	}
	res, err := t.bound.Fetch(ctx, t.client, grant.Request{Force: t.f.kind == flush, DefaultTimeout: t.callTimeout})
	if err != nil {
		return nil, t.failed(err)
	}
	t.warn(res.Warnings)
	t.e.mu.Lock()
	t.e.fetches++
	stale := t.e.revision != t.revision
	t.e.mu.Unlock()
	if stale {
		return nil, errStale
	}
	if res.Once {
		return t.once(res)
	}
	return t.keep(ctx, res.Token, res.Took)
}

// kept is the token of an earlier call that was not saved. By force, a new one
// is fetched.
func (t *task) kept() *realm.Token {
	trouble := t.e.lastTrouble()
	if trouble == nil || trouble.kept == nil || t.f.kind == flush || !t.good(*trouble.kept) {
		return nil
	}
	return trouble.kept
}

// keep saves a token and then publishes it. The store has its full time for
// that, however long the provider took; a token that it does not take is kept
// for the next flight, so that the provider is not asked for another one.
func (t *task) keep(ctx context.Context, token realm.Token, took time.Duration) (*realm.Lease, error) {
	ctx, cancel := bounded(context.WithoutCancel(ctx))
	defer cancel()
	log := t.pool.log.With(zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.String("why", t.f.kind.String()))
	saved, err := t.save(ctx, token)
	if err != nil {
		if !errors.Is(err, errStale) && t.e.postpone(unsaved(token, realm.InstantOf(t.pool.now())), t.revision) {
			log.Warn("token fetched and not saved; it is kept in memory", zap.Error(err))
		}
		return nil, err
	}
	log.Info("token fetched", zap.Duration("took", took), zap.Int64("lineage", saved.Lineage), zap.Time("expires_at", saved.ExpiresAt))
	return t.publish(saved, realm.FromUpstream, took)
}

// failed takes down a failed call and returns what its callers are told.
func (t *task) failed(err error) error {
	var cause *grant.Error
	if !errors.As(err, &cause) {
		cause = &grant.Error{Class: grant.Retryable, Kind: grant.KindConnection, Detail: "internal"}
	}
	now := realm.InstantOf(t.pool.now())
	t.e.mu.Lock()
	t.e.fetches++
	t.e.trouble = t.e.trouble.next(cause, now)
	trouble := t.e.trouble
	t.e.mu.Unlock()
	t.pool.log.Warn("token not fetched",
		zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.String("why", t.f.kind.String()),
		zap.Stringer("class", cause.Class), zap.Error(cause), zap.Duration("next_in", trouble.left(now)))
	return trouble.first(now)
}

// once is a token without a life: it serves those who wait, nobody else.
func (t *task) once(res grant.Result) (*realm.Lease, error) {
	t.e.mu.Lock()
	t.e.trouble = lifeless(realm.InstantOf(t.pool.now()))
	t.e.mu.Unlock()
	l := &live{}
	if err := t.place(l, res.Token.Access); err != nil {
		return nil, err
	}
	l.lease.Expires, l.lease.Source = realm.InstantOf(t.pool.now()), realm.FromUpstream
	return &l.lease, nil
}

// saveTries bounds the duel of two nodes over one token.
const saveTries = 10

// save makes the token durable. Until claims exist two nodes may fetch at the
// same time: the token whose request was sent later is the newer one, and it
// is never overwritten by the older.
func (t *task) save(ctx context.Context, token realm.Token) (realm.Token, error) {
	parent := t.stored.Lineage
	for range saveTries {
		saved, err := t.pool.store.SaveToken(ctx, t.ref, token, parent)
		if !errors.Is(err, tokenstore.ErrLineage) {
			if err != nil {
				err = storeFailed(err)
			}
			return saved, err
		}
		if _, err = t.read(ctx); err != nil {
			return realm.Token{}, err
		}
		if t.good(t.stored) && t.stored.IssuedAt.After(token.IssuedAt) {
			return t.stored, nil
		}
		if secret, err := t.secret(ctx, t.f.owner, t.ref); err != nil {
			return realm.Token{}, err
		} else if b, err := t.f.owner.program.Bind(secret); err != nil || b.Fingerprint() != t.bound.Fingerprint() {
			return realm.Token{}, errStale
		}
		parent = t.stored.Lineage
	}
	return realm.Token{}, unavailable(http.StatusServiceUnavailable, "other nodes keep replacing the token", nil)
}
