package test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// chainRealms are the realms of a chain: a token of crm needs one of suite, which
// needs one of wx.
func chainRealms(c *fakeprovider.Chain, third string) []map[string]any {
	argument := func(place, name, value string) map[string]any {
		return map[string]any{"name": name, "place": place, "value": value}
	}
	wx := wechatRealm("wx", c.FirstURL)
	config := wx["config"].(map[string]any)
	config["default_key"] = "main"
	config["renew_on"] = []any{map[string]any{"json": "errcode", "values": []int{40001, 40014, 42001}}}
	return []map[string]any{wx, {"id": "suite", "config": map[string]any{
		"api": c.SecondURL, "allow_http": true, "token_path": "access_token", "expires_in_path": "expires_in",
		"url": c.FirstURL + "/cgi-bin/gettoken", "arguments": []any{
			argument("url", "access_token", "{token_of.wx}"), argument("url", "corpid", "$key_1"), argument("url", "corpsecret", "$key_2"),
		},
		"renew_on": []any{map[string]any{"json": "errcode", "values": []int{40014, 42001}}},
	}}, {"id": "crm", "config": map[string]any{
		"api": third, "allow_http": true, "token_path": "access_token", "expires_in_path": "expires_in",
		"url": c.SecondURL + "/oauth2/token?access_token={token_of.suite.main}", "method": "POST", "content_type": "form", "arguments": []any{
			argument("body", "grant_type", "client_credentials"), argument("body", "client_id", "$key_1"), argument("body", "client_secret", "$key_2"),
		},
		"inject": []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
	}}}
}

// askedByAll has fifty callers on each node ask for a token at once, all of which
// get the same one.
func askedByAll(t *testing.T, nodes []*node, target string, held func(asked func() bool)) string {
	t.Helper()
	const callers = 50
	var asking atomic.Int32
	var answered sync.WaitGroup
	tokens := make([]string, callers*len(nodes))
	for i := range tokens {
		n := nodes[i%len(nodes)]
		answered.Go(func() {
			asking.Add(1)
			status, body := n.try(n.admin + target)
			if status != http.StatusOK {
				t.Errorf("%d %s", status, body)
				return
			}
			tokens[i] = decode[tokenAnswer](t, body).Token
		})
	}
	held(func() bool { return int(asking.Load()) == len(tokens) })
	answered.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Error("the callers have different tokens")
			break
		}
	}
	return tokens[0]
}

// A chain of three on two nodes. Fifty cold callers on each make one request to each
// level. When the tokens in the middle are revoked, each level is asked once more.
func TestChainOnTwoNodes(t *testing.T) {
	chain := fakeprovider.StartChain(t, fakeprovider.RefreshRule{}, nil)
	s := mariaDBAndRedis(t)
	a, b := launchOn(t, s), launchOn(t, s)
	nodes := []*node{a, b}
	for _, n := range nodes {
		n.neverLogs(func() []string {
			known := append(chain.First.Issued(), chain.Second.Issued()...)
			return append(append(known, chain.Third.Issued()...), fakeprovider.ChainSecret)
		})
	}
	secret := func(realm, key string) map[string]any {
		return map[string]any{"realm": realm, "key": key, "key_1": "app", "key_2": fakeprovider.ChainSecret}
	}
	for _, realm := range chainRealms(chain, chain.Third.Start(t)) {
		a.post("/api/realm", realm)
		id, _ := realm["id"].(string)
		a.post("/api/secret", secret(id, "main"))
	}
	a.post("/api/secret", secret("crm", "second"))
	for _, n := range nodes {
		eventually(t, "the chain is known", func() bool {
			status, _ := n.try(n.admin + "/api/secret/crm/second")
			return status == http.StatusOK
		})
	}

	release := chain.First.Hold()
	defer release()
	token := askedByAll(t, nodes, "/api/token?realm=crm&key=main", func(asked func() bool) {
		eventually(t, "everybody asks", func() bool { return asked() && chain.First.Fetches() > 0 })
		release()
	})
	if got := chain.Fetches(); got != [3]int{1, 1, 1} || token != chain.Third.Newest() {
		t.Fatalf("token requests %v", got)
	}
	for _, n := range nodes {
		n.get(n.proxy+"/any/crm/main/x", http.StatusOK)
	}

	// Both nodes have tokens of the parents in memory that are dead by now.
	chain.First.Revoke(chain.First.Newest())
	chain.Second.Revoke(chain.Second.Newest())
	token = askedByAll(t, nodes, "/api/token?realm=crm&key=second", func(func() bool) {})
	if got := chain.Fetches(); got != [3]int{2, 2, 2} || token != chain.Third.Newest() {
		t.Errorf("token requests %v after the revocation", got)
	}
	for level, p := range []*fakeprovider.Provider{chain.First, chain.Second} {
		if !p.Live(p.Newest()) {
			t.Errorf("level %d has no live token", level)
		}
		if n := len(p.DeadCalls()); n == 0 || n > len(nodes) { // a node may send what it does not know to be dead yet
			t.Errorf("level %d: %d requests with a dead token", level, n)
		}
	}
}
