package grant

import (
	"errors"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// codeGrant is a realm of the grant authorization_code with more fields of the
// grant, and more of the realm.
func codeGrant(grant, config string) string {
	return `{"grant":{"name":"authorization_code","authorize_url":"https://x.example/a","token_url":"https://x.example/t"` + grant + `},
		"callback_url":"https://y.example/cb",` + config + `}`
}

// TestCompileRefuses has a realm for every error of Compile, and the field
// that it names.
func TestCompileRefuses(t *testing.T) {
	const head = `{"url":"https://x.example/t","token_path":"t",`
	arg := func(s string) string { return head + `"arguments":[` + s + `]}` }
	for _, c := range []struct{ config, field string }{
		{`{"token_path":"t","arguments":[{"name":"a","place":"url","value":"b"}]}`, "config.url"},
		{`{"url":"x.example/t","token_path":"t"}`, "config.url"},
		{`{"url":"ftp://x.example/t","token_path":"t"}`, "config.url"},
		{`{"url":"http://x.example/t","token_path":"t"}`, "config.url"}, // not trusted, no allow_http
		{`{"url":"https://","token_path":"t"}`, "config.url"},
		{`{"url":"https:///t","token_path":"t"}`, "config.url"},
		{`{"url":"https://u:p\u0040x.example/t","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example/t#f","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example:99999/t","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example/a b","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example/?a=ü","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example\\\u0040y/","token_path":"t"}`, "config.url"},
		{`{"url":"$base","token_path":"t"}`, "config.url"},
		{`{"url":"{secret.base}/t","token_path":"t"}`, "config.url"},
		{`{"url":"https://{force}.example/t","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example/{unknown}","token_path":"t"}`, "config.url"},
		{`{"url":"https://x.example/t"}`, "config.token_path"},
		{`{"url":"https://x.example/t","content_type":"form"}`, "config.token_path"},
		{`{"url":"https://x.example/t","token_path":"a..b"}`, "config.token_path"},
		{`{"url":"https://x.example/t","token_path":"a\\b"}`, "config.token_path"},
		{head + `"method":"DELETE"}`, "config.method"},
		{head + `"content_type":"xml"}`, "config.content_type"},
		{head + `"expires_in_path":"."}`, "config.expires_in_path"},
		{head + `"expires_in_path":"e","expires_in_unit":"h"}`, "config.expires_in_unit"},
		{head + `"refresh_token_path":"."}`, "config.refresh_token_path"},
		{head + `"refresh_expires_in_path":"e","refresh_expires_in_unit":"h"}`, "config.refresh_expires_in_unit"},
		{head + `"success":[{}]}`, "config.success[0]"},
		{head + `"success":[{"status":[200]},{"values":[1]}]}`, "config.success[1].json"},
		{head + `"success":[{"json":"a","absent":true}]}`, "config.success[0].values"},
		{head + `"success":[{"json":".","values":[1]}]}`, "config.success[0].json"},
		{head + `"renew_on":[{"status":[401]},{}]}`, "config.renew_on[1]"},
		{head + `"renew_on":[{"json":"a..b","values":[1]}]}`, "config.renew_on[0].json"},
		{head + `"renew_on":[{"json":"a","absent":true}]}`, "config.renew_on[0].values"},

		{`{"url":"https://x.example/?a={secret.a}","token_path":"t","volatile":["a","b"]}`, "config.volatile[1]"},
		{`{"url":"https://x.example/","token_path":"t","api":"https://{secret.a}.example","volatile":["a"]}`, "config.volatile[0]"},
		{`{"grant":{"name":"static","token":"{secret.a}"},"volatile":["a"]}`, "config.volatile[0]"},
		{`{"url":"https://x.example/?a={secret.app_ticket}","token_path":"t","push":"feishu"}`, "config.push"},

		{arg(`{"name":"a","place":"cookie","value":"b"}`), "config.arguments[0].place"},
		{arg(`{"name":"a","place":"url","value":"$token"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"$created_at"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"$realm"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"$a b"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"$"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{token}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{code}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{env.PATH}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{file./etc/passwd}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{http.vars.x}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{secret.}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{secret.a b}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{secret.a"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"{}"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"url","value":"b","expr":"c"}`), "config.arguments[0].expr"},
		{arg(`{"name":"a","place":"url","value":"1","type":"number"}`), "config.arguments[0].type"},
		{arg(`{"name":"a","place":"body","value":"x","type":"number"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"body","value":"","type":"number"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"body","value":"01","type":"number"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"body","value":"{\"a\":1}","type":"number"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"body","value":"1","type":"boolean"}`), "config.arguments[0].value"},
		{arg(`{"name":"a","place":"body","value":"1","type":"object"}`), "config.arguments[0].type"},
		{arg(`{"name":"a","place":"body","value":"1"},{"name":"a","place":"body","value":"2"}`), "config.arguments[1].name"},
		{arg(`{"name":"a","place":"body","value":"1"},{"name":"a.b","place":"body","value":"2"}`), "config.arguments[1].name"},
		{arg(`{"name":"a.b","place":"body","value":"1"},{"name":"a","place":"body","value":"2"}`), "config.arguments[1].name"},
		{arg(`{"name":"","place":"body","value":"1"}`), "config.arguments[0].name"},
		{head + `"content_type":"form","arguments":[{"name":"a","place":"body","value":"1","type":"number"}]}`, "config.arguments[0].type"},
		{head + `"content_type":"text","arguments":[{"name":"a","place":"body","value":"1"},{"name":"b","place":"body","value":"1"}]}`, "config.arguments[1].place"},
		{arg(`{"name":"Host","place":"header","value":"x"}`), "config.arguments[0].name"},
		{arg(`{"name":"content-length","place":"header","value":"1"}`), "config.arguments[0].name"},
		{arg(`{"name":"Transfer-Encoding","place":"header","value":"chunked"}`), "config.arguments[0].name"},
		{arg(`{"name":"Proxy-Authorization","place":"header","value":"x"}`), "config.arguments[0].name"},
		{arg(`{"name":"TE","place":"header","value":"trailers"}`), "config.arguments[0].name"},
		{arg(`{"name":"Accept-Encoding","place":"header","value":"br"}`), "config.arguments[0].name"},
		{arg(`{"name":"X Y","place":"header","value":"x"}`), "config.arguments[0].name"},
		{arg(`{"name":"X:","place":"header","value":"x"}`), "config.arguments[0].name"},
		{arg(`{"name":"X\r\nY","place":"header","value":"x"}`), "config.arguments[0].name"},
		{arg(`{"name":"X","place":"header","value":"a\r\nb"}`), "config.arguments[0].value"},
		{arg(`{"name":"X","place":"header","value":"a"},{"name":"x","place":"header","value":"b"}`), "config.arguments[1].name"},
		{arg(`{"name":"a","place":"basic","value":"b"},{"name":"Authorization","place":"header","value":"b"}`), "config.arguments[1].name"},
		{arg(`{"name":"Authorization","place":"header","value":"b"},{"name":"a","place":"basic","value":"b"}`), "config.arguments[1].place"},
		{arg(`{"name":"{x}","place":"basic","value":"b"}`), "config.arguments[0].name"},
		{arg(`{"name":"id","place":"path","value":"b"}`), "config.arguments[0].name"},
		{`{"url":"https://x.example/{id}?{id}","token_path":"t","arguments":[{"name":"id","place":"path","value":"b"}]}`, "config.url"},
		{`{"url":"https://x.example/{id}","token_path":"t","arguments":[{"name":"id","place":"path","value":"b"},{"name":"id","place":"path","value":"c"}]}`, "config.arguments[1].name"},

		{head + `"grant":{"name":"static"}}`, "config.url"},
		{`{"grant":{"name":"magic"}}`, "config.grant.name"},
		{`{"method":"GET","grant":{"name":"client_credentials","token_url":"https://x.example/t"}}`, "config.method"},
		{`{"grant":{"name":"static","token":"{secret.a"}}`, "config.grant.token"},
		{`{"grant":{"name":"client_credentials"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"client_credentials","token_url":"http://x.example/t"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"client_credentials","token_url":"https://x.example/t","client_id":"{x}"}}`, "config.grant.client_id"},
		{`{"grant":{"name":"client_credentials","token_url":"https://x.example/t","client_secret":"{x}"}}`, "config.grant.client_secret"},
		{`{"grant":{"name":"client_credentials","token_url":"https://x.example/t","token_endpoint_auth_method":"none"}}`, "config.grant.token_endpoint_auth_method"},
		{`{"grant":{"name":"client_credentials","token_url":"https://x.example/t"},"arguments":[{"name":"scope","place":"body","value":"x"}]}`, "config.arguments[0].name"},
		{`{"grant":{"name":"delegate"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"delegate","token_url":"https://x.example/t"},"arguments":[{"name":"a","place":"body","value":"x"}]}`, "config.arguments[0].place"},
		{`{"grant":{"name":"token_exchange","token_url":"https://{x}/t"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"jwt_bearer","token_url":"http://x.example/t"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","issuer":"{x}"}}`, "config.grant.issuer"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","subject":"$"}}`, "config.grant.subject"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","audience":"{force}"}}`, "config.grant.audience"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","key_id":"{"}}`, "config.grant.key_id"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","private_key":"{k}"}}`, "config.grant.private_key"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t","algorithm":"none"}}`, "config.grant.private_key"},
		{`{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t"},"arguments":[{"name":"assertion","place":"body","value":"x"}]}`, "config.arguments[0].name"},

		{head + `"refresh":{"url":"x"}}`, "config.refresh.url"},
		{head + `"refresh":{"url":"https://x.example/r"}}`, "config.refresh"}, // nothing holds {refresh_token}
		{head + `"refresh":{"url":"https://x.example/r?r={refresh_token}","token_path":"."}}`, "config.refresh.token_path"},
		{`{"refresh":{"url":"https://x.example/r?r={refresh_token}"}}`, "config.refresh.token_path"},
		{`{"refresh":{"url":"http://x.example/r?r={refresh_token}"},"token_path":"t"}`, "config.refresh.url"}, // not trusted
		{`{"grant":{"name":"static"},"refresh":{"url":"https://x.example/r?r={refresh_token}","token_path":"t"}}`, "config.refresh"},
		{`{"grant":{"name":"refresh_token","token_url":"https://x.example/t"},"refresh":{"url":"https://x.example/r?r={refresh_token}"}}`, "config.refresh"},
		{`{"grant":{"name":"refresh_token"}}`, "config.grant.token_url"},
		{`{"grant":{"name":"refresh_token","token_url":"https://x.example/t"},"arguments":[{"name":"Refresh_Token","place":"body","value":"x"}]}`, "config.arguments[0].name"},
		{head + `"refresh":{"url":"https://x.example/r","arguments":[{"name":"c","place":"url","value":"{code}"}]}}`, "config.refresh.arguments[0].value"},
		{head + `"exchange":{"url":"https://x.example/r","arguments":[{"name":"c","place":"url","value":"{refresh_token}"}]}}`, "config.exchange.arguments[0].value"},
		{head + `"authorize":{"url":"https://x.example/r","arguments":[{"name":"c","place":"url","value":"{code_verifier}"}]}}`, "config.authorize.arguments[0].value"},

		{head + `"exchange":{"url":"https://x.example/e"}}`, "config.exchange"},
		{head + `"authorize":{"url":"https://x.example/a"}}`, "config.authorize"},
		{head + `"authorize":{"url":"https://x.example/a?s={state}"},"exchange":{"url":"https://x.example/e?c={code}&v={code_verifier}"}}`, "config.authorize"},
		{head + `"authorize":{"url":"https://x.example/a?s={state}&h={code_challenge}"},"exchange":{"url":"https://x.example/e?c={code}"}}`, "config.exchange"},
		{head + `"authorize":{"url":"https://x.example/{state}","arguments":[{"name":"state","place":"path","value":"x"}]}}`, "config.authorize.arguments[0].name"},
		{head + `"authorize":{"url":"https://x.example/a?s={state}","success":[{}]}}`, "config.authorize.success[0]"},
		{head + `"authorize":{"url":"http://x.example/a?s={state}"}}`, "config.authorize.url"},
		{head + `"callback_url":"{secret.x"}`, "config.callback_url"},
		{head + `"callback_url":"ftp://x.example/"}`, "config.callback_url"},
		{head + `"callback_url":"https://x.example/#a"}`, "config.callback_url"},
		{head + `"callback_url":"https://x.example/?state=1"}`, "config.callback_url"},
		{head + `"callback_url":"https://x.example/?a=1&a=1"}`, "config.callback_url"},
		{codeGrant(``, `"authorize":{"method":"POST"}`), "config.authorize.method"},
		{codeGrant(``, `"exchange":{"method":"GET"}`), "config.exchange.method"},
		{codeGrant(``, `"refresh":{"method":"PUT"}`), "config.refresh.method"},
		{codeGrant(`,"issuer":"{x}"`, `"lifetime":"1h"`), "config.grant.issuer"},
		{codeGrant(`,"client_id":"{x}"`, `"lifetime":"1h"`), "config.grant.client_id"},
		{codeGrant(``, `"authorize":{"arguments":[{"name":"State","place":"url","value":"x"}]}`), "config.authorize.arguments[0].name"},
		{codeGrant(``, `"authorize":{"arguments":[{"name":"p","place":"url","value":"x"},{"name":"code_challenge","place":"url","value":"x"}]}`), "config.authorize.arguments[1].name"},
		{codeGrant(``, `"exchange":{"arguments":[{"name":"redirect_uri","place":"body","value":"x"}]}`), "config.exchange.arguments[0].name"},
		{codeGrant(``, `"exchange":{"arguments":[{"name":"client_secret","place":"body","value":"x"}]}`), "config.exchange.arguments[0].name"},
		{codeGrant(``, `"refresh":{"arguments":[{"name":"refresh_token","place":"body","value":"x"}]}`), "config.refresh.arguments[0].name"},

		{head + `"api":"https://x.example/?a=b"}`, "config.api"},
		{head + `"api":"http://x.example/"}`, "config.api"},
		{head + `"api":"https://x.example/#a"}`, "config.api"},
		{head + `"api":"https://u\u0040x.example/"}`, "config.api"},
		{head + `"api":"https://{token}.example/"}`, "config.api"},
		{head + `"hosts":["a.example","b/c"]}`, "config.hosts[1]"},
		{head + `"hosts":["{token}"]}`, "config.hosts[0]"},

		{head + `"inject":[{"place":"fragment","name":"a"}]}`, "config.inject[0].place"},
		{head + `"inject":[{"place":"url","name":""}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"a","value":"{secret.x} {code}"}]}`, "config.inject[0].value"},
		{head + `"inject":[{"place":"header","name":"a"},{"place":"header","name":"A"}]}`, "config.inject[1].name"},
		{head + `"inject":[{"place":"url","name":"a"},{"place":"url","name":"A"}]}`, "config.inject[1].name"},
		{head + `"inject":[{"place":"header","name":"Authorization"},{"place":"basic","name":"a"}]}`, "config.inject[1].name"},
		{head + `"inject":[{"place":"basic","name":"{x}"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"Host"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"Connection"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"Upgrade"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"Trailer"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"proxy-authorization"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"x-forwarded-for"}]}`, "config.inject[0].name"},
		{head + `"inject":[{"place":"header","name":"forwarded"}]}`, "config.inject[0].name"},
	} {
		_, err := Compile(realmOf(t, c.config, ""), false)
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != c.field {
			t.Errorf("%s\n  error %v, want one about %s", c.config, err, c.field)
		}
	}
}

