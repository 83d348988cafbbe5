package test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
)

// What one node changes is told to those who watch another one, within about a
// second and a half, with Redis and without it.
func TestWatchOfAnotherNode(t *testing.T) {
	f := launchFleet(t, fleetOptions{nodes: 2, provider: fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"},
	}})
	a, b := f.members[0], f.members[1]
	a.post("/api/realm", wechatRealm("wx", f.base))
	a.post("/api/secret", map[string]any{"realm": "wx", "key": "main", "key_1": "app", "key_2": "app-secret-01"})
	lines := watchTokens(t, b.admin)
	lineage := 0
	hears := func(what string, limit time.Duration, change func() string) {
		t.Helper()
		began := time.Now()
		want := "data: " + change()
		for line := range lines {
			if line == want {
				if took := time.Since(began); took > limit {
					t.Errorf("%s: heard after %s", what, took)
				} else {
					t.Logf("%s: heard after %s", what, took)
				}
				return
			}
		}
		t.Fatalf("%s: the stream ended without %s", what, want)
	}
	flush := func() string {
		a.post("/api/token", map[string]any{"realm": "wx", "key": "main", "flush": true})
		lineage++
		return fmt.Sprintf(`{"realm":"wx","key":"main","lineage":%d,"state":"live"}`, lineage)
	}
	// The limits leave room for machines that have other things to do.
	hears("a first token", 5*time.Second, flush)
	if got := b.token("wx", "main").Token; got != f.provider.Newest() {
		t.Error("the other node has another token")
	}
	hears("the next one", 5*time.Second, flush)
	for _, m := range f.members {
		m.toCache.Set(faultproxy.Faults{Cut: true})
	}
	hears("without Redis", 10*time.Second, flush)
	hears("a deleted realm", 10*time.Second, func() string {
		if status, body := call(t.Context(), http.MethodDelete, a.admin+"/api/realm/wx?cascade=true", nil); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return `{"realm":"wx","lineage":0,"state":"deleted"}`
	})
}

// watchTokens reads the stream of a node, without the lines that are empty or comments,
// until the test ends.
func watchTokens(t *testing.T, admin string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/api/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if line := s.Text(); line != "" && !strings.HasPrefix(line, ":") {
				lines <- line
			}
		}
	}()
	if line := <-lines; line != "event: ready" {
		t.Fatalf("%q", line)
	}
	return lines
}
