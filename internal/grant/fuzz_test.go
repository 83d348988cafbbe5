package grant

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// FuzzReadAnswer: whatever comes back, there is either a token that can stand
// in a header, with an end, or an error that shows nothing.
func FuzzReadAnswer(f *testing.F) {
	recipes := []string{
		`{"url":"https://x.example/t?s={secret.s}","token_path":"access_token","expires_in_path":"expires_in","refresh_token_path":"r"}`,
		`{"url":"https://x.example/t?s={secret.s}","content_type":"text"}`,
		`{"url":"https://x.example/t?s={secret.s}","content_type":"form","token_path":"data.0.t","success":[{"json":"errcode","values":[0],"absent":true}]}`,
		`{"url":"https://x.example/t?s={secret.s}","token_header":"X-Token","expires_in_header":"X-Token","expires_in_unit":"rfc3339","time_zone":"UTC"}`,
		`{"url":"https://x.example/t?s={secret.s}","token_cookie":"SID","reauth_on":[{"json":"a","values":[1]}],"throttled_on":[{"status":[429]}]}`,
		`{"url":"https://x.example/t?s={secret.s}","token_path":"$","expires_in_unit":"jwt","refresh_token_path":"r","refresh_expires_in_unit":"jwt"}`,
	}
	f.Add([]byte(goodAnswer), 200, byte(0))
	f.Add([]byte("\xef\xbb\xbfTOKEN"), 200, byte(1))
	f.Add([]byte("errcode=0&data=x"), 200, byte(2))
	f.Add([]byte(`{"errcode":40030,"errmsg":"x"}`), 200, byte(3))
	f.Add([]byte("2026-11-22 21:00:00"), 201, byte(3))
	f.Add([]byte(`T; Max-Age=60; Path=/`), 200, byte(4))
	f.Add([]byte(jwtOf(`{"exp":1796000000}`)), 200, byte(5))
	f.Fuzz(func(t *testing.T, body []byte, status int, recipe byte) {
		refreshing := recipe%2 == 1
		if status < 100 || status > 999 || len(body) > maxAnswer {
			return
		}
		b := bind(t, realmOf(t, recipes[int(recipe)%len(recipes)], ""), map[string]string{"s": "CANARY-0123456789"})
		c := &call{bound: b, client: NewClient(nil, nil), recipe: b.program.fetch, refreshing: refreshing, sent: noon}
		if err := c.render(); err != nil {
			t.Fatal(err)
		}
		c.request.Report = new(Report)
		c.beginReport()
		header := http.Header{"X-Token": {string(body)}, "Set-Cookie": {"SID=" + string(body), "SID=x; Max-Age=0; Path=/a"}}
		a := &answer{status: status, header: header, body: body}
		got, failed := c.read(a)
		c.describe(a, 0)
		if shown, err := json.Marshal(c.report); err != nil || strings.Contains(string(shown), "CANARY-0123456789") {
			t.Errorf("the report tells too much: %s %v", shown, err)
		}
		if failed != nil {
			checkShown(t, failed)
			return
		}
		token := got.Token.Access.Reveal()
		if token == "" || len(token) > maxToken || !httpguts.ValidHeaderFieldValue(token) || strings.ContainsFunc(token, unicode.IsControl) {
			t.Errorf("token %q", token)
		}
		if life := got.Token.ExpiresAt.Sub(noon); life < 0 || life > realm.MaxLifetime || got.Once != (life == 0) {
			t.Errorf("life %v, once %v", life, got.Once)
		}
		if refresh := got.Token.Refresh.Reveal(); strings.ContainsFunc(refresh, unicode.IsControl) {
			t.Errorf("refresh token %q", refresh)
		}
	})
}

func checkShown(t *testing.T, failed *Error) {
	t.Helper()
	text := failed.Error()
	if strings.Contains(text, "CANARY-0123456789") || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 3000 {
		t.Errorf("error %q", text)
	}
	if failed.Class < Retryable || failed.Class > Hopeless || failed.Kind == "" || failed.NotSent {
		t.Errorf("error %+v", failed)
	}
}

