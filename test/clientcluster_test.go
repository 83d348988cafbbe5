package test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// revokedWithin is how long a key may be good on a node after it was deleted on
// another one.
const revokedWithin = 2 * time.Second

// asClient sends a request with a key. The caller closes the body.
func asClient(t *testing.T, client *http.Client, url, key string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A client that one node makes is known on the other, which serves nobody else
// from then on. When its key is deleted, what it has under way on the other node
// ends within two seconds, and so does its kept connection.
func TestClusterRevokesClients(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			return
		}
		_, _ = io.WriteString(w, "begin\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(api.Close)
	s := mariaDBWith(t, testserver.Redis(t))
	a, b := launchOn(t, s), launchOn(t, s)
	a.post("/api/realm", map[string]any{"id": "s", "config": map[string]any{
		"api": api.URL, "allow_http": true, "grant": map[string]any{"name": "static"},
		"inject": []any{map[string]any{"place": "header", "name": "X-Token"}},
	}})
	a.post("/api/secret", map[string]any{"realm": "s", "key": "main", "fields": map[string]any{"token": "0123456789"}})
	b.get(b.proxy+"/any/s/main/x", http.StatusOK)

	status, body := call(t.Context(), http.MethodPost, a.admin+"/api/client", []byte(`{"id": "app", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["s"]}]}`))
	key := decode[struct{ Key string }](t, body).Key
	if status != http.StatusOK || key == "" {
		t.Fatalf("POST /api/client: %d %s", status, body)
	}
	b.neverLogs(func() []string { return []string{key} })
	kept := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer kept.CloseIdleConnections()
	answers := func() int {
		resp := asClient(t, kept, b.proxy+"/any/s/main/x", key)
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	eventually(t, "the other node knows the client", func() bool { return answers() == http.StatusOK })
	eventually(t, "the other node is closed", func() bool {
		status, _ := b.try(b.proxy + "/any/s/main/x")
		return status == http.StatusForbidden
	})
	stream := asClient(t, http.DefaultClient, b.proxy+"/any/s/main/stream", key)
	defer func() { _ = stream.Body.Close() }()
	if _, err := io.ReadFull(stream.Body, make([]byte, len("begin\n"))); err != nil {
		t.Fatal(err)
	}

	if status, body := call(t.Context(), http.MethodDelete, a.admin+"/api/client/app", []byte("{}")); status != http.StatusOK {
		t.Fatalf("DELETE: %d %s", status, body)
	}
	began := time.Now()
	_, _ = io.Copy(io.Discard, stream.Body)
	ended := time.Since(began)
	for answers() != http.StatusForbidden {
		if time.Since(began) > patience {
			t.Fatal("the key is still good on a kept connection")
		}
	}
	refused := time.Since(began)
	t.Logf("the stream ended after %s, and the kept connection was refused after %s", ended, refused)
	if ended > revokedWithin || refused > revokedWithin {
		t.Errorf("that is more than %s", revokedWithin)
	}
}
