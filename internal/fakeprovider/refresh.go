package fakeprovider

import "time"

// RefreshSemantics is what becomes of a refresh token that was used (the
// words of a realm's `refresh_semantics`).
type RefreshSemantics string

// The semantics of refresh tokens.
const (
	// Stable: it never changes, and is returned again.
	Stable RefreshSemantics = "stable"
	// Grace: a new one each time; the one before is good for RefreshRule.Grace, and
	// only the newest child lives on.
	Grace RefreshSemantics = "grace"
	// Strict: one use, and the old pair is cleared at once (Douyin). Reuse is
	// a plain invalid_grant.
	Strict RefreshSemantics = "strict"
	// Family: one use; reuse revokes the whole family of tokens
	// (RFC 9700 section 4.14.2).
	Family RefreshSemantics = "family"
)

// RefreshRule is how the refresh tokens of a provider live.
type RefreshRule struct {
	Semantics RefreshSemantics
	// Grace is how long a spent token is still good, for Grace.
	Grace time.Duration
	// Life of a refresh token; zero for no end (and none is told).
	Life time.Duration
	// Extends, for Stable: a refresh sets the life of the access token to the
	// whole, and gives the same one, as long as it lives (JD's logistics).
	Extends bool
	// Seconds: the end of a refresh token is told as the seconds that remain,
	// where the style says an instant.
	Seconds bool
}

// refreshRecord is one refresh token.
type refreshRecord struct {
	holder
	token   string
	family  int64
	endsAt  time.Time
	spentAt time.Time
	revoked bool
	child   *refreshRecord
	// access is the token that was issued with it.
	access *record
}

// refreshBook knows all refresh tokens.
type refreshBook struct {
	records  map[string]*refreshRecord
	families int64
}

func newRefreshBook() refreshBook { return refreshBook{records: map[string]*refreshRecord{}} }

// Pair is what a person's consent gives.
type Pair struct {
	Access  string
	Refresh string
	Life    time.Duration
}

// Authorize is a person's consent: it starts a family of tokens for an app.
// It panics when the provider issues no refresh tokens.
func (p *Provider) Authorize(ref string) Pair {
	if p.opts.Refresh.Semantics == "" {
		panic("fakeprovider: Options.Refresh is not set")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.opts.Now()
	rt := p.newRefresh(holder{ref: ref}, 0, now)
	life := p.rule(endpoint{}, ref).Life
	rec := p.issue(rt.holder, life, rt, now)
	p.book.returned[rec.token], p.book.returned[rt.token] = true, true
	return Pair{Access: rec.token, Refresh: rt.token, Life: life}
}

// LiveRefresh reports whether the provider would accept a refresh token now.
func (p *Provider) LiveRefresh(token string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	rt := p.refresh.records[token]
	return rt != nil && p.opts.Refresh.accepts(rt, p.opts.Now())
}

// Descendant is the newest refresh token of the chain that a refresh token
// began: of each, the child that was issued last. It is the token itself where
// it was never spent, or never changes, and "" for one that was never issued.
func (p *Provider) Descendant(token string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	rt := p.refresh.records[token]
	if rt == nil {
		return ""
	}
	for rt.child != nil {
		rt = rt.child
	}
	return rt.token
}

// newRefresh makes a refresh token; family 0 starts a new family.
func (p *Provider) newRefresh(whose holder, family int64, now time.Time) *refreshRecord {
	if family == 0 {
		family = p.newFamily()
	}
	p.mint.made++
	rt := &refreshRecord{token: "r-" + p.opts.Mint(p.mint.made), holder: whose, family: family}
	if life := p.opts.Refresh.Life; life > 0 {
		rt.endsAt = now.Add(life)
	}
	p.refresh.records[rt.token] = rt
	return rt
}

func (p *Provider) newFamily() int64 {
	p.refresh.families++
	return p.refresh.families
}

// accepts reports whether a refresh token may be spent now.
func (r RefreshRule) accepts(rt *refreshRecord, now time.Time) bool {
	if rt.revoked || (!rt.endsAt.IsZero() && !now.Before(rt.endsAt)) {
		return false
	}
	if rt.spentAt.IsZero() || r.Semantics == Stable {
		return true
	}
	// Whoever spent the child has received it: the parent is of no use then.
	return r.Semantics == Grace && now.Before(rt.spentAt.Add(r.Grace)) && rt.child.spentAt.IsZero()
}

// spendRefresh is the grant of RFC 6749 section 6. The caller holds the lock.
func (p *Provider) spendRefresh(e endpoint, a ask, now time.Time) grant {
	rt := p.refresh.records[a.refresh]
	if rt == nil || rt.ref != a.ref {
		return grant{refusal: BadRefresh}
	}
	again := !rt.spentAt.IsZero() && p.opts.Refresh.Semantics != Stable
	if again {
		p.book.add(Event{At: now, Kind: Reused, Ref: a.ref, User: rt.user, Refresh: rt.token})
	}
	if !p.opts.Refresh.accepts(rt, now) {
		if again && p.opts.Refresh.Semantics == Family {
			p.revokeFamily(rt.family, now)
		}
		return grant{refusal: BadRefresh}
	}
	if !again {
		p.book.add(Event{At: now, Kind: Spent, Ref: a.ref, User: rt.user, Refresh: rt.token})
		rt.spentAt = now
	}
	if p.opts.Refresh.Extends && rt.access != nil && rt.access.state(now) == live {
		return p.extend(e, rt, now)
	}
	next := p.successor(rt, now)
	return p.granted(e, p.issue(rt.holder, p.rule(e, a.ref).Life, next, now), next, now)
}

// extend gives the access token that a refresh token came with once more, with
// the whole of its life.
func (p *Provider) extend(e endpoint, rt *refreshRecord, now time.Time) grant {
	rec := rt.access
	rec.endsAt = now.Add(p.rule(e, rt.ref).Life)
	p.book.add(Event{At: now, Kind: Given, Ref: rt.ref, User: rt.user, Token: rec.token, Refresh: rt.token})
	return p.granted(e, rec, rt, now)
}

// successor is the refresh token after rt, and ends what it replaces.
func (p *Provider) successor(rt *refreshRecord, now time.Time) *refreshRecord {
	if p.opts.Refresh.Semantics == Stable {
		return rt
	}
	if rt.child != nil { // a retry within the grace: only the newest child lives on
		rt.child.revoked = true
		p.revoke(rt.child.access, now, now, "sibling")
	}
	if p.opts.Refresh.Semantics == Strict && rt.access != nil {
		p.revoke(rt.access, now, now, "refreshed")
	}
	rt.child = p.newRefresh(rt.holder, rt.family, now)
	return rt.child
}

func (p *Provider) revokeFamily(family int64, now time.Time) {
	for _, rt := range p.refresh.records {
		if rt.family == family {
			rt.revoked = true
		}
	}
	for _, e := range p.book.events { // not the map: the ledger's order is the same in every run
		if rec := p.mint.records[e.Token]; e.Kind == Issued && rec.family == family {
			p.revoke(rec, now, now, "family")
		}
	}
}
