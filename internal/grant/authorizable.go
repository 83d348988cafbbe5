package grant

import (
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// compileAuthorization compiles the recipes of an authorization: the grant's or
// the realm's own.
func (p *Program) compileAuthorization(c *construction) error {
	c.addOwn(&p.realm.Config)
	for _, o := range []struct {
		plan *plan
		sc   scope
		to   **recipe
	}{{c.authorize, scopeAuthorize, &p.authorize}, {c.exchange, scopeExchange, &p.exchange}} {
		if o.plan == nil {
			continue
		}
		var err error
		if *o.to, err = p.compilePlan(o.plan, o.sc); err != nil {
			return err
		}
		p.decides = append(p.decides, (*o.to).decisiveFields()...)
	}
	if err := p.checkAuthorization(c); err != nil {
		return err
	}
	if err := p.compileCallback(); err != nil {
		return err
	}
	if err := p.compileIssuer(); err != nil {
		return err
	}
	if p.noAuthorize = p.whyNotAuthorizable(); p.noAuthorize == "" {
		p.clientFields = clientFields(p.authorize, p.exchange)
	}
	if p.fetch == nil && !p.isFixed && p.hasAuthorizationRecipe() {
		p.noFetch = orDefault(p.noAuthorize, "the realm gets its tokens by an authorization")
	}
	return nil
}

// addOwn adds the realm's own recipes to what a grant has constructed.
func (c *construction) addOwn(cfg *realm.Config) {
	if !c.complete && isSet(cfg.Authorize) {
		own := planOf(*cfg.Authorize, "config.authorize", cfg.Lifetime)
		c.authorize = &own
	}
	if !c.complete && isSet(cfg.Exchange) {
		own := planOf(inherit(*cfg.Exchange, c.answerRecipe(cfg)), "config.exchange", cfg.Lifetime)
		c.exchange = &own
	}
	if c.authorize != nil {
		c.authorize.unread = true
	}
}

// checkAuthorization looks for the names that make an authorization safe.
func (p *Program) checkAuthorization(c *construction) error {
	switch a, e := p.authorize, p.exchange; {
	case a != nil && !a.holds("state"):
		return realm.Fieldf(c.authorize.field, "no value holds {state}")
	case e != nil && !e.holds("code"):
		return realm.Fieldf(c.exchange.field, "no value holds {code}")
	case a == nil || e == nil:
		return nil
	case a.holds("code_challenge") && !e.holds("code_verifier"):
		return realm.Fieldf(c.exchange.field, "no value holds {code_verifier}, although authorize sends a {code_challenge}")
	case e.holds("code_verifier") && !a.holds("code_challenge"):
		return realm.Fieldf(c.authorize.field, "no value holds {code_challenge}, although exchange sends a {code_verifier}")
	}
	return nil
}

// hasAuthorizationRecipe reports whether there is a recipe of an authorization
// at all, be it complete or not.
func (p *Program) hasAuthorizationRecipe() bool { return p.authorize != nil || p.exchange != nil }

// whyNotAuthorizable names what the realm lacks for an authorization; "" where
// it lacks nothing.
func (p *Program) whyNotAuthorizable() string {
	switch {
	case p.isFixed:
		return "the realm has fixed tokens"
	case p.authorize == nil:
		return "the realm has no authorize recipe"
	case p.exchange == nil:
		return "the realm has no exchange recipe"
	case len(p.callback) == 0:
		return "the realm has no callback_url"
	}
	return ""
}

// CanAuthorize reports whether the realm gets tokens by an authorization: by a
// person, or, where it is Unattended, by the server itself.
func (p *Program) CanAuthorize() bool { return p.noAuthorize == "" }

// NoAuthorize is why CanAuthorize is false: there is no authorize recipe, no
// exchange recipe, no callback URL; "" if it is true.
func (p *Program) NoAuthorize() string { return p.noAuthorize }

// Unattended reports whether the server itself authorizes, without a person.
func (p *Program) Unattended() bool { return p.realm.Config.Unattended.IsOn() && p.CanAuthorize() }
