package grant

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// construction is what a grant makes of a realm: the recipe that fetches, the
// ones that authorize and refresh, or the value of a fixed token.
type construction struct {
	fetch, refresh      *plan
	authorize, exchange *plan
	fixed               template
	isFixed             bool
	// complete: the realm's own recipes are in it already.
	complete bool
}

// answerRecipe is the recipe that says how answers are read, where another
// recipe does not.
func (c *construction) answerRecipe(cfg *realm.Config) realm.Recipe {
	if c.fetch != nil {
		return c.fetch.recipe
	}
	return cfg.Recipe
}

// name is how the realm gets its tokens, for a message.
func (c *construction) name(cfg *realm.Config) string {
	if cfg.Grant == nil {
		return "a fixed token"
	}
	return "the grant " + cfg.Grant.Name
}

// constructor makes the recipes of a standard.
type constructor func(r *realm.Realm) (construction, error)

// grants are all grants by name.
var grants = map[string]constructor{
	realm.GrantStatic:            static,
	realm.GrantDelegate:          delegate,
	realm.GrantClientCredentials: clientCredentials,
	realm.GrantRefreshToken:      refreshToken,
	realm.GrantAuthorizationCode: authorizationCode,
	realm.GrantJWTBearer:         jwtBearer,
	realm.GrantTokenExchange:     tokenExchange,
	realm.GrantComputed:          computedToken,
}

// construct decides how the realm gets its tokens. What config says wins over
// logic_code; a realm that says nothing has fixed tokens.
func construct(r *realm.Realm) (construction, error) {
	cfg := &r.Config
	switch {
	case cfg.Grant != nil:
		return constructGrant(r)
	case cfg.URL != "":
		p := planOf(cfg.Recipe, "config", cfg.Lifetime)
		return construction{fetch: &p}, nil
	case isSet(cfg.Exchange), isSet(cfg.Authorize):
		return construction{}, nil
	case r.LogicCode != "":
		return delegate(r)
	case len(cfg.Arguments) > 0:
		return construction{}, realm.Fieldf("config.url", "is missing: there are arguments of a token request")
	case isSet(cfg.Refresh): // all that it can do
		return construction{}, nil
	}
	return static(r)
}

// constructGrant refuses what would stand beside the grant without an effect,
// and has the grant make its recipes.
func constructGrant(r *realm.Realm) (construction, error) {
	build, ok := grants[r.Config.Grant.Name]
	switch {
	case !ok:
		return construction{}, realm.Fieldf("config.grant.name", "must be static, delegate, client_credentials, refresh_token, authorization_code, jwt_bearer, token_exchange or computed")
	case r.Config.URL != "":
		return construction{}, realm.Fieldf("config.url", "cannot stand beside a grant, which has its own token_url")
	case r.Config.Method != "" && r.Config.Method != http.MethodPost:
		return construction{}, realm.Fieldf("config.method", "a grant uses POST")
	}
	return build(r)
}

// isSet reports whether a recipe says anything of a request.
func isSet(r *realm.Recipe) bool {
	return r != nil && (r.URL != "" || len(r.Arguments) > 0)
}

// recipeOf is the recipe, or one that says nothing.
func recipeOf(r *realm.Recipe) realm.Recipe {
	if r == nil {
		return realm.Recipe{}
	}
	return *r
}

// orDefault returns s, or def where s is empty.
func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// refuseArguments returns the error of an argument that the grant sets itself:
// of two with one name, servers take one or the other.
func refuseArguments(args []planned, place string, names ...string) error {
	for _, a := range args {
		if a.Place == place && slices.Contains(names, strings.ToLower(a.Name)) {
			return realm.Fieldf(a.at(".name"), "%s is set by the grant", a.Name)
		}
	}
	return nil
}
