package grant

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The shapes of refreshing that real providers have.
const (
	slackRealm = `{"grant":{"name":"refresh_token","token_url":"@/api/oauth.v2.access","token_endpoint_auth_method":"client_secret_post"},"success":[{"json":"ok","values":[true]}]}`

	lwaRealm = `{"grant":{"name":"refresh_token","token_url":"@/auth/o2/token","token_endpoint_auth_method":"client_secret_post"}}`

	basicRealm = `{"grant":{"name":"refresh_token","token_url":"@/t","scopes":["a","b"]},"arguments":[{"name":"audience","place":"body","value":"x"}]}`

	douyinRealm = `{"url":"@/oauth/access_token/","method":"POST","content_type":"form","token_path":"data.access_token","expires_in_path":"data.expires_in",
		"refresh_token_path":"data.refresh_token","refresh_expires_in_path":"data.refresh_expires_in","success":[{"json":"data.error_code","values":[0]}],
		"refresh_semantics":"strict","refresh":{"url":"@/oauth/refresh_token/","method":"POST","arguments":[
			{"name":"client_key","place":"body","value":"$client_id"},{"name":"grant_type","place":"body","value":"refresh_token"},{"name":"refresh_token","place":"body","value":"{refresh_token}"}]}}`

	kuaishouRealm = `{"token_path":"access_token","expires_in_path":"expires_in","refresh_token_path":"refresh_token","refresh_expires_in_path":"refresh_token_expires_in",
		"success":[{"json":"result","values":[1]}],"refresh":{"url":"@/oauth2/refresh_token?app_id={secret.client_id}","arguments":[
			{"name":"app_secret","place":"url","value":"$client_secret"},{"name":"grant_type","place":"url","value":"refresh_token"},{"name":"refresh_token","place":"url","value":"{refresh_token}"}]}}`

	feishuRealm = `{"refresh":{"url":"@/open-apis/authen/v1/oidc/refresh_access_token","method":"POST","token_path":"data.access_token","expires_in_path":"data.expires_in",
		"refresh_token_path":"data.refresh_token","refresh_expires_in_path":"data.refresh_expires_in","success":[{"json":"code","values":[0]}],"arguments":[
			{"name":"Authorization","place":"header","value":"Bearer {secret.client_secret}"},{"name":"grant_type","place":"body","value":"refresh_token"},{"name":"refresh_token","place":"body","value":"{refresh_token}"}]}}`

	wechatRealm = `{"url":"@/sns/oauth2/access_token","token_path":"access_token","expires_in_path":"expires_in","refresh_token_path":"refresh_token","refresh_semantics":"stable",
		"success":[{"json":"errcode","values":[0],"absent":true}],"refresh":{"url":"@/sns/oauth2/refresh_token?appid={secret.client_id}&grant_type=refresh_token&refresh_token={refresh_token}"}}`

	// JD: the value of the refresh token stays, and its end is in milliseconds.
	jdRealm = `{"url":"@/oauth2/accessToken","method":"POST","content_type":"form","token_path":"result.access_token","expires_in_path":"result.expires_in",
		"refresh_token_path":"result.refresh_token","refresh_expires_in_path":"result.refresh_token_expires","refresh_expires_in_unit":"epoch_ms","success":[{"json":"success","values":[true]}],
		"arguments":[{"name":"sign","place":"body","expr":"upper(md5(secret.client_secret))"}],
		"refresh":{"url":"@/oauth2/refreshToken","method":"POST","arguments":[{"name":"refresh_token","place":"body","value":"{refresh_token}"},{"name":"client_id","place":"body","value":"$client_id"}]}}`

	codeRealm = `{"grant":{"name":"authorization_code","token_url":"@/token"},"token_path":"access_token","refresh":{"url":"@/token?r={refresh_token}"}}`
)

var client1 = map[string]string{"client_id": "id-1", "client_secret": "SECRET/1"}

const oldRefresh = "REFRESH-1/a+b"

// refreshFrom refreshes once with a provider that gives the answer.
func refreshFrom(t *testing.T, config string, answer http.HandlerFunc) (Result, *Error, seen) {
	t.Helper()
	p := newProvider(t, answer)
	b := bind(t, realmOf(t, config, p.URL), client1)
	got, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh})
	if len(p.requests) != 1 {
		t.Fatalf("%d requests were sent: %v", len(p.requests), err)
	}
	if err != nil {
		return got, failure(t, err), p.requests[0]
	}
	return got, nil, p.requests[0]
}

