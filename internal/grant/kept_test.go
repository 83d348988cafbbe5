package grant

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// keptRealm reads a field of the answer in its api, in inject and in its refresh.
const keptRealm = `{"url":"@/t","token_path":"t","lifetime":"1h","refresh_token_path":"r","api":"{answer.instance_url}/services","hosts":["*.salesforce.example"],
	"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"},{"place":"header","name":"X-Id","value":"{answer.user.id}"},{"place":"url","name":"o","value":"{answer.user.id}"}],
	"refresh":{"url":"@/r/{answer.user.id}","method":"POST","content_type":"form","arguments":[
		{"name":"refresh_token","place":"body","value":"{refresh_token}"},{"name":"id","place":"body","value":"{answer.user.id}"}]}}`

const keptAnswer = `{"t":"T","r":"R","instance_url":"https://acme.salesforce.example","user":{"id":90071992547409931}}`

func keptOf(pairs ...string) realm.Kept {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return realm.KeptOf(values)
}

var kept1 = keptOf("answer.instance_url", "https://acme.salesforce.example", "answer.user.id", "90071992547409931")

// TestKeptAnswer: what the realm reads of an answer is kept, and nothing else;
// numbers are kept as they are written.
func TestKeptAnswer(t *testing.T) {
	p := newProvider(t, answering(200, "", keptAnswer))
	b := bind(t, realmOf(t, keptRealm, p.URL), nil)
	got, err := b.Fetch(t.Context(), testClient(t), Request{})
	if err != nil || got.Token.Kept != kept1 {
		t.Fatalf("%v is kept, %v", got.Token.Kept.Reveal(), err)
	}
	with := b.With(got.Token.Kept)
	values, _, err := with.Place(got.Token.Access)
	if want := []string{"Bearer T", "90071992547409931", "90071992547409931"}; err != nil || !slices.Equal(values, want) {
		t.Errorf("%q, %v", values, err)
	}
	target := with.Target()
	if target.Refused != nil || target.API.String() != "https://acme.salesforce.example/services" || target.Kept != kept1 {
		t.Errorf("%v, %v", target.API, target.Refused)
	}
	if b.Target().API != nil || b.Target().Kept != "" {
		t.Error("the target of the secret alone is that of a token")
	}
}

// TestKeptIsMissing: an answer without what the realm reads gives no token, and
// says why in the words that the realm uses. A refresh token in it is not lost.
func TestKeptIsMissing(t *testing.T) {
	long := strings.Repeat("x", realm.MaxKept+1)
	for answer, want := range map[string]string{
		`{"t":"T","user":{"id":1}}`:                                                         "answer.instance_url: is not in the answer; api needs it",
		`{"t":"T","instance_url":"https://a.salesforce.example"}`:                           "answer.user.id: is not in the answer; inject needs it",
		`{"t":"T","instance_url":null,"user":{"id":1}}`:                                     "answer.instance_url: is not in the answer; api needs it",
		`{"t":"T","instance_url":"","user":{"id":1}}`:                                       "answer.instance_url: is not in the answer; api needs it",
		`{"t":"T","instance_url":["x"],"user":{"id":1}}`:                                    "answer.instance_url: is a list or an object, and no single value; api needs it",
		`{"t":"T","instance_url":"a\nb","user":{"id":1}}`:                                   "answer.instance_url: holds control characters, or is not UTF-8; api needs it",
		`{"t":"T","instance_url":"` + long + `","user":{"id":1}}`:                           "answer.instance_url: is longer than 4 KiB; api needs it",
		`{"t":"T","instance_url":"https://a.x","instance_url":"https://b","user":{"id":1}}`: "answer.instance_url: a name stands twice in one object; api needs it",
	} {
		p := newProvider(t, answering(200, "", answer))
		got, err := bind(t, realmOf(t, keptRealm, p.URL), nil).Fetch(t.Context(), testClient(t), Request{})
		failed := new(Error)
		if !errors.As(err, &failed) || failed.Class != Retryable || failed.Kind != KindBadResponse || !strings.Contains(failed.Summary(), want) {
			t.Errorf("%.60s: %v", answer, err)
		}
		if got.Token != (realm.Token{}) {
			t.Errorf("%.60s: there is a token", answer)
		}
	}
	p := newProvider(t, answering(200, "", `{"t":"T","r":"R2","user":{"id":7}}`))
	got, err := bind(t, realmOf(t, keptRealm, p.URL), nil).Refresh(t.Context(), testClient(t), Request{RefreshToken: "R", Kept: keptOf("answer.user.id", "6")})
	if err == nil || got.Token.Access != "" || got.Token.Refresh != "R2" || got.Token.Kept != keptOf("answer.user.id", "7") {
		t.Errorf("%q and %v, %v", got.Token.Refresh.Reveal(), got.Token.Kept.Reveal(), err)
	}
}

