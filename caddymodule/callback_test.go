package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// attended is a realm jd that a person authorizes, its default account main.
type attended struct {
	*fakeprovider.Provider
	i   *instance
	url string
}

func newAttended(t *testing.T, i *instance) *attended {
	t.Helper()
	a := &attended{i: i, Provider: fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.OAuth, Credentials: map[string]string{"app": canary + "-secret"},
		Users: map[string]string{"main": canary + "-password"}, Redirects: map[string]string{"app": "http://" + i.host + "/jd-account/callback-token"},
	})}
	a.url = a.Start(t)
	return a
}

func (a *attended) realm() string {
	return fmt.Sprintf(`
		realm jd {
			grant authorization_code {
				authorize_url %[1]s/oauth2/authorize
				token_url %[1]s/oauth2/token
				client_id app
				client_secret {secret.client_secret}
			}
			callback_url http://%[2]s/jd-account/callback-token
			default_key main
			secret main {
				client_secret %[3]s-secret
			}
		}`, a.url, a.i.host, canary)
}

// sites have the handlers at the loopback address and at a name, with somebody
// behind them who takes what they leave.
func (a *attended) sites(handlers string) string {
	site := "log\nroute {\n" + handlers + "\nrespond next 418\n}\n"
	return strings.TrimPrefix(site, "log") + "}\nhttp://" + a.name() + " {\n" + site
}

// name is that of another host than this one.
func (a *attended) name() string {
	return strings.Replace(a.i.host, "127.0.0.1", "tokens.example.com", 1)
}

// back is where the browser of somebody who agrees is sent.
func (a *attended) back(link string) *url.URL {
	a.i.t.Helper()
	to, err := fakeprovider.Person{User: "main", Password: canary + "-password"}.Open(a.i.t.Context(), link)
	if err != nil {
		a.i.t.Fatal(err)
	}
	return to
}

// link begins an authorization at the given address of the admin API.
func (a *attended) link(address string) string {
	a.i.t.Helper()
	var shown struct{ URL string }
	body := a.i.do(http.MethodGet, "http://"+address+"/api/secret/jd/main/authorize", "").body
	if err := json.Unmarshal([]byte(body), &shown); err != nil || shown.URL == "" {
		a.i.t.Fatalf("%v: %s", err, body)
	}
	return shown.URL
}

// TestCallback: whoever was sent to the callback by the provider is served, on
// a site that serves nothing else, and no log has the code or the state.
func TestCallback(t *testing.T) {
	i := newInstance(t)
	a := newAttended(t, i)
	i.load(a.realm(), a.sites("token_callback"))

	back := a.back(a.link(i.api))
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodOptions} {
		if got := i.do(method, back.String(), ""); got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET" {
			t.Errorf("%s: %s", method, got.Status)
		}
	}
	got := i.do(http.MethodGet, back.String(), "", "Sec-Fetch-Site", "cross-site", "Host", a.name())
	if got.StatusCode != http.StatusOK || !strings.Contains(got.body, "Authorized") || got.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s %v\n%s", got.Status, got.Header, got.body)
	}
	slash := *back
	slash.Path += "/"
	for _, u := range []*url.URL{back, &slash} {
		if again := i.do(http.MethodGet, u.String(), ""); again.StatusCode != http.StatusBadRequest {
			t.Errorf("once more: %s", again.Status)
		}
	}
	if token := i.do(http.MethodPost, "http://"+i.api+"/jd-account/get-access-token", ""); token.body != a.Newest() {
		t.Errorf("%s %s", token.Status, token.body)
	}
	for _, path := range []string{
		"/", "/api", "/api/status", "/api/secret/jd/main/authorize", "/jd-account/get-access-token", "/jd-account/init-all-token",
		"/jd-account/callback-token//", "/jd-account/callback-token/x", "/x/jd-account/callback-token", "/-account/callback-token",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := i.do(method, "http://"+i.host+path, ""); got.StatusCode != http.StatusTeapot {
				t.Errorf("%s %s: %s", method, path, got.Status)
			}
		}
	}
	a.wantHidden(back.Query())
}

