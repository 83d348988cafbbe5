package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// signedOutWithin is how long a cookie may be good on a node after its session was
// ended on another one.
const signedOutWithin = time.Second

// console is a request of the console. The answer's body is read, and the cookie
// that it sets returned, "" for none.
func console(t *testing.T, method, url, body, cookie string, header ...string) (status int, answer, set string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Tokens-Csrf", "1")
	if cookie != "" {
		req.Header.Set("Cookie", "tokens_session="+cookie)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for _, c := range resp.Cookies() {
		set = c.Value
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(content), set
}

// A session that begins on one node is good on the other, and is over there within
// a second when it is ended on the first. Its key, deleted anywhere, ends it, too. A
// link is redeemed once, on whichever node.
func TestClusterSessions(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.Header) }))
	t.Cleanup(api.Close)
	s := mariaDBWith(t, testserver.Redis(t))
	a, b := launchOn(t, s), launchOn(t, s)
	a.post("/api/realm", map[string]any{"id": "s", "config": map[string]any{
		"api": api.URL, "allow_http": true, "grant": map[string]any{"name": "static"}, "pass": []any{"Cookie"},
		"inject": []any{map[string]any{"place": "header", "name": "X-Token"}},
	}})
	a.post("/api/secret", map[string]any{"realm": "s", "key": "main", "fields": map[string]any{"token": "0123456789"}})
	status, body := call(t.Context(), http.MethodPost, a.admin+"/api/client",
		[]byte(`{"id": "ops", "rules": [{"effect": "allow", "rights": ["admin_read", "use"], "realms": ["*"]}]}`))
	key := decode[struct{ Key string }](t, body).Key
	if status != http.StatusOK || key == "" {
		t.Fatalf("POST /api/client: %d %s", status, body)
	}
	signIn := fmt.Sprintf(`{"key": %q}`, key)
	var cookie string
	eventually(t, "the client signs in", func() bool {
		status, _, cookie = console(t, http.MethodPost, a.admin+"/api/session", signIn, "")
		return status == http.StatusOK
	})
	isOps := func(n *node, cookie string) bool {
		_, answer, _ := console(t, http.MethodGet, n.admin+"/api/session", "", cookie)
		return strings.Contains(answer, `"id":"ops"`)
	}
	eventually(t, "the other node knows the client", func() bool { return isOps(b, cookie) })

	if status, answer, _ := console(t, http.MethodDelete, a.admin+"/api/session", "", cookie); status != http.StatusOK {
		t.Fatalf("sign-out: %d %s", status, answer)
	}
	if isOps(a, cookie) {
		t.Error("the node of the sign-out still takes the cookie")
	}
	began := time.Now()
	for isOps(b, cookie) {
		if time.Since(began) > patience {
			t.Fatal("the other node still takes the cookie")
		}
	}
	if took := time.Since(began); took > signedOutWithin {
		t.Errorf("the other node took the cookie for %s", took)
	}

	// A link: of 8 who try it on both nodes, one gets a session.
	_, answer, _ := console(t, http.MethodPost, a.admin+"/api/session/link", "", "", "Authorization", "Bearer "+key)
	_, code, _ := strings.Cut(decode[struct{ URL string }](t, []byte(answer)).URL, "#link=")
	if code == "" {
		t.Fatalf("no link: %s", answer)
	}
	var wins atomic.Int32
	var byLink atomic.Value
	var wg sync.WaitGroup
	for i := range 8 { // fewer wrong ones than make an address wait
		n := []*node{a, b}[i%2]
		wg.Go(func() {
			if status, _, set := console(t, http.MethodPost, n.admin+"/api/session", fmt.Sprintf(`{"link": %q, "replace": true}`, code), ""); status == http.StatusOK {
				wins.Add(1)
				byLink.Store(set)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d redeemed the link", wins.Load())
	}
	cookie = byLink.Load().(string)
	if !isOps(a, cookie) || !isOps(b, cookie) {
		t.Error("a node does not take the session of the link")
	}
	// A proxy on the same host gets the cookie from the browser, and keeps it.
	for _, n := range []*node{a, b} {
		status, answer, _ := console(t, http.MethodGet, n.proxy+"/any/s/main/x", "", cookie+"; other=1", "Authorization", "Bearer "+key)
		if status != http.StatusOK || !strings.Contains(answer, "other=1") || strings.Contains(answer, "tokens_session") {
			t.Errorf("through the proxy: %d %s", status, answer)
		}
	}
	a.neverLogs(func() []string { return []string{key, code, cookie} })
	b.neverLogs(func() []string { return []string{key, code, cookie} })
	if status, body := call(t.Context(), http.MethodDelete, b.admin+"/api/client/ops", []byte("{}")); status != http.StatusOK {
		t.Fatalf("DELETE: %d %s", status, body)
	}
	eventually(t, "the session ends with its client", func() bool { return !isOps(a, cookie) && !isOps(b, cookie) })
}
