package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
)

// TestGetAndRefreshCommands: get writes the token alone; refresh fetches another
// one and never shows it; whoever lacks the right learns which.
func TestGetAndRefreshCommands(t *testing.T) {
	withoutCredentials(t)
	p := newProvider(t)
	i := newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	api := "http://" + i.api
	token, stderr, err := tokens(t, "get", "p", "main", "--api", api)
	if err != nil || stderr != "" || strings.Count(token, "\n") != 1 || len(token) < 10 {
		t.Fatalf("%v %q %s", err, token, stderr)
	}
	token = strings.TrimSpace(token)
	if stdout, stderr, err := onTerminal(t, "get", "p", "main", "--api", api); err != nil || !strings.Contains(stdout, token) || !strings.HasPrefix(stderr, "warning: ") || strings.Contains(stderr, token) {
		t.Errorf("on a terminal: %v %q", err, stderr)
	}
	if stdout, _, err := tokens(t, "get", "p", "main", "--json", "--api", api); err != nil || !strings.Contains(stdout, `"token": "`+token) {
		t.Errorf("as JSON: %v %s", err, stdout)
	}
	for range 2 {
		stdout, stderr, err := tokens(t, "refresh", "p", "main", "--api", api)
		if err != nil || !strings.Contains(stdout, `"lineage": `) || strings.Contains(stdout+stderr, `"token"`) {
			t.Errorf("refresh: %v %s%s", err, stdout, stderr)
		}
	}
	if stdout, _, err := onTerminal(t, "refresh", "p", "main", "--api", api); err != nil || !strings.Contains(stdout, "p main has a new token; it expires in ") {
		t.Errorf("refresh: %v %s", err, stdout)
	}
	if now, _, _ := tokens(t, "get", "p", "main", "--api", api); strings.TrimSpace(now) == token {
		t.Error("the token is the same")
	}
	v := &clientVerbs{instance: i}
	key, _ := v.key("client", "add", "reader", "--allow", "use p")
	t.Setenv("TOKENS_API_TOKEN", key)
	for verb, right := range map[string]string{"get": "read", "refresh": "flush"} {
		if _, _, err := tokens(t, verb, "p", "main", "--api", api); err == nil || !strings.Contains(err.Error(), "it needs the right "+right) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// TestRefreshAllCommand: a bar on a terminal, lines elsewhere, and 1 where one
// failed or the answer was cut.
func TestRefreshAllCommand(t *testing.T) {
	withoutCredentials(t)
	var answer atomic.Value
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/secret" {
			_, _ = w.Write([]byte(`{"data": {"list": [{"realm": "jd", "key": "a"}], "total": 2}}`))
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write([]byte(answer.Load().(string)))
	})
	const well = `{"key": "a", "result": "ok"}` + "\n" + `{"key": "b", "result": "skipped", "reason": "fresh"}` + "\n" + `{"total": 2, "ok": 1, "skipped": 1, "failed": 0}` + "\n"
	const badly = `{"key": "a", "result": "failed", "reason": "no\u001b[2J"}` + "\n" + `{"total": 1, "ok": 0, "skipped": 0, "failed": 1}` + "\n"
	answer.Store(well)
	if stdout, _, err := tokens(t, "refresh-all", "jd", "--api", base); err != nil || stdout != well {
		t.Errorf("%v\n%s", err, stdout)
	}
	if stdout, _, err := onTerminal(t, "refresh-all", "jd", "--api", base); err != nil ||
		!strings.Contains(stdout, "["+strings.Repeat("#", 15)+strings.Repeat(".", 15)+"] 1 of 2\r["+strings.Repeat("#", 30)+"] 2 of 2\n1 renewed, 1 skipped, 0 failed\n1 skipped: fresh\n") {
		t.Errorf("%v\n%q", err, stdout)
	}
	answer.Store(`{"key": "a", "result": "skipped", "reason": "forbidden"}` + "\n" + `{"key": "b", "result": "skipped", "reason": "forbidden"}` + "\n" +
		`{"key": "c", "result": "skipped", "reason": "fresh\u001b"}` + "\n" + `{"total": 3, "ok": 0, "skipped": 3, "failed": 0}` + "\n")
	if stdout, _, err := onTerminal(t, "refresh-all", "jd", "--api", base); err != nil ||
		!strings.HasSuffix(stdout, "0 renewed, 3 skipped, 0 failed\n2 skipped: the caller may not renew them (right flush)\n1 skipped: fresh\\u001b\n") {
		t.Errorf("%v\n%q", err, stdout)
	}
	answer.Store(badly)
	if stdout, _, err := onTerminal(t, "refresh-all", "jd", "--api", base); err == nil || err.Error() != "1 of 1 tokens were not renewed" ||
		!strings.Contains(stdout, `failed: a: "no\x1b[2J"`) || strings.Contains(stdout, "\x1b") {
		t.Errorf("%v\n%q", err, stdout)
	}
	answer.Store(strings.SplitAfter(well, "\n")[0])
	if _, _, err := tokens(t, "refresh-all", "jd", "--api", base); !errors.Is(err, errRefreshCut) {
		t.Errorf("cut: %v", err)
	}
}

