package grant

import (
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func TestTemplates(t *testing.T) {
	v := &values{
		secret: map[string]realm.Hidden{"a": "A$", "b-c.d": "{secret.a}", "token": "T"},
		shared: map[string]realm.Hidden{"a": "no", "s": "S"},
		token:  "TOKEN",
		force:  true,
	}
	for text, want := range map[string]string{
		"":                         "",
		"plain":                    "plain",
		"$a":                       "A$",
		"$$a":                      "$a",
		"$$$a":                     "$$a",
		"$$":                       "$",
		"x$a":                      "x$a",
		"$s":                       "S",
		"{secret.a}":               "A$",
		"{secret.b-c.d}":           "{secret.a}", // what is filled in is not read again
		"$b-c.d":                   "{secret.a}",
		"{secret.token}":           "T",
		"x{secret.a}y{secret.s}z":  "xA$ySz",
		"{force}":                  "true",
		"{token}":                  "TOKEN",
		"{{secret.a}":              "{secret.a}",
		"{{{secret.a}}":            "{A$}",
		`{{"x":"{secret.a}"}`:      `{"x":"A$"}`,
		`{{"a":{{"b":1}}`:          `{"a":{"b":1}}`, // as docs/realms.md says
		"}":                        "}",
		"$$5 {{and} {secret.s} $x": "$5 {and} S $x",
	} {
		tmpl, err := parseTemplate(text, scopeFetch.and("token"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := tmpl.expand(v, nil); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestReservedWords: the earlier service read any column of the stored row.
func TestReservedWords(t *testing.T) {
	for _, word := range columns {
		if _, err := parseTemplate("$"+word, scopeFetch); err == nil {
			t.Errorf("$%s is readable", word)
		}
		_, err := parseTemplate("$"+word, scopeStatic)
		if (err == nil) != (word == "token") {
			t.Errorf("static: $%s: %v", word, err)
		}
	}
}

func TestMaskedValues(t *testing.T) {
	tmpl, err := parseTemplate("a{secret.x}b{force}", scopeFetch)
	if err != nil {
		t.Fatal(err)
	}
	v := &values{secret: map[string]realm.Hidden{"x": "CANARY"}, masked: true}
	if got := tmpl.expand(v, queryEscape); got != "a"+realm.Mask+"bfalse" {
		t.Errorf("%q", got)
	}
}
