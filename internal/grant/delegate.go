package grant

import (
	"net/http"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// delegate asks a service of the user's own, the earlier service's
// logic_code: it gets the secret by POST and answers {"token", "expires_in"},
// in seconds. It gets realm, key and that secret's fields, never the shared
// ones.
func delegate(r *realm.Realm) (construction, error) {
	cfg := &r.Config
	p := plan{recipe: cfg.Recipe, field: "config", urlField: "logic_code", lifetime: cfg.Lifetime, wholeSecret: true}
	p.recipe.URL = r.LogicCode
	if cfg.Grant != nil && (cfg.Grant.TokenURL != "" || r.LogicCode == "") {
		p.recipe.URL, p.urlField = cfg.Grant.TokenURL, "config.grant.token_url"
	}
	p.recipe.Method, p.recipe.ContentType = http.MethodPost, realm.ContentJSON
	if !saysToken(&cfg.Recipe) {
		p.recipe.TokenPath = "token"
	}
	if !saysExpiry(cfg.ExpiresInPath+cfg.ExpiresInHeader, cfg.ExpiresInUnit) {
		p.recipe.ExpiresInPath = "expires_in"
	}
	p.add(cfg.Arguments, "config")
	for _, a := range p.args {
		if a.Place == realm.PlaceBody {
			return construction{}, realm.Fieldf(a.at(".place"), "the body of a delegate is the secret")
		}
	}
	return construction{fetch: &p}, nil
}
