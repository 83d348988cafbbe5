package test

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	accountCallback = "/oa-account/callback-token"
	accountAPI      = "/any/oa/main"
)

// account is a node with a realm whose tokens a person has to authorize.
type account struct {
	*node
	server *authServer
	states []string // of all links
}

// newAccount starts a server and a node whose tokens live for so long. Nobody
// has authorized yet.
func newAccount(t *testing.T, start func(*testing.T, authOptions) *authServer, life time.Duration) *account {
	t.Helper()
	n := launchForPeople(t, sqlite(t))
	s := start(t, authOptions{callback: n.proxy + accountCallback, life: life})
	n.post("/api/realm", codeRealm(s))
	n.post("/api/secret", codeSecret)
	a := &account{node: n, server: s}
	a.keepsQuiet(n)
	return a
}

// launchForPeople launches a node with the callback on its public site, which
// has an access log.
func launchForPeople(t *testing.T, s store) *node {
	t.Helper()
	c := config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway + "\ntoken_callback\nlog"}
	return launch(t, c.caddyfile, s.env...)
}

// codeRealm is a realm of the code grant on a server.
func codeRealm(s *authServer) map[string]any {
	return map[string]any{"id": "oa", "config": map[string]any{
		"api": s.base, "allow_http": true,
		"grant": map[string]any{
			"name": "authorization_code", "authorize_url": s.base + s.authorize, "token_url": s.base + s.token,
			"client_id": "{secret.client_id}", "client_secret": "{secret.client_secret}",
			"scopes": []string{"openid", "offline_access"}, "pkce": "S256",
		},
		"callback_url": s.callback, "default_key": "main", "refresh_semantics": s.semantics,
		"inject":   []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
		"renew_on": []any{map[string]any{"status": []int{s.dead}}},
	}}
}

var codeSecret = map[string]any{
	"realm": "oa", "key": "main", "fields": map[string]any{"client_id": appID, "client_secret": appSecret},
}

// keepsQuiet checks at the end that a node's log tells nothing confidential.
func (a *account) keepsQuiet(n *node) {
	n.neverLogs(func() []string { return append(append(a.server.ledger.secrets(), a.states...), appSecret) })
}

// link begins an authorization: what the person has to open.
func (a *account) link() string {
	a.t.Helper()
	link := decode[struct {
		URL string `json:"url"`
	}](a.t, a.get(a.admin+"/api/secret/oa/main/authorize", http.StatusOK)).URL
	to, err := url.Parse(link)
	if err != nil {
		a.t.Fatal(err)
	}
	query := to.Query()
	if !strings.HasPrefix(link, a.server.base+a.server.authorize+"?") || query.Get("response_type") != "code" ||
		query.Get("code_challenge_method") != "S256" || query.Get("redirect_uri") != a.server.callback {
		a.t.Fatalf("the link is %s", link)
	}
	if state := query.Get("state"); len(state) < 43 || slices.Contains(a.states, state) {
		a.t.Errorf("the state is %q", state)
	}
	a.states = append(a.states, query.Get("state"))
	return link
}

// returned is the callback URL with which a person comes back from a new link.
func (a *account) returned(p person) string {
	a.t.Helper()
	return p.follows(a.t, a.link(), a.server.callback)
}

// authorize is a person's consent, from the link to the callback.
func (a *account) authorize() (page []byte) {
	a.t.Helper()
	return a.get(a.returned(ann), http.StatusOK)
}

// wantServed says that a call through a node is answered with what the person
// has there.
func (a *account) wantServed(n *node) {
	a.t.Helper()
	a.server.wantPerson(a.t, n.get(n.proxy+accountAPI+a.server.api, http.StatusOK))
}

// wantNoToken says that the node asks for a person.
func (a *account) wantNoToken() {
	a.t.Helper()
	body := a.get(a.proxy+accountAPI+a.server.api, http.StatusBadGateway)
	if p := decode[problem](a.t, body); p.Code != "reauth_required" {
		a.t.Errorf("got %s", body)
	}
}

// eventuallyLost calls the API through a node until the node says that a person
// has to authorize again. The access token is at its end by its own words only,
// so the caller gets the API's refusal till then.
func (a *account) eventuallyLost(n *node) {
	a.t.Helper()
	eventually(a.t, "somebody has to authorize again", func() bool {
		if status, body := n.try(n.proxy + accountAPI + a.server.api); status != a.server.dead {
			a.t.Fatalf("got %d %s", status, body)
		}
		return n.stateOf("oa", "main") == "reauth_required"
	})
}

// stateOf is what the status says of a token.
func (n *node) stateOf(realm, key string) string {
	n.t.Helper()
	status := decode[struct {
		Tokens []struct{ Realm, Key, State string }
	}](n.t, n.get(n.admin+"/api/status", http.StatusOK))
	for _, token := range status.Tokens {
		if token.Realm == realm && token.Key == key {
			return token.State
		}
	}
	return ""
}

