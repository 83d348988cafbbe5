package grant

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ReportValue is a value that the realm reads out of an answer, without the value.
type ReportValue struct {
	// What it is: token, expires_in, refresh_token, refresh_expires_in, or a rule
	// such as success[0].
	What string `json:"what"`
	// At is where the realm says that it stands.
	At    string `json:"at"`
	Found bool   `json:"found"`
	// Type is string, number, boolean, null, object or list; "" if it is absent.
	Type string `json:"type,omitempty"`
	// Alike are other places of the answer whose names say that it may stand there.
	Alike []string `json:"alike,omitempty"`
}

// ReportExpiry tells how the end of a token was found.
type ReportExpiry struct {
	// From is answer, token, cookie, lifetime or default.
	From string `json:"from"`
	// ExpiresIn is the life of the token from the request on, in milliseconds; nil
	// for one without an end.
	ExpiresIn *int64 `json:"expires_in"`
	// Unit is how the answer's value was read; "" if there is none.
	Unit string `json:"unit,omitempty"`
	// OtherUnit is the one that the value probably has.
	OtherUnit string `json:"other_unit,omitempty"`
}

// ReportRule is what made a refusal of an answer.
type ReportRule struct {
	// List is success (whose rule does not match), reauth_on, hopeless_on,
	// throttled_on, built_in or status.
	List string `json:"list"`
	// Index of the rule in its list; nil where it has none.
	Index *int `json:"index,omitempty"`
	// At is what the rule looks at, "" for the status alone. Of built_in it is
	// invalid_grant, throttled, hopeless or retryable.
	At string `json:"at,omitempty"`
}

// Form is what an answer's body is.
type Form string

// The forms.
const (
	FormJSON  Form = "json"
	FormForm  Form = "form"
	FormHTML  Form = "html"
	FormXML   Form = "xml"
	FormText  Form = "text"
	FormEmpty Form = "empty"
)

// formOf recognizes a body, of which root is the document; root does not exist
// where it is none.
func formOf(body []byte, root gjson.Result) Form {
	const beginning = 1 << 10
	text := bytes.ToLower(bytes.TrimSpace(withoutBOM(body)))
	head := text[:min(len(text), beginning)]
	switch {
	case len(text) == 0:
		return FormEmpty
	case text[0] == '<' && (bytes.Contains(head, []byte("<html")) || bytes.Contains(head, []byte("<!doctype html"))):
		return FormHTML
	case text[0] == '<':
		return FormXML
	case bytes.IndexByte(text, '=') > 0 && !bytes.ContainsAny(text, "{[ \t\r\n"):
		return FormForm
	case root.Exists():
		return FormJSON
	}
	return FormText
}

// redirectHost is the host that a redirect leads to, "" for none.
func (c *call) redirectHost(a *answer) string {
	if !a.redirect() {
		return ""
	}
	to, err := c.location(a)
	if err != nil {
		return ""
	}
	return to.Host
}

// clockSkew is how far the Date of an answer is from the time of the call, in
// milliseconds: zero within it; nil where there is none.
func (c *call) clockSkew(h http.Header, took time.Duration) *int64 {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return nil
	}
	var skew time.Duration
	switch end := date.Add(time.Second); { // a date of 12:00:00 may be 12:00:00.999
	case end.Before(c.sent):
		skew = end.Sub(c.sent)
	case date.After(c.sent.Add(took)):
		skew = date.Sub(c.sent.Add(took))
	}
	ms := skew.Milliseconds()
	return &ms
}

// found tells of every value that the recipe reads whether the answer has it.
func (c *call) found(a *answer, root gjson.Result, redact *redactor) []ReportValue {
	r := &c.recipe.reading
	list := []ReportValue{c.foundToken(a, root, redact)}
	ending := func(what string, e expiry, h http.Header) {
		if e.path == nil && e.header == "" {
			return
		}
		value, _ := e.value(h, root, "")
		v := valueFound(what, e.name, value)
		if !v.Found {
			v.Alike = alike(root, redact, isLikeExpiry, len(what) > len("expires_in"))
		}
		list = append(list, v)
	}
	ending("expires_in", r.expiry, a.header)
	if r.expiry.path == nil && r.expiry.header == "" && r.expiry.unit != realm.UnitJWT {
		if names := alike(root, redact, isLikeExpiry, false); len(names) > 0 {
			list = append(list, ReportValue{What: "expires_in", Alike: names})
		}
	}
	if r.refresh != nil {
		value, _ := r.refresh.in(root)
		list = append(list, valueFound("refresh_token", r.refresh.String(), value))
	}
	ending("refresh_expires_in", r.refreshEnd, nil)
	for i, rule := range r.success {
		if rule.json == nil {
			continue
		}
		var first gjson.Result
		_, _ = rule.json.leads(root, func(value gjson.Result) bool {
			first = value
			return true
		})
		list = append(list, valueFound("success["+strconv.Itoa(i)+"]", rule.name, first))
	}
	return list
}