func TestRefreshShapes(t *testing.T) {
	const encoded = "REFRESH-1%2Fa%2Bb"
	for _, c := range []struct {
		name, config, answer      string
		method, path, query, body string
		authorization             string
		refresh                   string
		end                       time.Time
	}{
		{
			name: "Slack", config: slackRealm, answer: `{"ok":true,"access_token":"T","expires_in":43200,"refresh_token":"R"}`,
			method: "POST", path: "/api/oauth.v2.access", refresh: "R",
			body: "grant_type=refresh_token&client_id=id-1&client_secret=SECRET%2F1&refresh_token=" + encoded,
		},
		{
			name: "Amazon: the refresh token is not returned", config: lwaRealm, answer: `{"access_token":"T","expires_in":43200}`,
			method: "POST", path: "/auth/o2/token",
			body: "grant_type=refresh_token&client_id=id-1&client_secret=SECRET%2F1&refresh_token=" + encoded,
		},
		{
			name: "RFC 6749 section 6", config: basicRealm, answer: `{"access_token":"T","expires_in":43200,"refresh_token":"R"}`,
			method: "POST", path: "/t", authorization: "Basic aWQtMTpTRUNSRVQlMkYx", refresh: "R",
			body: "audience=x&grant_type=refresh_token&scope=a+b&refresh_token=" + encoded,
		},
		{
			name: "Douyin", config: douyinRealm, answer: `{"data":{"error_code":0,"access_token":"T","expires_in":"43200","refresh_token":"R","refresh_expires_in":"86400"}}`,
			method: "POST", path: "/oauth/refresh_token/", refresh: "R", end: noon.Add(24 * time.Hour),
			body: "client_key=id-1&grant_type=refresh_token&refresh_token=" + encoded,
		},
		{
			name: "Kuaishou", config: kuaishouRealm, answer: `{"result":1,"access_token":"T","expires_in":43200,"refresh_token":"R","refresh_token_expires_in":86400}`,
			method: "GET", path: "/oauth2/refresh_token", refresh: "R", end: noon.Add(24 * time.Hour),
			query: "app_id=id-1&app_secret=SECRET%2F1&grant_type=refresh_token&refresh_token=" + encoded,
		},
		{
			name: "Feishu", config: feishuRealm, answer: `{"code":0,"data":{"access_token":"T","expires_in":43200,"refresh_token":"R","refresh_expires_in":86400}}`,
			method: "POST", path: "/open-apis/authen/v1/oidc/refresh_access_token", authorization: "Bearer SECRET/1", refresh: "R", end: noon.Add(24 * time.Hour),
			body: `{"grant_type":"refresh_token","refresh_token":"REFRESH-1/a+b"}`,
		},
		{
			name: "WeChat", config: wechatRealm, answer: `{"access_token":"T","expires_in":43200,"refresh_token":"REFRESH-1/a+b"}`,
			method: "GET", path: "/sns/oauth2/refresh_token", refresh: oldRefresh,
			query: "appid=id-1&grant_type=refresh_token&refresh_token=" + encoded,
		},
		{
			name: "JD: only a new end", config: jdRealm, answer: `{"success":true,"result":{"access_token":"T","expires_in":43200,"refresh_token_expires":1795435200000}}`,
			method: "POST", path: "/oauth2/refreshToken", end: time.UnixMilli(1795435200000),
			body: "refresh_token=" + encoded + "&client_id=id-1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, failed, r := refreshFrom(t, c.config, answering(200, "", c.answer))
			if failed != nil {
				t.Fatal(failed)
			}
			if r.method != c.method || r.path != c.path || r.query != c.query || r.body != c.body || r.header.Get("Authorization") != c.authorization {
				t.Errorf("request %+v", r)
			}
			token := got.Token
			if token.Access != "T" || !token.ExpiresAt.Equal(noon.Add(12*time.Hour)) || token.Refresh.Reveal() != c.refresh || !token.RefreshExpiresAt.Equal(c.end) || len(got.Warnings) > 0 {
				t.Errorf("result %+v, refresh token %q until %v", got, token.Refresh.Reveal(), token.RefreshExpiresAt)
			}
		})
	}
}

