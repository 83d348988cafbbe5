package grant

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const reportRealm = `{"url":"@/t/{secret.appsecret}?a={secret.appsecret}&plain=1","method":"POST","token_path":"access_token","expires_in_path":"expires_in","refresh_token_path":"refresh",
	"arguments":[{"name":"s","place":"url","value":"$appsecret"},{"name":"b","place":"body","value":"x{secret.appsecret}"},{"name":"n","place":"body","type":"number","value":"$number"},
	{"name":"X-Key","place":"header","value":"$appsecret"},{"name":"me","place":"basic","value":"$appsecret"}]}`

var reportFields = map[string]string{"appsecret": "CANARY/1+2", "number": "123456"}

func TestReport(t *testing.T) {
	p := newProvider(t, answering(200, "application/json", `{"access_token":"TOKEN-0123456789","expires_in":60,"refresh":"REFRESH-0123","CANARY/1+2":1}`))
	b := bind(t, realmOf(t, reportRealm, p.URL), reportFields)
	var got Report
	result, err := b.Fetch(t.Context(), testClient(t), Request{Report: &got})
	if err != nil {
		t.Fatal(err)
	}
	if result.Token.Refresh.Reveal() != "REFRESH-0123" {
		t.Errorf("refresh token %q", result.Token.Refresh.Reveal())
	}
	end, left := noon.Add(time.Minute), int64(60_000)
	want := Report{
		Request: ReportRequest{
			Method: "POST", URL: p.URL + "/t/" + realm.Mask + "?a=" + realm.Mask + "&plain=1&s=" + realm.Mask,
			Header: map[string]string{
				"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "caddy-tokens", "Content-Type": "application/json",
				"X-Key": realm.Mask, "Authorization": "Basic " + realm.Mask,
			},
			Body: `{"b":"x` + realm.Mask + `","n":"` + realm.Mask + `"}`,
		},
		Response: &ReportResponse{Status: 200, ContentType: "application/json", Bytes: 92, Names: []string{"access_token", "expires_in", "refresh", realm.Mask}},
		Token:    &ReportToken{Length: 16, ExpiresAt: &end, ExpiresIn: &left, RefreshToken: true},
	}
	want.Response.Form, want.Response.ClockSkewMS = FormJSON, got.Response.ClockSkewMS
	want.Expiry = &ReportExpiry{From: "answer", ExpiresIn: &left, Unit: "s"}
	want.Found = []ReportValue{
		{What: "token", At: "access_token", Found: true, Type: "string"},
		{What: "expires_in", At: "expires_in", Found: true, Type: "number"},
		{What: "refresh_token", At: "refresh", Found: true, Type: "string"},
	}
	want.Response.Bytes = len(`{"access_token":"TOKEN-0123456789","expires_in":60,"refresh":"REFRESH-0123","CANARY/1+2":1}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	leaks(t, got)
	if r := p.requests[0]; r.path != "/t/CANARY%2F1+2" || !strings.Contains(r.body, "CANARY/1+2") {
		t.Errorf("the real request was masked: %+v", r)
	}
}

func TestReportOfFailure(t *testing.T) {
	p := newProvider(t, answering(401, "text/CANARY/1+2", `{"errcode":40001,"errmsg":"bad CANARY/1+2","access_token":"TOKEN-0123456789"}`))
	b := bind(t, realmOf(t, reportRealm, p.URL), reportFields)
	var got Report
	if _, err := b.Fetch(t.Context(), testClient(t), Request{Report: &got}); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(&ReportRule{List: "built_in", At: "hopeless"}, got.Rule); diff != "" || got.Class != "hopeless" {
		t.Error(got.Class, diff)
	}
	if got.Token != nil || got.Kind != KindRefused || got.Response.ProviderCode != "40001" || got.Response.ProviderMessage != "bad "+realm.Mask || got.Error == "" {
		t.Errorf("report %+v", got)
	}
	leaks(t, got)
}

func TestReportWithoutAnswer(t *testing.T) {
	b := bind(t, realmOf(t, reportRealm, nobody), reportFields)
	var got Report
	if _, err := b.Fetch(t.Context(), testClient(t), Request{Report: &got}); err == nil {
		t.Fatal("no error")
	}
	if got.Response != nil || got.Kind != KindConnection || got.Fault != FaultUnreachable || got.Request.URL == "" {
		t.Errorf("report %+v", got)
	}
	leaks(t, got)
}

func leaks(t *testing.T, r Report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{string(text), fmt.Sprintf("%+v %#v", r, r.Request)} {
		for _, canary := range []string{"CANARY", "TOKEN-0", "REFRESH-0", "123456\""} {
			if strings.Contains(form, canary) {
				t.Errorf("%s is in %s", canary, form)
			}
		}
	}
}

// TestBoundDoesNotPrint: a program and what is bound to it can end in a log or
// a panic without giving a value away.
func TestBoundDoesNotPrint(t *testing.T) {
	r := realmOf(t, reportRealm, "https://x.example")
	r.Config.Shared = map[string]realm.Hidden{"s": "CANARY-shared"}
	b := bind(t, r, reportFields)
	for _, v := range []any{b, *b, b.program, *b.program, []any{b}, struct{ B *Bound }{b}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, "CANARY") || strings.Contains(text, "43414e415259") {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
}
