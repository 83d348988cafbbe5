package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// A token that the provider killed early: the caller sees a 200, the provider
// one refused call and one fetch, and whatever the request was, it acts once.
func TestHealing(t *testing.T) {
	i := newInstance(t)
	provider := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": canary + "-secret"},
		API: http.HandlerFunc(echo),
	})
	base := provider.Start(t)
	i.load(wechatRealm(base, `secret main {
				appid app
				appsecret `+canary+`-secret
			}`), `
		handle_path /p/* {
			token_proxy {
				realm p
				key main
				header_down X-Token {http.token.source}/{http.token.expires_in}
			}
		}
		handle_path /any/* {
			token_gateway
		}`)
	for n, path := range []string{"/p/a", "/any/p/main/a"} {
		if a := i.get(path); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s\n%s", path, a.Status, a.body)
		}
		provider.Revoke(provider.Newest())
		a := i.do(http.MethodPost, "http://"+i.host+path, "body", "Accept-Encoding", "br, gzip")
		if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, "POST /a?access_token="+provider.Newest()) {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
		if !strings.Contains(a.body, "Accept-Encoding: gzip\r\n") {
			t.Errorf("the codings are not narrowed:\n%s", a.body)
		}
		if got := a.Header.Get("X-Token"); path == "/p/a" && !strings.HasPrefix(got, "upstream/") {
			t.Errorf("placeholders: %q", got)
		}
		if got := len(provider.DeadCalls()); got != n+1 {
			t.Errorf("%d refused calls, want %d", got, n+1)
		}
		if fetches, calls := provider.Fetches(), provider.Calls(); fetches != n+2 || calls != 2*(n+1) {
			t.Errorf("%d fetches, want %d; %d calls, want %d", fetches, n+2, calls, 2*(n+1))
		}
	}
	for _, token := range provider.Issued() {
		if strings.Contains(i.log(), token) {
			t.Error("the log holds a token")
		}
	}
}

// Calls that no token cures are refused as a dead token is: they cost few token
// requests, and when the token does die the callers of other paths see nothing.
func TestHealingBesideAMissingRight(t *testing.T) {
	i := newInstance(t)
	provider := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.OAuth, Credentials: map[string]string{"app": canary + "-secret"},
		Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate},
		API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/b") {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}),
	})
	i.load(fmt.Sprintf(`
		realm p {
			api %[1]s
			grant client_credentials {
				token_url %[1]s/oauth2/token
				client_id {secret.id}
				client_secret {secret.secret}
			}
			inject header Authorization "Bearer {token}"
			renew_on status 401
			secret main {
				id app
				secret %[2]s-secret
			}
		}`, provider.Start(t), canary), `
		handle_path /p/* {
			token_proxy {
				realm p
				key main
			}
		}`)
	for n := range 500 {
		if a := i.get("/p/a"); a.StatusCode != http.StatusOK {
			t.Fatalf("call %d: %s\n%s", n, a.Status, a.body)
		}
		path := "/p/b"
		if n%2 == 0 { // each of them is new
			path = fmt.Sprint("/p/b/", n)
		}
		if a := i.get(path); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
	if n := provider.Fetches() - 1; n > 4 {
		t.Errorf("%d token requests for refusals that no token cures", n)
	}
	for range 3 {
		provider.Revoke(provider.Newest())
		if a := i.get("/p/a"); a.StatusCode != http.StatusOK {
			t.Errorf("the token died, and the caller sees it: %s", a.Status)
		}
	}
}
