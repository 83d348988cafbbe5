package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const callbackURL = "https://tokens.example.com/jd-account/callback-token"

var jd = realm.Ref{Realm: "jd", Key: "acme"}

// codeServer is an authorization server on loopback. It knows which codes it
// gave and how often each one came back.
type codeServer struct {
	*httptest.Server
	exchanges, refreshes atomic.Int64

	mu    sync.Mutex
	asked []url.Values
	codes map[string]int
	// answer is the answer of the authorization endpoint; by default a
	// redirect with a code.
	answer func(w http.ResponseWriter, r *http.Request)
	// token is the answer of the token endpoint to a code or refresh token.
	token func(w http.ResponseWriter, form url.Values)
}

func newCodeServer(t *testing.T) *codeServer {
	s := &codeServer{codes: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.exchange)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *codeServer) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Query())
	answer := s.answer
	s.mu.Unlock()
	if answer == nil {
		answer = s.redirect
	}
	answer(w, r)
}

func (s *codeServer) redirect(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, s.callback(r.URL.Query()), http.StatusFound)
}

// callback is where a person's browser is sent, with a new code.
func (s *codeServer) callback(asked url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	code := fmt.Sprint("code-", len(s.codes)+1)
	s.codes[code] = 0
	return asked.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {asked.Get("state")}}.Encode()
}

func (s *codeServer) exchange(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	token := s.token
	if code := r.PostForm.Get("code"); code != "" {
		s.exchanges.Add(1)
		s.codes[code]++
	} else {
		s.refreshes.Add(1)
	}
	s.mu.Unlock()
	if token == nil {
		token = s.gives
	}
	token(w, r.PostForm)
}

func (s *codeServer) gives(w http.ResponseWriter, form url.Values) {
	n := s.exchanges.Load() + s.refreshes.Load()
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": fmt.Sprintf("T-%d-%s", n, form.Get("client_id")), "expires_in": 3600, "refresh_token": fmt.Sprint("R-", n),
	})
}

func (s *codeServer) then(answer func(w http.ResponseWriter, r *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *codeServer) thenToken(token func(w http.ResponseWriter, form url.Values)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// authorizations counts what was asked of the authorization endpoint.
func (s *codeServer) authorizations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// wantSpentOnce asserts that no code came twice.
func (s *codeServer) wantSpentOnce(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for code, n := range s.codes {
		if n > 1 {
			t.Errorf("%s was sent %d times", code, n)
		}
	}
}

func (s *codeServer) config(unattended bool) realm.Config {
	url := func(name, value string) realm.Argument {
		return realm.Argument{Name: name, Place: realm.PlaceURL, Value: value}
	}
	form := func(name, value string) realm.Argument {
		return realm.Argument{Name: name, Place: realm.PlaceBody, Value: value}
	}
	c := realm.Config{
		AllowHTTP: realm.On, API: "http://api.example.com", CallbackURL: callbackURL, Unattended: realm.SwitchOf(unattended),
		Inject: []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
		Recipe: realm.Recipe{TokenPath: "access_token", ExpiresInPath: "expires_in", RefreshTokenPath: "refresh_token"},
		Authorize: &realm.Recipe{URL: s.URL + "/authorize", Arguments: []realm.Argument{
			url("client_id", "{secret.client_id}"), url("redirect_uri", "{callback_url}"), url("state", "{state}"),
		}},
		Exchange: &realm.Recipe{URL: s.URL + "/token", Method: http.MethodPost, ContentType: realm.ContentForm, Arguments: []realm.Argument{
			form("client_id", "{secret.client_id}"), form("redirect_uri", "{callback_url}"), form("code", "{code}"),
		}},
		Refresh: &realm.Recipe{URL: s.URL + "/token", Method: http.MethodPost, ContentType: realm.ContentForm, Arguments: []realm.Argument{
			form("client_id", "{secret.client_id}"), form("refresh_token", "{refresh_token}"),
		}},
	}
	return c
}

// account is a node with an account of the code server.
func (s *codeServer) account(t *testing.T, unattended bool) *node {
	t.Helper()
	n := newNode(t)
	n.saveRealm(t, jd.Realm, s.config(unattended))
	n.saveSecret(t, jd, "client_id", "app")
	return n
}

// within is account, in a realm that allows so many calls in an hour.
func (s *codeServer) within(t *testing.T, calls int, unattended bool) *node {
	t.Helper()
	n, config := s.account(t, unattended), s.config(unattended)
	config.Limits.Windows = []realm.Window{{Calls: calls, Per: realm.Duration(time.Hour)}}
	n.saveRealm(t, jd.Realm, config)
	return n
}

// accounts are two nodes on one store with that account.
func (s *codeServer) accounts(t *testing.T, unattended bool) (a, b *node) {
	t.Helper()
	path, c := filepath.Join(t.TempDir(), "tokens.db"), newClock()
	a, b = nodeOn(t, newStore(t, path, c), nil, c), nodeOn(t, newStore(t, path, c), nil, c)
	a.saveRealm(t, jd.Realm, s.config(unattended))
	a.saveSecret(t, jd, "client_id", "app")
	return a, b
}

// visit brings a callback to a node, as a browser or the provider would.
func visit(ctx context.Context, t *testing.T, n *node, callback string) error {
	t.Helper()
	_, query, _ := strings.Cut(callback, "?")
	cb, err := grant.ParseCallback(query)
	if err != nil {
		t.Fatal(err)
	}
	return bringCallback(ctx, n, jd.Realm, cb)
}

// bringCallback is View.Callback, for tests of what goes wrong.
func bringCallback(ctx context.Context, n *node, realmID string, cb grant.Callback) error {
	_, err := n.Callback(ctx, realmID, cb)
	return err
}

// begun is the query of the link that a person opens.
func begun(t *testing.T, n *node) url.Values {
	t.Helper()
	link, err := n.AuthorizeURL(t.Context(), jd)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}