// FuzzCompile: no realm makes Compile panic, and no value of a secret changes
// the structure of a request.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(fingerprinted), "a/b&c=d?e#f\"g", true)
	f.Add([]byte(reportRealm), "1", false)
	f.Add([]byte(`{"grant":{"name":"client_credentials","token_url":"https://{secret.h}/t","scopes":["a"]},"arguments":[{"name":"a.b","place":"body","value":"{force}"}]}`), "x", false)
	f.Add([]byte(`{"url":"https://x/{id}/","method":"POST","content_type":"form","token_path":"t","arguments":[{"name":"id","place":"path","value":"$v"},{"name":"f","place":"body","value":"$v"}]}`), "..", false)
	f.Add([]byte(`{"grant":{"name":"refresh_token","token_url":"https://x/t"}}`), "r&b=c", true)
	f.Add([]byte(`{"url":"https://x/t","token_path":"t","refresh":{"url":"https://x/{id}?r={refresh_token}","arguments":[{"name":"id","place":"path","value":"{refresh_token}"},{"name":"X","place":"header","value":"{refresh_token}"}]}}`), "../a?b#c", true)
	f.Add([]byte(`{"url":"https://x/t","method":"POST","token_path":"t","arguments":[{"name":"a","place":"url","value":"$v"},{"name":"s","place":"body","expr":"md5(args.a) + secret.v"},{"name":"t","place":"body","expr":"epoch_s()"}]}`), "a\"&b", true)
	f.Add([]byte(ownRealm), "a/b&c=d?e#f", true)
	f.Add([]byte(codeGrant(`,"scopes":["a"]`, `"unattended":true,"exchange":{"arguments":[{"name":"c","place":"header","value":"{code}"}]}`)), "../x", true)
	f.Fuzz(func(t *testing.T, config []byte, value string, trusted bool) {
		r := realm.Realm{ID: "fuzz"}
		if json.Unmarshal(config, &r.Config) != nil {
			return
		}
		p, err := Compile(r, trusted)
		if err != nil {
			checkField(t, err)
			return
		}
		b := bindAll(p, value)
		reference := bindAll(p, "1")
		if b == nil || reference == nil || !p.CanFetch() && !p.CanRefresh() && !p.CanAuthorize() {
			return
		}
		if b.Fingerprint() != bindAll(p, value).Fingerprint() {
			t.Error("two fingerprints")
		}
		if _, _, err := b.Place("TOKEN"); err != nil {
			checkField(t, err)
		}
		if p.fetch != nil {
			compareRequests(t, requestOf(t, p.fetch, b), requestOf(t, p.fetch, reference))
		}
		if p.CanAuthorize() {
			// The code is the provider's: Bind does not know it.
			b.values.authorization, reference.values.authorization = attempt, attempt
			b.values.code, reference.values.code = realm.Hidden(value), "1"
			compareRequests(t, requestOf(t, p.authorize, b), requestOf(t, p.authorize, reference))
			if _, err := p.exchange.render(b.values, b.ref); err != nil {
				checkField(t, err)
				return
			}
			compareRequests(t, requestOf(t, p.exchange, b), requestOf(t, p.exchange, reference))
		}
		if p.CanRefresh() {
			b.values.refresh, reference.values.refresh = realm.Hidden(value), "1"
			if _, err := p.refresh.render(b.values, b.ref); err != nil { // Bind does not know the refresh token
				checkField(t, err)
				return
			}
			compareRequests(t, requestOf(t, p.refresh, b), requestOf(t, p.refresh, reference))
		}
	})
}

func checkField(t *testing.T, err error) {
	t.Helper()
	var field *realm.FieldError
	if !errors.As(err, &field) || field.Field == "" || field.Reason == "" {
		t.Errorf("error %#v", err)
	}
}

// bindAll binds a secret whose fields all have one value.
func bindAll(p *Program, value string) *Bound {
	fields := map[string]realm.Hidden{}
	for _, name := range p.required {
		fields[name] = realm.Hidden(value)
	}
	b, err := p.Bind(realm.Secret{Fields: fields})
	if err != nil {
		return nil
	}
	return b
}

func compareRequests(t *testing.T, got, want *http.Request) {
	t.Helper()
	if got.URL.Scheme != want.URL.Scheme || got.URL.User != nil || got.URL.Fragment != "" || got.Host == "" {
		t.Errorf("URL %s, reference %s", got.URL, want.URL)
	}
	for name, count := range map[string][2]int{
		"path segments": {strings.Count(got.URL.EscapedPath(), "/"), strings.Count(want.URL.EscapedPath(), "/")},
		"query pairs":   {strings.Count(got.URL.RawQuery, "&"), strings.Count(want.URL.RawQuery, "&")},
		"headers":       {len(got.Header), len(want.Header)},
	} {
		if count[0] != count[1] {
			t.Errorf("%d %s, reference %d", count[0], name, count[1])
		}
	}
	for name, values := range got.Header {
		if !httpguts.ValidHeaderFieldName(name) || len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) {
			t.Errorf("header %q: %q", name, values)
		}
	}
}

func requestOf(t *testing.T, r *recipe, b *Bound) *http.Request {
	t.Helper()
	out, err := r.render(b.values, b.ref)
	if err != nil {
		t.Fatalf("Bind let through: %v", err)
	}
	if r.body.tree != nil && out.body != nil && !json.Valid(out.body) {
		t.Errorf("body %q", out.body)
	}
	req, err := out.request(t.Context())
	if err != nil {
		t.Fatalf("no request: %v", err)
	}
	return req
}

func BenchmarkReadAnswer(b *testing.B) {
	var r realm.Realm
	if err := json.Unmarshal([]byte(`{"url":"https://x.example/t","token_path":"access_token","expires_in_path":"expires_in"}`), &r.Config); err != nil {
		b.Fatal(err)
	}
	p, err := Compile(r, false)
	if err != nil {
		b.Fatal(err)
	}
	bound, err := p.Bind(realm.Secret{})
	if err != nil {
		b.Fatal(err)
	}
	c := &call{bound: bound, client: NewClient(nil, nil), recipe: p.fetch, sent: noon}
	b.ReportAllocs()
	for b.Loop() {
		if _, failed := c.read(&answer{status: http.StatusOK, body: []byte(goodAnswer)}); failed != nil {
			b.Fatal(failed)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	var r realm.Realm
	if err := json.Unmarshal([]byte(fingerprinted), &r.Config); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(r, false); err != nil {
			b.Fatal(err)
		}
	}
}
