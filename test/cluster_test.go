package test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// cluster is two nodes on one MariaDB and one Redis.
type cluster struct {
	a, b     *node
	redis    *testserver.RedisDB
	provider *fakeprovider.Provider
	base     string
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{
		Style:       fakeprovider.WeChat,
		Credentials: map[string]string{"app": "app-secret-01", "other": "other-secret-01"},
	})
	redis := testserver.Redis(t)
	s := mariaDBWith(t, redis)
	return cluster{a: launchOn(t, s), b: launchOn(t, s), redis: redis, provider: p, base: p.Start(t)}
}

func (c cluster) secret(key, app string) map[string]any {
	return map[string]any{"realm": "wx", "key": key, "key_1": app, "key_2": app + "-secret-01"}
}

// What is done on one node is seen on the other.
func TestClusterSharesRealmsSecretsAndTokens(t *testing.T) {
	c := newCluster(t)
	c.a.keepsSecret(c.provider, "app-secret-01", "other-secret-01")
	const api = "/any/wx/main/cgi-bin/menu/get"
	c.b.get(c.b.proxy+api, http.StatusNotFound) // b remembers that there is no such realm

	c.a.post("/api/realm", wechatRealm("wx", c.base))
	c.a.post("/api/secret", c.secret("main", "app"))
	eventually(t, "the realm is used on the other node", func() bool {
		status, _ := c.b.try(c.b.proxy + api)
		return status == http.StatusOK
	})
	c.a.get(c.a.proxy+api, http.StatusOK)
	if a, b := c.a.token("wx", "main"), c.b.token("wx", "main"); a.Token != b.Token || c.provider.Fetches() != 1 {
		t.Errorf("the nodes do not share a token: %d fetches", c.provider.Fetches())
	}
	for _, path := range []string{"/api/realm", "/api/realm/wx", "/api/secret", "/api/secret/wx/main"} {
		if a, b := c.a.get(c.a.admin+path, 200), c.b.get(c.b.admin+path, 200); string(a) != string(b) {
			t.Errorf("%s: one says %s, the other %s", path, a, b)
		}
	}

	c.b.post("/api/secret", c.secret("main", "other")) // a new credential
	eventually(t, "the new credential is used on the other node", func() bool {
		_, _ = c.a.try(c.a.proxy + api)
		return c.a.token("wx", "main").Token == c.provider.Newest("other")
	})

	if status, body := call(t.Context(), http.MethodDelete, c.a.admin+"/api/realm/wx?cascade=true", []byte("{}")); status != http.StatusOK {
		t.Fatalf("DELETE: %d %s", status, body)
	}
	eventually(t, "the realm is gone on the other node", func() bool {
		status, _ := c.b.try(c.b.proxy + api)
		return status == http.StatusNotFound
	})
	if len(c.provider.DeadCalls()) != 0 {
		t.Errorf("dead calls: %+v", c.provider.DeadCalls())
	}
}

// Redis is a hint: without it the nodes share everything by MariaDB.
func TestClusterGoesOnWithoutRedis(t *testing.T) {
	c := newCluster(t)
	c.a.post("/api/realm", wechatRealm("wx", c.base))
	c.a.post("/api/secret", c.secret("before", "app"))
	token := c.a.token("wx", "before").Token
	c.redis.Kill(t)
	if got := c.b.token("wx", "before").Token; got != token {
		t.Errorf("the other node has token %d", c.provider.Rank(got))
	}
	c.b.post("/api/secret", c.secret("after", "other"))
	token = c.b.token("wx", "after").Token
	eventually(t, "the secret is used on the other node", func() bool {
		status, body := c.a.try(c.a.admin + "/api/token?realm=wx&key=after")
		return status == http.StatusOK && decode[tokenAnswer](t, body).Token == token
	})
	if c.provider.Fetches() != 2 {
		t.Errorf("%d fetches of two tokens", c.provider.Fetches())
	}
}

// Two nodes that want a token at the same moment fetch it once.
func TestRacingNodesFetchOnce(t *testing.T) {
	c := newCluster(t)
	c.a.post("/api/realm", wechatRealm("wx", c.base))
	for round := range 5 {
		key, app := fmt.Sprint("key-", round), fmt.Sprint("app-", round)
		c.provider.SetSecret(app, app+"-secret-01")
		c.a.post("/api/secret", c.secret(key, app))
		eventually(t, "the secret is known on both nodes", func() bool {
			status, _ := c.b.try(c.b.admin + "/api/secret/wx/" + key)
			return status == http.StatusOK
		})
		var race sync.WaitGroup
		for _, n := range []*node{c.a, c.b} {
			race.Go(func() {
				if status, body := n.try(n.admin + "/api/token?realm=wx&key=" + key); status != http.StatusOK {
					t.Errorf("round %d: %d %s", round, status, body)
				}
			})
		}
		race.Wait()
		eventually(t, "both nodes use one token", func() bool {
			return c.a.token("wx", key).Token == c.b.token("wx", key).Token
		})
		if n := c.provider.Fetches(app); n != 1 {
			t.Errorf("round %d: %d fetches on two nodes", round, n)
		}
		if token := c.a.token("wx", key).Token; !c.provider.Live(token) {
			t.Errorf("round %d: token %d of %d is dead", round, c.provider.Rank(token), len(c.provider.Issued(app)))
		}
	}
}
