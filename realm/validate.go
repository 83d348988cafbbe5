package realm

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxID is the longest realm id or secret key, in bytes.
	maxID = 255
	// maxText is the longest comment, URL or template, in characters.
	maxText = 5000
	// maxFieldName and maxFieldValue bound a secret's field, in bytes: a PEM
	// key or a certificate chain fits.
	maxFieldName  = 64
	maxFieldValue = 64 << 10
)

// Validate checks the shape of a realm: required fields, known names, places,
// units, limits. Errors are *FieldError with the path that the user typed.
// What templates and answer paths mean, and where plain http is allowed, is
// checked by grant.Compile.
func (r *Realm) Validate() error {
	if err := ValidateID("id", r.ID); err != nil {
		return err
	}
	if err := validText("comment", r.Comment); err != nil {
		return err
	}
	if r.LogicCode != "" {
		if err := validURL("logic_code", r.LogicCode, urlQuery|urlFragment|urlUser); err != nil {
			return err
		}
	}
	return r.validateConfig()
}

// validateConfig checks the parts of the config in the order in which people
// write them, so that the first mistake is reported first.
func (r *Realm) validateConfig() error {
	c := &r.Config
	return firstError(
		func() error { return c.validateTarget() },
		func() error { return r.validateRecipes() },
		func() error { return r.validateGrant() },
		func() error { return c.validateAuthorization() },
		func() error { return validateInject(c.Inject) },
		func() error { return c.validateProxied() },
		func() error { return validateRules("config.renew_on", c.RenewOn) },
		func() error { return c.validateWords() },
		func() error { return c.validateVolatile() },
		func() error { return c.validatePush() },
		func() error { return c.validateTimes() },
		func() error { return c.Limits.validate() },
		func() error { return ValidateFields("config.shared", c.Shared) },
	)
}

// validateWords checks the fields that take one of a few words, or a name.
func (c *Config) validateWords() error {
	if c.Preset != "" {
		if err := ValidateID("config.preset", c.Preset); err != nil {
			return err
		}
	}
	if err := c.validateCodeName(); err != nil {
		return err
	}
	if c.DefaultKey != "" {
		if err := ValidateID("config.default_key", c.DefaultKey); err != nil {
			return err
		}
	}
	if err := oneOf("config.refresh_semantics", c.RefreshSemantics, RefreshStable, RefreshGrace, RefreshStrict, RefreshFamily); err != nil {
		return err
	}
	return oneOf("config.semantics", c.Semantics, SemanticsSame, SemanticsRotate, SemanticsParallel)
}

// validateCodeName checks the name of the code in callbacks. It cannot be that of
// another parameter of the standard (RFC 6749 section 4.1.2, RFC 9207).
func (c *Config) validateCodeName() error {
	const path = "config.code_name"
	switch name := c.CodeName; name {
	case "":
	case "state", "error", "error_description", "error_uri", "iss":
		return Fieldf(path, "must not be %s, which is another parameter of a callback", name)
	default:
		if !isFieldName(name) || len(name) > maxFieldName {
			return Fieldf(path, "is not a name of a parameter: 1 to %d letters, digits, _, - and .", maxFieldName)
		}
	}
	return nil
}

// Validate checks the shape of a secret: the realm's id, the key, the names
// and sizes of its fields.
func (s *Secret) Validate() error {
	if err := ValidateID("realm", s.Realm); err != nil {
		return err
	}
	if err := ValidateID("key", s.Key); err != nil {
		return err
	}
	return ValidateFields("fields", s.Fields)
}

// ValidateID checks the id of a realm or the key of a secret: 1 to 255 bytes
// of UTF-8 without control characters. Blanks, slashes and any script are
// allowed; "." and ".." are not, because they cannot stand in a URL's path
// (RFC 3986 section 5.2.4 removes them). field is its path, for the error.
func ValidateID(field, s string) error {
	switch {
	case s == "":
		return Fieldf(field, "is required")
	case len(s) > maxID:
		return Fieldf(field, "has %d bytes; %d is the limit", len(s), maxID)
	case !utf8.ValidString(s):
		return Fieldf(field, "is not UTF-8 text")
	case strings.ContainsFunc(s, unicode.IsControl):
		return Fieldf(field, "has a control character")
	case s == "." || s == "..":
		return Fieldf(field, "must not be %q, which cannot stand in a URL's path", s)
	}
	return nil
}

