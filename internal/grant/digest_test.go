package grant

import (
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// digested is a realm with all four recipes, each of which reads a field of
// its own and the field all.
const digested = `{"url":"https://x.example/t?all={secret.all}","token_path":"t","expires_in_path":"e","success":[{"json":"c","values":[0],"absent":true}],
	"arguments":[{"name":"f","place":"body","value":"{secret.fetched}"},{"name":"s","place":"header","expr":"hex(sha256(secret.signed))"}],
	"refresh":{"url":"https://x.example/r?all={secret.all}","arguments":[{"name":"r","place":"body","value":"{refresh_token}"},{"name":"f","place":"body","value":"{secret.refreshed}"}]},
	"authorize":{"url":"https://x.example/a?all={secret.all}","arguments":[{"name":"state","place":"url","value":"{state}"},{"name":"client_id","place":"url","value":"{secret.asked}"},{"name":"redirect_uri","place":"url","value":"{callback_url}"}]},
	"exchange":{"url":"https://x.example/e?all={secret.all}","arguments":[{"name":"code","place":"body","value":"{code}"},{"name":"secret","place":"body","value":"{secret.exchanged}"}]},
	"callback_url":"https://y.example/{secret.called}","api":"https://api.example","volatile":["fetched"]}`

var kinds = map[string]RecipeKind{"fetch": FetchRecipe, "refresh": RefreshRecipe, "authorize": AuthorizeRecipe, "exchange": ExchangeRecipe}

// digestsOf are the digests of the four calls, after a change of the realm or
// of the secret.
func digestsOf(t *testing.T, change func(*realm.Realm), fields map[string]string) map[string]realm.Digest {
	t.Helper()
	r := realmOf(t, digested, "")
	if change != nil {
		change(&r)
	}
	all := map[string]string{"other": "o"}
	for _, name := range []string{"all", "fetched", "signed", "refreshed", "asked", "exchanged", "called"} {
		all[name] = name
	}
	for name, value := range fields {
		all[name] = value
	}
	b, digests := bind(t, r, all), make(map[string]realm.Digest)
	for name, kind := range kinds {
		digests[name] = b.Digest(kind)
	}
	return digests
}

// TestDigestChanges: a failure must be forgotten as soon as anything that its
// call sent, or that its answer was read with, is corrected; and only then.
func TestDigestChanges(t *testing.T) {
	base := digestsOf(t, nil, nil)
	field := func(name string) map[string]realm.Digest { return digestsOf(t, nil, map[string]string{name: "x"}) }
	config := func(change func(*realm.Config)) map[string]realm.Digest {
		return digestsOf(t, func(r *realm.Realm) { change(&r.Config) }, nil)
	}
	for name, c := range map[string]struct {
		got  map[string]realm.Digest
		want string // of which calls the digest is another one
	}{
		"nothing":                  {digestsOf(t, nil, nil), ""},
		"a field of all":           {field("all"), "fetch refresh authorize exchange"},
		"a volatile field":         {field("fetched"), "fetch"},
		"a field of an expression": {field("signed"), "fetch"},
		"a field of the refresh":   {field("refreshed"), "refresh"},
		"a field of authorize":     {field("asked"), "authorize"},
		"a field of the exchange":  {field("exchanged"), "exchange"},
		"a field of the callback":  {field("called"), "authorize"},
		"a field that none reads":  {field("other"), ""},
		"a value that moved": {
			digestsOf(t, nil, map[string]string{"all": "allfetched", "fetched": ""}),
			"fetch refresh authorize exchange",
		},
		"a shared field": {config(func(c *realm.Config) {
			c.Refresh.URL += "{secret.s}"
			c.Shared = map[string]realm.Hidden{"s": "1"}
		}), "refresh"},
		"the method":                {config(func(c *realm.Config) { c.Method = "POST" }), "fetch"},
		"an argument":               {config(func(c *realm.Config) { c.Refresh.Arguments[1].Name = "g" }), "refresh"},
		"an expression":             {config(func(c *realm.Config) { c.Arguments[1].Expr = "secret.signed" }), "fetch"},
		"the URL of the refresh":    {config(func(c *realm.Config) { c.Refresh.URL += "1" }), "refresh"},
		"the token path of all":     {config(func(c *realm.Config) { c.TokenPath = "u" }), "fetch refresh exchange"},
		"the success rules of all":  {config(func(c *realm.Config) { c.Success = nil }), "fetch refresh exchange"},
		"the rules of the refresh":  {config(func(c *realm.Config) { c.Refresh.Success = []realm.Rule{{Status: []int{200}}} }), "refresh"},
		"the refresh token's path":  {config(func(c *realm.Config) { c.RefreshTokenPath = "r" }), "fetch refresh exchange"},
		"the expiry's unit":         {config(func(c *realm.Config) { c.ExpiresInUnit = "ms" }), "fetch refresh exchange"},
		"the timeout":               {config(func(c *realm.Config) { c.Limits.Timeout = 1 }), "fetch refresh authorize exchange"},
		"inject, api and the limit": {config(func(c *realm.Config) { c.API, c.Limits.Concurrency = "https://b.example", 9 }), ""},
		"the comment":               {digestsOf(t, func(r *realm.Realm) { r.Comment = "x" }, nil), ""},
	} {
		for kind := range kinds {
			changed := c.got[kind] != base[kind]
			if wanted := containsWord(c.want, kind); changed != wanted {
				t.Errorf("%s changes the digest of %s: %v", name, kind, changed)
			}
		}
	}
}

// TestDigestIsStable: the failures that the store remembers are compared on
// every node, by every version.
func TestDigestIsStable(t *testing.T) {
	d := digestsOf(t, nil, nil)["fetch"]
	if text := hex.EncodeToString(d[:]); text != "66a917e501385b7cfadd0cccb520364d" {
		t.Errorf("digest %s", text)
	}
	if text := fmt.Sprint(d); text != realm.Mask {
		t.Errorf("shown as %s", text)
	}
}

// TestDigestsOfGrants: what a grant constructs is what is sent.
func TestDigestsOfGrants(t *testing.T) {
	const head = `{"grant":{"name":"authorization_code","authorize_url":"https://x.example/a","token_url":"https://x.example/t"`
	of := func(more string, kind RecipeKind) realm.Digest {
		r := realmOf(t, head+more+`},"callback_url":"https://y.example/cb"}`, "")
		return bind(t, r, map[string]string{"client_id": "1", "client_secret": "2"}).Digest(kind)
	}
	if of(``, FetchRecipe) != (realm.Digest{}) {
		t.Error("there is a digest without a recipe")
	}
	for more, want := range map[string]string{
		`,"pkce":"off"`:                 "authorize exchange",
		`,"scopes":["a"]`:               "authorize",
		`,"issuer":"https://x.example"`: "authorize",
		`,"client_id":"c"`:              "authorize exchange refresh",
		`,"token_endpoint_auth_method":"client_secret_post"`: "exchange refresh",
	} {
		for name, kind := range kinds {
			if changed := of(more, kind) != of(``, kind); changed != containsWord(want, name) {
				t.Errorf("%s changes the digest of %s: %v", more, name, changed)
			}
		}
	}
}

// TestDigestOfFormBasic: a grant encodes user and password before they become
// a header, a recipe that says the same does not.
func TestDigestOfFormBasic(t *testing.T) {
	fields := map[string]string{"client_id": "1", "client_secret": "2"}
	byGrant := bind(t, realmOf(t, `{"grant":{"name":"client_credentials","token_url":"https://x.example/t"}}`, ""), fields)
	typed := bind(t, realmOf(t, `{"url":"https://x.example/t","method":"POST","content_type":"form","token_path":"access_token","expires_in_path":"expires_in",
		"success":[{"json":"error","values":[""],"absent":true}],"arguments":[{"name":"grant_type","place":"body","value":"client_credentials"},
		{"name":"{secret.client_id}","place":"basic","value":"{secret.client_secret}"}]}`, ""), fields)
	if byGrant.Digest(FetchRecipe) == typed.Digest(FetchRecipe) {
		t.Error("the encoding changes nothing")
	}
}

// TestDigestOfTheCallback: the redirect of an authorize request must lead to
// the callback URL, be it sent or registered only.
func TestDigestOfTheCallback(t *testing.T) {
	of := func(callback string) realm.Digest {
		return bind(t, realmOf(t, `{"authorize":{"url":"https://x.example/a?state={state}"},"exchange":{"url":"https://x.example/t?code={code}","token_path":"t"},
			"callback_url":"`+callback+`"}`, ""), nil).Digest(AuthorizeRecipe)
	}
	if of("https://y.example/cb") == of("https://y.example/cc") {
		t.Error("the callback URL changes nothing")
	}
}

// TestDigestOfASeed: a refresh token that lies in the secret is what the first
// refresh sends; one that a provider gave is in no digest.
func TestDigestOfASeed(t *testing.T) {
	const config = `{"refresh":{"url":"https://x.example/r?r={refresh_token}","token_path":"t"}`
	of := func(more, seed string) realm.Digest {
		return bind(t, realmOf(t, config+more+`}`, ""), map[string]string{"refresh_token": seed}).Digest(RefreshRecipe)
	}
	if of(``, "1") == of(``, "2") {
		t.Error("another seed gives the same digest")
	}
	fetch := `,"url":"https://x.example/t","token_path":"t"`
	if of(fetch, "1") != of(fetch, "2") {
		t.Error("a field that is never sent changes the digest")
	}
}

// TestDigestOfADelegate: a delegate gets the whole secret.
func TestDigestOfADelegate(t *testing.T) {
	r := realm.Realm{ID: "x", LogicCode: "https://x.example"}
	one := bind(t, r, map[string]string{"a": "1"}).Digest(FetchRecipe)
	if bind(t, r, map[string]string{"a": "2"}).Digest(FetchRecipe) == one || bind(t, r, map[string]string{"a": "1", "b": ""}).Digest(FetchRecipe) == one {
		t.Error("another secret gives the same digest")
	}
}

// TestVolatile: another value of a volatile field ends no token.
func TestVolatile(t *testing.T) {
	for _, r := range []realm.Realm{
		realmOf(t, `{"url":"https://x.example/t?a={secret.a}&b={secret.ticket}","token_path":"t","volatile":["ticket"]}`, ""),
		realmOf(t, `{"url":"https://x.example/t","token_path":"t","arguments":[{"name":"a","place":"url","expr":"secret.a + secret.ticket"}],"volatile":["ticket"]}`, ""),
		realmOf(t, `{"grant":{"name":"delegate","token_url":"https://x.example"},"volatile":["ticket"]}`, ""),
	} {
		one, two := bind(t, r, map[string]string{"a": "1", "ticket": "1"}), bind(t, r, map[string]string{"a": "1", "ticket": "2"})
		if one.Fingerprint() != two.Fingerprint() {
			t.Error("a volatile field changes the fingerprint")
		}
		if one.Digest(FetchRecipe) == two.Digest(FetchRecipe) {
			t.Error("a volatile field does not change the digest")
		}
		if bind(t, r, map[string]string{"a": "2", "ticket": "1"}).Fingerprint() == one.Fingerprint() {
			t.Error("the other field does not change the fingerprint")
		}
	}
}

// TestNotAsked: only what costs no call to find out again is not remembered.
func TestNotAsked(t *testing.T) {
	for _, e := range []struct {
		failed Error
		want   bool
	}{
		{Error{Kind: KindForbidden, NotSent: true}, true},
		{*requestFailure(errDoubled), true},
		{*notPossible("x"), true},
		{Error{Kind: KindConnection, NotSent: true}, false},
		{Error{Kind: KindRefused, Status: 401}, false},
	} {
		if e.failed.NotAsked() != e.want {
			t.Errorf("%s: %v", e.failed.Kind, !e.want)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	r := realm.Realm{ID: "x", Config: realm.Config{Recipe: realm.Recipe{URL: "https://x.example/t?a={secret.a}&b={secret.b}", TokenPath: "t"}}}
	p, err := Compile(r, false)
	if err != nil {
		b.Fatal(err)
	}
	bound, err := p.Bind(secretOf(map[string]string{"a": "1", "b": "2"}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = bound.Digest(FetchRecipe)
	}
}