// TestCallbackOfAdmin: on one site, callbacks are everybody's and the rest is
// not, with token_callback as without it. What is confidential is hidden whoever
// sends it.
func TestCallbackOfAdmin(t *testing.T) {
	i := newInstance(t)
	a := newAttended(t, i)
	i.load(a.realm(), a.sites("token_callback\ntoken_admin {\nauth local\n}"))
	secrets := url.Values{}
	stranger := []string{"Host", a.name()}
	back := a.back(a.link(i.host))
	if got := i.do(http.MethodGet, back.String(), "", stranger...); got.StatusCode != http.StatusOK {
		t.Errorf("%s\n%s", got.Status, got.body)
	}
	for path, want := range map[string]int{
		"/api/status": 403, "/jd-account/get-access-token": 403, "/jd-account/refresh-token": 403, "/jd-account/request-access-token": 403,
		"/jd-account/init-all-token": 403, "/jd-account/refresh-all-token": 403, "/jd-account/other": 403, "/jd-account/": 403, "/jd-account": 418, "/jd/get-access-token": 418,
	} {
		if got := i.do(http.MethodPost, "http://"+i.host+path, "", stranger...); got.StatusCode != want {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	if token := i.do(http.MethodPost, "http://"+i.host+"/jd-account/get-access-token", ""); token.body != a.Newest() {
		t.Errorf("%s %s", token.Status, token.body)
	}

	i.load(a.realm(), a.sites("token_admin {\nauth local\n}"))
	led := i.do(http.MethodGet, "http://"+i.host+"/api/secret/jd/main/authorize?redirect=true", "")
	if led.StatusCode != http.StatusFound {
		t.Fatalf("%s %s", led.Status, led.body)
	}
	second := a.back(led.Header.Get("Location"))
	if got := i.do(http.MethodGet, second.String(), "", append(stranger, "Sec-Fetch-Site", "cross-site")...); got.StatusCode != http.StatusOK {
		t.Errorf("%s\n%s", got.Status, got.body)
	}
	if got := i.do(http.MethodGet, "http://"+i.host+"/api/secret/jd/main/authorize", "", stranger...); got.StatusCode != http.StatusForbidden {
		t.Errorf("%s\n%s", got.Status, got.body)
	}
	if !strings.Contains(i.log(), "refused a confidential request") {
		t.Error("nothing tells of the request that was refused")
	}
	for _, from := range []*url.URL{back, second} {
		for name, values := range from.Query() {
			secrets[name] = append(secrets[name], values...)
		}
	}
	a.wantHidden(secrets)
}

// wantHidden looks for codes and states in the log, and for what the provider
// knows of us; and for the lines that the log must have.
func (a *attended) wantHidden(secrets url.Values) {
	a.i.t.Helper()
	log := a.i.log()
	for _, name := range []string{"code", "state"} {
		if len(secrets[name]) == 0 {
			a.i.t.Errorf("no %s came", name)
		}
		for _, value := range secrets[name] {
			if at := strings.Index(log, value); at >= 0 {
				a.i.t.Errorf("the log has the %s:\n%s", name, log[max(at-500, 0):at+len(value)])
			}
		}
	}
	if leaks(log) != nil {
		a.i.t.Errorf("the log shows a secret:\n%s", around(log))
	}
	for _, line := range []string{`"handled request"`, `"handled a confidential request"`} {
		if !strings.Contains(log, line) {
			a.i.t.Errorf("the log has no line %s", line)
		}
	}
}

// TestAdminHidesCallbacks: also a request that is not let in is left out of
// the access log, and one that is not confidential is not.
func TestAdminHidesCallbacks(t *testing.T) {
	for path, want := range map[string]bool{
		"/jd-account/callback-token": true, "/api/secret/r/k/authorize": true, "/api/token": false, "/jd-account/get-access-token": false,
	} {
		vars := map[string]any{}
		served := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		a := &Admin{refusals: caddy.Log(), api: served}
		r := request("192.0.2.1:1", "a.example", caddy.NewReplacer())
		r.URL.Path = path
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
		if err := a.ServeHTTP(httptest.NewRecorder(), r, nil); err != nil {
			t.Fatal(err)
		}
		if got := vars[caddyhttp.LogSkipVar] == true; got != want {
			t.Errorf("%s: %v", path, vars)
		}
	}
}
