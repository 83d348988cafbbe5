package adminapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/edge"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// An edge refuses each route that changes something, or needs a database. A route
// that is not a GET, and that it answers, is named here.
func TestRoutesOfAnEdge(t *testing.T) {
	s := newServer(t)
	api := New(s.view, s.view.Catalog(), Options{
		Clients: s.clients, Edge: &realm.Error{Code: realm.CodeReadOnly, Status: http.StatusConflict, Detail: "an edge"},
	})
	c := caller{t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), Caller{Kind: KindAdmin})))
	})}
	harmless := []string{"/api/token", "/api/explain", "/api/caddyfile"}
	for i := range routes {
		rt := &routes[i]
		name := rt.method + " " + rt.path
		if rt.edge == alsoOnEdge {
			if rt.method != http.MethodGet && !slices.Contains(harmless, rt.path) {
				t.Errorf("%s changes something on an edge", name)
			}
			continue
		}
		try, ok := tries[name]
		if !ok || rt.kind == kindCallback {
			continue // TestRights wants a try for each; the callback answers with a page
		}
		a := c.send(rt.method, try.target, strings.NewReader(try.body), "Content-Type", "application/json")
		a.refused(http.StatusConflict, "read_only", "an edge")
	}
}

// asEdge is the API as a client with edge on and this right sees it.
func (s *server) asEdge(t *testing.T, right string) caller {
	t.Helper()
	key, _ := s.must(http.MethodPost, "/api/client", `{"id":"edge-`+right+`","edge":true,"rules":[
		{"effect":"allow","rights":["`+right+`"],"realms":["*"],"keys":["*"]}]}`).document()["key"].(string)
	client, err := s.clients.Identify(access.Caller{Key: key})
	if err != nil || client == nil {
		t.Fatalf("%v %v", client, err)
	}
	return caller{t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.h.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), Caller{Kind: KindClient, ID: client.ID(), Client: client})))
	})}
}

// An edge gets a token that is inject_only, and is told so, and with it what is made
// of the secret where it needs that. It is told how tokens are used, and nothing of
// how they are got, whatever else its key is good for.
func TestWhatAnEdgeIsTold(t *testing.T) {
	s := newServer(t)
	s.must(http.MethodPost, "/api/realm", `{"id":"r","config":{"api":"https://{secret.host}/v1","methods":["GET"],"semantics":"rotate","keep_warm":true,
		"grant":{"name":"static","token":"{secret.token}"},"default_key":"k","proxy":"https://proxy.example.com",
		"inject":[{"place":"header","name":"X-App","value":"{secret.app} \" {token}"}],"renew_on":[{"status":[401]}]}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"r","key":"k","inject_only":true,"fields":{"host":"eu.example.com","app":"shop","token":"fixed"}}`)
	s.must(http.MethodPost, "/api/realm", `{"id":"plain","config":{"api":"https://api.example.com","preset":"openai"}}`)
	s.must(http.MethodPost, "/api/secret", `{"realm":"plain","key":"k","fields":{"api_key":"fixed"}}`)

	reader := s.client(t, "reader", "allow read * *")
	reader.get("/api/token?realm=r&key=k").refused(http.StatusForbidden, "forbidden", "")
	for _, right := range []string{"read", "admin_read"} {
		e := s.asEdge(t, right)
		if right == "admin_read" {
			e.get("/api/realm/r").refused(http.StatusForbidden, "forbidden", "")
			continue
		}
		e.get("/api/token?realm=r&key=k").without("expires_in", "expires_at").ok(`{"token":"fixed","source":"database","lineage":0,"inject_only":true,
			"placed":{"api":"https://eu.example.com/v1","hosts":["eu.example.com"],"values":["shop \" fixed"]}}`)
		e.get("/api/token?realm=plain&key=k").without("expires_in", "expires_at").ok(`{"token":"fixed","source":"database","lineage":0}`)
		e.get("/api/realm/r").ok(`{"id":"r","config":{"api":"https://{secret.host}/v1","methods":["GET"],"semantics":"rotate","keep_warm":true,
			"inject":[{"place":"header","name":"X-App","value":"{secret.app} \" {token}"}],"renew_on":[{"status":[401]}]}}`)
	}
	reader.get("/api/realm/r").ok(`{"id":"r","config":{"api":"https://{secret.host}/v1",
		"inject":[{"place":"header","name":"X-App","value":"{secret.app} \" {token}"}],"renew_on":[{"status":[401]}]}}`)
	// What the preset says is said, too.
	inject, _ := reader.get("/api/realm/plain").document()["config"].(map[string]any)["inject"].([]any)
	if len(inject) == 0 {
		t.Error("what the preset injects is not told")
	}
}

// An edge that hears of no changes lets nobody believe that it tells of them: who
// watches it is refused, and a stream that is open ends.
func TestWatchOfADeafEdge(t *testing.T) {
	var isOpen atomic.Bool
	end := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !isOpen.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", typeEvents)
		_, _ = io.WriteString(w, eventReady)
		_ = http.NewResponseController(w).Flush()
		<-end
	}))
	t.Cleanup(upstream.Close)
	u, err := edge.ParseURL(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	pool := broker.New(edge.New(edge.Config{URL: u, Key: "k", Log: zaptest.NewLogger(t)}), zaptest.NewLogger(t), nil)
	t.Cleanup(func() { _ = pool.Destruct() })
	view, err := pool.View(broker.ViewConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	s.view = view
	w := newWatched(t, s, Caller{Kind: KindAdmin})
	get := func() *http.Response {
		resp, err := http.Get(w.url + "/api/watch")
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := get()
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("deaf: %s %v", resp.Status, resp.Header)
	}
	isOpen.Store(true)
	deadline := time.Now().Add(time.Minute)
	for resp = get(); resp.StatusCode != http.StatusOK && time.Now().Before(deadline); resp = get() {
		_ = resp.Body.Close()
	}
	isOpen.Store(false)
	close(end)
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if !strings.HasPrefix(string(text), eventReady) {
		t.Errorf("%s %q", resp.Status, text)
	}
}
