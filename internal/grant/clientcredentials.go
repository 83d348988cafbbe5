package grant

import (
	"net/http"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// clientCredentials is RFC 6749 section 4.4. The realm's own arguments are
// added to the request (audience, resource), its own paths read the answer.
// A refresh token is read only where the realm has a refresh_token_path: the
// server should not send one (section 4.4.3).
func clientCredentials(r *realm.Realm) (construction, error) {
	p, err := tokenEndpoint(r, "client_credentials")
	return construction{fetch: p}, err
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
	if err := refuseArguments(p.args, realm.PlaceBody, append(own, "grant_type", "scope", "client_id", "client_secret")...); err != nil {
		return nil, err
	}
	p.addOfGrant("config.grant.name", realm.PlaceBody, "grant_type", grantType)
	if len(g.Scopes) > 0 {
		p.addOfGrant("config.grant.scopes", realm.PlaceBody, "scope", strings.Join(g.Scopes, " "))
	}
	return p, nil
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

// authenticate adds the client's credentials (RFC 6749 section 2.3.1).
func (p *plan) authenticate(g *realm.Grant) error {
	id, secret := orDefault(g.ClientID, "{secret.client_id}"), orDefault(g.ClientSecret, "{secret.client_secret}")
	if _, err := parseTemplate(id, scopeFetch); err != nil {
		return realm.Fieldf("config.grant.client_id", "%v", err)
	}
	switch g.TokenEndpointAuthMethod {
	case "", realm.AuthBasic:
		p.formBasic = true
		p.addOfGrant("config.grant.client_secret", realm.PlaceBasic, id, secret)
	case realm.AuthPost:
		p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id)
		p.addOfGrant("config.grant.client_secret", realm.PlaceBody, "client_secret", secret)
	case realm.AuthNone:
		if !realm.TakesPublicClients(g.Name) {
			return realm.Fieldf("config.grant.token_endpoint_auth_method", "cannot be none: the grant %s is for clients with a secret", g.Name)
		}
		p.addOfGrant("config.grant.client_id", realm.PlaceBody, "client_id", id) // RFC 6749 section 3.2.1
	default:
		return realm.Fieldf("config.grant.token_endpoint_auth_method", "must be client_secret_basic, client_secret_post or none")
	}
	return nil
}
