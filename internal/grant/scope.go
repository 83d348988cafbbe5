package grant

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/expression"
)

// scope says which names a value may use besides {secret.x}.
type scope struct {
	names []string
	// tokenField lets "$token" be the secret's field of that name. Elsewhere
	// it is refused: in the earlier service it read the stored token.
	tokenField bool
	// answer and callback let {answer.x} and {callback.x} be read.
	answer, callback bool
	// api: the value is the base of the API, whose host the provider may say.
	api bool
	// parents lets {token_of.x} be the token of another credential.
	parents bool
}

var (
	scopeFetch     = scope{names: []string{"force"}, parents: true}
	scopeRefresh   = scope{names: []string{"force", "refresh_token"}, answer: true, callback: true, parents: true}
	scopeAuthorize = scope{names: []string{"state", "callback_url", "code_challenge"}, parents: true}
	scopeExchange  = scope{names: []string{"code", "state", "callback_url", "code_verifier"}, callback: true, parents: true}
	scopeInject    = scope{names: []string{"token"}, answer: true, callback: true}
	scopeComputed  = scopeInject.and(expression.Answer, "method", "path") // an expression in inject
	scopeStatic    = scope{tokenField: true}
	scopeTarget    = scope{}
	scopeAPI       = scope{answer: true, callback: true, api: true}
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

// dollarName reads "$name", the form of the earlier service for a whole value.
func dollarName(name string, sc scope) (template, error) {
	if !validField(name) {
		return nil, errors.New(`"$" at the start must be followed by the name of a field and nothing else; write $$ for a dollar`)
	}
	if slices.Contains(columns, name) && (name != "token" || !sc.tokenField) {
		return nil, fmt.Errorf("$%s is not a field of a secret and cannot be read", name)
	}
	return template{{name: name, from: fromSecret}}, nil
}

var errUnclosed = errors.New(`"{" without "}"; write {{ for a brace`)

// braceName reads "name}..." and returns what stands behind it.
func braceName(s string, sc scope) (p part, rest string, err error) {
	if sc.parents && (strings.HasPrefix(s, parentName+".") || strings.HasPrefix(s, parentName+"[")) {
		return parseParent(s)
	}
	name, rest, found := strings.Cut(s, "}")
	if !found {
		return p, "", errUnclosed
	}
	if field, ok := strings.CutPrefix(name, "secret."); ok {
		if !validField(field) {
			return p, "", fmt.Errorf("{%s} does not name a field", name)
		}
		return part{name: field, from: fromSecret}, rest, nil
	}
	if p, ok, err := parseKept(name, sc); ok {
		return p, rest, err
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
	if s.answer {
		list += ", {answer.x}"
	}
	if s.callback {
		list += ", {callback.x}"
	}
	if s.parents {
		list += ", {" + parentName + ".x}"
	}
	return list + " are"
}

// validField reports whether a name can be that of a secret's field, as
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
