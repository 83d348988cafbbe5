package grant

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// withHeader is an answer with header fields, each "Name: value".
func withHeader(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// TestTokenInTheHeader has a line for every answer whose token, or its end,
// stands outside of the body.
func TestTokenInTheHeader(t *testing.T) {
	const (
		keystone = `{"url":"@","method":"POST","token_header":"x-subject-token","expires_in_path":"token.expires_at","expires_in_unit":"rfc3339"}`
		vsphere  = `{"url":"@","method":"POST","token_header":"vmware-api-session-id","lifetime":"1h"}`
		header   = `{"url":"@","token_header":"X-Token","expires_in_header":"expires"`
		sap      = `{"url":"@","method":"POST","token_cookie":"B1SESSION"}`
		text     = `{"url":"@","content_type":"text","token_header":"X-Token","lifetime":"1h"}`
		cookie   = "Set-Cookie: B1SESSION="
		hour     = "Sun, 22 Nov 2026 13:00:00 GMT"
		past     = "Thu, 01 Jan 1970 00:00:00 GMT"
	)
	for _, c := range []struct {
		name, config, body string
		fields             []string
		life               time.Duration // 0: a warning, 5 minutes
	}{
		{"Keystone", keystone, `{"token":{"expires_at":"2026-11-22T13:00:00.000000Z"}}`, []string{"X-Subject-Token: AT"}, time.Hour},
		{"no body", vsphere, "", []string{"Vmware-Api-Session-Id: AT"}, time.Hour},
		{"a page", vsphere, "<html>", []string{"Vmware-Api-Session-Id: AT"}, time.Hour},
		{"another document", vsphere, `{"value":"other"}`, []string{"Vmware-Api-Session-Id: AT"}, time.Hour},
		{"a text", text, "welcome to it", []string{"X-Token: AT"}, time.Hour},
		{"twice the same", text, "", []string{"X-Token: AT", "X-Token: AT"}, time.Hour},
		{"seconds", header + `}`, "", []string{"X-Token: AT", "Expires: 3600"}, time.Hour},
		{"a date", header + `,"expires_in_unit":"rfc3339"}`, "", []string{"X-Token: AT", "Expires: " + hour}, time.Hour},
		{"an instant", header + `,"expires_in_unit":"epoch_ms"}`, "", []string{"X-Token: AT", "Expires: 1795352400000"}, time.Hour},
		{"no expiry", header + `}`, "", []string{"X-Token: AT"}, 0},
		{"two expiries", header + `}`, "", []string{"X-Token: AT", "Expires: 1", "Expires: 2"}, 0},
		{"a cookie", sap, `{"SessionId":"x"}`, []string{cookie + "AT; Path=/; HttpOnly; Max-Age=3600"}, time.Hour},
		{"a cookie that ends", sap, "", []string{cookie + "AT; Expires=" + hour}, time.Hour},
		{"both ends", sap, "", []string{cookie + "AT; Max-Age=3600; Expires=Sun, 22 Nov 2026 18:00:00 GMT"}, time.Hour},
		{"a cookie without an end", sap, "", []string{cookie + "AT"}, 0},
		{"a cookie among others", sap, "", []string{"Set-Cookie: ROUTEID=.node1; Max-Age=1", cookie + "AT; Max-Age=3600", "Set-Cookie: b1session=x"}, time.Hour},
		{"a value in quotes", sap, "", []string{cookie + `"AT"; Max-Age=3600`}, time.Hour},
		{"cleared, then set", sap, "", []string{cookie + "; Max-Age=0; Path=/b1s", cookie + "AT; Max-Age=3600; Path=/"}, time.Hour},
		{"cleared by a date", sap, "", []string{cookie + "deleted; Expires=" + past + "; Path=/b1s", cookie + "AT; Max-Age=3600; Path=/"}, time.Hour},
		{"set, and another path cleared", sap, "", []string{cookie + "AT; Max-Age=3600; Path=/", cookie + "x; Max-Age=-1; Path=/b1s"}, time.Hour},
		{"set twice", sap, "", []string{cookie + "old; Max-Age=60", cookie + "AT; Max-Age=3600"}, time.Hour},
		{"the same for two paths", sap, "", []string{cookie + "AT; Max-Age=3600; Path=/a", cookie + "AT; Max-Age=3600; Path=/b"}, time.Hour},
		{"the end of the answer counts", `{"url":"@","token_cookie":"B1SESSION","expires_in_path":"t"}`, `{"t":3600}`, []string{cookie + "AT; Max-Age=60"}, time.Hour},
		{"the answer has no end", `{"url":"@","token_cookie":"B1SESSION","expires_in_path":"t"}`, `{}`, []string{cookie + "AT; Max-Age=3600"}, time.Hour},
	} {
		got, failed := fetchFrom(t, c.config, withHeader(201, c.body, c.fields...))
		if failed != nil || got.Token.Access != "AT" {
			t.Errorf("%s: %v, token %q", c.name, failed, got.Token.Access.Reveal())
			continue
		}
		want := c.life
		if want == 0 {
			want = defaultLifetime
		}
		if life := got.Token.ExpiresAt.Sub(noon); life != want || (len(got.Warnings) > 0) != (c.life == 0) {
			t.Errorf("%s: life %v, warnings %v", c.name, life, got.Warnings)
		}
	}
}

// TestNoTokenInTheHeader: what is no token, or two, is not taken for one, and is
// shown nowhere.
func TestNoTokenInTheHeader(t *testing.T) {
	const (
		inHeader = `{"url":"@","token_header":"X-Token"}`
		inCookie = `{"url":"@","token_cookie":"SID"}`
	)
	for _, c := range []struct {
		name, config string
		status       int
		body         string
		fields       []string
		kind         Kind
		class        Class
		detail       string
	}{
		{"none", inHeader, 201, `{}`, nil, KindBadResponse, Retryable, "the answer has no token_header X-Token"},
		{"blank", inHeader, 201, `{}`, []string{"X-Token: "}, KindBadResponse, Retryable, "the answer has no token_header"},
		{"two", inHeader, 201, `{}`, []string{"X-Token: AT-CANARY", "X-Token: other"}, KindBadResponse, Retryable, "stands twice"},
		{"a refusal", inHeader, 200, `{"error":"invalid_client","error_description":"no"}`, nil, KindRefused, Hopeless, ""},
		{"a refusal beside a token", inHeader, 401, `{"error":"invalid_client","error_description":"not AT-CANARY"}`, []string{"X-Token: AT-CANARY"}, KindRefused, Hopeless, ""},
		{"a path needs the body", `{"url":"@","token_header":"X-Token","expires_in_path":"e"}`, 201, ``, []string{"X-Token: AT-CANARY"}, KindBadResponse, Retryable, "the answer is empty"},
		{"no cookie", inCookie, 200, ``, []string{"Set-Cookie: sid=AT-CANARY"}, KindBadResponse, Retryable, "the answer has no token_cookie SID"},
		{"a cookie that is cleared", inCookie, 200, ``, []string{"Set-Cookie: SID=AT-CANARY", "Set-Cookie: SID=x; Max-Age=0"}, KindBadResponse, Retryable, "the answer has no token_cookie SID"},
		{"two cookies", inCookie, 200, ``, []string{"Set-Cookie: SID=AT-CANARY; Path=/a", "Set-Cookie: SID=other; Path=/b"}, KindBadResponse, Retryable, "set twice"},
		{"a refusal beside a cookie", inCookie, 403, `{"error":"denied","error_description":"AT-CANARY has ended"}`, []string{"Set-Cookie: SID=AT-CANARY"}, KindRefused, Hopeless, ""},
	} {
		var report Report
		p := newProvider(t, withHeader(c.status, c.body, c.fields...))
		_, err := bind(t, realmOf(t, c.config, p.URL), nil).Fetch(t.Context(), testClient(t), Request{Report: &report})
		failed := failure(t, err)
		if failed.Kind != c.kind || failed.Class != c.class || !strings.Contains(failed.Detail, c.detail) {
			t.Errorf("%s: %+v", c.name, failed)
		}
		shown := failed.Error() + report.Error + report.Response.ProviderMessage + strings.Join(report.Response.Names, " ")
		if strings.Contains(shown, "CANARY") || strings.Contains(c.body, "CANARY") && !strings.Contains(failed.ProviderMessage, realm.Mask) {
			t.Errorf("%s: shown %s", c.name, shown)
		}
	}
}

// TestTokenPlaces: the token is at one place, and a recipe that says none has that
// of the realm.
func TestTokenPlaces(t *testing.T) {
	for config, wrong := range map[string]string{
		`"token_path":"t","token_header":"X"`:                              "config.token_path",
		`"token_path":"t","token_cookie":"X"`:                              "config.token_path",
		`"token_header":"X","token_cookie":"X"`:                            "config.token_cookie",
		`"token_header":"X","token_cookie":"X","token_path":"t"`:           "config.token_cookie",
		`"content_type":"form"`:                                            "config.token_path",
		`"token_header":"a b"`:                                             "config.token_header",
		`"token_header":"set-cookie"`:                                      "config.token_header",
		`"token_cookie":"a=b"`:                                             "config.token_cookie",
		`"token_header":"X","expires_in_header":"a:b"`:                     "config.expires_in_header",
		`"token_header":"X","expires_in_header":"a","expires_in_path":"b"`: "config.expires_in_header",
	} {
		r := realmOf(t, `{"url":"https://x/t","method":"POST",`+config+`}`, "")
		err := r.Validate()
		if err == nil {
			_, err = Compile(r, false)
		}
		var field *realm.FieldError
		if !errors.As(err, &field) || field.Field != wrong {
			t.Errorf("%s: %v", config, err)
		}
	}
	answer := withHeader(200, `{"t":"body","e":7}`, "X-Token: header", "Set-Cookie: SID=cookie", "X-End: 60")
	for own, want := range map[string]realm.Hidden{``: "header", `"token_path":"t"`: "body", `"token_cookie":"SID"`: "cookie"} {
		config := `{"token_header":"X-Token","expires_in_header":"X-End","refresh":{"url":"@?r={refresh_token}",` + own + `}}`
		got, failed, _ := refreshFrom(t, strings.Replace(config, `",}`, `"}`, 1), answer)
		if failed != nil || got.Token.Access != want || !got.Token.ExpiresAt.Equal(noon.Add(time.Minute)) {
			t.Errorf("%s: %v, %q until %v", own, failed, got.Token.Access.Reveal(), got.Token.ExpiresAt)
		}
	}
	got, failed := fetchFrom(t, `{"grant":{"name":"client_credentials","token_url":"@","client_id":"a","client_secret":"b"},"token_header":"X-Token","expires_in_header":"X-End"}`, answer)
	if failed != nil || got.Token.Access != "header" {
		t.Errorf("a grant: %v", failed)
	}
}
