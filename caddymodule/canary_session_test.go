package caddymodule

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/secretscan"
)

// confidentialIn is what of a cookie nobody may know: the id of the session, and the
// signature. Who signed in is in the audit, too.
func confidentialIn(t *testing.T, cookie string) []string {
	t.Helper()
	body, signature, _ := strings.Cut(cookie, ".")
	text, err := base64.RawStdEncoding.DecodeString(body)
	var content struct{ Session string }
	if err != nil || json.Unmarshal(text, &content) != nil || len(content.Session) != 64 || len(signature) < 40 {
		t.Fatalf("not a cookie: %v", err)
	}
	return []string{content.Session, signature}
}

// TestNothingLeaksOfSessions: no key, link code or cookie that somebody signs in
// with is in any log, answer, audit or error, nor does the cookie go to a provider
// or to another handler.
func TestNothingLeaksOfSessions(t *testing.T) {
	p, i, stderr := newProvider(t), newInstance(t), captureStderr(t)
	i.config = freeAddress(t)
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	tokens := strings.ReplaceAll(p.realm(planted, "inject query access_token\npass Cookie"), canary+"-secret", "{env.TOKENS_TEST_SECRET}")
	i.load(tokens, proxyMain+`
	handle_path /admin/* {
		route {
			token_admin
			token_console
			reverse_proxy `+strings.TrimPrefix(p.URL, "http://")+`
		}
	}`)
	i.plant()
	key := i.newClient("ops", `"admin_read","use"`)
	secrets, answers := []string{key, i.adminToken()}, planted
	v := i.visit()
	note := func(a answer) answer {
		for _, c := range a.Cookies() {
			a.Header.Del("Set-Cookie") // the only place where it may be
			if c.Value != "" {
				secrets = append(secrets, confidentialIn(t, c.Value)...)
			}
		}
		answers += fmt.Sprintln(a.Header) + a.body
		return a
	}
	note(v.signIn(asKey(key)))
	var made struct{ URL string }
	if err := json.Unmarshal([]byte(v.send(http.MethodPost, "/api/session/link", "").body), &made); err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(made.URL, "#link=")
	secrets = append(secrets, code)
	link := fmt.Sprintf(`{"link":%q}`, code)
	byLink := i.visit()
	note(byLink.signIn(link))
	note(i.visit().send(http.MethodPost, "/api/session", link))
	note(i.visit().send(http.MethodPost, "/api/session", asKey(i.adminToken()+"x")))
	note(i.visit().send(http.MethodPost, "/api/session", asKey(key[:len(key)-3]+"aaa")))
	note(i.visit().send(http.MethodPost, "/api/session", `{"key":["`+key+`"]}`))
	note(i.visit().send(http.MethodPost, "/api/session", `{"`+code+`":"`+key))
	for _, path := range []string{"/api/session", "/api/status", "/api/nothing", "/api/realm?page=x", "/", "/elsewhere"} {
		note(byLink.send(http.MethodGet, path, ""))
	}
	note(byLink.plain(http.MethodGet, "/api/status", ""))

	// The proxy is on the same host, so that a browser sends it the cookie, too.
	for _, cookie := range []string{byLink.cookie, "a=1; " + byLink.cookie + "; b=2", strings.ToUpper(byLink.cookie[:len(inject.SessionCookie)]) + byLink.cookie[len(inject.SessionCookie):]} {
		a := i.get("/any/"+planted+"/main/x", append(withKey(key), "Cookie", cookie)...)
		if a.StatusCode != http.StatusOK || strings.Contains(cookie, "a=1") != strings.Contains(a.body, "a=1; b=2") {
			t.Errorf("with %d bytes of cookies: %s\n%s", len(cookie), a.Status, a.body)
		}
		if found := secretscan.Find(a.body, secrets...); found != nil {
			t.Errorf("the provider sees %s", found)
		}
	}
	forged := *byLink
	forged.cookie += "x"
	note(forged.send(http.MethodGet, "/api/status", ""))
	note(byLink.send(http.MethodDelete, "/api/session", ""))
	all := i.sinks(i.adminPath())
	all["answers"] = answers
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, append(secrets, canary)...)
}
