package broker

import (
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Two systems that fetch one credential of a provider whose new token ends the
// old one kill each other's tokens, again and again.

const (
	// contendedAfter is how many tokens in a row have to die early until
	// somebody else must be suspected of fetching them.
	contendedAfter = 3
	// forgottenAfter is how long after an early death the next one does not
	// count as in a row, unless the tokens live longer than that.
	forgottenAfter = time.Hour

	contention       = "another system fetches this credential"
	contentionAdvice = "let one system fetch, or use the provider's way to a token that all share (WeChat: stable_token)"
)

// earlyDeaths counts the tokens in a row that the API refused before their
// time.
type earlyDeaths struct {
	count    uint8
	isLogged bool
	// last is the token that was refused last: each request that still carries
	// it may report it, as long as there is no other.
	last realm.Hidden
	// isEarly: the last one was early. It counts only if another token helped:
	// otherwise the request was at fault, and the token may have lived.
	isEarly bool
	// at is when it was refused. From until on it is forgotten.
	at, until realm.Instant
}

// isContended reports whether somebody else must be suspected now.
func (d *earlyDeaths) isContended(now realm.Instant) bool {
	return d.count == contendedAfter && d.at <= now && now < d.until
}

// noteRejected notes that the API refused the live token, and whether it had
// accepted it before. An early end is of a token that was accepted: a token that
// never worked tells of a provider that is broken. Tokens that this product
// replaced itself, here or on another node, do not come here.
func (a *attempt) noteRejected() {
	dead, isNews := a.recordRejected()
	if !isNews {
		return
	}
	a.pool.notify(func(o Observer) { o.Died(a.ref) })
	a.pool.watchers.tell(Change{Realm: a.ref.Realm, Key: a.ref.Key, Lineage: dead.lease.Lineage, State: stateDead})
}

// recordRejected records it in the entry, and reports whether that is news.
func (a *attempt) recordRejected() (dead *live, isNews bool) {
	e, now := a.entry, a.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.live.Load()
	if l == nil || l.lease.Access != a.flight.failed {
		return nil, false
	}
	a.acceptance = claim.NeverAccepted
	if e.accepted.Load() {
		a.acceptance = claim.Accepted
		e.clearEarlyRefusalLocked()
	}
	d := &e.activityLocked().earlyDeaths
	if d.last == a.flight.failed {
		return nil, false
	}
	if now < d.at || now >= d.until {
		*d = earlyDeaths{}
	}
	d.last, d.at, d.until = a.flight.failed, now, now.Add(max(forgottenAfter, l.life()))
	endsEarly := l.lease.Expires == 0 || l.lease.Expires.Sub(now) > l.life()/10
	d.isEarly = endsEarly && a.acceptance == claim.Accepted
	return l, true
}

// countEarly counts the last death if it was early, and reports whether the log
// is to be told of contention.
func (d *earlyDeaths) countEarly() (isNews bool) {
	if !d.isEarly {
		return false
	}
	d.isEarly = false
	d.count = min(d.count+1, contendedAfter)
	isNews = d.count == contendedAfter && !d.isLogged
	d.isLogged = d.isLogged || isNews
	return isNews
}

func (p *Pool) warnContention(ref realm.Ref) {
	p.log.Warn(contention+": its tokens die early again and again",
		zap.String("realm", ref.Realm), zap.String("key", ref.Key), zap.String("advice", contentionAdvice))
}

// clearEarlyRefusalLocked forgets that the API refused fresh tokens: it has
// accepted one since, and a wait because of that would only keep its death from
// being healed.
func (e *entry) clearEarlyRefusalLocked() {
	if a := e.activity; a != nil && a.failure != nil && claim.IsEarlyRefusal(a.failure.cause) {
		e.clearFailureLocked()
	}
}

// resetEarlyDeaths forgets the early deaths of a (realm, key): the next one may
// be of our own doing.
func (p *Pool) resetEarlyDeaths(ref realm.Ref) {
	e, ok := p.entries.Load(ref)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.activity != nil {
		e.activity.earlyDeaths = earlyDeaths{}
		e.trimLocked()
	}
}