// TestKeptThroughRefresh: what the answer to a refresh lacks stays as it was, and
// what it has takes its place.
func TestKeptThroughRefresh(t *testing.T) {
	for answer, want := range map[string]realm.Kept{
		`{"t":"T2"}`: kept1,
		`{"t":"T2","instance_url":"https://b.salesforce.example"}`: keptOf("answer.instance_url", "https://b.salesforce.example", "answer.user.id", "90071992547409931"),
		`{"t":"T2","user":{"id":true}}`:                            keptOf("answer.instance_url", "https://acme.salesforce.example", "answer.user.id", "true"),
	} {
		p := newProvider(t, answering(200, "", answer))
		b := bind(t, realmOf(t, keptRealm, p.URL), nil)
		old := kept1.Reveal()
		old["answer.not_read_any_more"] = "x"
		got, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "R", Kept: realm.KeptOf(old)})
		if err != nil || got.Token.Kept != want {
			t.Errorf("%s: %v, %v", answer, got.Token.Kept.Reveal(), err)
		}
		if sent := p.requests[0]; sent.path != "/r/90071992547409931" || sent.body != "refresh_token=R&id=90071992547409931" {
			t.Errorf("sent %s with %s", sent.path, sent.body)
		}
	}
	p := newProvider(t, answering(200, "", keptAnswer))
	_, err := bind(t, realmOf(t, keptRealm, p.URL), nil).Refresh(t.Context(), testClient(t), Request{RefreshToken: "R"})
	if err == nil || !strings.Contains(err.Error(), "answer.user.id: is not kept with the token; refresh needs it") || len(p.requests) != 0 {
		t.Errorf("%d requests, %v", len(p.requests), err)
	}
}

