package caddyfile

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// fetch writes the fetch recipe, whose fields are options of the realm itself.
// The short form needs a method; where a preset or a grant may have another one
// than GET, it is left unsaid.
func (w *realmWriter) fetch() {
	c := &w.realm.Config
	method := c.Method
	if c.Preset == "" && c.Grant == nil {
		method = cmp.Or(method, "GET")
	}
	if c.URL != "" && method != "" {
		w.block([]word{{text: "fetch"}, of(config+"method", method), of(config+"url", c.URL)}, func() {
			w.arguments(config, &c.Recipe)
		})
	} else {
		w.text(config, "url", c.URL)
		w.text(config, "method", c.Method)
		if len(c.Arguments) > 0 {
			w.block(plain("arguments"), func() { w.arguments(config, &c.Recipe) })
		}
	}
	w.text(config, "content_type", c.ContentType)
}

// recipe writes one of the other recipes.
func (w *realmWriter) recipe(name string, r *realm.Recipe) {
	if r == nil {
		return
	}
	path, words, method := config+name+".", plain(name), r.Method
	if w.realm.Config.Preset == "" {
		method = cmp.Or(method, "GET")
	}
	isShort := r.URL != "" && method != ""
	if isShort {
		words = append(words, of(path+"method", method), of(path+"url", r.URL))
	}
	w.block(words, func() {
		if !isShort {
			w.text(path, "url", r.URL)
			w.text(path, "method", r.Method)
		}
		w.arguments(path, r)
		w.text(path, "content_type", r.ContentType)
		w.reading(path, r)
	})
}

// reading writes how the answer of a recipe is read.
func (w *realmWriter) reading(path string, r *realm.Recipe) {
	w.text(path, "token_path", r.TokenPath)
	w.text(path, "token_header", r.TokenHeader)
	w.text(path, "token_cookie", r.TokenCookie)
	w.text(path, "expires_in_path", r.ExpiresInPath)
	w.text(path, "expires_in_header", r.ExpiresInHeader)
	w.text(path, "expires_in_unit", r.ExpiresInUnit)
	w.text(path, "refresh_token_path", r.RefreshTokenPath)
	w.text(path, "refresh_expires_in_path", r.RefreshExpiresInPath)
	w.text(path, "refresh_expires_in_unit", r.RefreshExpiresInUnit)
	w.rules(path, "success", r.Success)
	w.rules(path, "reauth_on", r.ReauthOn)
	w.rules(path, "hopeless_on", r.HopelessOn)
	w.rules(path, "throttled_on", r.ThrottledOn)
}

// argumentWords are the words for the places of an argument. One of the body is
// written by its content type.
var argumentWords = map[string]string{
	realm.PlaceURL:    "query",
	realm.PlaceHeader: "header",
	realm.PlacePath:   "path",
	realm.PlaceBasic:  "basic",
}

var bodyWords = map[string]string{
	realm.ContentJSON: "json",
	realm.ContentForm: "form",
	realm.ContentText: "body",
}

// arguments writes the lines of a request.
func (w *realmWriter) arguments(path string, r *realm.Recipe) {
	for i, a := range r.Arguments {
		at := indexed(path+"arguments", i)
		name, ok := argumentWords[a.Place]
		if a.Place == realm.PlaceBody {
			name, ok = bodyWords[w.contentType(r)]
		}
		if !ok {
			w.refuse(at+".place", "is not one of an argument")
		}
		words := []word{{text: name}, of(at+".name", a.Name)}
		switch {
		case a.Expr != "":
			words = append(words, word{text: "expr"}, of(at+".expr", a.Expr))
		case a.Value == "expr" && a.Type != "":
			w.refuse(at+".value", "is expr, which a Caddyfile takes for the beginning of an expression where a type stands behind it")
		default:
			words = append(words, of(at+".value", a.Value))
		}
		if a.Type != "" {
			if name != "json" {
				w.refuse(at+".type", "can be written for an argument of a JSON body alone")
			}
			words = append(words, word{text: a.Type})
		}
		w.line(words...)
	}
}

