package caddymodule

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestNothingLeaks drives every path at DEBUG, with secrets that begin with a
// canary, and looks for it wherever somebody else may read.
func TestNothingLeaks(t *testing.T) {
	p, i, stderr := newProvider(t), newInstance(t), captureStderr(t)
	quoting := newQuotingProvider(t)
	i.config = freeAddress(t)
	var kept atomic.Int64 // requests with what the provider said
	p.api = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/"+canary+"-base/x" && r.Header.Get("X-User") == canary+"-user" {
			w.Header().Set("X-Reflected", r.Header.Get("X-User"))
			kept.Add(1)
			return
		}
		w.Header().Set("X-Reflected", r.URL.RawQuery+r.Header.Get("X-Access-Token"))
		w.Header().Set("Link", "<"+r.URL.String()+">; rel=next")
		switch r.URL.Path {
		case "/cut":
			panic(http.ErrAbortHandler)
		case "/dead":
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	key := filepath.Join(i.dir, "secret")
	writeFile(t, key, canary+"-from-a-file\n")
	t.Setenv("TOKENS_TEST_SECRET", canary+"-from-the-environment")
	t.Setenv("TOKENS_TEST_REFRESH", canary+"-refresh")
	t.Setenv("TOKENS_TEST_ADMIN", canary+"-admin")
	tokens := strings.NewReplacer(canary+"-secret", "{env.TOKENS_TEST_SECRET}", canary+"-refresh", "{env.TOKENS_TEST_REFRESH}").Replace(
		p.realm("p", "inject query access_token\nrenew_on status 401") + p.lapsed("lapsed") +
			p.realm("h", "inject header X-Access-Token\nshared {\nx {file."+key+"}\n}\nhosts 127.0.0.1:1") +
			p.keeping("kept") + p.realm(planted, "inject query access_token"))
	site := proxyMain + `
		handle_path /h/* {
			token_proxy {
				realm h
				key main
			}
		}
		handle_path /admin/* {
			token_admin {
				admin_token {env.TOKENS_TEST_ADMIN}
			}
		}`
	i.load(tokens, site)
	answers := ""
	for _, path := range []string{
		"/p/x?access_token=mine", "/p/cut", "/p/dead", "/p/dead", "/any/p/main/x", "/any/lapsed/main/x", "/any/nope/x/y", "/h/x", "/any/kept/main/x", "/any/" + planted + "/main/x", "/any/" + planted + "-nope/main/x",
	} {
		a := i.get(path)
		answers += fmt.Sprintln(a.Header) + a.body
	}
	if got := p.fetches.Load(); got < 4 {
		t.Errorf("%d token requests: there was no other token, or no refresh", got)
	}
	p.down.Store(true)
	i.must(http.MethodPost, "/api/realm", p.post("db", inQuery))
	i.must(http.MethodPost, "/api/secret", `{"realm": "db", "key": "k", "key_1": "`+canary+`-posted"}`)
	i.call(http.MethodPost, "/api/realm", `{"id": "`+canary)
	answers += i.must(http.MethodGet, "/api/secret/db/k", "") + i.must(http.MethodGet, "/api/realm", "") + i.must(http.MethodGet, "/api/status", "")
	answers += i.call(http.MethodPost, "/api/realm/db/test", `{"key": "k"}`).body
	for _, realm := range []string{"p", "kept", "h"} {
		for _, path := range []string{"/x", "/cut", "/dead"} {
			answers += i.call(http.MethodPost, "/api/realm/"+realm+"/test", `{"key": "main", "call": {"method": "GET", "path": "`+path+`"}}`).body
		}
	}
	answers += i.call(http.MethodGet, "/api/token?realm=db&key=k&flush=true", "").body
	answers += i.get("/any/db/k/x").body
	answers += i.get("/admin/api/realm", "Authorization", "Bearer "+canary+"-admin").body
	i.get("/admin/x", "Authorization", "Bearer "+canary+"-admin")
	i.load(tokens+"\nallow_private 127.0.0.1", site) // and once more with another configuration
	a := i.get("/any/kept/main/x")
	answers += fmt.Sprintln(a.Header) + a.body

	// A provider that quotes the secret in its refusals, in another form each time.
	i.must(http.MethodPost, "/api/realm", `{"id": "quoting", "config": {"api": "`+quoting+`", "url": "`+quoting+`", "method": "POST", "content_type": "form",
		"arguments": [{"name": "secret", "place": "body", "value": "$key_1"}], "token_path": "t", "allow_http": true, "inject": [{"place": "url", "name": "t"}]}}`)
	// And one that quotes the token of a parent.
	i.must(http.MethodPost, "/api/realm", `{"id": "parent", "config": {"grant": {"name": "static"}, "api": "`+quoting+`", "allow_http": true, "default_key": "k0"}}`)
	i.must(http.MethodPost, "/api/realm", `{"id": "child", "config": {"url": "`+quoting+`", "method": "POST", "content_type": "form", "allow_http": true, "token_path": "t",
		"arguments": [{"name": "secret", "place": "body", "value": "{token_of.parent}"}]}}`)
	for n := range quotings {
		key := fmt.Sprint("k", n)
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "parent", "key": %q, "fields": {"token": "%s-quoted-%d"}}`, key, canary, n))
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "child", "key": %q, "fields": {"parent": %q}}`, key, key))
		quoted := i.call(http.MethodPost, "/api/realm/child/test", `{"key": "`+key+`"}`).body
		if !strings.Contains(quoted, "quoted by the provider") {
			t.Errorf("the child of %s was not asked: %s", key, quoted)
		}
		answers += quoted + i.call(http.MethodGet, "/api/token?realm=child&key="+key, "").body
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "quoting", "key": %q, "key_1": "%s-quoted-%d"}`, key, canary, n))
		answers += i.get("/any/quoting/"+key+"/x").body + i.call(http.MethodGet, "/api/token?realm=quoting&key="+key, "").body
		answers += i.call(http.MethodPost, "/api/realm/quoting/test", `{"key": "`+key+`"}`).body
	}
	status := i.must(http.MethodGet, "/api/status", "")
	if strings.Count(answers, "quoted by the provider") < len(quotings) || !strings.Contains(status, "quoted by the provider") {
		t.Error("the provider's words are not in the dry run or the status")
	}
	if kept.Load() == 0 {
		t.Error("what is kept with a token was not sent")
	}
	i.plant()
	all := i.sinks(key)
	all["answers"], all["start errors"] = answers, i.startErrors()
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, canary)
	if !strings.Contains(i.log(), "upstream roundtrip") || !strings.Contains(all["autosave.json"], "env.TOKENS_TEST_SECRET") {
		t.Error("the places that were searched are not those that are written to")
	}
}

// quotings are what the provider does to a secret before it quotes it.
var quotings = []func(string) string{
	func(s string) string { return s },
	strings.ToUpper,
	func(s string) string { return s[:5] + "\x00" + s[5:] },
	func(s string) string { return s[:5] + "\u200b" + s[5:] },
	func(s string) string { return s[:5] + "\ufffd" + s[5:] },
	func(s string) string { return s[:5] + "\u00ad" + s[5:] },
	func(s string) string { return s[:5] + "\r\n" + s[5:] },
	func(s string) string { return hex.EncodeToString([]byte(s)) },
	func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x:" + s)) },
	func(s string) string { return strings.ReplaceAll(fmt.Sprintf("% X", s), " ", "%25") },
	func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "&#%d;", c)
		}
		return b.String()
	},
	func(s string) string { return strings.ReplaceAll(fmt.Sprintf(" % x", s), " ", `\u00`) },
}

// newQuotingProvider is a token endpoint that quotes the secret, whose number
// says how.
func newQuotingProvider(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, n := r.FormValue("secret"), 0
		_, _ = fmt.Sscanf(secret, canary+"-quoted-%d", &n)
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "quoted by the provider: " + quotings[n](secret)})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// around is the part of a text that shows the first leak.
func around(text string) string {
	at := max(strings.Index(text, canary), 0)
	return text[max(at-300, 0):min(at+100, len(text))]
}

// FuzzAdapt: whatever stands in a Caddyfile, adapting it neither panics nor
// makes JSON that the app does not read.
func FuzzAdapt(f *testing.F) {
	f.Fuzz(func(t *testing.T, tokens string) {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n\ttokens {\n"+tokens+"\n\t}\n}\n"), nil)
		if err != nil {
			return
		}
		var cfg struct {
			Apps struct{ Tokens json.RawMessage }
		}
		if err := json.Unmarshal(out, &cfg); err != nil || cfg.Apps.Tokens == nil {
			return // the text closed the block by itself
		}
		app := new(App)
		if err := caddy.StrictUnmarshalJSON(cfg.Apps.Tokens, app); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