// wantLeftAlone says that the server is not asked again for what it refused.
func (a *account) wantLeftAlone(call func()) {
	a.t.Helper()
	asked := len(a.server.ledger.all())
	for range 3 {
		call()
	}
	if n := len(a.server.ledger.all()); n != asked {
		a.t.Errorf("the server is asked %d times for what it refused", n-asked)
	}
}

// wantChain says that so many refresh tokens were used at least, each once.
func (a *account) wantChain(least int) (refreshes int) {
	a.t.Helper()
	n, err := a.server.ledger.chain()
	if err != nil || n < least {
		a.t.Errorf("%d refresh tokens were used, want %d: %v", n, least, err)
	}
	return n
}

// A person opens the link, logs in and consents; from then on the API is
// served. What the callback shows says nothing about it.
func TestPersonAuthorizes(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, time.Hour)
		a.wantNoToken()
		first := a.authorize()
		for range 3 {
			a.wantServed(a.node)
		}
		if n := a.wantChain(0); n != 0 {
			t.Errorf("%d refresh tokens were used", n)
		}
		if second := a.authorize(); !bytes.Equal(first, second) {
			t.Errorf("the pages differ: %s\n%s", first, second)
		}
		a.wantServed(a.node)
		if token := a.token("oa", "main").Token; token != a.server.ledger.newest(t).Access {
			t.Error("the token is not that of the last authorization")
		}
	})
}

// Refresh tokens that are good for one use are used once, whoever asks for the
// renewal.
func TestRotatingRefreshTokensAreUsedOnce(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, 4*time.Second)
		a.authorize()
		for _, renewal := range []struct {
			what string
			ask  func() int
		}{
			{"flush", func() int {
				status, _ := a.try(a.admin + "/api/token?realm=oa&key=main&flush=true")
				return status
			}},
			{"expiry", func() int {
				status, _ := a.try(a.admin + "/api/token?realm=oa&key=main")
				return status
			}},
			{"account", func() int {
				status, _ := call(t.Context(), http.MethodPost, a.admin+"/oa-account/refresh-token", nil)
				return status
			}},
		} {
			old := a.server.ledger.newest(t).Access
			eventually(t, "the token is renewed by "+renewal.what, func() bool {
				if status := renewal.ask(); status != http.StatusOK {
					t.Fatalf("%s: got %d", renewal.what, status)
				}
				return a.server.ledger.newest(t).Access != old
			})
			a.wantServed(a.node)
		}
		a.wantChain(3)
	})
}

// A token that is revoked is replaced within the call that found it dead. Where
// the refresh token is revoked too, the status asks for a person, the server is
// left alone, and another authorization helps.
func TestRevocationAfterConsent(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, time.Hour)
		a.authorize()
		a.wantServed(a.node)
		for i := range 3 {
			a.server.kill(t, a.server.ledger.newest(t).Access)
			a.wantServed(a.node)
			if n := a.wantChain(i + 1); n != i+1 {
				t.Errorf("%d refreshes for %d dead tokens", n, i+1)
			}
		}
		a.server.revokeToken(t, a.server.ledger.newest(t).Refresh, "refresh_token")
		a.eventuallyLost(a.node)
		a.wantLeftAlone(func() { a.eventuallyLost(a.node) })
		a.authorize()
		a.wantServed(a.node)
	})
}

// Without a refresh token that the server takes, the end of the access token is
// the end of the service, until somebody authorizes again.
func TestRevocationBeforeExpiry(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, 4*time.Second)
		a.authorize()
		a.wantServed(a.node)
		a.server.revokeToken(t, a.server.ledger.newest(t).Refresh, "refresh_token")
		eventually(t, "the token ends", func() bool {
			status, _ := a.try(a.proxy + accountAPI + a.server.api)
			return status == http.StatusBadGateway
		})
		a.wantLeftAlone(a.wantNoToken)
		a.authorize()
		a.wantServed(a.node)
	})
}

// A person who denies gets a page that says nothing, and nothing is asked of
// the server or stored.
func TestDeniedConsent(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, time.Hour)
		denied := a.returned(aloof)
		page := a.get(denied, http.StatusBadRequest)
		again := a.get(a.server.callback+"?code=a-code&state="+a.states[0], http.StatusBadRequest) // it is taken
		unknown := a.get(a.server.callback+"?code=a-code&state=nobody-began-this-authorization", http.StatusBadRequest)
		if !bytes.Equal(page, again) || !bytes.Equal(page, unknown) {
			t.Errorf("the pages tell what happened: %s\n%s\n%s", page, again, unknown)
		}
		a.wantNoToken()
		if calls := a.server.ledger.all(); len(calls) != 0 {
			t.Errorf("%d token requests", len(calls))
		}
		a.authorize()
		a.wantServed(a.node)
	})
}

// A callback is good for one use: its code does not reach the server again,
// which would end all tokens of that authorization.
func TestReplayedCallback(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a := newAccount(t, start, time.Hour)
		callback := a.returned(ann)
		a.get(callback, http.StatusOK)
		for range 3 {
			a.get(callback, http.StatusBadRequest)
		}
		a.wantServed(a.node)
		if calls := a.server.ledger.all(); len(calls) != 1 {
			t.Errorf("%d token requests", len(calls))
		}
	})
}