// contentType is that of a recipe's body, as the engine has it.
func (w *realmWriter) contentType(r *realm.Recipe) string {
	fallback := realm.ContentJSON
	if w.merged.Grant != nil {
		fallback = realm.ContentForm
	}
	return cmp.Or(r.ContentType, w.merged.ContentType, fallback)
}

// rules writes the rules of one list. They look at the status and the JSON of an
// answer alone.
func (w *realmWriter) rules(path, name string, rules []realm.Rule) {
	for i, rule := range rules {
		at := indexed(path+name, i)
		for _, other := range []struct {
			field string
			said  bool
		}{{".text", rule.Text != ""}, {".header", rule.Header != ""}, {".types", len(rule.Types) > 0}} {
			if other.said {
				w.refuse(at+other.field, "can stand in renew_on alone")
			}
		}
		words := append(plain(name), statusWords(rule)...)
		if rule.JSON != "" {
			words = append(words, w.jsonWords(at, rule)...)
		} else if rule.Absent || len(rule.Values) > 0 {
			w.refuse(at+".json", "is required for values and absent")
		}
		w.line(words...)
	}
}

// renewOn writes how a dead token looks. What fits stands on the line, the rest
// in a block.
func (w *realmWriter) renewOn() {
	for i, rule := range w.realm.Config.RenewOn {
		at := indexed(config+"renew_on", i)
		var conditions [][]word
		if words := statusWords(rule); words != nil {
			conditions = append(conditions, words)
		}
		if rule.JSON != "" {
			conditions = append(conditions, w.jsonWords(at, rule))
		} else if rule.Absent || len(rule.Values) > 0 && rule.Header == "" {
			w.refuse(at+".json", "is required for values and absent")
		}
		if rule.Text != "" {
			conditions = append(conditions, []word{{text: "text"}, of(at+".text", rule.Text)})
		}
		if rule.Header != "" {
			words := []word{{text: "header"}, of(at+".header", rule.Header)}
			conditions = append(conditions, append(words, w.values(at, rule)...))
		}
		first := 1 // a status, and one condition behind it
		if len(rule.Status) > 0 {
			first = 2
		}
		first = min(first, len(conditions))
		words := plain("renew_on")
		for _, condition := range conditions[:first] {
			words = append(words, condition...)
		}
		if len(conditions) == first && len(rule.Types) == 0 {
			w.line(words...)
			continue
		}
		w.block(words, func() {
			for _, condition := range conditions[first:] {
				w.line(condition...)
			}
			w.list(at+".", "types", rule.Types)
		})
	}
}

func statusWords(rule realm.Rule) []word {
	if len(rule.Status) == 0 {
		return nil
	}
	words := plain("status")
	for _, code := range rule.Status {
		words = append(words, plain(strconv.Itoa(code))...)
	}
	return words
}

// jsonWords are a path, what may stand there, and absent.
func (w *realmWriter) jsonWords(at string, rule realm.Rule) []word {
	words := []word{{text: "json"}, of(at+".json", rule.JSON)}
	if len(rule.Values) == 0 && !rule.Absent {
		w.refuse(at+".values", "cannot be left out in a Caddyfile")
	}
	words = append(words, w.values(at, rule)...)
	if rule.Absent {
		return append(words, plain("absent")...)
	}
	if words[len(words)-1].text == "absent" && len(rule.Values) > 0 {
		w.refuse(at+".values", "cannot end with absent, which lets a missing path pass in a Caddyfile")
	}
	return words
}

// values are the values of a rule. A word is a number, true, false or null where it
// is spelled like one: a text that is spelled like a number means the same, and
// one that is spelled like the others cannot be written, but of a header, where
// all is text.
func (w *realmWriter) values(at string, rule realm.Rule) (words []word) {
	for i, value := range rule.Values {
		path := indexed(at+".values", i)
		text := scalarText(value)
		if read := realm.ScalarOf(text); !read.Equal(value) && (rule.Header == "" || read.Text() != text) {
			w.refuse(path, "is the text %.40q, which a Caddyfile takes for the JSON value of that name", strings.TrimSpace(text))
		}
		words = append(words, of(path, text))
	}
	return words
}

// scalarText is the spelling of a value in a Caddyfile.
func scalarText(value realm.Scalar) string {
	if value == (realm.Scalar{}) {
		return "null"
	}
	return value.Text()
}
