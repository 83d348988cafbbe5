package grant

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// bodyOf is the body of the request with the arguments, "name=value" each.
func bodyOf(t *testing.T, contentType string, arguments ...string) (string, error) {
	t.Helper()
	r := realm.Realm{ID: "x"}
	r.Config.Recipe = realm.Recipe{URL: "https://x.example/t", Method: "POST", ContentType: contentType, TokenPath: "t"}
	for _, a := range arguments {
		name, value, _ := strings.Cut(a, "=")
		r.Config.Arguments = append(r.Config.Arguments, realm.Argument{Place: realm.PlaceBody, Name: name, Value: value})
	}
	if err := r.Validate(); err != nil {
		return "", err
	}
	p, err := Compile(r, true)
	if err != nil {
		return "", err
	}
	b, err := p.Bind(secretOf(nil))
	if err != nil {
		return "", err
	}
	out, err := p.fetch.render(b.values, b.ref)
	if err != nil {
		return "", err
	}
	return string(out.body), nil
}

// TestListsInBodies: names with an index make lists, whatever the order in
// which they are written.
func TestListsInBodies(t *testing.T) {
	for want, arguments := range map[string][]string{
		`{"auth":{"identity":{"methods":["password"],"user":"u"}}}`: {"auth.identity.methods.0=password", "auth.identity.user=u"},
		`{"a":["x","y","z"]}`:        {"a.1=y", "a.0=x", "a.2=z"},
		`{"a":[{"b":"1","c":"2"}]}`:  {"a.0.b=1", "a.0.c=2"},
		`{"a":[["1","2"],["3"]]}`:    {"a.0.0=1", "a.1.0=3", "a.0.1=2"},
		`[{"a":"1"},"2"]`:            {"0.a=1", "1=2"},
		`{"a":{"00":"1"},"b":["2"]}`: {"a.00=1", "b.0=2"},
		`{"0a":"1"}`:                 {"0a=1"},
	} {
		if got, err := bodyOf(t, "json", arguments...); err != nil || got != want {
			t.Errorf("%v: %s, %v", arguments, got, err)
		}
	}
	for wrong, arguments := range map[string][]string{
		"config.arguments[1].name": {"a.0=1", "a.2=2"},
		"config.arguments[0].name": {"a.1=1", "b=2"},
		"config.arguments[2].name": {"a.0=1", "a.1=2", "a.b=3"},
		"config.arguments[3].name": {"x=1", "a.0.b=1", "a.1.b=1", "a.c.d=3"},
		"config.arguments[4].name": {"1=1", "0=1", "3.a=1", "2=2", "b=1"},
	} {
		_, err := bodyOf(t, "json", arguments...)
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != wrong {
			t.Errorf("%v: %v", arguments, err)
		}
	}
	if _, err := bodyOf(t, "json", "a.0=1", "a.2=2"); err == nil || !strings.Contains(err.Error(), `"a.2" has the index 2, and 1 is missing`) {
		t.Errorf("a gap: %v", err)
	}
}

// TestRepeatedParameters: arguments of one name in a form or the query are
// repeated parameters, in their order. In JSON they stay an error.
func TestRepeatedParameters(t *testing.T) {
	if got, err := bodyOf(t, "form", "scope=a", "b=1", "scope=c"); err != nil || got != "scope=a&b=1&scope=c" {
		t.Errorf("form: %s, %v", got, err)
	}
	if got, err := bodyOf(t, "json", "scope=a", "scope=c"); err == nil {
		t.Errorf("JSON: %s", got)
	}
	r := realmOf(t, `{"url":"https://x.example/t?a=0","token_path":"t","arguments":[{"name":"a","place":"url","value":"1"},{"name":"a","place":"url","value":"2"}]}`, "")
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	b := bind(t, r, nil)
	out, err := b.program.fetch.render(b.values, b.ref)
	if err != nil || out.url != "https://x.example/t?a=0&a=1&a=2" {
		t.Errorf("query: %v, %v", out, err)
	}
}
