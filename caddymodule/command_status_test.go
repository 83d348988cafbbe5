package caddymodule

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	storeOK      = `"stores": [{"name": "sqlite", "ok": true}], "clients": {}`
	liveToken    = `{"realm": "crm", "key": "main", "state": "live", "lineage": 3, "expires_at": "2999-01-01T00:00:00Z", "fetches": 1}`
	reauthToken  = `{"realm": "jd", "key": "acme", "state": "reauth_required", "fetches": 1}`
	failingToken = `{"realm": "wx", "key": "主", "state": "failing", "last_error": "no\u001b[2J", "fetches": 1}`
)

// serveStatus is an API with a status that can be changed.
func serveStatus(t *testing.T) (base string, status *atomic.Value) {
	t.Helper()
	withoutCredentials(t)
	status = new(atomic.Value)
	return serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/status" {
			t.Errorf("%s is asked for", r.URL)
		}
		_, _ = w.Write([]byte(status.Load().(string)))
	}), status
}

// TestStatusCommand: what needs a person ends with 1, and is seen.
func TestStatusCommand(t *testing.T) {
	base, status := serveStatus(t)
	for name, c := range map[string]struct {
		status string
		args   []string
		ok     bool
		shows  []string
		hides  string
	}{
		"well":    {`{` + storeOK + `, "tokens": [` + liveToken + `]}`, nil, true, []string{"store sqlite works\nREALM  KEY   STATE  EXPIRES IN  RENEWED IN  NOTE\ncrm    main  live   "}, ""},
		"nothing": {`{` + storeOK + `, "tokens": []}`, nil, true, []string{"no token is known yet"}, ""},
		"reauth":  {`{` + storeOK + `, "tokens": [` + liveToken + `,` + reauthToken + `]}`, nil, false, []string{"reauth_required  -", "caddy tokens authorize jd acme"}, ""},
		"failing": {`{` + storeOK + `, "tokens": [` + failingToken + `]}`, nil, false, []string{"wx     主   failing  -", `"no\x1b[2J"`}, "\x1b"},
		"another": {`{` + storeOK + `, "tokens": [` + liveToken + `,` + reauthToken + `]}`, []string{"--realm", "crm"}, true, []string{"crm"}, "jd"},
		"store":   {`{"stores": [{"name": "redis", "ok": false, "error": "refused"}], "clients": {}, "tokens": []}`, nil, false, []string{"store redis does not work: refused"}, ""},
		"damaged": {`{` + storeOK + `, "damaged": [{"kind": "secret", "realm": "crm", "key": "main"}], "tokens": []}`, nil, false, []string{"damaged: secret crm main"}, ""},
	} {
		status.Store(c.status)
		args := append([]string{"status", "--api", base}, c.args...)
		stdout, stderr, err := onTerminal(t, args...)
		if (err == nil) != c.ok || stderr != "" {
			t.Errorf("%s: %v %s", name, err, stderr)
		}
		for _, want := range c.shows {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: %q is not shown:\n%s", name, want, stdout)
			}
		}
		if c.hides != "" && strings.Contains(stdout, c.hides) {
			t.Errorf("%s: %q is shown:\n%s", name, c.hides, stdout)
		}
		stdout, _, err = tokens(t, args...)
		if (err == nil) != c.ok || !strings.HasPrefix(stdout, "{\n") || strings.Contains(stdout, "\x1b") {
			t.Errorf("%s, as JSON: %v %s", name, err, stdout)
		}
	}
	status.Store(`{"hello": 1}`)
	if _, _, err := tokens(t, "status", "--api", base); err == nil || !strings.Contains(err.Error(), "not the API") {
		t.Errorf("another server: %v", err)
	}
}

// TestStatusWatch: the screen follows the instance until it is interrupted, and
// the exit status is that of the last look.
func TestStatusWatch(t *testing.T) {
	base, status := serveStatus(t)
	status.Store(`{` + storeOK + `, "tokens": [` + liveToken + `]}`)
	p := newPTY(t, 120)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := p.start(ctx, tokensCommand(), "status", "--watch", "--api", base)
	p.await("live")
	status.Store(`{` + storeOK + `, "tokens": [` + reauthToken + `]}`)
	p.await("reauth_required")
	cancel()
	if err := <-done; err == nil || err.Error() != errAttention.Error() {
		t.Errorf("it ends with %v", err)
	}
}

// TestReady: 0 exactly where /readyz at the same address is 200, and no credential
// is sent there.
func TestReady(t *testing.T) {
	withoutCredentials(t)
	t.Setenv("TOKENS_API_TOKEN", canary)
	var answer atomic.Int64
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x/readyz" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if status := int(answer.Load()); status > 0 {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("ready"))
			return
		}
		<-r.Context().Done() // it hangs
	}) + "/x"
	for status, want := range map[int]string{200: "", 204: "status 204", 302: "status 302", 404: "token_health", 503: "not ready", 0: "does not answer"} {
		answer.Store(int64(status))
		began := time.Now()
		stdout, stderr, err := tokens(t, "status", "--ready", "--api", base)
		if (err == nil) != (want == "") || stdout != "" || err == nil && stderr != "" || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v %s%s", status, err, stdout, stderr)
		}
		if took := time.Since(began); took > 3*readyPatience {
			t.Errorf("%d: it took %s", status, took)
		}
	}
	if _, _, err := tokens(t, "status", "--ready", "--api", "http://127.0.0.1:1"); err == nil {
		t.Error("nobody is ready")
	}
}

func TestInTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	for want, left := range map[string]time.Duration{
		"now": -time.Second, "5s": 5 * time.Second, "7m05s": 7*time.Minute + 5*time.Second, "1h59m": 2*time.Hour - time.Second, "47h00m": 47 * time.Hour, "3d": 73 * time.Hour,
	} {
		at := now.Add(left)
		if got := inTime(&at, now); got != want {
			t.Errorf("%s: %q, want %q", left, got, want)
		}
	}
	if got := inTime(nil, now); got != "-" {
		t.Errorf("none: %q", got)
	}
}