// TestKeptCallback: the exchange sends a parameter of the callback, and the token
// keeps what the realm reads later.
func TestKeptCallback(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"access_token":"T","refresh_token":"R","expires_in":3600}`))
	config := `{"grant":{"name":"authorization_code","authorize_url":"@/a","token_url":"@/t","pkce":"off"},"callback_url":"https://y.example/cb",
		"exchange":{"arguments":[{"name":"shop","place":"body","value":"{callback.shop}"}]},
		"api":"https://quickbooks.example/v3/company/{callback.realmId}"}`
	b := bind(t, realmOf(t, config, p.URL), client1)
	for query, want := range map[string]string{
		"code=C&state=S&realmId=91":           "callback.shop: is not in the callback; exchange needs it",
		"code=C&state=S&shop=s":               "callback.realmId: is not in the callback; api needs it",
		"code=C&state=S&realmId=9%0A1&shop=s": "callback.realmId: holds control characters",
	} {
		cb, err := ParseCallback(query)
		if err != nil {
			t.Fatal(err)
		}
		if failed := b.Judge(cb); failed == nil || !strings.Contains(failed.Detail, want) || failed.Refusal() {
			t.Errorf("%s: %v", query, failed)
		}
	}
	cb, err := ParseCallback("code=C&state=S&realmId=91%2F2&shop=a%26b&more=x")
	if err != nil || b.Judge(cb) != nil {
		t.Fatal(err, b.Judge(cb))
	}
	got, err := b.Exchange(t.Context(), testClient(t), Authorization{}, cb.Code, Request{Kept: b.KeptOf(cb)})
	if err != nil || got.Token.Kept != keptOf("callback.realmId", "91/2") {
		t.Fatalf("%v, %v", got.Token.Kept.Reveal(), err)
	}
	if body := p.requests[0].body; !strings.Contains(body, "shop=a%26b") {
		t.Errorf("sent %s", body)
	}
	if api := b.With(got.Token.Kept).Target().API; api.String() != "https://quickbooks.example/v3/company/91%2F2" {
		t.Errorf("%v", api)
	}
	refreshed, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "R", Kept: got.Token.Kept})
	if err != nil || refreshed.Token.Kept != got.Token.Kept {
		t.Errorf("after a refresh %v, %v", refreshed.Token.Kept.Reveal(), err)
	}
	if b.MayRefresh("") || !b.MayRefresh(got.Token.Kept) {
		t.Error("a refresh would bring a callback")
	}
}

// TestKeptAPI: the host that the provider says gets the token only if it is one
// of hosts, and a refusal tells nothing of what the provider said.
func TestKeptAPI(t *testing.T) {
	whole := `{"url":"https://login.example/t","token_path":"t","api":"{answer.u}","hosts":["*.salesforce.example","api.example:8443"]`
	part := `{"url":"https://login.example/t","token_path":"t","api":"https://{answer.u}/v1/","hosts":["*.salesforce.example","api.example:8443"]`
	const notAllowed, invalid, plain = "none of config.hosts", "no valid URL", "allow_http"
	for _, c := range []struct{ config, value, want string }{
		{whole, "https://acme.salesforce.example", "https://acme.salesforce.example"},
		{whole, "https://acme.salesforce.example/base/", "https://acme.salesforce.example/base"},
		{whole, "https://ACME.salesforce.example:443", "https://acme.salesforce.example:443"},
		{whole, "https://api.example:8443/", "https://api.example:8443"},
		{part, "acme.salesforce.example", "https://acme.salesforce.example/v1/"},
		{whole + `,"allow_http":true`, "http://acme.salesforce.example", "http://acme.salesforce.example"},
		{whole, "https://salesforce.example", notAllowed},
		{whole, "https://a.b.salesforce.example", notAllowed},
		{whole, "https://evil.example", notAllowed},
		{whole, "https://api.example", notAllowed},
		{whole, "https://127.0.0.1", notAllowed},
		{whole, "https://acme.salesforce.example.evil.example", notAllowed},
		{whole, "http://acme.salesforce.example", plain},
		{whole, "https://u@acme.salesforce.example", invalid},
		{whole, "https://evil.example@acme.salesforce.example", invalid},
		{whole, "https://acme.salesforce.example?x=1", invalid},
		{whole, "https://acme.salesforce.example?", invalid},
		{whole, "https://acme.salesforce.example#", invalid},
		{whole, "https://acme.salesforce.example/a/../b", invalid},
		{whole, "https://acme.salesforce.example/a/%2e%2e/b", invalid},
		{whole, "https://*.salesforce.example", invalid},
		{whole, "ftp://acme.salesforce.example", invalid},
		{whole, "acme.salesforce.example", invalid},
		{whole, "//acme.salesforce.example", invalid},
		{whole, "https:acme.salesforce.example", invalid},
		{whole, "https://", invalid},
		{part, "acme.salesforce.example/x", invalid},
		{part, "acme.salesforce.example:443", invalid},
		{part, "u@acme.salesforce.example", invalid},
		{part, "evil.example", notAllowed},
	} {
		target := bind(t, realmOf(t, c.config+"}", ""), nil).With(keptOf("answer.u", c.value)).Target()
		switch {
		case strings.HasPrefix(c.want, "http"):
			if target.Refused != nil || target.API.String() != c.want {
				t.Errorf("%s: %v, %v", c.value, target.API, target.Refused)
			}
			if target.Trusted {
				t.Errorf("%s: nobody named the host, and it is trusted", c.value)
			}
		case target.Refused == nil, target.API != nil, target.Refused.Code != realm.CodeHostNotAllowed, target.Refused.Status != http.StatusBadGateway,
			!strings.Contains(target.Refused.Detail, c.want), strings.Contains(target.Refused.Detail, "acme"), strings.Contains(target.Refused.Detail, "evil"):
			t.Errorf("%s: %v, %v; want %q", c.value, target.API, target.Refused, c.want)
		}
	}
}

// TestKeptNeedsHosts: the hosts of an API whose host the provider says are those
// that are written, and no stored value counts as entered for any other.
func TestKeptNeedsHosts(t *testing.T) {
	names := func(config string) string {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, h := range p.Hosts(secretOf(nil)) {
			list = append(list, h.Name)
		}
		return strings.Join(list, " ")
	}
	const head = `{"url":"https://login.example/t","token_path":"t",`
	for config, want := range map[string]string{
		head + `"api":"{answer.u}","hosts":["*.a.example"]}`:                              "*.a.example login.example",
		head + `"api":"https://{answer.u}","hosts":["*.a.example"]}`:                      "*.a.example login.example",
		head + `"api":"{answer.u}","hosts":["a.example"],"allow_http":true}`:              "a.example http://a.example login.example",
		head + `"api":"https://{answer.u}","hosts":["a.example"],"allow_http":true}`:      "a.example login.example",
		head + `"api":"https://api.example/{answer.u}"}`:                                  "api.example login.example",
		head + `"api":"https://{answer.u}.b.example/{answer.v}","hosts":["*.b.example"]}`: "*.b.example login.example",
	} {
		if got := names(config); got != want {
			t.Errorf("%s: %s, want %s", config, got, want)
		}
	}
	// A host that a secret chooses gets nothing that shared fields brought, be it by
	// an answer.
	r := realmOf(t, `{"url":"https://login.example/t?k={secret.k}","token_path":"t","refresh_token_path":"r","shared":{"k":"K"},
		"refresh":{"url":"https://{secret.h}/?r={refresh_token}&x={answer.x}"}}`, "")
	p, err := Compile(r, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Bind(secretOf(map[string]string{"h": "evil.example"})); err == nil || !strings.Contains(err.Error(), "shared") {
		t.Errorf("%v", err)
	}
}

// TestKeptRefused has a realm for every way to read what no token has.
func TestKeptRefused(t *testing.T) {
	const head = `{"url":"https://x.example/t","token_path":"t",`
	const code = `{"grant":{"name":"authorization_code","authorize_url":"https://x.example/a","token_url":"https://x.example/t"},"callback_url":"https://y.example/cb",`
	many := ""
	for i := range maxKept + 1 {
		many += "{answer.a" + strings.Repeat("a", i) + "}"
	}
	inject := func(value string) string {
		return `"inject":[{"place":"header","name":"A","value":"{token}` + value + `"}]}`
	}
	for config, want := range map[string]string{
		head + `"api":"{answer.u}"}`:                                                          "config.hosts: is missing",
		head + `"api":"https://{answer.u}"}`:                                                  "config.hosts: is missing",
		head + `"api":"https://a.example","hosts":["{answer.u}"]}`:                            "config.hosts[0]: {answer.u} is not known here",
		head + `"api":"{answer.u}x","hosts":["a.example"]}`:                                   "config.api: must go on with a path",
		head + `"api":"{answer.u}{answer.v}","hosts":["a.example"]}`:                          "config.api: must go on with a path",
		head + `"api":"{answer.u}/?x","hosts":["a.example"]}`:                                 "config.api: must not have a query",
		head + `"api":"{answer.u..v}","hosts":["a.example"]}`:                                 "config.api: {answer.u..v} does not name a field of the answer",
		head + inject("{answer.}"):                                                            "{answer.} does not name a field of the answer",
		head + inject("{callback.x}"):                                                         "config.inject: reads {callback.x}, and there is no callback",
		head + inject(many):                                                                   "at most 16",
		`{"grant":{"name":"static"},` + inject("{answer.x}"):                                  "a fixed token comes without an answer",
		`{"url":"https://x.example/t","content_type":"text",` + inject("{answer.x}"):          "the answer is a text without fields",
		code + inject("{callback.code}"):                                                      "{callback.code} is not kept: it is good for one exchange",
		code + `"code_name":"auth_code",` + inject("{callback.auth_code}"):                    "the code is not kept",
		code + inject("{callback.state}"):                                                     "{callback.state} is not kept",
		code + inject("{callback.a/b}"):                                                       "{callback.a/b} does not name a parameter",
		code + `"exchange":{"arguments":[{"name":"a","place":"body","value":"{answer.x}"}]}}`: "{answer.x} is not known here",
		code + `"exchange":{"url":"https://{callback.shop}/t","arguments":[{"name":"c","place":"body","value":"{code}{code_verifier}"}]}}`: "only {secret.x} may stand in the host",
		code + `"authorize":{"arguments":[{"name":"a","place":"url","value":"{callback.x}"}]}}`:                                            "{callback.x} is not known here",
		head + `"refresh":{"url":"https://{answer.h}/?r={refresh_token}"}}`:                                                                "only {secret.x} may stand in the host",
		head + `"arguments":[{"name":"a","place":"url","value":"{answer.x}"}]}`:                                                            "{answer.x} is not known here",
		`{"grant":{"name":"refresh_token","token_url":"https://x.example/t?x={answer.x}"}}`:                                                "nothing is kept before the first refresh",
		head + `"refresh":{"url":"https://x.example/?r={refresh_token}","arguments":[{"name":"a","place":"url","expr":"answer['x']"}]}}`:   "answer is not known here",
	} {
		_, err := Compile(realmOf(t, config, ""), true)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}

// TestKeptDecidesNothing: a realm that keeps nothing has the fingerprint and the
// digests that it always had, and one that begins to read a value keeps its
// tokens' fingerprint: what they lack is obtained anew, and nothing is thrown away.
func TestKeptDecidesNothing(t *testing.T) {
	const head = `{"url":"https://x.example/t","token_path":"t","api":"https://a.example"`
	before := bind(t, realmOf(t, head+`}`, ""), nil)
	after := bind(t, realmOf(t, head+`,"inject":[{"place":"url","name":"t"},{"place":"url","name":"x","value":"{answer.x}"}]}`, ""), nil)
	if before.Fingerprint() != after.Fingerprint() {
		t.Error("the fingerprint is another one")
	}
	if before.Digest(FetchRecipe) == after.Digest(FetchRecipe) || before.RecipeDigest(FetchRecipe) == after.RecipeDigest(FetchRecipe) {
		t.Error("an answer that failed for what it lacked would still count as failed")
	}
	if before.Lacks("") != "" || after.Lacks(keptOf("answer.x", "1")) != "" || after.Lacks("") != "answer.x: is not kept with the token; inject needs it" {
		t.Errorf("%q, %q", before.Lacks(""), after.Lacks(""))
	}
	if _, _, err := after.Place("T"); err == nil || err.Error() != "answer.x: is not kept with the token; inject needs it" {
		t.Error(err)
	}
	if _, _, err := after.WithSample().Place("T"); err != nil {
		t.Error(err)
	}
}

// TestKeptIsRedacted: what the provider quotes of what was kept is not shown.
func TestKeptIsRedacted(t *testing.T) {
	p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"error":"denied","error_description":"CANARY-kept is not known; nor is CANARY-new","instance_url":"CANARY-new"}`))
	})
	b := bind(t, realmOf(t, keptRealm, p.URL), nil)
	var report Report
	_, err := b.Refresh(t.Context(), testClient(t), Request{
		RefreshToken: "R", Kept: keptOf("answer.user.id", "CANARY-kept"), Report: &report,
	})
	shown := err.Error() + report.Request.URL + report.Request.Body + report.Error
	for _, value := range slices.Sorted(maps.Values(report.Request.Header)) {
		shown += value
	}
	if response := report.Response; response != nil {
		shown += response.ProviderMessage
	}
	if strings.Contains(shown, "CANARY") {
		t.Error(shown)
	}

	b = bind(t, realmOf(t, codeGrant("", `"api":"https://a.example/{callback.shop}"`), ""), client1)
	cb, err := ParseCallback("state=S&shop=CANARY-shop&error=access_denied&error_description=CANARY-shop+said+no")
	if err != nil {
		t.Fatal(err)
	}
	if failed := b.Judge(cb); failed == nil || strings.Contains(failed.Error(), "CANARY") {
		t.Error(failed)
	}
}
