package grant

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Program is a compiled realm: immutable and safe for concurrent use.
type Program struct {
	realm   realm.Realm
	trusted bool
	zone    *time.Location // of dates without one

	fetch   *recipe  // nil where there is none, or none yet
	noFetch string   // why nothing can be fetched
	fixed   template // the value of a fixed token
	isFixed bool
	// refresh is the recipe that spends a refresh token.
	refresh   *recipe
	noRefresh string // why there is no refreshing
	// authorize and exchange are the recipes of an authorization.
	authorize, exchange *recipe
	noAuthorize         string   // why there is no authorizing
	callback            template // the callback URL
	issuer              template // the iss that callbacks must have; empty for none
	// wholeSecret: the request holds every field of the secret.
	wholeSecret bool

	inject []injection
	target target

	kept []keptName // with each token
	// sentByRefresh and sentByExchange are what these recipes send of what was
	// kept, or of the callback.
	sentByRefresh, sentByExchange []keptName

	parents []ParentUse // the tokens of other credentials that the recipes send

	required []string // fields that a secret must have
	decides  []string // fields that decide about the token, volatile ones as well
	// clientFields are the fields that name the client of an authorization.
	clientFields  []string
	recipesDigest [sha256.Size]byte
}

// Compile gives meaning to a realm whose shape is valid: it parses templates,
// checks answer paths and expands the grant. Errors are *realm.FieldError.
//
// trusted says that the operator named the realm's hosts in the configuration
// file: token requests and API requests may then go to any address, else only
// where netguard lets them. A host that a secret fills in was not named.
func Compile(r realm.Realm, trusted bool) (*Program, error) {
	p := &Program{realm: r, trusted: trusted}
	for _, step := range []func() error{p.compileRecipes, p.compileParents, p.compileInject, p.compileTarget, p.compileKept, p.checkVolatile} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if field := p.WithoutTLS(); field != "" && p.target.way.hasProxy() {
		return nil, realm.Fieldf(field, "must be https: the realm's proxy would see the token")
	}
	p.required = p.requiredFields()
	// A token may be bound to the certificate that it was requested with (RFC 8705
	// section 3).
	p.decides = sortedSet(append(p.decides, p.target.way.certificateFields()...))
	var err error
	if p.recipesDigest, err = p.digestRecipes(); err != nil {
		return nil, realm.Fieldf("config", "has no JSON form: %v", err)
	}
	return p, nil
}

// compileRecipes compiles how the realm gets its tokens.
func (p *Program) compileRecipes() error {
	var err error
	if p.zone, err = loadZone(p.realm.Config.TimeZone); err != nil {
		return err
	}
	c, err := construct(&p.realm)
	if err != nil {
		return err
	}
	p.fixed, p.isFixed = c.fixed, c.isFixed
	if c.isFixed {
		p.decides = append(c.fixed.fields(nil), endField)
		p.noFetch = "the realm has fixed tokens, nothing is fetched"
	}
	if err := p.compileFetch(c.fetch); err != nil {
		return err
	}
	if err := p.compileAuthorization(&c); err != nil {
		return err
	}
	return p.compileRefresh(&c)
}

// compileFetch compiles the recipe that gets a token from the secret alone.
func (p *Program) compileFetch(plan *plan) error {
	if plan == nil {
		p.noFetch = orDefault(p.noFetch, "the realm has no recipe that fetches: it needs a refresh token")
		return nil
	}
	var err error
	p.wholeSecret = plan.wholeSecret
	if p.fetch, err = p.compilePlan(plan, scopeFetch); err != nil {
		return err
	}
	p.decides = append(p.decides, p.fetch.decisiveFields()...)
	return nil
}

// inherit completes how a recipe's answer is read from the fetch recipe.
func inherit(r, fetch realm.Recipe) realm.Recipe {
	r.ContentType = orDefault(r.ContentType, fetch.ContentType)
	if !saysToken(&r) {
		r.TokenPath, r.TokenHeader, r.TokenCookie = fetch.TokenPath, fetch.TokenHeader, fetch.TokenCookie
	}
	if !saysExpiry(r.ExpiresInPath+r.ExpiresInHeader, r.ExpiresInUnit) {
		r.ExpiresInPath, r.ExpiresInHeader = fetch.ExpiresInPath, fetch.ExpiresInHeader
		r.ExpiresInUnit = orDefault(r.ExpiresInUnit, fetch.ExpiresInUnit)
	}
	r.RefreshTokenPath = orDefault(r.RefreshTokenPath, fetch.RefreshTokenPath)
	if !saysExpiry(r.RefreshExpiresInPath, r.RefreshExpiresInUnit) {
		r.RefreshExpiresInPath, r.RefreshExpiresInUnit = fetch.RefreshExpiresInPath, orDefault(r.RefreshExpiresInUnit, fetch.RefreshExpiresInUnit)
	}
	for _, rules := range []struct{ own, inherited *[]realm.Rule }{
		{&r.Success, &fetch.Success}, {&r.ReauthOn, &fetch.ReauthOn}, {&r.HopelessOn, &fetch.HopelessOn}, {&r.ThrottledOn, &fetch.ThrottledOn},
	} {
		if *rules.own == nil {
			*rules.own = *rules.inherited
		}
	}
	return r
}

