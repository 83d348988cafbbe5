package realm

import (
	"net/textproto"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// maxArguments bounds the arguments of a recipe; no provider takes a tenth of
// them.
const maxArguments = 64

// validateArguments checks the arguments one by one, and that no two of them
// fill the same place. A parameter of the query or of a form may repeat.
func (r *Recipe) validateArguments(path string, base assumed) error {
	if len(r.Arguments) > maxArguments {
		return Fieldf(path, "must be at most %d", maxArguments)
	}
	seen := make(map[string]int)
	for i, a := range r.Arguments {
		at := indexPath(path, i)
		if err := a.validate(at, base); err != nil {
			return err
		}
		slot := a.slot(base.contentType)
		if first, ok := seen[slot]; ok && !a.mayRepeat(base.contentType) {
			return Fieldf(at+".name", "is the same as that of arguments[%d]", first)
		}
		seen[slot] = i
	}
	if base.contentType != ContentJSON {
		return nil
	}
	return r.validateNesting(path)
}

func (a Argument) validate(at string, base assumed) error {
	if a.Place == "" {
		return Fieldf(at+".place", "is required: url, header, body, basic or path")
	}
	if err := oneOf(at+".place", a.Place, PlaceURL, PlaceHeader, PlaceBody, PlaceBasic, PlacePath); err != nil {
		return err
	}
	if a.Place == PlaceBody && base.method == "GET" {
		return Fieldf(at+".place", "must not be body: a GET request has none; set the method to POST")
	}
	if err := a.validateName(at+".name", base); err != nil {
		return err
	}
	if a.Value != "" && a.Expr != "" {
		return Fieldf(at+".expr", "must not stand beside value: one of the two")
	}
	if err := validText(at+".expr", a.Expr); err != nil {
		return err
	}
	if len(a.Value) > maxFieldValue || !utf8.ValidString(a.Value) {
		return Fieldf(at+".value", "must be UTF-8 text of at most 64 KiB")
	}
	return a.validateType(at+".type", base)
}

// validateName checks the name where the place has one.
func (a Argument) validateName(path string, base assumed) error {
	if err := validText(path, a.Name); err != nil {
		return err
	}
	switch {
	case a.Place == PlaceHeader:
		return validHeader(path, a.Name)
	case a.Place == PlaceBasic, a.Place == PlaceBody && base.contentType == ContentText:
		return nil // the user may be empty; a text has no names
	case a.Name == "":
		return Fieldf(path, "is required")
	}
	return nil
}

// validateType checks the type. Where the content type is left to a preset,
// it is judged once the preset is known.
func (a Argument) validateType(path string, base assumed) error {
	if err := oneOf(path, a.Type, TypeString, TypeNumber, TypeBoolean); err != nil {
		return err
	}
	unknown := base.contentType == ""
	if a.Type != "" && (a.Place != PlaceBody || !unknown && base.contentType != ContentJSON) {
		return Fieldf(path, "has a meaning only for arguments of a JSON body")
	}
	return nil
}

// validateNesting checks the dotted names of a JSON body: none may need one
// member to be an object and a value at once ("a" and "a.b").
func (r *Recipe) validateNesting(path string) error {
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

// mayRepeat reports whether another argument may have the same name. Where the
// content type is left to a preset, it is judged once the preset is known.
func (a Argument) mayRepeat(contentType string) bool {
	return a.Place == PlaceURL || a.Place == PlaceBody && (contentType == ContentForm || contentType == "")
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

// slotOf is a key of the place and the name; names of headers are equal in any
// case (RFC 9110 section 5.1).
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
