package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestSecretsOfTheAPIPullNothing: whoever may add secrets named his own host,
// and the shared credentials of the Caddyfile were sent there.
func TestSecretsOfTheAPIPullNothing(t *testing.T) {
	for _, value := range []string{"{env.TOKENS_TEST_SHARED}", "source env TOKENS_TEST_SHARED"} {
		t.Run(value, func(t *testing.T) { pullShared(t, value) })
	}
}

// pullShared tries to have a shared field, with this value, sent to another host.
func pullShared(t *testing.T, value string) {
	t.Helper()
	var seen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seen.Add(1)
		_, _ = w.Write([]byte(`{"access_token":"T","expires_in":7200}`))
	}))
	t.Cleanup(thief.Close)
	host, port, _ := strings.Cut(thief.Listener.Addr().String(), ":")
	t.Setenv("TOKENS_TEST_SHARED", canary+"-shared")
	i := newInstance(t)
	i.load(`
		allow_private 127.0.0.1
		realm pulled {
			api http://{secret.host}:`+port+`
			fetch POST http://{secret.host}:`+port+`/token {
				form client_id {secret.id}
				form client_secret {secret.secret}
			}
			token_path access_token
			inject header Authorization "Bearer {token}"
			shared {
				secret `+value+`
				host localhost
			}
			secret own {
				id app
			}
		}`, proxyMain)
	if a := i.call(http.MethodPost, "/api/secret", `{"realm":"pulled","key":"evil","fields":{"id":"x","host":"`+host+`"}}`); a.StatusCode != http.StatusBadRequest ||
		!strings.Contains(a.body, "fields.host") || !strings.Contains(a.body, "invalid_field") {
		t.Errorf("saved: %s %s", a.Status, a.body)
	}
	i.get("/any/pulled/evil/x")
	i.call(http.MethodGet, "/api/token?realm=pulled&key=evil&flush=true", "")
	i.call(http.MethodPost, "/api/realm/pulled/test", `{"key":"evil"}`)
	if n := seen.Load(); n > 0 {
		t.Errorf("%d requests came to the host of the secret", n)
	}
	// With a credential of its own, a secret may name its host.
	i.must(http.MethodPost, "/api/secret", `{"realm":"pulled","key":"good","fields":{"id":"x","secret":"mine-0123","host":"`+host+`"}}`)
	if a := i.get("/any/pulled/good/x"); a.StatusCode != http.StatusOK || seen.Load() != 2 {
		t.Errorf("%s %s, %d requests", a.Status, a.body, seen.Load())
	}
}
