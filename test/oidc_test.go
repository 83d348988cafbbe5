package test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// The service user of the example server's storage. Its secret cannot be
// chosen from outside.
const (
	serviceUser   = "sid1"
	serviceSecret = "verysecret"
)

// people are the example server's users and a profile for the service user:
// without one, the server knows the token and has nothing to tell about it.
type people struct{ storage.UserStore }

func (p people) GetUserByID(id string) *storage.User {
	if id == serviceUser {
		return &storage.User{ID: serviceUser, Username: "robot", FirstName: "Service", LastName: "User"}
	}
	return p.UserStore.GetUserByID(id)
}

// oidcServer is zitadel/oidc's example server, and the token requests that it
// saw.
type oidcServer struct {
	url string

	mu   sync.Mutex
	asks []tokenAsk
}

// tokenAsk is one request to the token endpoint.
type tokenAsk struct {
	basic bool
	form  string
}

func newOIDCServer(t *testing.T) *oidcServer {
	t.Helper()
	s := &oidcServer{}
	srv := httptest.NewUnstartedServer(nil)
	s.url = "http://" + srv.Listener.Addr().String()
	store := storage.NewStorage(people{storage.NewUserStore(s.url)})
	provider := exampleop.SetupServer(s.url, store, slog.New(slog.DiscardHandler), false)
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oauth/token" {
			s.note(r)
		}
		provider.ServeHTTP(w, r)
	})
	srv.Start()
	t.Cleanup(srv.Close)
	return s
}

func (s *oidcServer) note(r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a short body makes the provider refuse
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	_, _, basic := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, tokenAsk{basic, string(body)})
}

func (s *oidcServer) asked() []tokenAsk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asks
}

// realm is a realm on the server, with the given way of authenticating.
func (s *oidcServer) realm(id, method, secret string) string {
	return fmt.Sprintf(`realm %[1]s {
	api %[2]s
	allow_http on
	grant client_credentials {
		token_url %[2]s/oauth/token
		token_endpoint_auth_method %[3]s
		scopes openid profile
	}
	inject header Authorization "Bearer {token}"
	secret main {
		client_id `+serviceUser+`
		client_secret %[4]s
	}
}
`, id, s.url, method, secret)
}

func tokenProxy(path, realm string) string {
	return fmt.Sprintf("handle_path %s/* {\n\ttoken_proxy {\n\t\trealm %s\n\t\tkey main\n\t}\n}\n", path, realm)
}

// A token is fetched with client credentials, injected, and accepted by the
// same server's own protected endpoint.
func TestOAuth2ServerAcceptsTheInjectedToken(t *testing.T) {
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			s := newOIDCServer(t)
			n := launch(t, config{
				tokens: s.realm("oidc", method, serviceSecret),
				proxy:  tokenProxy("/oidc", "oidc"),
			}.caddyfile)
			n.get(s.url+"/userinfo", http.StatusUnauthorized) // the endpoint is protected indeed
			for range 3 {
				info := decode[map[string]any](t, n.get(n.proxy+"/oidc/userinfo", http.StatusOK))
				if info["sub"] != serviceUser || info["preferred_username"] != "robot" {
					t.Fatalf("the server told about %v", info)
				}
			}
			asks := s.asked()
			if len(asks) != 1 {
				t.Fatalf("%d token requests, want 1", len(asks))
			}
			if asks[0].basic != (method == "client_secret_basic") || strings.Contains(asks[0].form, "client_secret=") == asks[0].basic {
				t.Errorf("the client authenticated otherwise: %+v", asks[0])
			}
			if !strings.Contains(asks[0].form, "scope=openid+profile") {
				t.Errorf("the scopes were not asked for: %s", asks[0].form)
			}
		})
	}
}

// With a wrong secret the server's refusal is told, and nothing is sent to the
// API.
func TestOAuth2ServerRefusesAWrongSecret(t *testing.T) {
	s := newOIDCServer(t)
	n := launch(t, config{
		tokens: s.realm("oidc", "client_secret_basic", "a-wrong-secret"),
		proxy:  tokenProxy("/oidc", "oidc"),
	}.caddyfile)
	status, body := n.try(n.proxy + "/oidc/userinfo")
	problem := decode[map[string]any](t, body)
	if status != http.StatusBadGateway && status != http.StatusServiceUnavailable {
		t.Errorf("got %d", status)
	}
	if problem["code"] != "token_unavailable" || problem["provider_code"] != "invalid_client" {
		t.Errorf("got %s", body)
	}
	if strings.Contains(string(body)+string(n.log()), "a-wrong-secret") {
		t.Error("the secret is told")
	}
}
