package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
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
		switch r.URL.Path {
		case "/api/watch", "/api/realm/nobody":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code": "realm_not_found", "detail": "there is none"}`))
		case "/api/status":
			writeStatus(t, w, r, status.Load().(string))
		case "/api/realm": // what may have been meant
			_, _ = io.WriteString(w, `{"data": {"list": [], "total": 0}}`)
		default:
			t.Errorf("%s is asked for", r.URL)
		}
	}), status
}

// writeStatus answers with the tokens of the realm that is asked for, in pages of two
// at most.
func writeStatus(t *testing.T, w http.ResponseWriter, r *http.Request, status string) {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(status), &document); err != nil {
		t.Error(err)
	}
	list, _ := document["tokens"].([]any)
	if realmID := r.FormValue("realm"); realmID != "" {
		list = slices.DeleteFunc(list, func(v any) bool { return v.(map[string]any)["realm"] != realmID })
	}
	document["total"] = len(list)
	page, _ := strconv.Atoi(r.FormValue("page"))
	begin := min(2*max(0, page-1), len(list))
	document["tokens"] = list[begin:min(begin+2, len(list))]
	_ = json.NewEncoder(w).Encode(document)
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
	status.Store(`{` + storeOK + `, "tokens": [` + strings.Repeat(liveToken+",", 4) + reauthToken + `]}`)
	if stdout, _, err := tokens(t, "status", "--api", base); err == nil || strings.Count(stdout, `"realm":`) != 5 || strings.Contains(stdout, "total") {
		t.Errorf("several pages: %v\n%s", err, stdout)
	}
	if _, _, err := tokens(t, "status", "--realm", "nobody", "--api", base); err == nil || !strings.Contains(err.Error(), "realm list shows which there are") {
		t.Errorf("an unknown realm: %v", err)
	}
	status.Store(`{"hello": 1}`)
	if _, _, err := tokens(t, "status", "--api", base); err == nil || !strings.Contains(err.Error(), "not the API") {
		t.Errorf("another server: %v", err)
	}
}

// TestStatusWatch: the screen follows the instance until it is interrupted, and
// the exit status is that of the last look. The instance has no stream.
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

// TestStatusFollows: the instance is asked when its stream tells of something, and
// not without it; a program gets a line for each change and none beside. When the
// stream ends, it is opened again.
func TestStatusFollows(t *testing.T) {
	withoutCredentials(t)
	status, events := new(atomic.Value), make(chan string)
	var asked, opened atomic.Int64
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/status" {
			asked.Add(1)
			writeStatus(t, w, r, status.Load().(string))
			return
		}
		if r.URL.Path != "/api/watch" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		opened.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		for event := "event: ready\ndata: {}\n\n"; event != ""; {
			_, _ = io.WriteString(w, event)
			w.(http.Flusher).Flush()
			select {
			case event = <-events:
			case <-r.Context().Done():
				return
			}
		}
	})
	states := []string{
		`{` + storeOK + `, "tokens": [` + liveToken + `]}`,
		`{` + storeOK + `, "tokens": [` + liveToken + `, ` + failingToken + `]}`,
		`{` + storeOK + `, "tokens": [` + liveToken + `, ` + reauthToken + `]}`,
	}
	status.Store(states[0])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := tokensCommand()
	reader, writer := io.Pipe()
	cmd.SetOut(writer)
	cmd.SetErr(io.Discard)
	cmd.SetArgs([]string{"status", "--watch", "--api", base})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	lines := json.NewDecoder(reader)
	line := func(want string) {
		t.Helper()
		var got json.RawMessage
		if err := lines.Decode(&got); err != nil || !strings.Contains(string(got), want) {
			t.Fatalf("%v: %s; want %s", err, got, want)
		}
	}
	line(`"live"`)
	waitFor(t, "another look when the stream is ready", func() bool { return asked.Load() >= 2 })
	status.Store(states[1]) // until now nothing changed, and no line comes
	events <- "data: {}\n\n"
	line(`"failing"`)
	status.Store(states[2])
	events <- "" // the stream ends; that of a restarted instance says more
	line(`"reauth_required"`)
	waitFor(t, "the stream to be opened again", func() bool { return opened.Load() >= 2 })
	cancel()
	if err := <-done; err == nil || err.Error() != errAttention.Error() {
		t.Errorf("it ends with %v", err)
	}
}

// TestStatusWatchOfNobody: that an instance is down is said once, and once more after it
// was up in between.
func TestStatusWatchOfNobody(t *testing.T) {
	withoutCredentials(t)
	const looks = 2 // each time it is down
	var asked atomic.Int64
	var isUp atomic.Bool
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/api/status":
			http.NotFound(w, r)
		case isUp.Load():
			writeStatus(t, w, r, `{`+storeOK+`, "tokens": [`+liveToken+`]}`)
		default:
			asked.Add(1)
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := tokensCommand()
	reader, writer := io.Pipe()
	var notes strings.Builder
	cmd.SetOut(writer)
	cmd.SetErr(&notes)
	cmd.SetArgs([]string{"status", "--watch", "--api", base})
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	waitFor(t, "looks at an instance that is down", func() bool { return asked.Load() >= looks })
	isUp.Store(true)
	var line json.RawMessage
	if err := json.NewDecoder(reader).Decode(&line); err != nil {
		t.Fatal(err)
	}
	isUp.Store(false)
	waitFor(t, "more looks", func() bool { return asked.Load() >= 2*looks })
	cancel()
	if err := <-done; err == nil {
		t.Error("it ends without the error of the last look")
	}
	said, _, _ := strings.Cut(notes.String(), "Error: ") // what it ends with
	if n := strings.Count(said, "status 502"); n != 2 {
		t.Errorf("it is said %d times:\n%s", n, &notes)
	}
}

// TestStatusFits: a page of --watch holds what a small screen shows, what needs a
// person first.
func TestStatusFits(t *testing.T) {
	base, status := serveStatus(t)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	var list []string
	for n := range 100 {
		list = append(list, fmt.Sprintf(`{"realm": "crm", "key": "k%d", "state": "live"}`, n))
	}
	status.Store(`{` + storeOK + `, "tokens": [` + strings.Join(append(list, reauthToken), ",") + `]}`)
	p := newPTY(t, 120) // of 40 lines
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := p.start(ctx, tokensCommand(), "status", "--watch", "--api", base)
	p.await("more; --realm")
	page, _, _ := strings.Cut(p.screen(), "more; --realm")
	if lines := strings.Count(page, "\n") + 1; lines > 39 || lines < 20 || !strings.Contains(page, "authorize jd acme") || !strings.HasPrefix(page, "\x1b[H\x1b[2J") {
		t.Errorf("%d lines:\n%s", lines, page)
	}
	cancel()
	<-done
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
