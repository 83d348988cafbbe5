package realm

import (
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// validateRecipes checks the fetch recipe, which stands flat in the config,
// and the others.
func (c *Config) validateRecipes() error {
	// A preset or a grant brings a URL of its own.
	if err := c.Recipe.validate("config", c.Preset == "" && c.Grant == nil); err != nil {
		return err
	}
	others := []struct {
		name   string
		recipe *Recipe
	}{{"refresh", c.Refresh}, {"authorize", c.Authorize}, {"exchange", c.Exchange}}
	for _, o := range others {
		if o.recipe == nil {
			continue
		}
		if err := o.recipe.validate("config."+o.name, c.Preset == ""); err != nil {
			return err
		}
	}
	return nil
}

// validate checks a recipe. needsURL says that nothing else names a URL.
func (r *Recipe) validate(path string, needsURL bool) error {
	if r.URL != "" {
		if err := validURL(path+".url", r.URL, urlQuery); err != nil {
			return err
		}
	} else if needsURL && len(r.Arguments) > 0 {
		return Fieldf(path+".url", "is required: there are arguments for it")
	}
	return firstError(
		func() error { return oneOf(path+".method", r.Method, "GET", "POST", "PUT") },
		func() error { return oneOf(path+".content_type", r.ContentType, ContentJSON, ContentForm, ContentText) },
		func() error { return validUnit(path+".expires_in_unit", r.ExpiresInUnit) },
		func() error { return validUnit(path+".refresh_expires_in_unit", r.RefreshExpiresInUnit) },
		func() error { return validText(path+".token_path", r.TokenPath) },
		func() error { return validText(path+".expires_in_path", r.ExpiresInPath) },
		func() error { return validText(path+".refresh_token_path", r.RefreshTokenPath) },
		func() error { return validText(path+".refresh_expires_in_path", r.RefreshExpiresInPath) },
		func() error { return validateRules(path+".success", r.Success) },
		func() error { return r.validateArguments(path + ".arguments") },
	)
}

func validUnit(path, unit string) error {
	return oneOf(path, unit, UnitSeconds, UnitMilliseconds, UnitEpoch, UnitEpochMillis, UnitRFC3339)
}

func (r *Recipe) validateArguments(path string) error {
	seen := make(map[string]int)
	for i, a := range r.Arguments {
		at := indexPath(path, i)
		if err := r.validateArgument(at, a); err != nil {
			return err
		}
		slot := a.slot(r.ContentType)
		if first, ok := seen[slot]; ok {
			return Fieldf(at+".name", "is the same as that of arguments[%d]", first)
		}
		seen[slot] = i
	}
	return r.validateNesting(path)
}

func (r *Recipe) validateArgument(at string, a Argument) error {
	if a.Place == "" {
		return Fieldf(at+".place", "is required: url, header, body, basic or path")
	}
	if err := oneOf(at+".place", a.Place, PlaceURL, PlaceHeader, PlaceBody, PlaceBasic, PlacePath); err != nil {
		return err
	}
	if a.Place == PlaceBody && (r.Method == "" || r.Method == "GET") {
		return Fieldf(at+".place", "must not be body: a GET request has none; set the method to POST")
	}
	if err := r.validateName(at+".name", a); err != nil {
		return err
	}
	if a.Value != "" && a.Expr != "" {
		return Fieldf(at+".expr", "must not stand beside value: one of the two")
	}
	if err := validText(at+".expr", a.Expr); err != nil {
		return err
	}
	if len(a.Value) > maxFieldValue {
		return Fieldf(at+".value", "is longer than 64 KiB")
	}
	return r.validateType(at+".type", a)
}

func (r *Recipe) validateName(path string, a Argument) error {
	if err := validText(path, a.Name); err != nil {
		return err
	}
	switch {
	case a.Place == PlaceHeader:
		return validHeader(path, a.Name)
	case a.Place == PlaceBasic, a.Place == PlaceBody && r.ContentType == ContentText:
		return nil // the user may be empty; a text has no names
	case a.Name == "":
		return Fieldf(path, "is required")
	}
	return nil
}

func (r *Recipe) validateType(path string, a Argument) error {
	if err := oneOf(path, a.Type, TypeString, TypeNumber, TypeBoolean); err != nil {
		return err
	}
	if a.Type != "" && (a.Place != PlaceBody || r.contentType() != ContentJSON) {
		return Fieldf(path, "has a meaning only for arguments of a JSON body")
	}
	return nil
}

// validateNesting checks the dotted names of a JSON body: none may need one
// member to be an object and a value at once ("a" and "a.b").
func (r *Recipe) validateNesting(path string) error {
	if r.contentType() != ContentJSON {
		return nil
	}
	values := make(map[string]bool)
	for _, a := range r.Arguments {
		if a.Place == PlaceBody {
			values[a.Name] = true
		}
	}
	for i, a := range r.Arguments {
		if a.Place != PlaceBody {
			continue
		}
		at := indexPath(path, i) + ".name"
		if strings.Contains("."+a.Name+".", "..") {
			return Fieldf(at, "has an empty part between dots")
		}
		for end, c := range a.Name {
			if c == '.' && values[a.Name[:end]] {
				return Fieldf(at, "goes into %q, which has a value itself", a.Name[:end])
			}
		}
	}
	return nil
}

// contentType is the recipe's, or the default.
func (r *Recipe) contentType() string {
	if r.ContentType == "" {
		return ContentJSON
	}
	return r.ContentType
}

// slot names what an argument fills. Two arguments of one slot would hide
// each other.
func (a Argument) slot(contentType string) string {
	switch {
	case a.Place == PlaceBasic:
		return slotOf(PlaceHeader, "Authorization")
	case a.Place == PlaceBody && contentType == ContentText:
		return slotOf(PlaceBody, "")
	}
	return slotOf(a.Place, a.Name)
}

func slotOf(place, name string) string {
	if place == PlaceHeader {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return place + " " + name
}

// validHeader checks the name of a header that a realm sets. Those that frame
// a message or belong to one connection (RFC 9110 section 7.6.1) are set by
// the HTTP client, and setting them would silently do nothing.
func validHeader(path, name string) error {
	if name == "" {
		return Fieldf(path, "is required")
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return Fieldf(path, "is not a name of a header")
	}
	switch name := textproto.CanonicalMIMEHeaderKey(name); name {
	case "Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return Fieldf(path, "must not be %s, which is the connection's own", name)
	}
	return nil
}
