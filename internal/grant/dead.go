package grant

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// deadRule is a compiled renew_on: any of its rules tells a dead token.
type deadRule struct {
	rules       []apiRule
	readsBodies bool
}

// apiRule is a condition on an answer of the API.
type apiRule struct {
	document rule // status and json
	name     memberName
	text     []byte   // nil for none
	header   string   // in canonical form; "" for none
	values   []string // of the header; none for any
	types    []string
}

var _ realm.DeadRule = (*deadRule)(nil)

// compileDead compiles the rules of renew_on.
func compileDead(rules []realm.Rule, field string) (*deadRule, error) {
	d := new(deadRule)
	for i, r := range rules {
		compiled, err := compileAPIRule(r, field+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		d.rules = append(d.rules, compiled)
		d.readsBodies = d.readsBodies || compiled.readsBody()
	}
	return d, nil
}

func compileAPIRule(r realm.Rule, field string) (apiRule, error) {
	c := apiRule{types: r.Types}
	if r.Text != "" {
		c.text = []byte(r.Text)
	}
	document := realm.Rule{Status: r.Status, JSON: r.JSON, Values: r.Values, Absent: r.Absent}
	if r.Header != "" {
		c.header, document.Values = http.CanonicalHeaderKey(r.Header), nil
		for _, v := range r.Values {
			c.values = append(c.values, v.Text())
		}
	}
	if r.JSON == "" && (r.Text != "" || r.Header != "") && len(document.Values) == 0 && !r.Absent {
		c.document = rule{status: r.Status}
		return c, nil
	}
	var err error
	c.document, err = compileRule(document, field)
	if err == nil && !r.Absent {
		c.name = lastNameOf(c.document.json)
	}
	return c, err
}

// readsBody reports whether the rule looks into bodies.
func (r *apiRule) readsBody() bool { return r.document.json != nil || r.text != nil }

// concerns reports whether the rule is about an answer of this status and header.
// The header counts, and not a trailer, since only a rule that reads no body can be
// judged when the trailer is there.
func (r *apiRule) concerns(status int, header http.Header) bool {
	return r.document.concerns(status) && (r.header == "" || r.acceptsField(header))
}

// acceptsField reports whether the field has a value that the rule names.
func (r *apiRule) acceptsField(fields http.Header) bool {
	lines := fields[r.header]
	if len(r.values) == 0 {
		return len(lines) > 0
	}
	for _, line := range lines {
		if slices.Contains(r.values, line) {
			return true
		}
	}
	return false
}

// look says which bodies of a media type the rule looks into. JSON that is labelled
// as something else is known by its first byte: WeChat's media endpoints refuse a
// token so. What begins with "[" may be anything, as a log does.
func (r *apiRule) look(mediaType string) realm.Look {
	named := slices.ContainsFunc(r.types, func(t string) bool { return isOneOf(mediaType, t) })
	switch {
	case r.document.json != nil && (named || isJSON(mediaType)):
		return realm.LookAtJSON
	case named && r.text != nil:
		return realm.LookAtText
	case isStream(mediaType), !r.readsBody():
		return realm.LookNowhere
	case r.document.json == nil && mediaType == "":
		return realm.LookAtJSON
	case r.document.json == nil && (isJSON(mediaType) || isText(mediaType)):
		return realm.LookAtText
	}
	return realm.LookAtObject
}

// Looks reports whether a rule looks into bodies.
func (d *deadRule) Looks() bool { return d.readsBodies }

// Head judges by the status and the header alone.
func (d *deadRule) Head(status int, header http.Header) realm.Verdict {
	verdict := realm.Alive
	for i := range d.rules {
		r := &d.rules[i]
		switch {
		case !r.concerns(status, header):
		case !r.readsBody():
			return realm.Dead
		default:
			verdict = realm.AskBody
		}
	}
	return verdict
}

// Look says which bodies the rules look into.
func (d *deadRule) Look(status int, header http.Header) realm.Look {
	look, mediaType := realm.LookNowhere, mediaTypeOf(header)
	for i := range d.rules {
		if r := &d.rules[i]; r.concerns(status, header) {
			look = max(look, r.look(mediaType))
		}
	}
	return look
}

// Body judges an answer by its body. Nearly all answers match no rule, so what is
// cheap comes first: the search for the last name of the path, then the walk along
// it, by gjson, which walks anything and without recursion. The syntax, whose check
// costs most, is looked at last.
func (d *deadRule) Body(status int, header http.Header, body []byte, whole bool) bool {
	text, mediaType := withoutBOM(body), mediaTypeOf(header)
	var root gjson.Result // parsed when it is needed
	valid := false
	for i := range d.rules {
		r := &d.rules[i]
		switch {
		case !r.readsBody() || !r.concerns(status, header) || !begins(text, r.look(mediaType)):
			continue
		case r.text != nil && !bytes.Contains(body, r.text):
			continue
		case r.document.json == nil:
			return true
		case !whole || !r.name.mayHold(&r.document, text):
			continue
		case !root.Exists():
			root = gjson.Parse(uncopied(text))
		}
		if !r.document.holds(status, root) {
			continue
		}
		if valid {
			return true
		}
		var problem string
		if root, problem = parseDocument(text, realm.ContentJSON); problem != "" {
			whole = false // no rule may read it as a document
			continue
		}
		if valid = true; r.document.holds(status, root) {
			return true
		}
	}
	return false
}

// holds reports whether the rule holds for a document. A path through a name that
// stands twice leads nowhere, and what is no object or array has no paths: a rule
// with absent would match it.
func (r rule) holds(status int, root gjson.Result) bool {
	if !root.IsObject() && !root.IsArray() {
		return false
	}
	ok, err := r.matches(status, root)
	return ok && err == nil
}

// begins reports whether a body begins as one that is looked at.
func begins(text []byte, look realm.Look) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	switch look {
	case realm.LookNowhere:
		return false
	case realm.LookAtText:
		return true
	case realm.LookAtObject, realm.LookAtJSON:
	}
	return len(text) > 0 && (text[0] == '{' || text[0] == '[' && look == realm.LookAtJSON)
}

// Which is the index of the rule that tells a dead token. It judges by each rule
// alone, and is not on the way of proxied requests.
func (d *deadRule) Which(status int, header http.Header, body []byte, whole bool) (index int, ok bool) {
	for i, r := range d.rules {
		alone := &deadRule{rules: []apiRule{r}, readsBodies: r.readsBody()}
		switch alone.Head(status, header) {
		case realm.Dead:
			return i, true
		case realm.AskBody:
			if alone.Body(status, header, body, whole) {
				return i, true
			}
		case realm.Alive:
		}
	}
	return 0, false
}

// AwaitsTrailer reports whether a trailer may tell a dead token.
func (d *deadRule) AwaitsTrailer(status int) bool {
	for i := range d.rules {
		if d.rules[i].readsTrailer(status) {
			return true
		}
	}
	return false
}

// Trailer judges by the trailer alone.
func (d *deadRule) Trailer(status int, trailer http.Header) bool {
	for i := range d.rules {
		if r := &d.rules[i]; r.readsTrailer(status) && r.acceptsField(trailer) {
			return true
		}
	}
	return false
}

func (r *apiRule) readsTrailer(status int) bool {
	return r.header != "" && !r.readsBody() && r.document.concerns(status)
}