// TestRenewDueCommand: with on_demand nothing is due at first; what a timer would
// be told stands beside the realm. A configuration with a cron expression, which
// needs a loop, is refused.
func TestRenewDueCommand(t *testing.T) {
	withoutCredentials(t)
	p := newProvider(t)
	i := newInstance(t)
	const onDemand = "refresh {\n\ton_demand\n}\n"
	i.load(onDemand+p.realm("p", "inject query access_token\nkeep_warm"), proxyMain)
	api := "http://" + i.api
	const first = `{"realm":"p","key":"main","result":"ok"}` + "\n" + `{"total":1,"ok":1,"skipped":0,"failed":0}` + "\n"
	if stdout, _, err := tokens(t, "renew-due", "--api", api); err != nil || stdout != first {
		t.Errorf("a token that is kept warm, and that no loop fetched: %v\n%s", err, stdout)
	}
	if stdout, _, err := onTerminal(t, "renew-due", "--api", api); err != nil || !strings.Contains(stdout, "0 renewed, 1 skipped, 0 failed") {
		t.Errorf("%v\n%q", err, stdout)
	}
	refresh := &Refresh{OnDemand: true, Cron: "0 3 * * *"}
	if err := refresh.apply(new(broker.ViewConfig)); err == nil || !strings.Contains(err.Error(), "cron needs the loop") {
		t.Errorf("cron with on_demand: %v", err)
	}
}

// serveAuthorize is an API whose token becomes live when the link was asked for
// and live is set.
func serveAuthorize(t *testing.T) (base string, live *atomic.Bool) {
	t.Helper()
	withoutCredentials(t)
	live = new(atomic.Bool)
	return serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/secret/jd/acme/authorize":
			_, _ = w.Write([]byte(`{"url": "https://login.example/a?x=1&state=` + canary + `"}`))
		case "/api/session/link":
			_, _ = w.Write([]byte(`{"url": "http://localhost:1/#link=` + canary + `", "expires_in": 60}`))
		case "/api/watch":
			http.NotFound(w, r)
		default:
			if r.FormValue("realm") != "jd" || r.FormValue("key") != "acme" {
				t.Errorf("%s is asked for", r.URL)
			}
			state := `"state": "reauth_required", "lineage": 4`
			if live.Load() {
				state = `"state": "live", "lineage": 5`
			}
			_, _ = w.Write([]byte(`{"stores": [], "tokens": [{"realm": "jd", "key": "acme", ` + state + `}]}`))
		}
	}), live
}

