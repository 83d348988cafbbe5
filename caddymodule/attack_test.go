package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// TestRefusalsBuyNoTokens: an app that alternates good calls and calls that
// the API refuses for reasons of its own made 20 token requests in 23 s. Each
// of them takes from the realm's budget, and with some providers ends a token
// of others. Four apps try it at once, each in a way of its own.
//
// A refusal that was seen before buys nothing. An app that never asks for the
// same path twice is only slowed down, since nobody can know what a new path
// needs: the floor between two heals doubles from 1 s, so that beside the first
// token there are those at 0, 1, 3, 7 and 15 s.
func TestRefusalsBuyNoTokens(t *testing.T) {
	const attack = 23 * time.Second
	most := map[string]int{"same": 4, "queries": 4, "paths": 6, "methods": 6}
	patterns := map[string]func(n int) (method, target, body string){
		"same":    func(int) (string, string, string) { return http.MethodGet, "/refused", "" },
		"paths":   func(n int) (string, string, string) { return http.MethodGet, fmt.Sprint("/refused/", n), "" },
		"queries": func(n int) (string, string, string) { return http.MethodGet, fmt.Sprint("/refused?n=", n), "" },
		"methods": func(n int) (string, string, string) {
			return []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch}[n%4], fmt.Sprint("/refused/", n/4), fmt.Sprint(n)
		},
	}
	providers := make(map[string]*fakeprovider.Provider)
	realms := ""
	for name := range patterns {
		providers[name] = fakeprovider.New(fakeprovider.Options{
			Style: fakeprovider.OAuth, Credentials: map[string]string{"app": canary + "-secret"},
			Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate},
			API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/refused") {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}),
		})
		realms += fmt.Sprintf(`
			realm %[1]s {
				api %[2]s
				grant client_credentials {
					token_url %[2]s/oauth2/token
					client_id {secret.id}
					client_secret {secret.secret}
				}
				inject header Authorization "Bearer {token}"
				renew_on status 401
				secret main {
					id app
					secret %[3]s-secret
				}
			}`, name, providers[name].Start(t), canary)
	}
	i := newInstance(t)
	i.load(realms, proxyMain)
	var apps sync.WaitGroup
	end := time.Now().Add(attack)
	for name, pattern := range patterns {
		apps.Go(func() {
			pace := time.NewTicker(40 * time.Millisecond)
			defer pace.Stop()
			for n := 0; time.Now().Before(end); n++ {
				<-pace.C
				base := "http://" + i.host + "/any/" + name + "/main"
				if a, err := try(http.MethodGet, base+"/good", ""); err != nil || a.StatusCode != http.StatusOK {
					t.Errorf("%s, good call %d: %v %v", name, n, a, err)
					return
				}
				method, target, body := pattern(n)
				if a, err := try(method, base+target, body); err != nil || a.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s, refused call %d: %v %v", name, n, a, err)
					return
				}
			}
		})
	}
	apps.Wait()
	for name, p := range providers {
		if n := p.Fetches(); n > most[name] {
			t.Errorf("%s: %d token requests, want at most %d", name, n, most[name])
		}
		if p.Calls() < 200 {
			t.Errorf("%s: %d calls are no attack", name, p.Calls())
		}
	}
}