// foundToken tells of the token.
func (c *call) foundToken(a *answer, root gjson.Result, redact *redactor) ReportValue {
	r := &c.recipe.reading
	v := ReportValue{What: "token", At: strings.TrimPrefix(r.tokenName, "token_path ")}
	switch {
	case r.text():
		v.At = "the whole answer"
		_, err := textToken(a.body)
		v.Found, v.Type = err == nil, "string"
	case r.tokenHeader != "", r.tokenCookie != "":
		if v.Found = c.holdsToken(a, root); v.Found {
			v.Type = "string"
		}
	default:
		value, _ := r.token.in(root)
		if v = valueFound(v.What, v.At, value); !v.Found || v.Type != "string" && v.Type != "number" {
			v.Alike = alike(root, redact, isLikeToken, false)
		}
	}
	return v
}

// valueFound tells of a value of a document.
func valueFound(what, at string, value gjson.Result) ReportValue {
	return ReportValue{What: what, At: at, Found: value.Exists(), Type: typeOf(value)}
}

// typeOf is the type of a value, in JSON's words; "" where there is none.
func typeOf(value gjson.Result) string {
	switch {
	case !value.Exists():
		return ""
	case value.IsArray():
		return "list"
	case value.IsObject():
		return "object"
	case value.IsBool():
		return "boolean"
	case value.Type == gjson.Number:
		return "number"
	case value.Type == gjson.Null:
		return "null"
	}
	return "string"
}

// alike lists the paths of a document to values whose plain names are accepted.
// The names of refresh tokens and of their ends count where isRefresh is set, and
// those alone.
func alike(root gjson.Result, redact *redactor, accepts func(name string) bool, isRefresh bool) []string {
	const most = 5
	var list []string
	for _, o := range objectsOf(root) {
		var names []string
		for plain, name := range o.names {
			value, isScalar := scalarText(o.members[plain])
			if isScalar && !blank(value) && accepts(plain) && strings.Contains(plain, "refresh") == isRefresh {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			at := path(append(slices.Clone(o.at), name))
			shown := at.String()
			if slices.ContainsFunc(at, func(name string) bool { return !isMemberName(name) }) || redact.text(shown) != shown {
				continue
			}
			if list = append(list, shown); len(list) == most {
				return list
			}
		}
	}
	return list
}

func isLikeToken(plain string) bool {
	return (strings.HasSuffix(plain, "token") || plain == "jwt" || plain == "accesskey" || plain == "ticket" || plain == "sessionkey") && plain != "idtoken"
}

func isLikeExpiry(plain string) bool {
	return strings.Contains(plain, "expire") || strings.Contains(plain, "expiry") || strings.Contains(plain, "expiration") ||
		plain == "ttl" || plain == "lifetime" || plain == "validity" || plain == "exp"
}

// String writes a path as parsePath reads it.
func (p path) String() string {
	escaped := make([]string, len(p))
	for i, name := range p {
		escaped[i] = strings.NewReplacer(`\`, `\\`, ".", `\.`).Replace(name)
	}
	return strings.Join(escaped, ".")
}

// reportExpiry notes how the end of the token was found.
func (c *call) reportExpiry(a *answer, root gjson.Result, token realm.Hidden, end ending) {
	if c.request.Report == nil {
		return
	}
	e := &c.recipe.reading.expiry
	x := &ReportExpiry{From: string(end.from)}
	if !end.at.IsZero() {
		life := end.at.Sub(c.sent).Milliseconds()
		x.ExpiresIn = &life
	}
	if value, err := e.value(a.header, root, token); err == nil && value.Exists() {
		x.Unit, x.OtherUnit = e.unit, ""
		if end.warning != "" {
			x.OtherUnit = e.otherUnit(value, c.sent)
		}
	}
	c.report.Expiry = x
}

// reportRule notes what made a refusal of the answer: a rule about refusals, the
// rule of success that is not met, one of the lists that all providers share, or
// the status.
func (c *call) reportRule(status int, match refusalMatch, unmet *rule, builtIn string) {
	if c.request.Report == nil {
		return
	}
	r := &ReportRule{List: "status"}
	switch {
	case match.found():
		r.List, r.Index, r.At = match.list, &match.index, match.rule.name
	case builtIn != "":
		r.List, r.At = "built_in", builtIn
	case unmet != nil && status < http.StatusBadRequest:
		success := c.recipe.reading.success
		for i := range success {
			if unmet == &success[i] {
				r.Index = &i
			}
		}
		r.List, r.At = "success", unmet.name
	}
	c.report.Rule = r
}
