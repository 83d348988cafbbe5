package fakeprovider

import (
	"strconv"
	"time"
)

// Revoke ends an access token now, as a provider does that killed it early.
func (p *Provider) Revoke(token string) { p.RevokeAt(token, time.Time{}) }

// RevokeAt ends an access token at an instant of the provider's clock; one
// that is past, or zero, is now.
func (p *Provider) RevokeAt(token string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rec := p.mint.records[token]; rec != nil {
		now := p.opts.Now()
		if at.Before(now) {
			at = now
		}
		p.revoke(rec, at, now, "taken back")
	}
}

// Steal lets somebody else who has an app's credential ask for a token, at the
// endpoint that most callers of the style use, and returns what he gets. Where
// tokens rotate, ours is overtaken. The ledger says Stolen, not Asked; the
// app's quota is spent on it, and does not stop it.
func (p *Provider) Steal(ref string) string { return p.StealFrom(p.speak.main, ref, false) }

// StealFrom is Steal at the endpoint of a path; force asks for a new token
// where the endpoint knows that (WeChat's stable_token).
func (p *Provider) StealFrom(path, ref string, force bool) string {
	e, ok := p.speak.endpoints[path]
	if !ok {
		panic("fakeprovider: no token endpoint " + strconv.Quote(path))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, a := p.opts.Now(), ask{ref: ref, force: force}
	p.count(e, a, now)
	token := p.give(e, a, now).wire.token
	p.book.add(Event{At: now, Kind: Stolen, Ref: ref, Token: token})
	return token
}
