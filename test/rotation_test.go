package test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// What the realms with refresh tokens live by. A claim whose process was
// killed runs out 5 s after the time of the call. An answer that comes later
// than that time costs a refresh token, without any kill: it is long enough for
// a slow machine.
const (
	rotationLife    = 4 * time.Second
	rotationTimeout = "5s"
)

// rotation is a node with a realm whose refresh tokens change as the provider
// says, and a failpoint that can be set while it runs.
type rotation struct {
	*node
	semantics fakeprovider.RefreshSemantics
	provider  *fakeprovider.Provider
	base      string
	// first is the refresh token that a person's consent gave last.
	first string
}

// newRotation starts the node on a store and lets it get its first token.
func newRotation(t *testing.T, on func(*testing.T) store, semantics fakeprovider.RefreshSemantics) *rotation {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: rotationLife},
		Refresh:     fakeprovider.RefreshRule{Semantics: semantics, Grace: time.Minute},
	})
	s := on(t)
	r := &rotation{semantics: semantics, provider: p, base: p.Start(t)}
	r.node = prepare(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway}.caddyfile, append(s.env, frugal...)...)
	r.program = withFailpoints(t)
	r.env = append(r.env, "TOKENS_FAILPOINT_FILE="+r.failpointFile())
	r.start()
	r.post("/api/realm", rotationRealm("rt", r.base, semantics))
	r.authorize()
	if r.recovers(1).token == "" { // the first one is the person's
		t.Fatal("the node got no token")
	}
	return r
}

// rotationRealm is a realm of the refresh token grant.
func rotationRealm(id, base string, semantics fakeprovider.RefreshSemantics) map[string]any {
	return map[string]any{"id": id, "config": map[string]any{
		"api": base, "allow_http": true,
		"grant":             map[string]any{"name": "refresh_token", "token_url": base + "/oauth2/token"},
		"refresh_semantics": string(semantics),
		"inject":            []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
		"renew_on":          []any{map[string]any{"status": []int{http.StatusUnauthorized}}},
		"limits":            map[string]any{"timeout": rotationTimeout},
	}}
}

// authorize is a person's consent, whose refresh token is given to the node.
func (r *rotation) authorize() {
	r.t.Helper()
	r.first = r.provider.Authorize("app").Refresh
	r.post("/api/secret", map[string]any{
		"realm": "rt", "key": "main", "drop_refresh_token": true,
		"fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01", "refresh_token": r.first},
	})
}

func (r *rotation) failpointFile() string { return filepath.Join(r.dir, "failpoint") }

// arm lets the node end at a failpoint, the next time that it comes by.
func (r *rotation) arm(failpoint string) {
	r.t.Helper()
	if err := os.WriteFile(r.failpointFile(), []byte(failpoint), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotation) disarm() {
	r.t.Helper()
	if err := os.Remove(r.failpointFile()); err != nil {
		r.t.Fatal(err)
	}
}

// refresh asks for a new token now, and returns what came of it; status 0 is no
// answer.
func (r *rotation) refresh() (status int, token string) {
	status, body := r.try(r.admin + "/api/token?realm=rt&key=main&flush=true")
	if status != http.StatusOK {
		return status, ""
	}
	return status, decode[tokenAnswer](r.t, body).Token
}

// outcome is how a node stands that was asked for a token until it had a
// lasting answer.
type outcome struct {
	token string // "" where somebody has to authorize again
	took  time.Duration
}

// recovers asks for a token until the node gives one that the provider issued
// after so many others, or says that somebody has to authorize again.
func (r *rotation) recovers(after int) (o outcome) {
	r.t.Helper()
	began := time.Now()
	eventually(r.t, "the node has a new token, or says that it will have none", func() bool {
		status, body := r.try(r.admin + "/api/token?realm=rt&key=main")
		if status != http.StatusOK {
			return status != 0 && decode[problem](r.t, body).Code == "reauth_required"
		}
		token := decode[tokenAnswer](r.t, body).Token
		if r.provider.Rank(token) <= after {
			return false
		}
		o.token = token
		return true
	})
	o.took = time.Since(began)
	return o
}

// problem is an error of the API.
type problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// tolerant reports whether the provider takes a refresh token again whose answer
// got lost.
func (r *rotation) tolerant() bool {
	return r.semantics == fakeprovider.Stable || r.semantics == fakeprovider.Grace
}