// TestWhatARealmCan: what there is to do for a token, and what of it is not
// built.
func TestWhatARealmCan(t *testing.T) {
	const refresh = `"refresh":{"url":"https://x/r?r={refresh_token}"}`
	const sign = `"arguments":[{"name":"s","place":"url","expr":"md5(secret.a + (force ? 'f' : ''))"}]`
	for _, c := range []struct {
		config               string
		fetch, refresh, asks bool
		inactive             string
	}{
		{`{}`, false, false, false, ""},
		{`{"url":"https://x/t","token_path":"t"}`, true, false, true, ""},
		{`{"url":"https://x/t","token_path":"t",` + refresh + `}`, true, true, true, ""},
		{`{"token_path":"t",` + refresh + `}`, false, true, true, ""},
		{`{"token_path":"t",` + refresh + `,"exchange":{"url":"https://x/e?c={code}"}}`, false, true, true, ""},
		{`{"url":"https://x/t","token_path":"t",` + sign + `,` + refresh + `}`, true, true, true, ""},
		{`{"url":"https://x/t","token_path":"t",` + sign + `}`, true, false, true, ""},
		{`{"token_path":"t","refresh":{"url":"https://x/r?r={refresh_token}",` + sign + `}}`, false, true, true, ""},
		{`{"grant":{"name":"refresh_token","token_url":"https://x/t"}}`, false, true, true, ""},
		{`{"grant":{"name":"client_credentials","token_url":"https://x/t"},` + refresh + `}`, true, true, true, ""},
		{`{"grant":{"name":"delegate","token_url":"https://x/t"},` + refresh + `}`, true, true, true, ""},
		{codeGrant(``, `"lifetime":"1h"`), false, true, true, ""},
		{codeGrant(``, `"unattended":true`), true, true, true, ""},
		{`{"grant":{"name":"authorization_code","token_url":"https://x/t"}}`, false, true, true, ""},
		{`{"token_path":"t","callback_url":"https://y.example","authorize":{"url":"https://x/a?s={state}"},"exchange":{"url":"https://x/e?c={code}"}}`, false, false, true, ""},
		{`{"grant":{"name":"token_exchange","token_url":"https://x/t"},"token_path":"t",` + refresh + `}`, true, true, true, ""},
		{`{"grant":{"name":"token_exchange","token_url":"https://x/t"}}`, true, false, true, ""},
		{`{"grant":{"name":"computed","expr":"secret.x"},"lifetime":"1h"}`, true, false, true, ""},
	} {
		p, err := Compile(realmOf(t, c.config, ""), false)
		if err != nil {
			t.Errorf("%s: %v", c.config, err)
			continue
		}
		if p.CanFetch() != c.fetch || p.CanRefresh() != c.refresh || p.Fetches() != c.asks || p.Inactive() != c.inactive {
			t.Errorf("%s: fetch %v, refresh %v, fetches %v, inactive %q", c.config, p.CanFetch(), p.CanRefresh(), p.Fetches(), p.Inactive())
		}
		if c.fetch || c.inactive != "" {
			continue
		}
		b, err := p.Bind(secretOf(map[string]string{"a": "1", "token": "T", "client_id": "id-1", "client_secret": "s"}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = b.Fetch(t.Context(), testClient(t), Request{}); failure(t, err).Kind != KindInactive || !failure(t, err).NotSent {
			t.Errorf("%s: fetching: %v", c.config, err)
		}
	}
}

func TestRefreshingIsNotPossible(t *testing.T) {
	for name, c := range map[string]struct{ config, token, want string }{
		"no recipe": {`{"url":"https://x/t","token_path":"t"}`, "R", "the realm has no refresh recipe"},
		"no token":  {`{"token_path":"t","refresh":{"url":"https://x/r?r={refresh_token}"}}`, "", "there is no refresh token"},
	} {
		_, err := bind(t, realmOf(t, c.config, ""), nil).Refresh(t.Context(), testClient(t), Request{RefreshToken: realm.Hidden(c.token)})
		if failed := failure(t, err); failed.Kind != KindInactive || failed.Detail != c.want || failed.Uncertain() || !failed.NotSent {
			t.Errorf("%s: %+v", name, failed)
		}
	}
	// An imported refresh token can be anything.
	b := bind(t, realmOf(t, `{"refresh":{"url":"https://x/r","token_path":"t","arguments":[{"name":"X","place":"header","value":"{refresh_token}"}]}}`, ""), nil)
	_, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "a\nCANARY"})
	if failed := failure(t, err); failed.Kind != KindRequest || failed.Uncertain() || !failed.NotSent || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("a token with a line feed: %+v", failed)
	}
}