// ValidateNewID is ValidateID for an id or key that is about to be created. It
// refuses what somebody who looks at a decoded path reads as another path, or
// as the end of it: a matcher of Caddy, a policy in front of the proxy, a log.
// Those that exist already go on.
func ValidateNewID(field, s string) error {
	if err := ValidateID(field, s); err != nil {
		return err
	}
	if IsAmbiguousInPath(s) {
		return Fieldf(field, `must not hold / \ %% or ?`)
	}
	return nil
}

// FoldCase returns one spelling for all ids that are equal but for case, as
// Unicode's simple folding has it: "K", "k" and the Kelvin sign are one. Of the
// characters that are equal, the first one stands for all, so that the result is
// never longer. It is for comparing only: ids themselves are compared as bytes.
func FoldCase(id string) string {
	return strings.Map(func(c rune) rune {
		first := c
		for other := unicode.SimpleFold(c); other != c; other = unicode.SimpleFold(other) {
			first = min(first, other)
		}
		return first
	}, id)
}

// IsAmbiguousInPath reports whether an id, as a segment of a path, may be read
// as something else once it is decoded.
func IsAmbiguousInPath(id string) bool {
	return strings.ContainsAny(id, `/\%?`) || strings.ContainsFunc(id, unicode.IsControl)
}

// notFieldName is the reason for a name that cannot be that of a field.
const notFieldName = "is not a name of a field: 1 to %d letters, digits, _, - and ."

// injectOnly stands beside the fields of a secret in a Caddyfile, so that none can
// have this name.
const injectOnly = "inject_only"

// ValidateFields checks the fields of a secret, or the shared ones of a realm.
// A name is 1 to 64 letters, digits, "_", "-" and ".", the first one a letter,
// a digit or "_", and not "inject_only"; a value is UTF-8 text of at most 64 KiB.
func ValidateFields(prefix string, fields map[string]Hidden) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		path, value := joinPath(prefix, name), fields[name]
		switch {
		case !isFieldName(name) || len(name) > maxFieldName:
			return Fieldf(path, notFieldName, maxFieldName)
		case name == injectOnly:
			return Fieldf(path, "is a reserved name: in a secret, inject_only keeps its token from everybody, and is no field")
		case len(value) > maxFieldValue:
			return Fieldf(path, "is longer than 64 KiB")
		case !utf8.ValidString(value.Reveal()):
			return Fieldf(path, "is not UTF-8 text")
		}
	}
	return nil
}

// validateVolatile checks the names; whether a recipe reads them is known when
// the realm is compiled.
func (c *Config) validateVolatile() error {
	for i, name := range c.Volatile {
		path := indexPath("config.volatile", i)
		if !isFieldName(name) || len(name) > maxFieldName {
			return Fieldf(path, notFieldName, maxFieldName)
		}
		if first := slices.Index(c.Volatile, name); first < i {
			return Fieldf(path, "is the same as volatile[%d]", first)
		}
	}
	return nil
}

// isFieldName reports whether a name is of the characters that a template, an
// expression and a Caddyfile take without quotes.
func isFieldName(s string) bool {
	for i, c := range []byte(s) {
		if !isLetterOrDigit(c) && c != '_' && (i == 0 || c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// validText checks free text and templates.
func validText(field, s string) error {
	if !utf8.ValidString(s) {
		return Fieldf(field, "is not UTF-8 text")
	}
	if n := utf8.RuneCountInString(s); n > maxText {
		return Fieldf(field, "has %d characters; %d is the limit", n, maxText)
	}
	return nil
}

// oneOf checks a word; an empty one stands for the default.
func oneOf(field, word string, known ...string) error {
	if word == "" {
		return nil
	}
	for _, k := range known {
		if word == k {
			return nil
		}
	}
	list := strings.Join(known[:len(known)-1], ", ") + " or " + known[len(known)-1]
	return Fieldf(field, "must be %s, not %.40q", list, word)
}

// firstError runs the checks up to the first that fails.
func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}