func TestLogicCodeRefused(t *testing.T) {
	_, err := Compile(realm.Realm{ID: "x", LogicCode: "http://127.0.0.1/x"}, false)
	var field *realm.FieldError
	if !errors.As(err, &field) || field.Field != "logic_code" {
		t.Errorf("error %v", err)
	}
}

// TestInactive: what cannot get a token compiles, and says why.
func TestInactive(t *testing.T) {
	for config, want := range map[string]string{
		`{"token_path":"t","exchange":{"url":"https://x/t","arguments":[{"name":"c","place":"url","value":"{code}"}]}}`: "the realm has no authorize recipe",
		`{"token_path":"t","authorize":{"url":"https://x/t?s={state}"}}`:                                                "the realm has no exchange recipe",
		`{"token_path":"t","authorize":{"url":"https://x/t?s={state}"},"exchange":{"url":"https://x/e?c={code}"}}`:      "the realm has no callback_url",
		`{"url":"https://x/t","token_path":"t","refresh":{"url":"https://x/r","arguments":[{"name":"r","place":"url","value":"{refresh_token}"}]},
			"authorize":{"url":"https://x/a?c={code_challenge}&s={state}&u={callback_url}"},"exchange":{"url":"https://x/e?v={code_verifier}&c={code}"}}`: "",
		`{"url":"https://x/t","token_path":"t","refresh":{},"exchange":{},"authorize":{}}`: "",
		`{}`: "",
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if got := p.Inactive(); got != want {
			t.Errorf("%s: inactive %q, want %q", config, got, want)
		}
		if want == "" {
			continue
		}
		b, err := p.Bind(secretOf(nil))
		if err != nil {
			t.Errorf("%s: Bind: %v", config, err)
			continue
		}
		var report Report
		_, err = b.Fetch(t.Context(), testClient(t), Request{Report: &report})
		var failed *Error
		if !errors.As(err, &failed) || failed.Kind != KindInactive || failed.Class != Hopeless || report.Kind != KindInactive {
			t.Errorf("%s: Fetch: %v, report %+v", config, err, report)
		}
	}
}

func TestNotProxyable(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                          "the realm has no api",
		`{"api":"https://x.example"}`: "the realm has no inject",
		`{"api":"https://x.example","inject":[{"place":"body","name":"token"}]}`:                           "",
		`{"api":"https://x.example","inject":[{"place":"header","name":"A"},{"place":"body","name":"t"}]}`: "",
		`{"api":"https://x.example","inject":[{"place":"url","name":"t"}]}`:                                "",
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if got := p.NotProxyable(); got != want {
			t.Errorf("%s: %q, want %q", config, got, want)
		}
	}
}
