package caddymodule

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// healthSite has everything in front of its handlers that asks for a password.
const healthSite = `token_health
	log_skip /readyz
	basic_auth {
		alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
	}
	respond next 418`

func TestHealth(t *testing.T) {
	i := newInstance(t)
	i.load("", healthSite)
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{http.MethodGet, "/healthz", 200, "ok"},
		{http.MethodHead, "/healthz", 200, ""},
		{http.MethodGet, "/readyz", 200, "ready"},
		{http.MethodHead, "/readyz", 200, ""},
		{http.MethodGet, "/readyz?verbose", 200, "ready"},
		{http.MethodPost, "/readyz", 405, "method not allowed"},
		{http.MethodGet, "/readyz/", 401, ""},
		{http.MethodGet, "/healthz/x", 401, ""},
		{http.MethodGet, "/", 401, ""},
	} {
		a := i.do(c.method, "http://"+i.host+c.path, "")
		if a.StatusCode != c.status || a.body != c.body {
			t.Errorf("%s %s: %s %q", c.method, c.path, a.Status, a.body)
		}
		if kind := a.Header.Get("Content-Type"); c.status == 200 && (!strings.HasPrefix(kind, "text/plain") || a.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%s %s: %v", c.method, c.path, a.Header)
		}
		if allow := a.Header.Get("Allow"); c.status == 405 && allow != "GET, HEAD" {
			t.Errorf("allow %q", allow)
		}
	}
}

// While the disk is full nothing can be saved: the node is not ready, and the
// status says so, though everything can be read.
func TestReadyOnAFullDisk(t *testing.T) {
	i := newInstance(t)
	i.load("", healthSite)
	i.get("/readyz")
	lift := testserver.LimitFiles(t, 0, 1)
	var ready, healthy, status answer
	waitFor(t, "it is noticed", func() bool { ready = i.get("/readyz"); return ready.StatusCode != http.StatusOK })
	healthy, status = i.get("/healthz"), i.call(http.MethodGet, "/api/status", "")
	lift() // nothing can be logged before
	if ready.StatusCode != http.StatusServiceUnavailable || ready.body != "not ready" || healthy.StatusCode != http.StatusOK {
		t.Errorf("%s %q, %s", ready.Status, ready.body, healthy.Status)
	}
	var shown struct {
		Stores []struct{ OK bool }
	}
	if err := json.Unmarshal([]byte(status.body), &shown); err != nil || len(shown.Stores) != 1 || shown.Stores[0].OK {
		t.Errorf("%v: the status of a database that cannot be written: %s", err, status.body)
	}
	waitFor(t, "there is room again", func() bool { return i.get("/readyz").StatusCode == http.StatusOK })
	waitFor(t, "the log tells", func() bool { return strings.Contains(i.log(), "ready again") })
}

// A server that is about to end serves what still comes, and is not ready.
func TestReadyWhileShuttingDown(t *testing.T) {
	i := newInstance(t)
	i.global = "shutdown_delay 3s"
	i.load("", healthSite)
	if a := i.get("/readyz"); a.StatusCode != http.StatusOK {
		t.Fatal(a.Status)
	}
	ended := make(chan error, 1)
	go func() { ended <- caddy.Stop() }()
	waitFor(t, "it is not ready", func() bool {
		a, err := try(http.MethodGet, "http://"+i.host+"/readyz", "")
		if err != nil {
			t.Fatalf("it ended without a word: %v", err)
		}
		return a.StatusCode == http.StatusServiceUnavailable
	})
	if a, err := try(http.MethodGet, "http://"+i.host+"/healthz", ""); err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("%v %v", a.Response, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever asks during reloads is never told that the node is not ready: the
// configuration before serves until the new one does.
func TestReadyDuringReloads(t *testing.T) {
	i := newInstance(t)
	i.load("", healthSite)
	over, asked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { asked <- n }()
		for {
			select {
			case <-over:
				return
			default:
			}
			if a, err := try(http.MethodGet, "http://"+i.host+"/readyz", ""); err == nil { // Caddy drops some connections
				n++
				if a.StatusCode != http.StatusOK {
					t.Errorf("during a reload: %s %s", a.Status, a.body)
				}
			}
		}
	}()
	for n := range 10 {
		i.load("", strings.Replace(healthSite, "next", strings.Repeat("n", n+1), 1))
	}
	close(over)
	if n := <-asked; n < 10 {
		t.Errorf("asked %d times: the test proves nothing", n)
	}
}

// Before the start has finished nobody is served, though the store can be used.
func TestNotReadyBeforeTheStart(t *testing.T) {
	store, _, err := storeSettings{path: filepath.Join(t.TempDir(), "tokens.db")}.store(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	l := &lasting{pool: broker.New(store, zap.NewNop(), nil)}
	defer func() { _ = l.pool.Destruct() }()
	if err := l.pool.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := &Health{app: &App{pool: l.pool, started: &l.started}}
	if h.isReady(t.Context()) {
		t.Error("ready before the start")
	}
	l.started.Add(1)
	if !h.isReady(t.Context()) {
		t.Error("not ready after the start")
	}
}
