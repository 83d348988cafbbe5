package grant

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// clientCredentials is RFC 6749 section 4.4, with the audience of Auth0 and the
// resources of RFC 8707. The realm's own arguments are added to the request, its
// own paths read the answer.
// A refresh token is read only where the realm has a refresh_token_path: the
// server should not send one (section 4.4.3).
func clientCredentials(r *realm.Realm) (construction, error) {
	p, err := tokenEndpoint(r, "client_credentials", targetNames(r.Config.Grant)...)
	if err != nil {
		return construction{}, err
	}
	return construction{fetch: p}, p.addTarget(r.Config.Grant)
}

// tokenEndpoint plans a request of RFC 6749 section 3.2, with the client's
// credentials and the realm's own arguments. own are the names that the grant
// sets besides.
func tokenEndpoint(r *realm.Realm, grantType string, own ...string) (*plan, error) {
	p, err := endpoint(r, grantType, own...)
	if err != nil {
		return nil, err
	}
	return p, p.authenticate(r.Config.Grant)
}

// endpoint is tokenEndpoint without the client's credentials.
func endpoint(r *realm.Realm, grantType string, own ...string) (*plan, error) {
	cfg, g := &r.Config, r.Config.Grant
	p := &plan{recipe: tokenAnswer(cfg.Recipe), field: "config", urlField: "config.grant.token_url", lifetime: cfg.Lifetime}
	p.recipe.URL, p.recipe.Method = g.TokenURL, http.MethodPost
	p.add(cfg.Arguments, "config")
	own = append(own, "grant_type", "scope", "client_id", "client_secret")
	if g.AuthenticatesByJWT() {
		own = append(own, "client_assertion", "client_assertion_type")
	}
	if err := refuseArguments(p.args, realm.PlaceBody, own...); err != nil {
		return nil, err
	}
	p.addOfGrant("config.grant.name", realm.PlaceBody, "grant_type", grantType)
	if len(g.Scopes) > 0 {
		p.addOfGrant("config.grant.scopes", realm.PlaceBody, "scope", strings.Join(g.Scopes, " "))
	}
	return p, nil
}

// targetNames are the parameters that say what the token is for, as far as the
// grant has them: where it does not, the realm's own arguments may.
func targetNames(g *realm.Grant) []string {
	var names []string
	if g.Audience != "" {
		names = append(names, "audience")
	}
	if len(g.Resource) > 0 {
		names = append(names, "resource")
	}
	return names
}

// addTarget adds the parameters that say what the token is for. Of several
// resources, each is a parameter of its own (RFC 8707 section 2); JSON has a list.
func (p *plan) addTarget(g *realm.Grant) error {
	if g.Audience != "" {
		p.addOfGrant("config.grant.audience", realm.PlaceBody, "audience", g.Audience)
	}
	const field = "config.grant.resource"
	if p.recipe.ContentType != realm.ContentJSON || len(g.Resource) < 2 {
		for _, resource := range g.Resource {
			p.addOfGrant(field, realm.PlaceBody, "resource", resource)
		}
		return nil
	}
	list := make([]string, len(g.Resource))
	for i, resource := range g.Resource {
		var err error
		if list[i], err = operand(field, resource); err != nil {
			return err
		}
	}
	p.addComputed(field, "resource", "["+strings.Join(list, ", ")+"]")
	return nil
}

// tokenAnswer completes how an answer of RFC 6749 section 5 is read.
func tokenAnswer(r realm.Recipe) realm.Recipe {
	r.ContentType = orDefault(r.ContentType, realm.ContentForm)
	if !saysToken(&r) {
		r.TokenPath = "access_token"
	}
	if !saysExpiry(r.ExpiresInPath+r.ExpiresInHeader, r.ExpiresInUnit) {
		r.ExpiresInPath = "expires_in"
	}
	if len(r.Success) == 0 {
		// Some servers refuse with the document of section 5.2 and status 200.
		r.Success = []realm.Rule{{JSON: "error", Values: []realm.Scalar{realm.ScalarOf("")}, Absent: true}}
	}
	return r
}

// addOfGrant appends an argument that the grant itself makes of a field of the
// realm.
func (p *plan) addOfGrant(field, place, name, value string) {
	p.args = append(p.args, planned{realm.Argument{Name: name, Place: place, Value: value}, origin{field, true}})
}

// addComputed is addOfGrant for an argument of the body that an expression gives.
func (p *plan) addComputed(field, name, expr string) {
	p.args = append(p.args, planned{realm.Argument{Name: name, Place: realm.PlaceBody, Expr: expr}, origin{field, true}})
}