// TestAuthorizeCommand: the link and its code are shown, the browser learns the
// link without anybody else, and the command ends when the token is live.
func TestAuthorizeCommand(t *testing.T) {
	base, live := serveAuthorize(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	browser := "#!/bin/sh\necho \"$@\" > " + bin + "/args\ncat \"$1\" > " + bin + "/page\n"
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(browser), 0o700); err != nil { // #nosec G306 -- a program
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := newPTY(t, 200)
	done := p.start(ctx, tokensCommand(), "authorize", "jd", "acme", "--open", "--api", base)
	p.await("waiting for the authorization")
	if screen := p.screen(); !strings.Contains(screen, "\nhttps://login.example/a?x=1&state=") || !strings.Contains(screen, "▄") {
		t.Errorf("the screen is\n%s", screen)
	}
	args, err := os.ReadFile(filepath.Join(bin, "args"))
	page, pageErr := os.ReadFile(filepath.Join(bin, "page"))
	if err != nil || pageErr != nil || leaks(string(args)) != nil || !strings.Contains(string(page), "url=https://login.example/a?x=1&amp;state="+canary) {
		t.Errorf("%v %v: the browser got %s and %s", err, pageErr, args, page)
	}
	live.Store(true)
	p.await("jd acme is authorized")
	cancel() // the page need not be kept any longer
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(strings.TrimSpace(string(args))); err == nil {
		t.Error("the page stays behind")
	}

	live.Store(false)
	stdout, stderr, err := tokens(t, "authorize", "jd", "acme", "--timeout", "1ms", "--api", base)
	if err == nil || err.Error() != "exiting with status 2" || !strings.HasPrefix(stdout, `{"url":"https://login.example/a?x=1&state=`) || !strings.Contains(stderr, "the link has ended") {
		t.Errorf("nobody authorizes: %v\n%s%s", err, stdout, stderr)
	}
	if stdout, _, err := tokens(t, "authorize", "jd", "acme", "--no-wait", "--api", base); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Errorf("--no-wait: %v %s", err, stdout)
	}
}

// TestConsoleCommand: the link is shown, and an instance without a console says so.
func TestConsoleCommand(t *testing.T) {
	base, _ := serveAuthorize(t)
	if stdout, _, err := onTerminal(t, "console", "--api", base); err != nil || !strings.Contains(stdout, "within 60 seconds; it is good once:\n\nhttp://localhost:1/#link="+canary+"\n") {
		t.Errorf("%v %s", err, stdout)
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := tokens(t, "console", "--open", "--api", base); !errors.Is(err, errNoBrowser) || leaks(err.Error()) != nil {
		t.Errorf("no browser: %v", err)
	}
	withoutConsole := serveAPI(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"code": "not_found", "detail": "nothing"}`))
	})
	if _, _, err := tokens(t, "console", "--api", withoutConsole); err == nil || !strings.Contains(err.Error(), "token_console") {
		t.Errorf("none: %v", err)
	}
}

// TestManualPages: Caddy makes a page of each verb; every one has its arguments,
// its exit statuses and what it reads.
func TestManualPages(t *testing.T) {
	root := &cobra.Command{Use: "caddy"}
	root.AddCommand(tokensCommand())
	root.DisableAutoGenTag = true
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if !cmd.Runnable() || !strings.HasPrefix(cmd.CommandPath(), "caddy tokens ") || cmd.Name() == "help" {
			return
		}
		at := time.Unix(0, 0)
		var page strings.Builder
		if err := doc.GenMan(cmd, &doc.GenManHeader{Title: "Caddy", Section: "8", Date: &at}, &page); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(page.String(), `\-`, "-")
		for _, argument := range []string{"REALM", "KEY", "ID", "FIELD"} {
			if strings.Contains(cmd.Use, " "+argument) && !strings.Contains(text, " "+argument) {
				t.Errorf("%s: its page lacks the argument %s", cmd.CommandPath(), argument)
			}
		}
		if words := regexp.MustCompile(`<\w+>`).FindString(cmd.Use + cmd.Long); words != "" {
			t.Errorf("%s: the page loses %s, as if it were HTML", cmd.CommandPath(), words)
		}
		if !strings.Contains(strings.ToLower(text), "exit status") {
			t.Errorf("%s: its page does not name the exit statuses", cmd.CommandPath())
		}
		if cmd.Flags().Lookup("api") != nil && (!strings.Contains(text, "TOKENS_API") || !strings.Contains(text, "tokens.admin")) {
			t.Errorf("%s: its page lacks the environment or the files", cmd.CommandPath())
		}
	}
	walk(root)
}
