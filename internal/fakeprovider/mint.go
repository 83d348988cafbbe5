package fakeprovider

import (
	"crypto/rand"
	"time"
)

// record is one access token.
type record struct {
	holder
	token    string
	family   int64 // of the refresh token or the code that it came of; 0 for none
	issuedAt time.Time
	endsAt   time.Time
	// revokedAt ends it before endsAt; zero for never.
	revokedAt time.Time
	uses      int
	before    *record // of the same series
}

// holder is whose a token is: the app's, and, where a user let it in, his.
type holder struct{ ref, user string }

// seriesKey names the tokens that overtake each other.
type seriesKey struct {
	endpoint string
	holder
}

// mint makes access tokens and knows all that it made.
type mint struct {
	records map[string]*record
	current map[seriesKey]*record
	made    int64
}

func newMint() mint {
	return mint{records: map[string]*record{}, current: map[seriesKey]*record{}}
}

func randomToken(int64) string { return rand.Text() + rand.Text()[:6] }

// diedAt is when the token died; zero while it lives.
func (r *record) diedAt(now time.Time) time.Time {
	switch r.state(now) {
	case revoked:
		return r.revokedAt
	case expired:
		return r.endsAt
	default:
		return time.Time{}
	}
}

func (r *record) state(now time.Time) state {
	switch {
	case !r.revokedAt.IsZero() && !now.Before(r.revokedAt):
		return revoked
	case !now.Before(r.endsAt):
		return expired
	default:
		return live
	}
}

// revoke ends the token at an instant, if it does not end earlier anyway.
func (r *record) revoke(at time.Time) {
	if r.revokedAt.IsZero() || at.Before(r.revokedAt) {
		r.revokedAt = at
	}
}

// give grants a token: the same one again, or a new one. The caller holds the
// lock.
func (p *Provider) give(e endpoint, a ask, now time.Time) grant {
	switch {
	case a.code != "":
		return p.spendCode(e, a, now)
	case a.refresh != "":
		return p.spendRefresh(e, a, now)
	}
	whose := holder{a.ref, a.user}
	rule, key := p.rule(e, a.ref), seriesKey{e.name, whose}
	cur := p.mint.current[key]
	if rule.again(cur, a.force, now) {
		if rule.Extends {
			cur.endsAt = now.Add(rule.Life)
		}
		p.book.add(Event{At: now, Kind: Given, Ref: a.ref, User: a.user, Token: cur.token})
		return p.granted(e, cur, nil, now)
	}
	if cur != nil && rule.overtakes(a.force) {
		p.revoke(cur, now.Add(rule.Overlap), now, "overtaken")
	}
	var rt *refreshRecord
	if p.opts.Refresh.Semantics != "" && !e.lone {
		rt = p.newRefresh(whose, 0, now)
	}
	rec := p.issue(whose, rule.Life, rt, now)
	rec.before, p.mint.current[key] = cur, rec
	p.thin(rec, rule.Newest, now)
	return p.granted(e, rec, rt, now)
}

// thin ends all tokens of a series but the newest n; 0 keeps all.
func (p *Provider) thin(newest *record, n int, now time.Time) {
	if n == 0 {
		return
	}
	for rec := newest; rec != nil; rec = rec.before {
		if n--; n < 0 {
			p.revoke(rec, now, now, "too many")
		}
	}
}

// grant is the outcome of give.
type grant struct {
	wire    wire
	refusal Refusal
}

func (p *Provider) granted(e endpoint, rec *record, rt *refreshRecord, now time.Time) grant {
	spelled := p.speak.names
	if e.names != nil {
		spelled = *e.names
	}
	g := wire{names: spelled, extras: p.speak.extras, now: now, token: rec.token, life: rec.endsAt.Sub(now), user: rec.user}
	if p.opts.Refresh.Seconds {
		g.names.epoch = false
	}
	if rt != nil {
		g.refresh = rt.token
		if !rt.endsAt.IsZero() {
			g.refreshLife = rt.endsAt.Sub(now)
		}
	}
	return grant{wire: g}
}

func (p *Provider) issue(whose holder, life time.Duration, rt *refreshRecord, now time.Time) *record {
	p.mint.made++
	rec := &record{token: p.opts.Mint(p.mint.made), holder: whose, issuedAt: now, endsAt: now.Add(life)}
	e := Event{At: now, Kind: Issued, Ref: whose.ref, User: whose.user, Token: rec.token}
	if rt != nil {
		rec.family, e.Refresh, rt.access = rt.family, rt.token, rec
	}
	p.mint.records[rec.token] = rec
	p.book.add(e)
	return rec
}

func (p *Provider) revoke(rec *record, at, now time.Time, reason string) {
	if rec.state(now) != live {
		return
	}
	rec.revoke(at)
	p.book.add(Event{At: now, Kind: Revoked, Ref: rec.ref, User: rec.user, Token: rec.token, Reason: reason, From: at})
}
