package grant

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// refusalRules are a realm's own rules about refusals, beside the lists that all
// providers share. Of several that match, the list that stands first here
// counts: a dead refresh token is told from everything else, because only a
// person can replace it.
type refusalRules [3]refusalList

// refusalList is one of the lists, by the name of its field.
type refusalList struct {
	name  string
	class Class
	rules []rule
}

// The fields, as they stand in refusalRules.
const (
	reauthOn    = "reauth_on"
	hopelessOn  = "hopeless_on"
	throttledOn = "throttled_on"
)

// refusalMatch is the rule that tells what an answer means; the zero value says
// that there is none.
type refusalMatch struct {
	list string // reauthOn, hopelessOn or throttledOn
	// class is what to do. A dead refresh token is Hopeless.
	class Class
	rule  *rule
	index int
}

// compileRefusalRules compiles the three lists of a plan.
func (p *plan) compileRefusalRules() (refusalRules, error) {
	lists := refusalRules{{name: reauthOn, class: Hopeless}, {name: hopelessOn, class: Hopeless}, {name: throttledOn, class: Throttled}}
	for i, rules := range [...][]realm.Rule{p.recipe.ReauthOn, p.recipe.HopelessOn, p.recipe.ThrottledOn} {
		field := p.field + "." + lists[i].name
		compiled, err := compileRules(rules, field)
		if err != nil {
			return lists, err
		}
		for n, r := range compiled {
			if r.matchesEverySuccess(p.recipe.TokenPath) {
				return lists, realm.Fieldf(field+"["+strconv.Itoa(n)+"]", "would match every good answer: name the JSON values of a refusal, or its status")
			}
		}
		lists[i].rules = compiled
	}
	return lists, nil
}

// matchesEverySuccess reports whether no answer with a token could pass the
// rule: it asks for nothing but a good status, or for the token itself.
func (r rule) matchesEverySuccess(tokenPath string) bool {
	isGood := func(status int) bool { return status >= http.StatusOK && status < http.StatusMultipleChoices }
	if len(r.status) > 0 && !slices.ContainsFunc(r.status, isGood) {
		return false
	}
	return r.json == nil || r.name == tokenPath && len(r.values) == 0
}

// match finds the rule that tells what an answer means. It looks at answers of
// every status, and at those that have a token, too: what a realm says is
// more certain than a status 200. As with renew_on, what is no object or array
// has no paths, and a name that stands twice leads nowhere.
func (l *refusalRules) match(status int, root gjson.Result) refusalMatch {
	isDocument := root.IsObject() || root.IsArray()
	for _, list := range l {
		for i := range list.rules {
			r := &list.rules[i]
			if r.json != nil && !isDocument {
				continue
			}
			if ok, err := r.matches(status, root); ok && err == nil {
				return refusalMatch{list.name, list.class, r, i}
			}
		}
	}
	return refusalMatch{}
}

// found reports whether there is such a rule.
func (m refusalMatch) found() bool { return m.rule != nil }

// code is the value that the rule names and the answer has: the provider's code
// where none stands at a place that is known. A rule without values may lead
// to anything, which is not shown.
func (m refusalMatch) code(root gjson.Result) (code string) {
	if !m.found() || m.rule.json == nil || len(m.rule.values) == 0 {
		return ""
	}
	_, _ = m.rule.json.leads(root, func(value gjson.Result) (accepted bool) {
		if accepted = m.rule.accepts(value); accepted {
			code, _ = scalarText(value)
		}
		return accepted
	})
	return code
}

// describe names the rule, for whoever wrote it.
func (m refusalMatch) describe() string {
	return "the rule of " + m.list + " for " + orDefault(m.rule.name, "the status") + " matches"
}
