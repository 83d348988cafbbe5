package test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// A new token of one node ends the one that the other node has in memory. How
// long the other node hands that out is the time until it hears of the new one:
// at once by Redis, within a second by the database's feed. That time is a
// figure, and depends on the machine. What is asserted: the other node hears,
// and never goes back to an older token. HEARD is how many renewals there are.
func TestOtherNodeHearsOfANewToken(t *testing.T) {
	renewals := figure(t, "HEARD", 5)
	for name, s := range map[string]store{
		"with Redis": mariaDBAndRedis(t),
		"without": {
			config: "storage mysql {env.TOKENS_DSN}\nencryption_key {env.TOKENS_KEY}\n",
			env:    []string{"TOKENS_DSN=" + testserver.MariaDB(t).DSN(), "TOKENS_KEY=" + newKey()},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := fakeprovider.New(fakeprovider.Options{
				Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"},
				Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate}, Quotas: []fakeprovider.Quota{},
			})
			a, b := launchOn(t, s), launchOn(t, s)
			document := wechatRealm("wx", p.Start(t))
			document["config"].(map[string]any)["semantics"] = "rotate"
			a.post("/api/realm", document)
			a.post("/api/secret", map[string]any{"realm": "wx", "key": "main", "key_1": "app", "key_2": "app-secret-01"})
			a.token("wx", "main")
			eventually(t, "the secret is known on the other node", func() bool {
				status, _ := b.try(b.admin + "/api/token?realm=wx&key=main")
				return status == http.StatusOK
			})

			var delays []time.Duration
			newest := 0
			for range renewals {
				answer := decode[tokenAnswer](t, a.get(a.admin+"/api/token?realm=wx&key=main&flush=true", http.StatusOK))
				began := time.Now()
				eventually(t, "the other node hears of the new token", func() bool {
					got := b.token("wx", "main").Token
					if rank := p.Rank(got); rank < newest {
						t.Fatalf("the other node goes back from token %d to %d", newest, rank)
					} else {
						newest = rank
					}
					return got == answer.Token
				})
				delays = append(delays, time.Since(began))
			}
			slices.Sort(delays)
			t.Logf("%d renewals: the other node had the new token after %v (median), %v (p99), %v (longest)",
				renewals, delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
		})
	}
}