func TestRefreshSemantics(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                             realm.RefreshFamily,
		`{"refresh_semantics":"strict"}`: realm.RefreshStrict,
		`{"refresh_semantics":"grace","refresh_grace":"1m"}`: realm.RefreshGrace,
		`{"refresh_semantics":"stable"}`:                     realm.RefreshStable,
	} {
		p, err := Compile(realmOf(t, config, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		if p.RefreshSemantics() != want {
			t.Errorf("%s: %s", config, p.RefreshSemantics())
		}
	}
}

// What only the refresh recipe reads is required too, or it would be sent
// empty.
func TestFieldsOfTheRefreshRecipe(t *testing.T) {
	p, err := Compile(realmOf(t, `{"url":"https://x/t","token_path":"t","refresh":{"url":"https://x/r?r={refresh_token}&c={secret.c}"}}`, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Bind(secretOf(nil)); err == nil || !strings.HasPrefix(err.Error(), "c:") {
		t.Errorf("error %v", err)
	}
}

// Bind has no refresh token to try a recipe with, and must not mind.
func TestTypedRefreshToken(t *testing.T) {
	b := bind(t, realmOf(t, `{"refresh":{"url":"https://x/r","method":"POST","token_path":"t","arguments":[{"name":"r","place":"body","type":"number","value":"{refresh_token}"}]}}`, ""), nil)
	_, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "R"})
	if failed := failure(t, err); failed.Kind != KindRequest || !failed.NotSent {
		t.Errorf("error %+v", failed)
	}
}

// A server that answers client_credentials with a refresh token is not
// believed, unless the realm says so (RFC 6749 section 4.4.3).
func TestRefreshTokenOfClientCredentials(t *testing.T) {
	for path, want := range map[string]string{"": "", `"refresh_token_path":"refresh_token",`: "R"} {
		p := newProvider(t, answering(200, "", `{"access_token":"T","expires_in":60,"refresh_token":"R"}`))
		b := bind(t, realmOf(t, `{`+path+`"grant":{"name":"client_credentials","token_url":"@/t"},"refresh":{"url":"@/r?r={refresh_token}"}}`, p.URL), client1)
		for _, call := range []func() (Result, error){
			func() (Result, error) { return b.Fetch(t.Context(), testClient(t), Request{}) },
			func() (Result, error) {
				return b.Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh})
			},
		} {
			if got, err := call(); err != nil || got.Token.Access != "T" || got.Token.Refresh.Reveal() != want {
				t.Errorf("%q: %v, refresh token %q", path, err, got.Token.Refresh.Reveal())
			}
		}
	}
}

// TestRefreshIsRedacted: the refresh token is nowhere to be seen, however the
// provider quotes it.
func TestRefreshIsRedacted(t *testing.T) {
	for _, quoted := range []string{oldRefresh, encoders["percent"](oldRefresh, nil), encoders["base64"](oldRefresh, nil), encoders["hex"](oldRefresh, nil)} {
		p := newProvider(t, answering(400, quoted, `{"error":"invalid_grant `+quoted+`","error_description":"`+quoted+`","`+quoted+`":1}`))
		b := bind(t, realmOf(t, kuaishouRealm, p.URL), client1)
		var report Report
		_, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh, Report: &report})
		failed := failure(t, err)
		shown, marshalErr := json.Marshal(report)
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		for _, text := range []string{err.Error(), failed.ProviderCode, failed.ProviderMessage, string(shown)} {
			if strings.Contains(text, quoted) || strings.Contains(text, "REFRESH-1") {
				t.Errorf("%s\n  is in %s", quoted, text)
			}
		}
		if !strings.Contains(report.Request.URL, "refresh_token="+realm.Mask) {
			t.Errorf("the report's URL is %s", report.Request.URL)
		}
	}
}

