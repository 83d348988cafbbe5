package grant

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// template is a parsed value: literal texts and names in turn.
type template []part

// part is a literal text, or a name that is filled in.
type part struct {
	text  string // literal, where name is empty
	name  string
	field bool // name is a field of the secret; else one of the scope's names
}

// scope says which names a value may use besides {secret.x}.
type scope struct {
	names []string
	// tokenField lets "$token" be the secret's field of that name. Elsewhere
	// it is refused: in the earlier service it read the stored token.
	tokenField bool
}

var (
	scopeFetch     = scope{names: []string{"force"}}
	scopeRefresh   = scope{names: []string{"force", "refresh_token"}}
	scopeAuthorize = scope{names: []string{"state", "callback_url", "code_challenge"}}
	scopeExchange  = scope{names: []string{"code", "state", "callback_url", "code_verifier"}}
	scopeInject    = scope{names: []string{"token"}}
	scopeStatic    = scope{tokenField: true}
	scopeTarget    = scope{}
)

// and returns the scope with more names.
func (s scope) and(names ...string) scope {
	s.names = append(slices.Clone(s.names), names...)
	return s
}

// columns are words that "$x" read from the stored row in the earlier service.
// They are no fields of a secret.
var columns = []string{"token", "expires_at", "realm", "key", "created_at", "updated_at"}

// parseTemplate reads a value: "$name" only as the whole value, "$$" for a
// dollar at the start, names in braces, "{{" for a brace.
func parseTemplate(s string, sc scope) (template, error) {
	if rest, ok := strings.CutPrefix(s, "$"); ok {
		if !strings.HasPrefix(rest, "$") {
			return dollarName(rest, sc)
		}
		s = rest
	}
	var t template
	for s != "" {
		text, rest, found := strings.Cut(s, "{")
		t = t.literal(text)
		switch {
		case !found:
			return t, nil
		case strings.HasPrefix(rest, "{"):
			t, s = t.literal("{"), rest[1:]
		default:
			p, after, err := braceName(rest, sc)
			if err != nil {
				return nil, err
			}
			t, s = append(t, p), after
		}
	}
	return t, nil
}

func dollarName(name string, sc scope) (template, error) {
	if !validField(name) {
		return nil, errors.New(`"$" at the start must be followed by the name of a field and nothing else; write $$ for a dollar`)
	}
	if slices.Contains(columns, name) && (name != "token" || !sc.tokenField) {
		return nil, fmt.Errorf("$%s is not a field of a secret and cannot be read", name)
	}
	return template{{name: name, field: true}}, nil
}

// braceName reads "name}..." and returns what stands behind it.
func braceName(s string, sc scope) (p part, rest string, err error) {
	name, rest, found := strings.Cut(s, "}")
	if !found {
		return p, "", errors.New(`"{" without "}"; write {{ for a brace`)
	}
	if field, ok := strings.CutPrefix(name, "secret."); ok {
		if !validField(field) {
			return p, "", fmt.Errorf("{%s} does not name a field", name)
		}
		return part{name: field, field: true}, rest, nil
	}
	if !slices.Contains(sc.names, name) {
		return p, "", fmt.Errorf("{%s} is not known here: %s; write {{ for a brace", name, sc)
	}
	return part{name: name}, rest, nil
}

// String lists what may stand in braces.
func (s scope) String() string {
	list := "{secret.x}"
	for _, name := range s.names {
		list += ", {" + name + "}"
	}
	return list + " are"
}

// validField says whether a name can be that of a secret's field, as
// realm.ValidateFields has it.
func validField(name string) bool {
	if name == "" || len(name) > 64 || !isAlnum(name[0]) && name[0] != '_' {
		return false
	}
	for _, c := range []byte(name) {
		if !isAlnum(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// literal appends text, joined to a literal before it.
func (t template) literal(text string) template {
	if text == "" {
		return t
	}
	if n := len(t); n > 0 && t[n-1].name == "" {
		t[n-1].text += text
		return t
	}
	return append(t, part{text: text})
}

// join appends another template.
func (t template) join(o template) template {
	for _, p := range o {
		if p.name == "" {
			t = t.literal(p.text)
		} else {
			t = append(t, p)
		}
	}
	return t
}

// constant returns the text of a template without names.
func (t template) constant() (string, bool) {
	switch {
	case len(t) == 0:
		return "", true
	case len(t) == 1 && t[0].name == "":
		return t[0].text, true
	}
	return "", false
}

// is says whether the template is exactly one of the scope's names.
func (t template) is(name string) bool {
	return len(t) == 1 && t[0].name == name && !t[0].field
}

// cut splits the template at the first of the characters that stands in its
// literal text.
func (t template) cut(chars string) (before template, sep byte, after template) {
	for i, p := range t {
		if p.name != "" {
			continue
		}
		if at := strings.IndexAny(p.text, chars); at >= 0 {
			before = slices.Clone(t[:i]).literal(p.text[:at])
			after = template{}.literal(p.text[at+1:]).join(t[i+1:])
			return before, p.text[at], after
		}
	}
	return t, 0, nil
}

// fields appends the secret's fields that the template reads.
func (t template) fields(to []string) []string {
	for _, p := range t {
		if p.field {
			to = append(to, p.name)
		}
	}
	return to
}

// expand fills the names in. escape, where it is not nil, is applied to their
// values and not to the literal text.
func (t template) expand(v *values, escape func(string) string) string {
	if text, ok := t.constant(); ok {
		return text
	}
	var b strings.Builder
	for _, p := range t {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		value := v.get(p)
		if escape != nil && !v.masked {
			value = escape(value)
		}
		b.WriteString(value)
	}
	return b.String()
}

// values are what the names of a template stand for.
type values struct {
	secret, shared map[string]realm.Hidden
	token          string
	force          bool
	path           map[string]string // the arguments of the URL's path
	// masked values are for showing: every one that is confidential is
	// realm.Mask, and none is escaped.
	masked bool
}

// field returns a field of the secret, else the realm's shared one.
func (v *values) field(name string) (realm.Hidden, bool) {
	if value, ok := v.secret[name]; ok {
		return value, true
	}
	value, ok := v.shared[name]
	return value, ok
}

// get returns the value of a name. Bind has made sure that fields exist.
func (v *values) get(p part) string {
	switch {
	case p.field && v.masked:
		return realm.Mask
	case p.field:
		value, _ := v.field(p.name)
		return value.Reveal()
	case p.name == "token":
		return v.token
	case p.name == "force":
		return strconv.FormatBool(v.force)
	}
	return v.path[p.name]
}
