package realm

// validateAuthorization checks that what an authorization needs is there: a
// preset may bring it.
func (c *Config) validateAuthorization() error {
	if c.Preset != "" {
		return nil
	}
	var grant Grant
	if c.Grant != nil {
		grant = *c.Grant
	}
	own := c.Authorize != nil && c.Authorize.URL != ""
	byGrant := grant.Name == GrantAuthorizationCode
	switch {
	case byGrant && grant.AuthorizeURL == "" && !own:
		return Fieldf("config.grant.authorize_url", "is required")
	case byGrant && len(c.Arguments) > 0:
		return Fieldf("config.arguments", "has no meaning for the grant %s: authorize, exchange and refresh have their own", grant.Name)
	case c.Unattended.IsOn() && !own && !byGrant:
		return Fieldf("config.unattended", "has no meaning without an authorize recipe")
	case c.Unattended.IsOn() && (c.URL != "" || grant.fetches()):
		return Fieldf("config.unattended", "must not stand beside a recipe that fetches: the authorization is the way to a token")
	case c.Unattended.IsOn() && c.Limits.tightest() == 1:
		return Fieldf("config.limits.windows", "must allow two calls at least: an authorization without a person takes two")
	case own && grant.Name == GrantStatic:
		return Fieldf("config.authorize", "has no meaning for the grant %s", grant.Name)
	case own && !byGrant && (c.Exchange == nil || c.Exchange.URL == ""):
		return Fieldf("config.exchange", "is required: it makes a token of the code that authorize gets")
	case (own || byGrant) && c.CallbackURL == "":
		return Fieldf("config.callback_url", "is required: the provider sends the code there")
	}
	return nil
}

// fetches reports whether the grant needs nothing but the secret.
func (g *Grant) fetches() bool {
	return g.Name != "" && g.Name != GrantAuthorizationCode && g.Name != GrantRefreshToken
}

// tightest is the least number of calls that a window allows; 0 for no window.
func (l *Limits) tightest() (least int) {
	for _, w := range l.Windows {
		if least == 0 || w.Calls < least {
			least = w.Calls
		}
	}
	return least
}
