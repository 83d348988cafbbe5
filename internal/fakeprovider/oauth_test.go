package fakeprovider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

func TestOAuthClientAuthentication(t *testing.T) {
	// The id and the secret are form-encoded before they go into Basic
	// (RFC 6749 section 2.3.1); a server that skips this accepts "a%20b" only.
	b := newBench(t, fakeprovider.Options{Credentials: map[string]string{"client 1": "p%ss:word+ü"}})
	req := b.formRequest("grant_type", "client_credentials", "scope", "read")
	req.SetBasicAuth("client+1", "p%25ss%3Aword%2B%C3%BC")
	basic := b.send(req)
	if basic.text("access_token") == "" || basic.text("token_type") != "Bearer" || basic.number("expires_in") != 3600 {
		t.Fatalf("basic: HTTP %d %s", basic.status, basic.raw)
	}
	if basic.header.Get("Cache-Control") != "no-store" { // RFC 6749 section 5.1
		t.Error("the answer may be cached")
	}
	post := b.form("grant_type", "client_credentials", "client_id", "client 1", "client_secret", "p%ss:word+ü")
	if post.text("access_token") == "" {
		t.Fatalf("post: HTTP %d %s", post.status, post.raw)
	}
	// parallel: the first lives on
	b.wantLive(basic.text("access_token"), true)
	if a := b.bearer("/me", basic.text("access_token")); a.status != http.StatusOK {
		t.Errorf("API: HTTP %d %s", a.status, a.raw)
	}
}

func TestOAuthErrors(t *testing.T) {
	b := newBench(t, fakeprovider.Options{})
	both := b.formRequest("grant_type", "client_credentials", "client_secret", "s3cret")
	both.SetBasicAuth("app", "s3cret")
	asJSON := b.request(http.MethodPost, "/oauth2/token", []byte(`{"grant_type":"client_credentials"}`))
	asJSON.Header.Set("Content-Type", "application/json")
	auth := []string{"client_id", "app", "client_secret", "s3cret"}
	for name, c := range map[string]struct {
		req    *http.Request
		status int
		code   string
	}{
		"wrong secret":   {b.formRequest("grant_type", "client_credentials", "client_id", "app", "client_secret", "x"), 401, "invalid_client"},
		"unknown client": {b.formRequest("grant_type", "client_credentials", "client_id", "x", "client_secret", "x"), 401, "invalid_client"},
		"no client":      {b.formRequest("grant_type", "client_credentials"), 401, "invalid_client"},
		"no grant":       {b.formRequest(auth...), 400, "invalid_request"},
		"another grant":  {b.formRequest(append(auth, "grant_type", "password")...), 400, "unsupported_grant_type"},
		"twice":          {b.formRequest(append(auth, "grant_type", "client_credentials", "scope", "a", "scope", "b")...), 400, "invalid_request"},
		"both methods":   {both, 400, "invalid_request"},
		"json":           {asJSON, 400, "invalid_request"},
		"no refresh":     {b.formRequest(append(auth, "grant_type", "refresh_token")...), 400, "invalid_request"},
		"bad refresh":    {b.formRequest(append(auth, "grant_type", "refresh_token", "refresh_token", "x")...), 400, "invalid_grant"},
	} {
		a := b.send(c.req)
		if a.status != c.status || a.text("error") != c.code {
			t.Errorf("%s: HTTP %d %s", name, a.status, a.raw)
		}
		if c.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") { // RFC 6749 section 5.2
			t.Errorf("%s: no WWW-Authenticate", name)
		}
	}
	if a := b.get("/oauth2/token"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: HTTP %d", a.status)
	}
	if n := len(b.Issued()); n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
}

func TestBearerChallenge(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Rule: &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: time.Minute}})
	none := b.bearer("/me", "").header.Get("WWW-Authenticate")
	if strings.Contains(none, "error") { // RFC 6750 section 3.1
		t.Errorf("without a token: %s", none)
	}
	token := b.form("grant_type", "client_credentials", "client_id", "app", "client_secret", "s3cret").text("access_token")
	b.clock.advance(time.Minute)
	ended := b.bearer("/me", token)
	if ended.status != http.StatusUnauthorized || !strings.Contains(ended.header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("expired: HTTP %d %s", ended.status, ended.header.Get("WWW-Authenticate"))
	}
}
