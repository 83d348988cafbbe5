package grant

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// rule is a compiled realm.Rule: a condition on an answer.
type rule struct {
	status []int
	json   pattern
	name   string // the path as it was written, for messages
	values []realm.Scalar
	absent bool
}

// compileRules compiles the rules of the field, such as config.success.
func compileRules(rules []realm.Rule, field string) ([]rule, error) {
	var compiled []rule
	for i, r := range rules {
		at := field + "[" + strconv.Itoa(i) + "]"
		c, err := compileRule(r, at)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, c)
	}
	return compiled, nil
}

// inRenewOn is the reason against what only the answers of an API are judged by.
const inRenewOn = "can stand in renew_on only"

// compileRule compiles one rule about token answers. One that would match every answer is refused:
// it can only be a mistake.
func compileRule(r realm.Rule, field string) (rule, error) {
	c := rule{status: r.Status, name: r.JSON, values: r.Values, absent: r.Absent}
	switch {
	case r.Text != "":
		return c, realm.Fieldf(field+".text", inRenewOn)
	case r.Header != "":
		return c, realm.Fieldf(field+".header", inRenewOn)
	case len(r.Types) > 0:
		return c, realm.Fieldf(field+".types", inRenewOn)
	case r.JSON == "" && (len(r.Values) > 0 || r.Absent):
		return c, realm.Fieldf(field+".json", "is missing: values and absent need a path")
	case r.JSON == "" && len(r.Status) == 0:
		return c, realm.Fieldf(field, "must have a status or a json path")
	case r.Absent && len(r.Values) == 0:
		return c, realm.Fieldf(field+".values", "is missing: a rule with absent alone would match everything")
	case r.JSON == "":
		return c, nil
	}
	var err error
	if c.json, err = parsePattern(r.JSON); err != nil {
		return c, realm.Fieldf(field+".json", "%v", err)
	}
	return c, nil
}

// concerns reports whether the rule is about answers of this status.
func (r rule) concerns(status int) bool {
	return len(r.status) == 0 || slices.Contains(r.status, status)
}

// matches reports whether all of the rule holds. root is a Result that does not
// exist when the answer is no document.
func (r rule) matches(status int, root gjson.Result) (bool, error) {
	if !r.concerns(status) {
		return false, nil
	}
	if r.json == nil {
		return true, nil
	}
	return r.json.leads(root, r.accepts)
}

// accepts compares a value. null counts as absent, unless the rule names it.
func (r rule) accepts(value gjson.Result) bool {
	if !value.Exists() {
		return r.absent
	}
	missing := value.Type == gjson.Null
	if len(r.values) == 0 {
		return !missing
	}
	var s realm.Scalar
	if value.Type == gjson.JSON || s.UnmarshalJSON([]byte(value.Raw)) != nil { // an object or array
		return false
	}
	return slices.ContainsFunc(r.values, s.Equal) || missing && r.absent
}

// succeeded reports whether an answer is a success: every rule matches and,
// unless a rule names statuses, the status is 2xx (201 counts too:
// GitHub's installation tokens). failed is the rule that does not match; nil
// for the status.
func succeeded(rules []rule, status int, root gjson.Result) (ok bool, failed *rule, err error) {
	named := false
	for i := range rules {
		named = named || len(rules[i].status) > 0
		if ok, err := rules[i].matches(status, root); !ok || err != nil {
			return false, &rules[i], err
		}
	}
	return named || status >= http.StatusOK && status < http.StatusMultipleChoices, nil, nil
}
