package caddymodule

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// leaks finds the canary in a text, also encoded.
func leaks(text string) []string {
	forms := map[string]string{"plain": canary, "hex": hex.EncodeToString([]byte(canary))}
	for shift := range 3 { // base64 reads three bytes at a time
		padded := base64.RawStdEncoding.EncodeToString([]byte("xx"[:min(shift, 2)] + canary))
		forms[fmt.Sprintf("base64 at %d", shift)] = padded[2*shift : len(padded)-2]
	}
	var found []string
	for name, form := range forms {
		if strings.Contains(text, form) {
			found = append(found, name)
		}
	}
	return found
}

// TestNothingLeaks drives every path at DEBUG, with secrets that begin with a
// canary, and looks for it wherever somebody else may read.
func TestNothingLeaks(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
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
			p.realm("h", "inject header X-Access-Token\nshared {\nx {file."+key+"}\n}\nhosts 127.0.0.1:1"))
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
		"/p/x?access_token=mine", "/p/cut", "/p/dead", "/p/dead", "/any/p/main/x", "/any/lapsed/main/x", "/any/nope/x/y", "/h/x",
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
	answers += i.call(http.MethodGet, "/api/token?realm=db&key=k&flush=true", "").body
	answers += i.get("/any/db/k/x").body
	answers += i.get("/admin/api/realm", "Authorization", "Bearer "+canary+"-admin").body
	i.get("/admin/x", "Authorization", "Bearer "+canary+"-admin")
	i.load(tokens+"\nallow_private 127.0.0.1", site) // and once more with another configuration

	autosave, err := os.ReadFile(caddy.ConfigAutosavePath)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"/metrics": i.metrics(), "the log": i.log(), "answers": answers, "autosave.json": string(autosave), "/config/": i.do(http.MethodGet, "http://"+i.config+"/config/", "").body,
	} {
		if found := leaks(text); found != nil {
			t.Errorf("%s shows a secret (%v):\n%s", name, found, around(text))
		}
	}
	if !strings.Contains(i.log(), "upstream roundtrip") || !strings.Contains(string(autosave), "env.TOKENS_TEST_SECRET") {
		t.Error("the places that were searched are not those that are written to")
	}
	for _, prefix := range []string{"", "a", "ab", "abc"} {
		if leaks(base64.StdEncoding.EncodeToString([]byte(prefix+canary+"-x"))) == nil || leaks(prefix+canary) == nil {
			t.Error("the search finds nothing at all")
		}
	}
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
