package fakeprovider

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

// CodeRule is how the authorization codes of a provider live, and how they get
// to the app.
type CodeRule struct {
	// Life of a code; by default the documented one of the style (RFC 6749
	// section 4.1.2 recommends at most 10 minutes).
	Life time.Duration
	// Delivery is how the code arrives where no person is there to carry it
	// (JDVOP).
	Delivery Delivery
	// CallsAgain is how long after a call of the redirect URI that nobody took
	// (no answer, or one of 5xx) the provider calls once more; 0 for never.
	CallsAgain time.Duration
	// RefusalRedirects: the user name or password of such a request is refused
	// by a redirect with an error, not by a page with HTTP status 200.
	RefusalRedirects bool
	// Issuer is sent along with every code and error, as iss (RFC 9207); none
	// by default.
	Issuer string
	// NeedsPKCE refuses an authorization request without a code_challenge (RFC
	// 7636), where the style knows that.
	NeedsPKCE bool
}

// codeRecord is one authorization code.
type codeRecord struct {
	holder
	code      string
	redirect  string // that the exchange has to name; "" for none
	challenge string // of RFC 7636; "" for none
	family    int64  // of the tokens that it gives
	endsAt    time.Time
	spentAt   time.Time
}

// newCode issues a code. The caller holds the lock.
func (p *Provider) newCode(d door, v visit, user string, now time.Time) string {
	c := &codeRecord{
		holder: holder{v.ref, user}, code: "c-" + rand.Text(), challenge: v.challenge, family: p.newFamily(),
		endsAt: now.Add(cmp.Or(p.opts.Codes.Life, d.life)),
	}
	if !d.unbound {
		c.redirect = v.redirect
	}
	p.codes[c.code] = c
	p.book.add(Event{At: now, Kind: CodeIssued, Ref: c.ref, User: c.user, Code: c.code})
	return c.code
}

// spendCode is the grant of RFC 6749 section 4.1.3. A code that comes again
// ends what it gave (section 4.1.2). The caller holds the lock.
func (p *Provider) spendCode(e endpoint, a ask, now time.Time) grant {
	c := p.codes[a.code]
	if c == nil || c.ref != a.ref {
		return grant{refusal: BadCode}
	}
	if !c.spentAt.IsZero() {
		p.book.add(Event{At: now, Kind: CodeReused, Ref: c.ref, User: c.user, Code: c.code})
		p.revokeFamily(c.family, now)
		return grant{refusal: BadCode}
	}
	if !now.Before(c.endsAt) || a.redirect != c.redirect || !c.proven(a.verifier) {
		return grant{refusal: BadCode}
	}
	c.spentAt = now
	p.book.add(Event{At: now, Kind: CodeSpent, Ref: c.ref, User: c.user, Code: c.code})
	var rt *refreshRecord
	if p.opts.Refresh.Semantics != "" {
		rt = p.newRefresh(c.holder, c.family, now)
	}
	rec := p.issue(c.holder, p.rule(e, c.ref).Life, rt, now)
	rec.family = c.family
	return p.granted(e, rec, rt, now)
}

// proven is RFC 7636 section 4.6. A verifier to no challenge is refused as
// well: somebody may have taken the challenge away (RFC 9700 section 2.1.1).
func (c *codeRecord) proven(verifier string) bool {
	if c.challenge == "" || verifier == "" {
		return c.challenge == verifier
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(c.challenge)) == 1
}

// account is the user whom a token request is about, as far as the provider
// can tell.
func (p *Provider) account(a ask) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.codes[a.code]; c != nil {
		return c.user
	}
	if rt := p.refresh.records[a.refresh]; rt != nil {
		return rt.user
	}
	return a.user
}
