package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Renew returns a token other than the one that the provider's API refused.
// Whoever reports a token that was replaced already gets the new one, and
// costs nothing: only the token that is current now is renewed.
//
// Errors are those of Token; CodeTokenUnavailable also where the provider
// gives the very same token again.
func (v *View) Renew(ctx context.Context, ref realm.Ref, failed realm.Hidden) (*realm.Lease, error) {
	c, err := v.realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	if e, ok := v.pool.entries.Load(ref); ok {
		l := e.live.Load()
		if l != nil && l.owner == c && l.lease.Access != failed && l.usable(realm.InstantOf(v.pool.now())) {
			return &l.lease, nil
		}
	}
	return v.join(ctx, c, ref, aim{kind: heal, failed: failed})
}

// Worked takes notice that the provider's API accepted a token. A token that is
// refused before that counts as a failed call to the provider.
func (v *View) Worked(ref realm.Ref, lease *realm.Lease) {
	e, ok := v.pool.entries.Load(ref)
	if !ok || e.proven.Load() {
		return
	}
	if l := e.live.Load(); l != nil && l.lease.Access == lease.Access {
		e.proven.Store(true)
	}
}

// deaths are tokens in a row that ended before their time.
type deaths struct {
	count  uint8
	told   bool // the log was told
	lately realm.Instant
}

const (
	// contended is how many tokens in a row have to die early until somebody
	// else must be suspected to fetch them.
	contended = 3
	// forgiven is how long after an early death the next one does not count as
	// in a row, where no token's life is longer.
	forgiven = time.Hour
)

// bury notes that the API refused the live token, and says whether it had
// never worked. Two systems that fetch one credential kill each other's tokens
// again and again: that is said once.
func (t *task) bury() {
	now := realm.InstantOf(t.pool.now())
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	l := t.e.live.Load()
	if l == nil || l.lease.Access != t.f.failed {
		return
	}
	t.refuted = !t.e.proven.Load()
	t.pool.observe(func(o Observer) { o.Died(t.ref) })
	d := &t.e.work().deaths
	old := time.Duration(now-d.lately) * time.Microsecond
	if d.lately == 0 || old < 0 || old > max(forgiven, l.life()) {
		*d = deaths{}
	}
	d.lately = now
	if early := l.lease.Expires == 0 || l.lease.Expires-now > realm.Instant(l.life().Microseconds()/10); !early || t.refuted {
		return
	}
	d.count = min(d.count+1, contended)
	if d.count == contended && !d.told {
		d.told = true
		t.pool.log.Warn("another system fetches this credential: its tokens die early again and again",
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key),
			zap.String("advice", "let one system fetch, or use the provider's way to a token that all share (WeChat: stable_token)"))
	}
}
