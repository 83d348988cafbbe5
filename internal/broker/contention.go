package broker

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Two systems that fetch one credential of a provider whose new token ends the
// old one kill each other's tokens, again and again.

const (
	// contended is how many tokens in a row have to die early until somebody
	// else must be suspected to fetch them.
	contended = 3
	// forgiven is how long after an early death the next one does not count as
	// in a row, where no token's life is longer.
	forgiven = time.Hour

	contention       = "another system fetches this credential"
	contentionAdvice = "let one system fetch, or use the provider's way to a token that all share (WeChat: stable_token)"
)

// deaths are tokens in a row that ended before their time.
type deaths struct {
	count uint8
	told  bool // the log was told
	// last is the token that died last: each request that still carries it may
	// report it, for as long as there is no other.
	last realm.Hidden
	// at is the last one; after until it is forgiven.
	at, until realm.Instant
}

// contention says whether somebody else must be suspected now.
func (d *deaths) contention(now realm.Instant) bool {
	return d.count == contended && d.at <= now && now < d.until
}

// bury notes that the API refused the live token, and whether it had never
// worked. That it died early counts only of one that had: what never worked
// tells of a provider that is broken. The tokens that this product replaced
// itself, here or on another node, do not come here.
func (t *task) bury() {
	now := realm.InstantOf(t.pool.now())
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	l := t.e.live.Load()
	if l == nil || l.lease.Access != t.f.failed {
		return
	}
	t.refuted = !t.e.proven.Load()
	d := &t.e.work().deaths
	if d.last == t.f.failed {
		return
	}
	t.pool.observe(func(o Observer) { o.Died(t.ref) })
	if now < d.at || now >= d.until {
		*d = deaths{}
	}
	d.last, d.at, d.until = t.f.failed, now, now+realm.Instant(max(forgiven, l.life()).Microseconds())
	if early := l.lease.Expires == 0 || l.lease.Expires-now > realm.Instant(l.life().Microseconds()/10); !early || t.refuted {
		return
	}
	d.count = min(d.count+1, contended)
	if d.count == contended && !d.told {
		d.told = true
		t.pool.log.Warn(contention+": its tokens die early again and again",
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.String("advice", contentionAdvice))
	}
}

// absolve forgets the early deaths of a (realm, key): the next one may be of
// our own doing.
func (p *Pool) absolve(ref realm.Ref) {
	e, ok := p.entries.Load(ref)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.doing != nil {
		e.doing.deaths = deaths{}
		e.rest()
	}
}