// TestSecretRefreshToken: the first refresh token may lie in the secret, where
// nothing else gives one; and a new one there is noticed.
func TestSecretRefreshToken(t *testing.T) {
	with := func(config string, fields ...string) *Bound {
		all := map[string]string{"client_id": "id-1", "client_secret": "s"}
		for i := 0; i < len(fields); i += 2 {
			all[fields[i]] = fields[i+1]
		}
		return bind(t, realmOf(t, config, "https://x.example"), all)
	}
	one := with(lwaRealm, "refresh_token", "R1")
	if one.SecretRefreshToken() != "R1" || with(lwaRealm).SecretRefreshToken() != "" {
		t.Error("the field is not read")
	}
	if got := with(wechatRealm, "refresh_token", "R1").SecretRefreshToken(); got != "" {
		t.Errorf("beside a fetch: %q", got.Reveal())
	}
	if got := with(codeRealm, "refresh_token", "R1").SecretRefreshToken(); got != "R1" {
		t.Error("a realm that cannot fetch yet does not read it")
	}
	for name, c := range map[string]struct {
		b                *Bound
		reseeded, usable bool
	}{
		"the same":                      {with(lwaRealm, "refresh_token", "R1"), false, true},
		"another refresh token":         {with(lwaRealm, "refresh_token", "R2"), true, false},
		"no refresh token":              {with(lwaRealm), false, false},
		"another client_secret":         {with(lwaRealm, "refresh_token", "R1", "client_secret", "x"), false, false},
		"another token_url":             {with(strings.Replace(lwaRealm, "@/", "@/x/", 1), "refresh_token", "R1"), false, false},
		"both":                          {with(lwaRealm, "refresh_token", "R2", "client_secret", "x"), true, false},
		"a field that nobody reads":     {with(lwaRealm, "refresh_token", "R1", "x", "y"), false, true},
		"a realm that does not read it": {with(wechatRealm, "refresh_token", "R2"), false, false},
	} {
		if got := c.b.Reseeded(one.Fingerprint()); got != c.reseeded {
			t.Errorf("%s: reseeded %v", name, got)
		}
		if got := c.b.Fingerprint() == one.Fingerprint(); got != c.usable {
			t.Errorf("%s: the access token is usable: %v", name, got)
		}
	}
	if !one.Reseeded(with(lwaRealm).Fingerprint()) {
		t.Error("the first refresh token of a secret is not noticed")
	}
}

// TestRefreshOnlyFingerprint: where there is no fetch recipe, the refresh
// recipe stands for it.
func TestRefreshOnlyFingerprint(t *testing.T) {
	one := bind(t, realmOf(t, feishuRealm, "https://x.example"), client1).Fingerprint()
	if bind(t, realmOf(t, feishuRealm, "https://y.example"), client1).Fingerprint() == one {
		t.Error("another refresh recipe gives the same")
	}
	if bind(t, realmOf(t, feishuRealm, "https://x.example"), map[string]string{"client_secret": "x"}).Fingerprint() == one {
		t.Error("another secret gives the same")
	}
}

// TestLedger: the simulated provider's word on what was spent.
func TestLedger(t *testing.T) {
	provider := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"id-1": "SECRET/1"}, Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict},
	})
	url := provider.Start(t)
	pair := provider.Authorize("id-1")
	b := bind(t, realmOf(t, `{"grant":{"name":"refresh_token","token_url":"@/oauth2/token"}}`, url), client1)
	spend := func(b *Bound, token string) (Result, error) {
		return b.Refresh(t.Context(), testClient(t), Request{RefreshToken: realm.Hidden(token)})
	}
	got, err := spend(b, pair.Refresh)
	if err != nil || !provider.Live(got.Token.Access.Reveal()) || !provider.LiveRefresh(got.Token.Refresh.Reveal()) || provider.LiveRefresh(pair.Refresh) {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err = spend(b, pair.Refresh)
	if failed := failure(t, err); failed.Kind != KindInvalidGrant || failed.Class != Hopeless || failed.Uncertain() || len(provider.Reuses()) != 1 {
		t.Errorf("used again: %+v", failed)
	}
	wrong := bind(t, realmOf(t, `{"grant":{"name":"refresh_token","token_url":"@/oauth2/token"}}`, url), map[string]string{"client_id": "id-1", "client_secret": "x"})
	_, err = spend(wrong, got.Token.Refresh.Reveal())
	if failed := failure(t, err); failed.Kind != KindRefused || failed.Class != Hopeless || failed.Uncertain() || !provider.LiveRefresh(got.Token.Refresh.Reveal()) {
		t.Errorf("a wrong secret: %+v", failed)
	}
}
