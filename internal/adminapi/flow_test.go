package adminapi

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// recipesJD are the recipes of a realm that is authorized without a person, as
// JD has it; BASE is the provider.
const recipesJD = `
	"authorize": {"url": "BASE/oauth2/authorizeForVOP", "arguments": [
		{"name": "app_key", "place": "url", "value": "{secret.app_key}"},
		{"name": "redirect_uri", "place": "url", "value": "{callback_url}"},
		{"name": "username", "place": "url", "value": "{secret.username}"},
		{"name": "password", "place": "url", "expr": "base64(rsa(secret.rsa_key, md5(secret.password)))"},
		{"name": "response_type", "place": "url", "value": "code"},
		{"name": "scope", "place": "url", "value": "snsapi_base"},
		{"name": "state", "place": "url", "value": "{state}"}]},
	"exchange": {"url": "BASE/oauth2/access_token", "arguments": [
		{"name": "app_key", "place": "url", "value": "{secret.app_key}"},
		{"name": "app_secret", "place": "url", "value": "{secret.app_secret}"},
		{"name": "code", "place": "url", "value": "{code}"},
		{"name": "grant_type", "place": "url", "value": "authorization_code"}]},
	"refresh": {"url": "BASE/oauth2/refresh_token", "method": "POST", "arguments": [
		{"name": "app_key", "place": "url", "value": "{secret.app_key}"},
		{"name": "app_secret", "place": "url", "value": "{secret.app_secret}"},
		{"name": "grant_type", "place": "url", "value": "refresh_token"},
		{"name": "refresh_token", "place": "url", "value": "{refresh_token}"}]},
	"unattended": true, "token_path": "access_token", "expires_in_path": "expires_in", "refresh_token_path": "refresh_token"`

// grantOAuth is a realm that a person authorizes.
const grantOAuth = `
	"grant": {"name": "authorization_code", "authorize_url": "BASE/oauth2/authorize", "token_url": "BASE/oauth2/token",
		"client_id": "{secret.app_key}", "client_secret": "{secret.app_secret}"}`

// newAccounts is a server that providers can reach, with the realm jd, whose
// default is main, and the secrets main and acme. config is all but the
// address of its callback.
func newAccounts(t *testing.T, provider fakeprovider.Options, config string) (s *server, address string) {
	t.Helper()
	provider.Credentials = map[string]string{"K": "canary-app"}
	provider.Users = map[string]string{"main": "canary-main", "acme": "canary-acme"}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	provider.Keys = map[string]*rsa.PublicKey{"K": &key.PublicKey}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s = newServerOf(t, provider)
	public := httptest.NewServer(s.h)
	t.Cleanup(public.Close)
	callback := public.URL + "/jd-account/callback-token"
	s.provider.SetRedirect("K", callback)
	s.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id":"jd","config":{"allow_http":true,"default_key":"main","callback_url":%q,
		"shared":{"app_key":"K","app_secret":"canary-app","rsa_key":%q},%s}}`,
		callback, base64.StdEncoding.EncodeToString(der), strings.ReplaceAll(config, "BASE", s.url)))
	for user, password := range provider.Users {
		s.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":"jd","key":%q,"fields":{"username":%q,"password":%q}}`, user, user, password))
	}
	s.must(http.MethodPost, "/api/company", `{"taxpayer_id":"9111","jd_account":"acme"}`)
	return s, public.URL
}

// post asks for the token of an account.
func (s *server) post(path string) answer {
	s.t.Helper()
	return s.send(http.MethodPost, "/jd-account/"+path, nil)
}

// The server logs in for the account; the code comes with a redirect, or the
// provider calls the callback while, or after, it answers.
func TestWithoutAPerson(t *testing.T) {
	for _, delivery := range []fakeprovider.Delivery{fakeprovider.Redirects, fakeprovider.CallsFirst, fakeprovider.CallsLater} {
		t.Run(string(delivery), func(t *testing.T) {
			s, _ := newAccounts(t, fakeprovider.Options{
				Style: fakeprovider.JDVOP, Codes: fakeprovider.CodeRule{Delivery: delivery}, Refresh: fakeprovider.RefreshRule{Semantics: fakeprovider.Strict},
			}, recipesJD)
			s.post("get-access-token?timeout=60").text(s.provider.Newest())
			s.post("request-access-token?taxpayerId=9111&timeout=60").text(s.provider.Newest())
			acme := s.provider.Newest()
			s.post("get-access-token?taxpayerId=9111").text(acme)
			s.post("refresh-token?taxpayerId=9111").text(s.provider.Newest())
			if s.provider.Newest() == acme {
				t.Error("it was not renewed")
			}
			if len(s.provider.CodeReuses()) > 0 {
				t.Error("a code came twice")
			}
			s.post("init-all-token").ok(`{"data":{"list":[
				{"key":"acme","result":"skipped","reason":"the token is still fresh"},
				{"key":"main","result":"skipped","reason":"the token is still fresh"}],"total":2},"success":"ok"}`)
			s.hidden("canary")
		})
	}
}

