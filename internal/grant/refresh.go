package grant

import (
	"context"
	"crypto/sha256"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refreshField is the field of a secret that holds the first refresh token,
// for realms that cannot fetch one (Amazon LWA).
const refreshField = "refresh_token"

// compileRefresh compiles the recipe that spends a refresh token: the grant's
// or the realm's own.
func (p *Program) compileRefresh(c *construction) error {
	cfg := &p.realm.Config
	plan := c.refresh
	if isSet(cfg.Refresh) && !c.complete {
		if c.isFixed || plan != nil {
			return realm.Fieldf("config.refresh", "cannot stand beside %s", c.name(cfg))
		}
		own := planOf(inherit(*cfg.Refresh, c.answerRecipe(cfg)), "config.refresh", cfg.Lifetime)
		plan = &own
	}
	if plan == nil {
		p.noRefresh = "the realm has no refresh recipe"
		return nil
	}
	var err error
	if p.refresh, err = p.compilePlan(plan, scopeRefresh); err != nil {
		return err
	}
	if !p.refresh.holds("refresh_token") {
		return realm.Fieldf(plan.field, "no value holds {refresh_token}")
	}
	if p.refreshDecides() {
		p.decides = append(p.decides, p.refresh.decisiveFields()...)
	}
	return nil
}

// CanRefresh reports whether a token can be obtained with a refresh token.
func (p *Program) CanRefresh() bool { return p.noRefresh == "" }

// RefreshSemantics is what becomes of a refresh token that was used: one of
// realm.RefreshStable, RefreshGrace, RefreshStrict and RefreshFamily, the last
// where the realm says nothing: it is the most careful one.
func (p *Program) RefreshSemantics() string {
	return orDefault(p.realm.Config.RefreshSemantics, realm.RefreshFamily)
}

// Refresh spends Request.RefreshToken: one HTTP call, with the bounds of
// Fetch. Errors are *Error; Uncertain reports whether the token may be spent,
// although none came back. The answer need not have a refresh token.
func (b *Bound) Refresh(ctx context.Context, c *Client, req Request) (Result, error) {
	call := &call{bound: b, client: c, request: req, recipe: b.program.refresh, refreshing: true, whyNot: b.program.noRefresh}
	if call.whyNot == "" && blank(req.RefreshToken.Reveal()) {
		call.whyNot = "there is no refresh token"
	}
	if k := firstMissing(b.program.sentByRefresh, req.Kept); call.whyNot == "" && k != nil {
		call.whyNot = k.name + ": is not kept with the token; refresh needs it"
	}
	return call.obtain(ctx)
}

// secretHoldsRefreshToken reports whether the first refresh token may lie in
// the secret: there is no other way to one, at least without a person.
func (p *Program) secretHoldsRefreshToken() bool {
	return !p.isFixed && !p.CanFetch() && p.refresh != nil
}

// refreshDecides reports whether the refresh recipe is the one that tokens come
// from.
func (p *Program) refreshDecides() bool { return p.secretHoldsRefreshToken() && !p.CanAuthorize() }

// SecretRefreshToken is the refresh token that the secret itself holds, in its
// field refresh_token, where the realm can do nothing else without a person;
// else "". It is for the first refresh: what the provider gave since then is
// newer, see Reseeded.
func (b *Bound) SecretRefreshToken() realm.Hidden {
	token := b.values.secret[refreshField]
	if !b.program.secretHoldsRefreshToken() || blank(token.Reveal()) {
		return ""
	}
	return token
}

// Reseeded reports whether the secret's own refresh token is another one than
// when the token with that fingerprint was obtained: somebody has replaced it, and
// the refresh token beside that fingerprint is not to be used any more. The
// rest of the secret and the recipe do not count.
func (b *Bound) Reseeded(stored realm.Fingerprint) bool {
	seed, ok := b.seedDigest()
	return ok && [seedSize]byte(stored[len(stored)-seedSize:]) != seed
}

// seedSize is the part of a fingerprint that the secret's refresh token has.
const seedSize = 8

// seedDigest is a digest of the secret's own refresh token.
func (b *Bound) seedDigest() (seed [seedSize]byte, ok bool) {
	token := b.SecretRefreshToken()
	if token == "" {
		return seed, false
	}
	sum := sha256.Sum256(appendPrefixed([]byte(fingerprintVersion+" seed"), token.Reveal()))
	return [seedSize]byte(sum[:seedSize]), true
}
