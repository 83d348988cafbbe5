package broker

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// awayWait is how often a node may ask a provider for itself while no claim
// can be written.
const awayWait = 30 * time.Second

// unclaimed goes on without a claim, because the store cannot be written. A
// realm that gets refresh tokens does not: what it would be given could not be
// kept. Any other serves its token to its end, and then each node asks for
// itself, once in awayWait; a provider that ends the old token with each new
// one is asked by one of them, as far as the cache can tell.
func (t *task) unclaimed(ctx context.Context, w *asks, away error) (*realm.Lease, error) {
	if !tokenstore.IsUnavailable(away) || w.canRefresh || t.f.kind == renew || t.f.kind.forced() || t.f.owner.Program.Unattended() {
		return nil, away
	}
	now := realm.InstantOf(t.pool.now())
	if wait := t.pool.away.take(t.ref, now); wait > 0 {
		return nil, tooSoon(away, wait)
	}
	if l, ok := t.pool.store.(tokenstore.Leaser); ok && t.f.owner.Config.Semantics == realm.SemanticsRotate {
		if granted, known := l.Lease(ctx, t.ref, awayWait); known && !granted {
			return nil, tooSoon(away, time.Second)
		}
	}
	t.pool.log.Warn("the store cannot be written; this node asks the provider for itself",
		zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key))
	end := &ended{asks: w, verdict: verdict{parent: t.stored.Lineage}, unclaimed: true}
	res, err := t.request(ctx, w, end.verdict, time.Now())
	if err != nil {
		var cause *grant.Error
		if !errors.As(err, &cause) {
			return nil, away
		}
		tr := &trouble{
			code: realm.CodeTokenUnavailable, cause: cause, fails: 1,
			at: now, until: now + realm.Instant(awayWait.Microseconds()),
		}
		t.e.suffer(tr, t.revision)
		return nil, tr.first(now)
	}
	t.warn(res.Warnings)
	t.take(end, res)
	if end.once {
		return t.once(end)
	}
	return t.keep(ctx, end)
}

// publishUnsaved hands out a token that the store did not take, unless a
// refresh token came with it: that has to be safe first.
func (t *task) publishUnsaved(end *ended, failed error) (*realm.Lease, error) {
	token := t.pool.local(end.token)
	if end.cause != nil || end.discard || token.Refresh != "" || end.canRefresh || !t.good(token) {
		return nil, failed
	}
	token.Lineage = t.stored.Lineage
	// The next use has it saved, not one that is due.
	soon := realm.InstantOf(t.pool.now()) + realm.Instant(storeWait.Microseconds())
	return t.publishUntil(token, realm.FromUpstream, soon)
}

func tooSoon(err error, wait time.Duration) error {
	return &realm.Error{
		Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
		Detail: "the store cannot be written, and the provider was asked a moment ago", RetryAfter: wait, Err: err,
	}
}

// turns are the calls that were made without a claim, by when they were made.
// The zero value is ready.
type turns struct {
	mu   sync.Mutex
	last map[realm.Ref]realm.Instant
}

// take takes a turn, or says how long it takes until there is one.
func (t *turns) take(ref realm.Ref, now realm.Instant) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.last[ref]; ok && last <= now {
		if left := awayWait - time.Duration(now-last)*time.Microsecond; left > 0 {
			return left
		}
	}
	if t.last == nil {
		t.last = map[realm.Ref]realm.Instant{}
	}
	t.last[ref] = now
	return 0
}

// count is how many (realm, key) are being served without claims.
func (t *turns) count(now realm.Instant) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, last := range t.last {
		if time.Duration(now-last)*time.Microsecond > awayWait {
			delete(t.last, ref)
			continue
		}
		n++
	}
	return n
}
