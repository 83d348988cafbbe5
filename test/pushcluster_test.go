package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// A ticket that is pushed to one node is the one that the other node sends, at
// once and without a fetch before; and a failure there with the old one is over.
func TestClusterSharesPushes(t *testing.T) {
	var calls atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		ticket := r.URL.Query().Get("ticket")
		if strings.HasPrefix(ticket, "wrong") {
			_ = json.NewEncoder(w).Encode(map[string]any{"errcode": 40125, "errmsg": "invalid"})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-of-" + ticket, "expires_in": 7200})
	}))
	t.Cleanup(provider.Close)
	s := mariaDBWith(t, testserver.Redis(t))
	a, b := launchOn(t, s), launchOn(t, s)
	a.post("/api/realm", map[string]any{"id": "open", "config": map[string]any{
		"url": provider.URL + "/token?ticket={secret.ticket}", "allow_http": true, "token_path": "access_token", "expires_in_path": "expires_in",
		"volatile": []string{"ticket"},
	}})
	a.post("/api/secret", map[string]any{"realm": "open", "key": "main", "fields": map[string]any{"appid": "a"}})
	push := func(n *node, ticket string) {
		n.post("/api/secret/open/main/push", map[string]any{"field": "ticket", "value": ticket, "expires_in": 600})
	}
	const token = "/api/token?realm=open&key=main"
	for _, n := range []*node{a, b} {
		if status, body := n.try(n.admin + token); status != http.StatusServiceUnavailable || !strings.Contains(string(body), "no current value of the field") {
			t.Errorf("without a ticket: %d %s", status, body)
		}
	}
	push(a, "wrong-1")
	if status, body := b.try(b.admin + token); status == http.StatusOK || calls.Load() != 1 {
		t.Fatalf("a wrong ticket: %d %s, %d calls", status, body, calls.Load())
	}
	push(a, "right-1")
	// Until it hears of the push, the other node may say what it remembers.
	eventually(t, "the other node sends the new ticket", func() bool { return b.tokenIs("open", "token-of-right-1") })
	for _, ticket := range []string{"wrong-2", "wrong-3", "right-2"} {
		push(b, ticket)
	}
	for _, n := range []*node{a, b} {
		if !n.tokenIs("open", "token-of-right-1") {
			t.Error("a push ended the token")
		}
	}
	if calls.Load() != 2 {
		t.Errorf("%d token requests, want the refused one and one more", calls.Load())
	}
	if status, body := a.try(a.admin + token + "&flush=true"); status != http.StatusOK || !strings.Contains(string(body), "token-of-right-2") {
		t.Errorf("the flush on the other node: %d %s", status, body)
	}
}

// tokenIs reports whether the node hands this token of the key main out.
func (n *node) tokenIs(realm, token string) bool {
	status, body := n.try(n.admin + "/api/token?realm=" + realm + "&key=main")
	return status == http.StatusOK && strings.Contains(string(body), `"`+token+`"`)
}
