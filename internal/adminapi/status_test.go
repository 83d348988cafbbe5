package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// statusKeys are the keys of the tokens that a status shows, and its total.
func statusKeys(t *testing.T, c caller, query string) string {
	t.Helper()
	doc := c.get("/api/status" + query).document()
	var keys []any
	tokens, _ := doc["tokens"].([]any)
	for _, token := range tokens {
		keys = append(keys, token.(map[string]any)["key"])
	}
	return fmt.Sprint(keys, doc["total"])
}

// The status without parameters has what there is room for; with one it is the page
// of what the caller may see.
func TestStatusOfAPage(t *testing.T) {
	s := newServer(t)
	s.wxgzh()
	for i := range 4 {
		s.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm":"wxgzh","key":"k%d","key_1":"wx1","key_2":"wx1-secret","key_3":"client_credential"}`, i))
		s.token(fmt.Sprintf("/api/token?realm=wxgzh&key=k%d", i), "upstream")
	}
	client := s.client(t, "app", "allow admin_read wxgzh k1", "allow admin_read wxgzh k3", "allow read * *")
	for _, c := range []struct {
		caller      caller
		query, want string
	}{
		{s.caller, "", "[k0 k1 k2 k3] 4"},
		{s.caller, "?page=2&pageSize=3", "[k3] 4"},
		{s.caller, "?state=live&pageSize=2", "[k0 k1] 4"},
		{s.caller, "?state=expired", "[] 0"},
		{s.caller, "?keyword=K2", "[k2] 1"},
		{s.caller, "?attention=true", "[] 0"},
		{s.caller, "?attention=false", "[k0 k1 k2 k3] 4"},
		{client, "", "[k1 k3] 2"},
		{client, "?page=1", "[k1 k3] 2"},
		{client, "?realm=wxgzh&key=k2", "[] 0"},
	} {
		if got := statusKeys(t, c.caller, c.query); got != c.want {
			t.Errorf("%q: %s, not %s", c.query, got, c.want)
		}
	}
	tokens, _ := s.get("/api/status?realm=wxgzh&key=k1").document()["tokens"].([]any)
	if h, _ := tokens[0].(map[string]any)["history"].([]any); len(h) != 1 {
		t.Errorf("%v", tokens)
	}
	s.get("/api/status?state=dead").wrong("state")
	s.get("/api/status?attention=perhaps").wrong("attention")
	s.get("/api/status?pageSize=1001").wrong("pageSize")
	s.get("/api/status?realm=a&realm=b").wrong("realm")
}

// crowd has very many tokens with long names and errors, and damaged rows.
type crowd struct {
	*puppet
	asked broker.StatusQuery
}

func (c *crowd) StatusPage(_ context.Context, q broker.StatusQuery) (broker.Status, int) {
	c.asked = q
	s := broker.Status{Damaged: make([]tokenstore.Damage, 10_000)}
	for i := range s.Damaged {
		s.Damaged[i] = tokenstore.Damage{Kind: "secret", Realm: strings.Repeat("<", 255), Key: fmt.Sprint(i)}
	}
	for i := range q.Page.Size {
		s.Tokens = append(s.Tokens, broker.TokenStatus{Realm: strings.Repeat("<", 255), Key: fmt.Sprint(i), State: "failing", LastError: strings.Repeat("无", 80)})
	}
	return s, 1_000_000
}

// Whatever there is, the status without parameters has less than 1 MB, and says that
// it is not whole.
func TestStatusIsBounded(t *testing.T) {
	p, c := newPuppet(t)
	many := &crowd{puppet: p}
	c.h = newLocal(many, p, Options{Clients: newServer(t).clients})
	a := c.get("/api/status")
	doc := a.document()
	tokens, _ := doc["tokens"].([]any)
	damaged, _ := doc["damaged"].([]any)
	if len(a.body) > 1_000_000 || len(tokens) < 100 || len(damaged) < 100 || doc["truncated"] != true || doc["total"] != 1e6 || !many.asked.AttentionFirst {
		t.Errorf("%d bytes, %d tokens of %v, %d damaged, truncated %v, asked %+v", len(a.body), len(tokens), doc["total"], len(damaged), doc["truncated"], many.asked)
	}
	if doc := c.get("/api/status?page=2&pageSize=5").document(); doc["truncated"] != nil || many.asked.AttentionFirst {
		t.Errorf("a page: %v %+v", doc["truncated"], many.asked)
	}
}
