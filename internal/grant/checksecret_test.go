package grant

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestCheckSecret: a shop that gives no host is refused when it is saved, and
// not at the first request. What is not there yet is nobody's fault.
func TestCheckSecret(t *testing.T) {
	const fetch = `"url":"https://x.example/t?a={secret.appid}","token_path":"t"`
	for _, c := range []struct{ config, value, field string }{
		{`{` + fetch + `,"api":"https://{secret.shop}.example.com"}`, "a b/", "fields.shop"},
		{`{` + fetch + `,"api":"https://{secret.shop}.example.com"}`, "", "fields.shop"},
		{`{` + fetch + `,"api":"https://{secret.shop}.example.com"}`, strings.Repeat("a", 64), "fields.shop"},
		{`{` + fetch + `,"api":"https://{secret.shop}.example.com"}`, "shop-1", ""},
		{`{` + fetch + `,"api":"https://{secret.shop}{secret.zone}.example.com"}`, "a b/", ""}, // no zone yet
		{`{` + fetch + `,"api":"https://{secret.zone}.example.com","shared":{"zone":"a b/"}}`, "a", ""},
		{`{` + fetch + `,"api":"https://{secret.zone}.{secret.shop}.example","shared":{"zone":"eu"}}`, "a b/", "fields.shop"},
		{`{` + fetch + `,"api":"https://a.example/{secret.shop}"}`, "a b/", ""}, // is escaped there
		{`{` + fetch + `,"api":"https://a.example/{secret.shop}"}`, "..", "fields.shop"},
		{`{` + fetch + `,"api":"https://a.example/` + strings.Repeat("{secret.shop}", 17) + `"}`, strings.Repeat("a", 64<<10), "fields.shop"},
		{`{` + fetch + `,"hosts":["a.example","{secret.shop}.example"]}`, "evil.example/", "fields.shop"},
		{`{"url":"https://{secret.shop}.example/t","token_path":"t"}`, "a b/", "fields.shop"},
		{`{` + fetch + `,"refresh":{"url":"https://{secret.shop}.example/t?r={refresh_token}"}}`, "a b/", "fields.shop"},
		{`{"grant":{"name":"authorization_code","authorize_url":"https://{secret.shop}.example","token_url":"https://x.example"},"callback_url":"https://y.example"}`, "a b/", "fields.shop"},
		{`{"grant":{"name":"authorization_code","authorize_url":"https://x.example","token_url":"https://{secret.shop}.example"},"callback_url":"https://y.example"}`, "a b/", "fields.shop"},
		{`{"grant":{"name":"authorization_code","authorize_url":"https://x.example","token_url":"https://x.example"},"callback_url":"{secret.shop}"}`, "ftp://y.example", "fields.shop"},
		{`{"grant":{"name":"authorization_code","authorize_url":"https://x.example","token_url":"https://x.example"},"callback_url":"{secret.shop}"}`, "https://y.example", ""},
		{`{` + fetch + `,"arguments":[{"name":"shop","place":"url","value":"{secret.shop}"}]}`, "a b/", ""},
	} {
		p, err := Compile(realmOf(t, c.config, ""), false)
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		before := urlsOf(p)
		err = p.CheckSecret(secretOf(map[string]string{"shop": c.value}))
		if urlsOf(p) != before {
			t.Errorf("%s: the check changes what is compiled", c.config)
		}
		var fault *realm.FieldError
		got := ""
		if errors.As(err, &fault) {
			got = fault.Field
		}
		if got != c.field || c.value != "" && strings.Contains(got, c.value) {
			t.Errorf("%s with %q: %v, want field %q", c.config, c.value, err, c.field)
		}
	}
	p, err := Compile(realmOf(t, `{}`, ""), false)
	if err != nil || p.CheckSecret(secretOf(nil)) != nil {
		t.Error("a realm without URLs refuses a secret")
	}
}

// urlsOf is all text of the program's URLs.
func urlsOf(p *Program) string {
	var text string
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		if r := p.recipe(kind); r != nil {
			text += sample(r.url.host) + sample(r.url.path)
		}
	}
	if p.target.api != nil {
		text += sample(p.target.api.host)
	}
	return text
}
