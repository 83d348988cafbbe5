package grant

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// authorizationCode is RFC 6749 section 4.1 with PKCE (RFC 7636): the request
// that a person opens in a browser, or that the server itself makes, the
// exchange of its code, and the refresh. The realm's own recipes authorize,
// exchange and refresh add arguments to these (prompt, access_type, audience);
// one that has a URL stands in the place of the grant's.
func authorizationCode(r *realm.Realm) (c construction, err error) {
	cfg := &r.Config
	base := tokenAnswer(cfg.Recipe)
	base.RefreshTokenPath = orDefault(base.RefreshTokenPath, "refresh_token")
	exchange := tokenRequest{
		cfg: cfg, own: cfg.Exchange, field: "config.exchange", grantType: "authorization_code",
		names: [][2]string{{"code", "{code}"}, {"redirect_uri", "{callback_url}"}},
	}
	if cfg.Grant.PKCE != realm.PKCEOff {
		exchange.names = append(exchange.names, [2]string{"code_verifier", "{code_verifier}"})
	}
	refresh := tokenRequest{
		cfg: cfg, own: cfg.Refresh, field: "config.refresh", grantType: "refresh_token",
		names: [][2]string{{"refresh_token", "{refresh_token}"}}, // no scope: all that was granted (section 6)
	}
	c.complete = true
	if c.authorize, err = authorizeRequest(cfg); err != nil {
		return c, err
	}
	if c.exchange, err = exchange.plan(base); err != nil {
		return c, err
	}
	c.refresh, err = refresh.plan(c.exchange.recipe)
	return c, err
}

// authorizeRequest plans the request of section 4.1.1; nil where the realm
// does not say where it goes.
func authorizeRequest(cfg *realm.Config) (*plan, error) {
	const field = "config.authorize"
	own, g := recipeOf(cfg.Authorize), cfg.Grant
	switch {
	case own.URL != "":
		p := planOf(own, field, cfg.Lifetime)
		return &p, nil
	case g.AuthorizeURL == "":
		return nil, nil //nolint:nilnil // there is none
	case own.Method != "" && own.Method != http.MethodGet:
		return nil, realm.Fieldf(field+".method", "the grant uses GET")
	}
	p := &plan{recipe: own, field: field, urlField: "config.grant.authorize_url"}
	p.recipe.URL, p.recipe.Method = g.AuthorizeURL, http.MethodGet
	p.addOfGrant("config.grant.name", realm.PlaceURL, "response_type", "code")
	p.addOfGrant("config.grant.client_id", realm.PlaceURL, "client_id", orDefault(g.ClientID, "{secret.client_id}"))
	p.addOfGrant("config.grant.name", realm.PlaceURL, "redirect_uri", "{callback_url}")
	if len(g.Scopes) > 0 {
		p.addOfGrant("config.grant.scopes", realm.PlaceURL, "scope", strings.Join(g.Scopes, " "))
	}
	p.addOfGrant("config.grant.name", realm.PlaceURL, "state", "{state}")
	if g.PKCE != realm.PKCEOff {
		p.addOfGrant("config.grant.pkce", realm.PlaceURL, "code_challenge", "{code_challenge}")
		p.addOfGrant("config.grant.pkce", realm.PlaceURL, "code_challenge_method", "S256")
	}
	if err := p.refuseTyped(); err != nil {
		return nil, err
	}
	return p, p.addTo(realm.PlaceURL, own.Arguments)
}

// refuseTyped refuses arguments of the grant that stand in the query of the
// URL, too: of two states or methods of a code challenge, servers take one or
// the other (RFC 6749 section 3.1 has each once).
func (p *plan) refuseTyped() error {
	_, query, _ := strings.Cut(p.recipe.URL, "?")
	for pair := range strings.SplitSeq(query, "&") {
		raw, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(raw)
		if err == nil && slices.ContainsFunc(p.args, func(a planned) bool { return strings.EqualFold(a.Name, name) }) {
			return realm.Fieldf(p.urlField, "must not have %s in its query: the grant sets it", name)
		}
	}
	return nil
}

// tokenRequest is a request of the grant to its token endpoint.
type tokenRequest struct {
	cfg       *realm.Config
	own       *realm.Recipe // what the realm says of it
	field     string        // where the realm says it
	grantType string
	names     [][2]string // the arguments of the grant type, and their values
}

// plan completes what the realm says of the request. base says how answers are
// read.
func (t *tokenRequest) plan(base realm.Recipe) (*plan, error) {
	own := inherit(recipeOf(t.own), base)
	p := planOf(own, t.field, t.cfg.Lifetime)
	if own.URL != "" {
		return &p, nil
	}
	if own.Method != "" && own.Method != http.MethodPost {
		return nil, realm.Fieldf(t.field+".method", "the grant uses POST")
	}
	p.args, p.urlField = nil, "config.grant.token_url"
	p.recipe.URL, p.recipe.Method = t.cfg.Grant.TokenURL, http.MethodPost
	p.addOfGrant("config.grant.name", realm.PlaceBody, "grant_type", t.grantType)
	for _, n := range t.names {
		p.addOfGrant("config.grant.name", realm.PlaceBody, n[0], n[1])
	}
	if err := p.authenticate(t.cfg.Grant); err != nil {
		return nil, err
	}
	return &p, p.addTo(realm.PlaceBody, own.Arguments, "client_id", "client_secret")
}

// addTo appends the realm's own arguments to those that a grant has made. One
// that the grant has made already is refused, and those of more names.
func (p *plan) addTo(place string, args []realm.Argument, names ...string) error {
	for _, a := range p.args {
		if a.Place == place {
			names = append(names, a.Name)
		}
	}
	n := len(p.args)
	p.add(args, p.field)
	return refuseArguments(p.args[n:], place, names...)
}
