package grant

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Program is a compiled realm: immutable and safe for concurrent use.
type Program struct {
	realm   realm.Realm
	trusted bool

	fetch    *recipe  // nil where isFixed or inactive
	fixed    template // the value of a fixed token
	isFixed  bool
	inactive string
	// wholeSecret: the request holds every field of the secret.
	wholeSecret bool

	inject      []injection
	unplaceable string // why the token cannot be injected
	target      target

	required []string // fields that a secret must have
	decides  []string // fields that decide about the token
	digest   [sha256.Size]byte
}

// Compile gives meaning to a realm whose shape is valid: it parses templates,
// checks answer paths and expands the grant. Errors are *realm.FieldError.
//
// trusted says that the operator named the realm's hosts in the configuration
// file: token requests and API requests may then go to any address, else only
// where netguard lets them. A host that a secret fills in was not named.
func Compile(r realm.Realm, trusted bool) (*Program, error) {
	p := &Program{realm: r, trusted: trusted}
	for _, step := range []func() error{p.compileTokens, p.compileRecipes, p.compileInject, p.compileTarget} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.required = p.requiredFields()
	p.decides = compact(p.decides)
	var err error
	if p.digest, err = p.digestRecipes(); err != nil {
		return nil, realm.Fieldf("config", "has no JSON form: %v", err)
	}
	return p, nil
}

// compileTokens compiles how the realm gets its tokens.
func (p *Program) compileTokens() error {
	c, err := construct(&p.realm)
	if err != nil {
		return err
	}
	p.fixed, p.isFixed, p.inactive = c.fixed, c.isFixed, c.inactive
	if c.isFixed {
		p.decides = append(c.fixed.fields(nil), endField)
	}
	if c.fetch == nil {
		return nil
	}
	p.wholeSecret = c.fetch.wholeSecret
	if p.fetch, err = p.compilePlan(c.fetch, scopeFetch); err != nil {
		return err
	}
	p.inactive = c.fetch.inactive()
	return nil
}

// compileRecipes checks the recipes that are not executed yet. What they do
// not say about reading an answer, the fetch recipe says.
func (p *Program) compileRecipes() error {
	cfg := &p.realm.Config
	if cfg.Preset != "" { // it says the rest of them
		return nil
	}
	for _, o := range []struct {
		recipe *realm.Recipe
		field  string
		scope  scope
	}{
		{cfg.Refresh, "config.refresh", scopeRefresh},
		{cfg.Exchange, "config.exchange", scopeExchange},
		{cfg.Authorize, "config.authorize", scopeAuthorize},
	} {
		if !says(o.recipe) {
			continue
		}
		plan := planOf(inherit(*o.recipe, cfg.Recipe), o.field, cfg.Lifetime)
		plan.unread = o.recipe == cfg.Authorize
		if _, err := p.compilePlan(&plan, o.scope); err != nil {
			return err
		}
	}
	return nil
}

// inherit completes how a recipe's answer is read from the fetch recipe.
func inherit(r, fetch realm.Recipe) realm.Recipe {
	r.ContentType = or(r.ContentType, fetch.ContentType)
	r.TokenPath = or(r.TokenPath, fetch.TokenPath)
	if r.ExpiresInPath == "" {
		r.ExpiresInPath, r.ExpiresInUnit = fetch.ExpiresInPath, or(r.ExpiresInUnit, fetch.ExpiresInUnit)
	}
	r.RefreshTokenPath = or(r.RefreshTokenPath, fetch.RefreshTokenPath)
	if r.RefreshExpiresInPath == "" {
		r.RefreshExpiresInPath, r.RefreshExpiresInUnit = fetch.RefreshExpiresInPath, or(r.RefreshExpiresInUnit, fetch.RefreshExpiresInUnit)
	}
	if r.Success == nil {
		r.Success = fetch.Success
	}
	return r
}

func (p *Program) compilePlan(plan *plan, sc scope) (*recipe, error) {
	r, err := plan.compile(sc)
	if err != nil {
		return nil, err
	}
	if err := p.checkScheme(r.url); err != nil {
		return nil, err
	}
	p.decides = append(p.decides, r.fields()...)
	return r, nil
}

// requiredFields are those without which the token cannot be fetched or used.
func (p *Program) requiredFields() []string {
	list := p.fixed.fields(p.target.fields())
	if p.fetch != nil && p.inactive == "" {
		list = append(list, p.fetch.fields()...)
	}
	for _, in := range p.inject {
		list = in.user.fields(in.value.fields(list))
	}
	return compact(list)
}

func compact(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Realm is what was compiled.
func (p *Program) Realm() realm.Realm { return p.realm }

// Fetches says whether the realm has a way to get a token at all; a realm
// with a fixed token (static) has none.
func (p *Program) Fetches() bool { return !p.isFixed }

// NotProxyable returns why requests cannot be proxied with this realm ("" if
// they can): it has no api, or no inject.
func (p *Program) NotProxyable() string {
	switch {
	case p.realm.Config.API == "":
		return "the realm has no api"
	case len(p.realm.Config.Inject) == 0:
		return "the realm has no inject"
	}
	return p.unplaceable
}

// Inactive is the reason why the realm cannot get a token yet, "" if it can:
// it uses a field whose behaviour is not built.
func (p *Program) Inactive() string { return p.inactive }

// Timeout is the deadline of one call: the realm's, else DefaultTimeout.
func (p *Program) Timeout() time.Duration {
	return p.realm.Config.Limits.Timeout.Or(DefaultTimeout)
}
