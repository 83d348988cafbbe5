package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
)

// canary begins every token and every secret of these tests, so that a scan
// finds them wherever they leak.
const canary = "canary5f1c"

// provider is a token endpoint with an API behind it.
type provider struct {
	*httptest.Server
	fetches atomic.Int64 // token requests that came
	calls   atomic.Int64 // API requests that came
	down    atomic.Bool  // the token endpoint answers 503
	busy    atomic.Bool  // it answers 429, and asks for half a minute
	// hold keeps token requests back until it is closed; nil: not at all.
	hold chan struct{}
	// api answers the requests of the API; nil: they are echoed.
	api http.HandlerFunc
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/oauth/token":
		p.token(w, r)
	case p.api != nil:
		p.calls.Add(1)
		p.api(w, r)
	default:
		p.calls.Add(1)
		echo(w, r)
	}
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	n := p.fetches.Add(1)
	if p.hold != nil {
		<-p.hold
	}
	if p.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if p.busy.Load() {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if r.FormValue("grant_type") == "refresh_token" { // it knows none
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"unknown: %s"}`, r.FormValue("refresh_token"))
		return
	}
	secret := r.FormValue("client_secret")
	if !strings.HasPrefix(secret, canary) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"access_token":"%s-token-%d","expires_in":7200,"user":{"id":"%[1]s-user"},"base":"%[3]s/%[1]s-base"}`, canary, n, p.URL)
}

// echo answers with the request as it arrived.
func echo(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, false)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = w.Write(dump)
	_, _ = fmt.Fprintf(w, "trailer: %v\n", r.Trailer)
}

// realm is a Caddyfile realm for the provider that injects as given.
func (p *provider) realm(id, inject string) string {
	return fmt.Sprintf(`
		realm %[1]s {
			api %[2]s
			fetch POST %[2]s/oauth/token {
				form client_id {secret.id}
				form client_secret {secret.secret}
			}
			token_path access_token
			expires_in_path expires_in
			%[3]s
			secret main {
				id client
				secret %[4]s-secret
			}
		}`, id, p.URL, inject, canary)
}

// keeping is a realm whose requests go to where the provider says, with what it
// says.
func (p *provider) keeping(id string) string {
	inject := "inject header Authorization {token}\ninject header X-User {answer.user.id}\nrenew_on status 401\nallow_http\nhosts " + strings.TrimPrefix(p.URL, "http://")
	return strings.Replace(p.realm(id, inject), "api "+p.URL, "api {answer.base}", 1)
}

// lapsed is a realm whose only refresh token the provider refuses.
func (p *provider) lapsed(id string) string {
	return fmt.Sprintf(`
		realm %[1]s {
			api %[2]s
			grant refresh_token {
				token_url %[2]s/oauth/token
				client_id client
				client_secret {secret.secret}
			}
			inject query access_token
			secret main {
				secret %[3]s-secret
				refresh_token %[3]s-refresh
			}
		}`, id, p.URL, canary)
}

// mortal makes the API refuse tokens: all up to the number that kill was
// given last.
func (p *provider) mortal() (kill func(n int64)) {
	var dead atomic.Int64
	p.api = func(w http.ResponseWriter, r *http.Request) {
		var n int64
		_, _ = fmt.Sscanf(r.URL.Query().Get("access_token"), canary+"-token-%d", &n)
		if n <= dead.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		echo(w, r)
	}
	return dead.Store
}

// post is the JSON of the same realm, for the admin API.
func (p *provider) post(id, more string) string {
	return fmt.Sprintf(`{"id": %[1]q, "config": {
		"api": %[2]q, "url": "%[2]s/oauth/token", "method": "POST", "content_type": "form",
		"arguments": [{"name": "client_secret", "place": "body", "value": "$key_1"}],
		"token_path": "access_token", "expires_in_path": "expires_in", "allow_http": true%[3]s}}`, id, p.URL, more)
}

// inQuery is the part of post that injects into the query.
const inQuery = `, "inject": [{"place": "url", "name": "access_token"}]`
