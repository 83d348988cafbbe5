package realm

import (
	"cmp"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// assumed is what a recipe leaves to others. An empty word is not known before
// the preset is: what depends on it is not judged.
type assumed struct {
	method, contentType string
	hasURL              bool
}

// validateRecipes checks the fetch recipe, which stands flat in the config,
// and the others.
func (r *Realm) validateRecipes() error {
	c := &r.Config
	plain := assumed{method: "GET", contentType: ContentJSON}
	flat, ofGrant := plain, plain
	switch {
	case c.Preset != "":
		plain = assumed{hasURL: true}
		flat, ofGrant = plain, plain
	case c.Grant != nil && c.Grant.Name == GrantAuthorizationCode:
		flat = assumed{method: "POST", contentType: cmp.Or(c.ContentType, ContentForm), hasURL: true}
		plain.contentType, ofGrant = flat.contentType, flat
	case c.Grant != nil:
		flat = assumed{method: "POST", contentType: ContentForm, hasURL: true}
	case c.URL == "" && r.LogicCode != "":
		flat = assumed{method: "POST", contentType: ContentJSON, hasURL: true}
	}
	if err := c.Recipe.validate("config", flat); err != nil {
		return err
	}
	for _, other := range []struct {
		path   string
		recipe *Recipe
	}{{"config.refresh", c.Refresh}, {"config.authorize", c.Authorize}, {"config.exchange", c.Exchange}} {
		if other.recipe == nil {
			continue
		}
		base := plain
		if other.recipe.URL == "" {
			base = ofGrant
		}
		if other.recipe == c.Authorize {
			base.method = plain.method
		}
		if err := other.recipe.validate(other.path, base); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recipe) validate(path string, base assumed) error {
	if r.URL != "" {
		if err := validURL(path+".url", r.URL, urlQuery); err != nil {
			return err
		}
	} else if !base.hasURL && len(r.Arguments) > 0 {
		return Fieldf(path+".url", "is required: there are arguments for it")
	}
	base.method, base.contentType = cmp.Or(r.Method, base.method), cmp.Or(r.ContentType, base.contentType)
	return firstError(
		func() error { return oneOf(path+".method", r.Method, "GET", "POST", "PUT") },
		func() error { return oneOf(path+".content_type", r.ContentType, ContentJSON, ContentForm, ContentText) },
		func() error { return validUnit(path+".expires_in_unit", r.ExpiresInUnit) },
		func() error { return validUnit(path+".refresh_expires_in_unit", r.RefreshExpiresInUnit) },
		func() error { return validText(path+".token_path", r.TokenPath) },
		func() error { return validAnswerHeader(path+".token_header", r.TokenHeader) },
		func() error { return validCookieName(path+".token_cookie", r.TokenCookie) },
		func() error { return validText(path+".expires_in_path", r.ExpiresInPath) },
		func() error { return validAnswerHeader(path+".expires_in_header", r.ExpiresInHeader) },
		func() error { return validText(path+".refresh_token_path", r.RefreshTokenPath) },
		func() error { return validText(path+".refresh_expires_in_path", r.RefreshExpiresInPath) },
		func() error { return validateRules(path+".success", r.Success) },
		func() error { return validateRules(path+".reauth_on", r.ReauthOn) },
		func() error { return validateRules(path+".hopeless_on", r.HopelessOn) },
		func() error { return validateRules(path+".throttled_on", r.ThrottledOn) },
		func() error { return r.validateArguments(path+".arguments", base) },
	)
}

// validAnswerHeader checks the name of a header field of an answer. Cookies have
// an option of their own.
func validAnswerHeader(path, name string) error {
	switch {
	case name == "":
		return nil
	case !httpguts.ValidHeaderFieldName(name):
		return Fieldf(path, "is not a name of a header")
	case strings.EqualFold(name, "Set-Cookie"):
		return Fieldf(path, "must not be Set-Cookie: token_cookie names a cookie")
	}
	return nil
}

// validCookieName checks the name of a cookie, which is a token (RFC 6265 section
// 4.1.1), as that of a header field.
func validCookieName(path, name string) error {
	if name != "" && !httpguts.ValidHeaderFieldName(name) {
		return Fieldf(path, "is not a name of a cookie")
	}
	return nil
}

func validUnit(path, unit string) error {
	return oneOf(path, unit, UnitSeconds, UnitMilliseconds, UnitEpoch, UnitEpochMillis, UnitRFC3339, UnitJWT)
}
