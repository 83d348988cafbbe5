package realm

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// validateInject checks the places of the token, and that no two of them are
// the same.
func validateInject(inject []Injection) error {
	seen := make(map[string]int)
	for i, in := range inject {
		at := indexPath("config.inject", i)
		if err := in.validate(at); err != nil {
			return err
		}
		slot := in.slot()
		if first, ok := seen[slot]; ok {
			return Fieldf(at, "puts a value where inject[%d] puts one", first)
		}
		seen[slot] = i
	}
	if err := validateCookies(inject); err != nil {
		return err
	}
	return validateBodyNames(inject)
}

// validateBodyNames checks the dotted names of fields, as those of a token request.
func validateBodyNames(inject []Injection) error {
	var r Recipe
	for _, in := range inject {
		r.Arguments = append(r.Arguments, Argument{Place: in.Place, Name: in.Name})
	}
	return r.validateNesting("config.inject")
}

// slot names what the injection fills. Two of one slot would hide each other.
func (in Injection) slot() string {
	if in.Place == PlaceBasic {
		return slotOf(PlaceHeader, "Authorization")
	}
	return slotOf(in.Place, in.Name)
}

// validateCookies refuses a cookie beside a header that replaces all cookies.
func validateCookies(inject []Injection) error {
	cookie := slices.IndexFunc(inject, func(in Injection) bool { return in.Place == PlaceCookie })
	header := slices.IndexFunc(inject, func(in Injection) bool { return in.slot() == slotOf(PlaceHeader, "Cookie") })
	if cookie < 0 || header < 0 {
		return nil
	}
	return Fieldf(indexPath("config.inject", max(cookie, header)), "puts a value where inject[%d] puts one", min(cookie, header))
}

func (in Injection) validate(at string) error {
	if in.Place == "" {
		return Fieldf(at+".place", "is required: url, header, body, basic, path or cookie")
	}
	err := oneOf(at+".place", in.Place, PlaceURL, PlaceHeader, PlaceBody, PlaceBasic, PlacePath, PlaceCookie)
	if err != nil {
		return err
	}
	if err := validText(at+".name", in.Name); err != nil {
		return err
	}
	switch {
	case in.Place == PlaceHeader:
		if err := validHeader(at+".name", in.Name); err != nil {
			return err
		}
	case in.Place != PlaceBasic && in.Name == "":
		return Fieldf(at+".name", "is required")
	case in.Place == PlaceCookie && !httpguts.ValidHeaderFieldName(in.Name): // both are tokens of RFC 9110
		return Fieldf(at+".name", "is not a name of a cookie")
	case in.Place == PlacePath && !isPathName(in.Name):
		return Fieldf(at+".name", "must be how the segment with the token begins (bot, file/bot), or / for one that is the token alone")
	}
	if in.Value != "" && in.Expr != "" {
		return Fieldf(at+".expr", "must not stand beside value: one of the two")
	}
	if err := validText(at+".expr", in.Expr); err != nil {
		return err
	}
	return validText(at+".value", in.Value)
}

// isPathName reports whether a text can stand in a path as it is, in front of a
// token: segments of unreserved characters (RFC 3986 section 2.3), of which the
// last one is the beginning of the token's own.
func isPathName(name string) bool {
	if name == "/" {
		return true
	}
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, isReserved) {
			return false
		}
	}
	return true
}

// isReserved reports whether a character means something in a path, or has to be
// escaped there.
func isReserved(r rune) bool {
	isUnreserved := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._~", r)
	return !isUnreserved
}

// validateRules checks the rules of one list: success, renew_on and so on.
func validateRules(path string, rules []Rule) error {
	for i, r := range rules {
		if err := r.validate(indexPath(path, i)); err != nil {
			return err
		}
	}
	return nil
}

func (r Rule) validate(at string) error {
	for i, status := range r.Status {
		if status < 100 || status > 599 {
			return Fieldf(indexPath(at+".status", i), "must be an HTTP status, 100 to 599")
		}
	}
	for i, v := range r.Values {
		if !utf8.ValidString(v.raw) {
			return Fieldf(indexPath(at+".values", i), "is not UTF-8 text")
		}
	}
	if err := r.validateAnswer(at); err != nil {
		return err
	}
	switch {
	case r.JSON == "" && r.Header == "" && len(r.Values) > 0:
		return Fieldf(at+".json", "is required: values are looked for there")
	case r.JSON == "" && r.Absent:
		return Fieldf(at+".json", "is required: absent is about this path")
	case r.JSON == "" && r.Text == "" && r.Header == "" && len(r.Status) == 0:
		return Fieldf(at, "says nothing: give status, or json with values")
	case r.Absent && len(r.Values) == 0:
		return Fieldf(at+".values", "is required: absent alone would match every answer")
	}
	return validText(at+".json", r.JSON)
}
