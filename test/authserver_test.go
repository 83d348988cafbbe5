package test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The app that is registered with the servers, and the person whose account is
// there.
const (
	appID          = "app"
	appSecret      = "app-secret-01"
	personName     = "test-user2"
	personPassword = "verysecure"
)

// authServer is an OAuth2 server that somebody else wrote. A person logs in and
// consents on its pages; it wants PKCE of every app, and a refresh token is
// good for one use.
type authServer struct {
	base      string
	authorize string // path of the authorization endpoint
	token     string // path of the token endpoint
	revoke    string // path of the revocation endpoint, RFC 7009
	api       string // path of an API that takes the server's tokens
	callback  string // the app's redirect URI

	// subject is how the API names the person.
	subject string
	// dead is the status with which the API refuses a token.
	dead int
	// semantics is what becomes of the other tokens where a refresh token is
	// used twice, in the words of a realm.
	semantics string
	// kill ends an access token early, and nothing beside it.
	kill func(t *testing.T, token string)

	ledger ledger
}

// authOptions are what a test chooses of a server.
type authOptions struct {
	callback string
	life     time.Duration // of an access token
}

// onEachServer runs a test on each of the servers.
func onEachServer(t *testing.T, test func(*testing.T, func(*testing.T, authOptions) *authServer)) {
	t.Run("zitadel", func(t *testing.T) { test(t, startZitadel) })
	t.Run("fosite", func(t *testing.T) { test(t, startFosite) })
}

// serve lets the server answer on loopback. The pages know its URL.
func (s *authServer) serve(t *testing.T, pages func(base string) http.Handler) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	s.base = "http://" + srv.Listener.Addr().String()
	srv.Config.Handler = s.ledger.keep(s.token, pages(s.base))
	srv.Start()
	t.Cleanup(srv.Close)
}

// post sends a form as the app.
func (s *authServer) post(t *testing.T, path string, form url.Values) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(appID, appSecret)
	return send(req)
}

// revokeToken ends a token by the revocation endpoint. With a refresh token its
// access token ends.
func (s *authServer) revokeToken(t *testing.T, token, hint string) {
	t.Helper()
	status, body := s.post(t, s.revoke, url.Values{"token": {token}, "token_type_hint": {hint}})
	if status != http.StatusOK {
		t.Fatalf("the server does not revoke: %d %s", status, body)
	}
}

// ask calls the API with a token.
func (s *authServer) ask(t *testing.T, token string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+s.api, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return send(req)
}

// wantPerson says that an answer of the API is about the person.
func (s *authServer) wantPerson(t testing.TB, body []byte) {
	t.Helper()
	if info := decode[map[string]any](t, body); info["sub"] != s.subject {
		t.Errorf("the API told about %v", info)
	}
}
