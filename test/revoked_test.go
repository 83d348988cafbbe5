package test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// revocations is how often a token is ended early, or overtaken by somebody
// else's, in the middle of the load.
const revocations = 10

// A provider ends tokens early, in the middle of load on five nodes: no client
// sees it, and each time one node fetches. REVOKED is how many requests are
// made.
func TestEarlyRevocationInTheCluster(t *testing.T) {
	requests := figure(t, "REVOKED", 500)
	f := launchFleet(t, fleetOptions{nodes: 5, provider: fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Rotate},
	}})
	m := f.members[0]
	m.post("/api/realm", map[string]any{"id": "cc", "config": map[string]any{
		"api": f.base, "allow_http": true,
		"grant":    map[string]any{"name": "client_credentials", "token_url": f.base + "/oauth2/token"},
		"inject":   []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
		"renew_on": []any{map[string]any{"status": []int{http.StatusUnauthorized}}},
	}})
	m.post("/api/secret", map[string]any{
		"realm": "cc", "key": "main", "fields": map[string]any{"client_id": "app", "client_secret": "app-secret-01"},
	})
	const api = "/any/cc/main/v1/things"
	f.eventuallyServes(t, api)
	var urls []string
	for _, m := range f.members {
		for i := range 4 {
			urls = append(urls, fmt.Sprint(m.proxy, api, "?caller=", i))
		}
	}
	load := startDemand(t, urls...)
	for i := range revocations {
		enough := load.made() + requests/revocations
		eventually(t, "there is load", func() bool { return load.made() >= enough })
		// Refused before it ever worked, a token would be a failure of the
		// provider's: all nodes have used it.
		f.eventuallyServes(t, api)
		if i%2 == 0 {
			f.provider.Revoke(f.provider.Newest())
		} else {
			f.provider.Steal("app")
		}
		eventually(t, "the token is replaced", func() bool { return f.provider.Fetches() >= i+2 })
		f.eventuallyServes(t, api)
	}
	enough := load.made() + requests/revocations
	eventually(t, "there is load", func() bool { return load.made() >= enough })
	calls := load.wantAllServed(t)
	if n := f.provider.Fetches(); n != 1+revocations {
		t.Errorf("%d fetches for %d revocations", n-1, revocations)
	}
	t.Logf("5 nodes, early revocation: %d revocations, %d heal fetches, %d requests, %d failed, %d were refused and repeated",
		revocations, f.provider.Fetches()-1, calls, load.failed, len(f.provider.DeadCalls()))
}