// A wrong password, which is a page, and a provider that is late are told in
// the earlier words.
func TestWithoutAPersonFails(t *testing.T) {
	s, _ := newAccounts(t, fakeprovider.Options{Style: fakeprovider.JDVOP}, recipesJD)
	s.provider.SetUser("main", "another")
	a := s.post("request-access-token")
	if doc := a.refused(http.StatusBadGateway, "token_unavailable", ""); !strings.HasPrefix(doc["detail"].(string), "请求第三方token异常：") {
		t.Error(doc["detail"])
	}
	s.hidden("canary")

	s, _ = newAccounts(t, fakeprovider.Options{Style: fakeprovider.JDVOP}, recipesJD)
	release := s.provider.Hold()
	for verb, text := range map[string]string{"request-access-token": "请求第三方token超时，请稍后重试", "get-access-token": "获取第三方token超时，请稍后重试"} {
		s.post(verb+"?timeout=1").refused(http.StatusGatewayTimeout, "token_unavailable", text)
	}
	release()
	s.post("get-access-token?timeout=60").text(s.provider.Newest()) // what was under way went on
	if n := s.provider.Authorizations(); n != 1 {
		t.Errorf("%d authorizations for all who waited", n)
	}
}

// Somebody opens the link, agrees, and is sent back; the link is good once.
func TestByAPerson(t *testing.T) {
	s, address := newAccounts(t, fakeprovider.Options{Style: fakeprovider.OAuth}, grantOAuth)
	s.post("request-access-token").refused(http.StatusConflict, "not_authorizable", "")
	s.post("get-access-token").refused(http.StatusBadGateway, "reauth_required", "")
	var states []string
	begin := func(who fakeprovider.Person) *url.URL {
		t.Helper()
		var link struct{ URL string }
		if err := json.Unmarshal([]byte(s.get("/api/secret/jd/main/authorize").body), &link); err != nil {
			t.Fatal(err)
		}
		to, err := who.Open(t.Context(), link.URL)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, to.Query().Get("state"), to.Query().Get("code"))
		return to
	}
	who := fakeprovider.Person{User: "main", Password: "canary-main"}
	denies := who
	denies.Denies = true
	s.get(begin(denies).RequestURI()).html(http.StatusBadRequest, pageWrong)
	s.post("get-access-token").refused(http.StatusBadGateway, "reauth_required", "")

	back := begin(who)
	if !strings.HasPrefix(back.String(), address+"/jd-account/callback-token?") {
		t.Fatalf("the browser is sent to %s", back)
	}
	head := s.send(http.MethodHead, back.RequestURI(), nil)
	head.refused(http.StatusMethodNotAllowed, "method_not_allowed", "")
	other := *back
	other.Path = "/nobody-account/callback-token"
	forged := strings.Replace(back.RequestURI(), "state=", "state=x", 1)
	s.get(forged).html(http.StatusBadRequest, pageWrong)
	s.get(back.RequestURI()).html(http.StatusOK, workedPage(realm.Ref{Realm: "jd", Key: "main"}))
	s.get(back.RequestURI()).html(http.StatusBadRequest, pageWrong)
	s.post("get-access-token").text(s.provider.Newest())
	s.post("request-access-token").refused(http.StatusConflict, "not_authorizable", "")

	// The state is bound to the realm, and spent where that is the wrong one.
	back = begin(who)
	other.RawQuery = back.RawQuery
	s.get(other.RequestURI()).html(http.StatusBadRequest, pageWrong)
	s.get(back.RequestURI()).html(http.StatusBadRequest, pageWrong)
	if len(s.provider.CodeReuses()) > 0 {
		t.Error("a code came twice")
	}
	s.hidden(append(states, "canary")...)
}

// A callback whose browser is closed at once is exchanged all the same.
func TestCallbackOfABrowserThatLeaves(t *testing.T) {
	s, _ := newAccounts(t, fakeprovider.Options{Style: fakeprovider.OAuth}, grantOAuth)
	var link struct{ URL string }
	if err := json.Unmarshal([]byte(s.get("/api/secret/jd/main/authorize").body), &link); err != nil {
		t.Fatal(err)
	}
	back, err := fakeprovider.Person{User: "main", Password: "canary-main"}.Open(t.Context(), link.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	s.h.ServeHTTP(discard{}, mustRequest(t, ctx, back.RequestURI()))
	late, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for s.provider.Newest() == "" || s.post("get-access-token").body != s.provider.Newest() {
		if late.Err() != nil {
			t.Fatal("the code was not exchanged")
		}
	}
}

// hidden looks for what must not be in the log, which must have lines of what
// happened.
func (s *server) hidden(words ...string) {
	s.t.Helper()
	log := s.log.String()
	for _, word := range words {
		if i := strings.Index(log, word); word != "" && i >= 0 {
			s.t.Errorf("the log holds %q: ...%s", word, log[max(0, i-200):i+len(word)])
		}
	}
}
