package test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// appCallback is where an app of the tests would be; nobody listens there.
const appCallback = "http://127.0.0.1:1/callback"

// app is a plain client of a server: it shows what the servers do by themselves.
type app struct {
	*authServer
	verifier string
}

// link is what the person opens.
func (a app) link(change ...func(url.Values)) string {
	sum := sha256.Sum256([]byte(a.verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {appID}, "redirect_uri": {a.callback}, "state": {"state-of-the-app"},
		"scope": {"openid offline_access"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for _, c := range change {
		c(query)
	}
	return a.base + a.authorize + "?" + query.Encode()
}

// returns is what the callback is told after the person opened the link.
func (a app) returns(t *testing.T, p person, change ...func(url.Values)) url.Values {
	t.Helper()
	location, err := url.Parse(p.follows(t, a.link(change...), a.callback))
	if err != nil {
		t.Fatal(err)
	}
	return location.Query()
}

// exchange is the tokens of a code, or the error.
func (a app) exchange(t *testing.T, code, verifier string) (int, issued) {
	t.Helper()
	status, body := a.post(t, a.token, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.callback}, "code_verifier": {verifier},
	})
	return status, decode[issued](t, body)
}

// refresh is the tokens of a refresh token, or the error.
func (a app) refresh(t *testing.T, token string) (int, issued) {
	t.Helper()
	status, body := a.post(t, a.token, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
	return status, decode[issued](t, body)
}

// authorized is the tokens of a new authorization.
func (a app) authorized(t *testing.T) issued {
	t.Helper()
	status, tokens := a.exchange(t, a.returns(t, ann).Get("code"), a.verifier)
	if status != http.StatusOK || tokens.Access == "" || tokens.Refresh == "" {
		t.Fatalf("the code is exchanged for %d %+v", status, tokens)
	}
	return tokens
}

func (a app) wantServed(t *testing.T, token string) {
	t.Helper()
	status, body := a.ask(t, token)
	if status != http.StatusOK {
		t.Fatalf("the API answers %d %s", status, body)
	}
	a.wantPerson(t, body)
}

func (a app) wantRefused(t *testing.T, token string) {
	t.Helper()
	if status, body := a.ask(t, token); status != a.dead {
		t.Fatalf("the API answers %d %s, want %d", status, body, a.dead)
	}
}

var (
	ann   = person{name: personName, password: personPassword}
	aloof = person{name: personName, password: personPassword, denies: true}
)

// What the other tests take for granted of the servers holds without the
// product.
func TestAuthorizationServersThemselves(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		alone := func(name string, life time.Duration, test func(*testing.T, app)) {
			t.Run(name, func(t *testing.T) {
				test(t, app{start(t, authOptions{callback: appCallback, life: life}), "a-verifier-of-more-than-43-characters-for-pkce"})
			})
		}
		alone("code", time.Hour, codeAlone)
		alone("refused", time.Hour, refusalsAlone)
		alone("rotation", time.Hour, rotationAlone)
		alone("revocation", time.Hour, revocationAlone)
		alone("expiry", 2*time.Second, expiryAlone)
	})
}

func codeAlone(t *testing.T, a app) {
	back := a.returns(t, ann)
	if back.Get("state") != "state-of-the-app" {
		t.Errorf("the callback is told %v", back)
	}
	status, tokens := a.exchange(t, back.Get("code"), a.verifier)
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, tokens)
	}
	a.wantServed(t, tokens.Access)
	if status, again := a.exchange(t, back.Get("code"), a.verifier); status != http.StatusBadRequest || again.Error != "invalid_grant" {
		t.Errorf("the code is used again: %d %+v", status, again)
	}
	if status, body := a.ask(t, "no-token-at-all"); status != http.StatusUnauthorized {
		t.Errorf("without a token the API answers %d %s", status, body)
	}
}

func refusalsAlone(t *testing.T, a app) {
	if back := a.returns(t, aloof); back.Get("error") != "access_denied" || back.Get("state") == "" || back.Has("code") {
		t.Errorf("a denial is told as %v", back)
	}
	if back := a.returns(t, ann, func(q url.Values) { q.Del("code_challenge") }); back.Get("error") != "invalid_request" {
		t.Errorf("without PKCE the callback is told %v", back)
	}
	if status, tokens := a.exchange(t, a.returns(t, ann).Get("code"), "another-verifier-of-more-than-43-characters-too"); status != http.StatusBadRequest {
		t.Errorf("with another verifier the code is exchanged: %d %+v", status, tokens)
	}
}

func rotationAlone(t *testing.T, a app) {
	first := a.authorized(t)
	last := first
	for range 3 {
		status, next := a.refresh(t, last.Refresh)
		if status != http.StatusOK || next.Refresh == last.Refresh || next.Access == last.Access {
			t.Fatalf("a refresh token is exchanged for %d %+v", status, next)
		}
		a.wantRefused(t, last.Access)
		a.wantServed(t, next.Access)
		last = next
	}
	if n, err := a.ledger.chain(); n != 3 || err != nil {
		t.Errorf("%d refresh tokens were used: %v", n, err)
	}
	if status, again := a.refresh(t, first.Refresh); status != http.StatusBadRequest {
		t.Errorf("a refresh token is used again: %d %+v", status, again)
	}
	if _, err := a.ledger.chain(); err == nil {
		t.Error("the ledger does not tell that a refresh token was used again")
	}
	if a.semantics == "family" {
		a.wantRefused(t, last.Access)
	} else {
		a.wantServed(t, last.Access)
	}
}

func revocationAlone(t *testing.T, a app) {
	tokens := a.authorized(t)
	a.kill(t, tokens.Access)
	a.wantRefused(t, tokens.Access)
	status, next := a.refresh(t, tokens.Refresh)
	if status != http.StatusOK {
		t.Fatalf("the refresh token ended with the access token: %d %+v", status, next)
	}
	a.wantServed(t, next.Access)
	a.revokeToken(t, next.Refresh, "refresh_token")
	a.wantRefused(t, next.Access)
	if status, none := a.refresh(t, next.Refresh); status != http.StatusBadRequest {
		t.Errorf("a revoked refresh token is exchanged: %d %+v", status, none)
	}
}

func expiryAlone(t *testing.T, a app) {
	tokens := a.authorized(t)
	if tokens.ExpiresIn < 1 || tokens.ExpiresIn > 2 {
		t.Errorf("expires_in is %d", tokens.ExpiresIn)
	}
	eventually(t, "the token expires", func() bool {
		status, _ := a.ask(t, tokens.Access)
		return status == a.dead
	})
}
