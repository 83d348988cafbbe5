package grant

import (
	"slices"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// deadRule is a compiled renew_on: any of its rules tells a dead token.
type deadRule struct {
	rules       []rule
	readsBodies bool
}

var _ realm.DeadRule = (*deadRule)(nil)

// compileDead compiles the rules of renew_on.
func compileDead(rules []realm.Rule, field string) (*deadRule, error) {
	compiled, err := compileRules(rules, field)
	if err != nil {
		return nil, err
	}
	looks := slices.ContainsFunc(compiled, func(r rule) bool { return r.json != nil })
	return &deadRule{compiled, looks}, nil
}

// Looks reports whether a rule looks into bodies.
func (d *deadRule) Looks() bool { return d.readsBodies }

// Status judges by the status alone.
func (d *deadRule) Status(status int) realm.Verdict {
	verdict := realm.Alive
	for i := range d.rules {
		r := &d.rules[i]
		switch {
		case !r.concerns(status):
		case r.json == nil:
			return realm.Dead
		default:
			verdict = realm.AskBody
		}
	}
	return verdict
}

// Body judges an answer by its document. Nearly all answers match no rule, so
// the syntax, whose check costs more than the walk to one value, is looked at
// last: gjson walks anything, and without recursion.
func (d *deadRule) Body(status int, document []byte) bool {
	text := withoutBOM(document)
	if !d.matches(status, gjson.ParseBytes(text)) {
		return false
	}
	root, problem := parseDocument(text, realm.ContentJSON)
	return problem == "" && d.matches(status, root)
}

// matches reports whether a rule holds. A path through a name that stands twice
// leads nowhere, and what is no object or array has no paths: a rule with
// absent would match it.
func (d *deadRule) matches(status int, root gjson.Result) bool {
	if !root.IsObject() && !root.IsArray() {
		return false
	}
	return slices.ContainsFunc(d.rules, func(r rule) bool {
		ok, err := r.matches(status, root)
		return ok && err == nil
	})
}
