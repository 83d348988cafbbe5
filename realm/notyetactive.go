package realm

import "reflect"

// NotYetActive lists the fields of the realm, by their JSON path, whose
// behaviour is not built yet. They are validated, stored and served back.
func (r *Realm) NotYetActive() []string {
	c := &r.Config
	var paths []string
	for _, f := range []struct {
		path  string
		value any
	}{
		{"preset", c.Preset},
		{"refresh_token_path", c.RefreshTokenPath},
		{"refresh_expires_in_path", c.RefreshExpiresInPath},
		{"refresh_expires_in_unit", c.RefreshExpiresInUnit},
		{"refresh_semantics", c.RefreshSemantics},
		{"refresh_grace", c.RefreshGrace},
		{"refresh", recipeOf(c.Refresh)},
		{"authorize", recipeOf(c.Authorize)},
		{"exchange", recipeOf(c.Exchange)},
		{"semantics", c.Semantics},
		{"overlap", c.Overlap},
		{"default_key", c.DefaultKey},
		{"callback_url", c.CallbackURL},
		{"unattended", c.Unattended},
		{"keep_warm", c.KeepWarm},
		{"scrub", c.Scrub},
		{"limits.concurrency", c.Limits.Concurrency},
		{"limits.min_interval", c.Limits.MinInterval},
		{"limits.backoff_cap", c.Limits.BackoffCap},
		{"limits.windows", len(c.Limits.Windows)},
	} {
		if !reflect.ValueOf(f.value).IsZero() {
			paths = append(paths, "config."+f.path)
		}
	}
	return append(paths, c.notYetActiveWords()...)
}

// notYetActiveWords lists the fields of which only some values are inactive.
func (c *Config) notYetActiveWords() []string {
	var paths []string
	for i, a := range c.Arguments {
		if a.Expr != "" {
			paths = append(paths, indexPath("config.arguments", i)+".expr")
		}
	}
	if c.Grant != nil {
		switch c.Grant.Name {
		case GrantRefreshToken, GrantAuthorizationCode, GrantJWTBearer, GrantTokenExchange:
			paths = append(paths, "config.grant")
		}
	}
	for i, in := range c.Inject {
		if in.Place == PlaceBody || in.Place == PlacePath {
			paths = append(paths, indexPath("config.inject", i)+".place")
		}
	}
	return paths
}

// recipeOf is the recipe, or one that says nothing.
func recipeOf(r *Recipe) Recipe {
	if r == nil {
		return Recipe{}
	}
	return *r
}