// saysExpiry reports whether a recipe says where an end stands: at a place, which
// is a path or a header field, or in the token itself.
func saysExpiry(place, unit string) bool { return place != "" || unit == realm.UnitJWT }

// compilePlan compiles a recipe and the digest of all that is said about it.
func (p *Program) compilePlan(plan *plan, sc scope) (*recipe, error) {
	plan.zone = p.zone
	r, err := plan.compile(sc)
	if err != nil {
		return nil, err
	}
	if r.digest, err = p.digestPlan(plan, r); err != nil {
		return nil, realm.Fieldf(plan.field, "has no JSON form: %v", err)
	}
	return r, p.checkScheme(r.url)
}

// requiredFields are those without which the token cannot be obtained or used.
// A volatile field that only recipes read is none of them: it may be pushed later,
// and a token that lives is used without it; see Unpushed.
func (p *Program) requiredFields() []string {
	var list []string
	if p.fetch != nil {
		list = append(list, p.fetch.fields()...)
	}
	if p.CanAuthorize() {
		list = append(append(list, p.authorize.fields()...), p.exchange.fields()...)
	}
	if p.CanRefresh() {
		list = append(list, p.refresh.fields()...)
	}
	list = slices.DeleteFunc(list, p.isVolatile)
	list = append(list, p.target.way.fields()...)
	list = p.fixed.fields(append(list, p.target.fields()...))
	if p.CanAuthorize() {
		list = p.issuer.fields(p.callback.fields(list))
	}
	for _, in := range p.inject {
		list = in.fields(list)
	}
	return sortedSet(list)
}

// NeededFields are the fields that a secret, or the realm's shared ones, must
// have, sorted. The slice is the caller's.
func (p *Program) NeededFields() []string { return slices.Clone(p.required) }

// SecretFields are the fields of which a secret of the realm is made: those that it
// needs and the realm does not share, those that are pushed, and the first refresh
// token where nothing else leads to a token. Sorted; the slice is the caller's.
func (p *Program) SecretFields() []string {
	list := slices.Concat(p.required, p.realm.Config.Volatile)
	if p.Fetches() && !p.CanFetch() && !p.CanAuthorize() && p.CanRefresh() {
		list = append(list, refreshField)
	}
	return slices.DeleteFunc(sortedSet(list), func(name string) bool { _, ok := p.realm.Config.Shared[name]; return ok })
}

func (p *Program) isVolatile(name string) bool { return slices.Contains(p.realm.Config.Volatile, name) }

// checkVolatile refuses a name that no recipe reads: it is a mistake, and to
// ignore it would drop a token with every value that is pushed.
func (p *Program) checkVolatile() error {
	var read []string
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		if r := p.recipe(kind); r != nil {
			read = append(read, r.fields()...)
		}
	}
	for i, name := range p.realm.Config.Volatile {
		if !p.wholeSecret && !slices.Contains(read, name) { // a delegate gets every field
			return realm.Fieldf("config.volatile["+strconv.Itoa(i)+"]", "no recipe reads {secret.%s}", name)
		}
	}
	if format := p.realm.Config.Push; format != "" && !p.isVolatile(realm.PushFormats[format]) {
		return realm.Fieldf("config.push", "brings the field %s, which is not volatile", realm.PushFormats[format])
	}
	return nil
}

// sortedSet sorts the names and removes doubles, in place.
func sortedSet(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// Fetches reports whether the realm has a way to get a token at all, by a fetch
// or by a refresh; a realm with a fixed token (static) has none.
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
	return ""
}

// CanFetch reports whether a token can be obtained from the secret alone: by Fetch,
// or, where the realm is Unattended, by Authorize and Exchange.
func (p *Program) CanFetch() bool { return p.noFetch == "" || p.Unattended() }

// NoFetch is why CanFetch is false; "" if it is true.
func (p *Program) NoFetch() string {
	if p.CanFetch() {
		return ""
	}
	return p.noFetch
}

// Inactive is the reason why the realm cannot get a token yet, "" if it can:
// it uses a field whose behaviour is not built. A realm that can only refresh
// is active; it needs a refresh token. So is one that a person authorizes.
func (p *Program) Inactive() string {
	if p.isFixed || p.CanRefresh() || p.CanAuthorize() {
		return ""
	}
	return p.noFetch
}

// TakesForce reports whether the fetch recipe can ask for a new token where the
// provider would give the old one again ({force}).
func (p *Program) TakesForce() bool {
	return p.fetch != nil && p.fetch.holds("force")
}
