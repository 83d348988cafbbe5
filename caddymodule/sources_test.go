package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// wechat is a simulated provider whose app "app" has the secret canary-right, and a
// realm for it whose appsecret is what value says.
type wechat struct {
	*fakeprovider.Provider
	base string
}

func newWeChat(t *testing.T) *wechat {
	p := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": canary + "-right"}, API: http.HandlerFunc(echo),
	})
	return &wechat{p, p.Start(t)}
}

func (w *wechat) realm(value string) string {
	return w.sharing(`secret main {
				appid app
				appsecret ` + value + `
			}`)
}

func (w *wechat) sharing(rest string) string { return wechatRealm(w.base, rest) }

// putFile replaces a file as a careful program does: by another one.
func putFile(t *testing.T, path, content string) {
	t.Helper()
	writeFile(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// What was refused with the old secret is tried with the new one as soon as its file
// has changed: no reload, no wait for the end of the failure, and one call. The
// failure of a refused secret lasts for a minute at least.
func TestRefusedSecretIsReadAgain(t *testing.T) {
	for name, value := range map[string]string{
		"placeholder": "{file.%s}", "within a text": canary + "-{file.%s}", "source": "source file %s",
	} {
		t.Run(name, func(t *testing.T) {
			w, i := newWeChat(t), newInstance(t)
			path := filepath.Join(t.TempDir(), "appsecret")
			wrong, right := canary+"-wrong\n", canary+"-right\n"
			if strings.HasPrefix(value, canary) {
				wrong, right = "wrong\n", "right\n"
			}
			writeFile(t, path, wrong)
			i.load(w.realm(fmt.Sprintf(value, path)), proxyMain)
			for range 3 {
				if a := i.get("/p/x"); a.StatusCode == http.StatusOK {
					t.Fatalf("%s\n%s", a.Status, a.body)
				}
			}
			if n := w.Fetches(); n != 1 {
				t.Fatalf("%d calls with the wrong secret", n)
			}
			putFile(t, path, right)
			if a := i.get("/p/x"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, w.Newest()) {
				t.Errorf("%s\n%s", a.Status, a.body)
			}
			if n := w.Fetches(); n != 2 {
				t.Errorf("%d calls instead of 2", n)
			}
		})
	}
}

// Nobody has to call: the change itself has the refused secret tried.
func TestRefusedSecretIsTriedByItself(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	path := filepath.Join(t.TempDir(), "appsecret")
	writeFile(t, path, canary+"-wrong")
	i.load(w.realm("{file."+path+"}"), proxyMain)
	i.get("/p/x")
	putFile(t, path, canary+"-right")
	waitFor(t, "a token without a request", func() bool { return w.Newest() != "" })
	waitFor(t, "a live token", func() bool { return strings.Contains(i.must(http.MethodGet, "/api/status", ""), `"state":"live"`) })
	if a := i.get("/p/x"); a.StatusCode != http.StatusOK || w.Fetches() != 2 {
		t.Errorf("%s, %d calls instead of 2\n%s", a.Status, w.Fetches(), a.body)
	}
}

// Kubernetes mounts a secret as links to links, and swaps the one of the directory.
func TestKubernetesSwapsALink(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	dir := t.TempDir()
	publish := func(version, secret string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, version, "appsecret"), secret)
		if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", canary+"-wrong")
	if err := os.Symlink("..data/appsecret", filepath.Join(dir, "appsecret")); err != nil {
		t.Fatal(err)
	}
	i.load(w.realm("source file "+filepath.Join(dir, "appsecret")), proxyMain)
	i.get("/p/x")
	publish("..2", canary+"-right")
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a token by the watch alone", func() bool { return w.Newest() != "" })
	w.SetSecret("app", canary+"-next")
	publish("..3", canary+"-next")
	waitFor(t, "a token with the next secret", func() bool {
		a := i.get("/p/x")
		return a.StatusCode == http.StatusOK && len(w.Issued()) == 2
	})
	if n := w.Fetches(); n != 3 {
		t.Errorf("%d calls instead of 3", n)
	}
}

// A field of the realm changes for all of its secrets, those of the API as well.
func TestSharedFieldIsReadAgain(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	path := filepath.Join(t.TempDir(), "appsecret")
	writeFile(t, path, canary+"-wrong")
	i.load(w.sharing("shared {\nappsecret source file "+path+"\n}\nsecret main {\nappid app\n}"), proxyMain)
	i.must(http.MethodPost, "/api/secret", `{"realm": "p", "key": "api", "fields": {"appid": "app"}}`)
	for _, key := range []string{"main", "api"} {
		if a := i.get("/any/p/" + key + "/x"); a.StatusCode == http.StatusOK {
			t.Fatalf("%s: %s\n%s", key, a.Status, a.body)
		}
	}
	putFile(t, path, canary+"-right")
	for _, key := range []string{"main", "api"} {
		if a := i.get("/any/p/" + key + "/x"); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%s", key, a.Status, a.body)
		}
	}
	if n := w.Fetches(); n != 4 {
		t.Errorf("%d calls instead of 4", n)
	}
}

// While a file is empty or missing, the value that it had is used, and the state says
// so. A file that is missing when the configuration is loaded is an error.
func TestEmptiedFileKeepsItsValue(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	path := filepath.Join(t.TempDir(), "appsecret")
	writeFile(t, path, canary+"-right")
	good := w.realm("source file " + path)
	i.load(good, proxyMain)
	i.get("/p/x")
	for _, damage := range []struct {
		name string
		do   func() error
	}{
		{"empty", func() error { return os.Truncate(path, 0) }},
		{"missing", func() error { return os.Remove(path) }},
	} {
		if err := damage.do(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the state to tell of it: "+damage.name, func() bool {
			status := i.must(http.MethodGet, "/api/status", "")
			return strings.Contains(status, `"note":"the field appsecret gets no value from file `+path)
		})
		w.Revoke(w.Newest()) // so that a token has to be fetched
		if a := i.get("/p/x"); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%s", damage.name, a.Status, a.body)
		}
	}
	if err := i.tryLoad(good+"\nallow_private 127.0.0.1", proxyMain); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a reload without the file: %v", err)
	}
	putFile(t, path, canary+"-right")
	waitFor(t, "the state to be good again", func() bool {
		return !strings.Contains(i.must(http.MethodGet, "/api/status", ""), `"note"`)
	})
}

// A value that did not change costs no call, however often its file is written, and
// neither does a reload.
func TestSameValueCostsNothing(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	path := filepath.Join(t.TempDir(), "appsecret")
	writeFile(t, path, canary+"-right")
	for n := range 3 {
		i.load(w.realm("source file "+path)+fmt.Sprintf("\nallow_private 127.0.0.%d", n+1), proxyMain)
		putFile(t, path, canary+"-right"+strings.Repeat("\n", n%2))
		if a := i.get("/p/x"); a.StatusCode != http.StatusOK {
			t.Fatalf("%s\n%s", a.Status, a.body)
		}
	}
	if n := w.Fetches(); n != 1 {
		t.Errorf("%d calls instead of one", n)
	}
}

// A command is run for a fetch and not for a request, and again when its value ends or
// the provider refuses it. Its arguments and what it prints are told to nobody.
func TestCommandGivesAValue(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	dir := t.TempDir()
	runs, answer := filepath.Join(dir, "runs"), filepath.Join(dir, "answer")
	script := filepath.Join(dir, "get-secret")
	writeScript(t, script, `echo run >> "$1"; echo `+canary+`-stderr >&2; cat "$2"`)
	writeFile(t, answer, fmt.Sprintf(`{"value": "%s-right", "expires_in": 3600}`, canary))
	i.load(w.realm("source exec "+script+" "+runs+" "+answer), proxyMain)
	if _, err := os.Stat(runs); err == nil {
		t.Error("it was run before anybody wanted a token")
	}
	for range 3 {
		if a := i.get("/p/x"); a.StatusCode != http.StatusOK {
			t.Fatalf("%s\n%s", a.Status, a.body)
		}
	}
	if got := readText(t, runs); got != "run\n" {
		t.Errorf("runs: %q", got)
	}
	i.must(http.MethodPost, "/api/client", `{"id": "nobody"}`)
	for what, text := range map[string]string{
		"secret":  i.must(http.MethodGet, "/api/secret/p/main", ""),
		"status":  i.must(http.MethodGet, "/api/status", ""),
		"explain": i.must(http.MethodPost, "/api/explain", `{"client": "nobody", "realm": "p", "key": "main"}`),
		"test":    i.must(http.MethodPost, "/api/realm/p/test", `{"key": "main"}`),
	} {
		if !strings.Contains(text, "exec "+script) || strings.Contains(text, canary) || strings.Contains(text, runs) {
			t.Errorf("%s:\n%s", what, text)
		}
	}
	if log := i.log(); strings.Contains(log, canary) {
		t.Error("the log has a value")
	}
}

// A failing command is told of with its exit code, and the field that lacks its value.
func TestFailingCommand(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	script := filepath.Join(t.TempDir(), "get-secret")
	writeScript(t, script, "echo "+canary+"-stdout; echo "+canary+"-stderr >&2; exit 3")
	i.load(w.realm("source exec "+script), proxyMain)
	a := i.get("/p/x")
	code, detail := problemOf(t, a)
	if want := "the field appsecret has no value: exec " + script + ": the command ended with exit status 3"; code != "token_unavailable" || detail != want {
		t.Errorf("%s: %s", code, detail)
	}
	var status struct {
		Tokens []struct {
			State   string
			Sources []struct{ Field, Source, Error string }
		}
	}
	if err := json.Unmarshal([]byte(i.must(http.MethodGet, "/api/status", "")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Tokens) != 1 || status.Tokens[0].State != "failing" || len(status.Tokens[0].Sources) != 1 || status.Tokens[0].Sources[0].Error == "" {
		t.Errorf("status: %+v", status)
	}
	if w.Fetches() != 0 || strings.Contains(a.body+i.log(), canary) {
		t.Errorf("%d calls, or a value in an answer or the log", w.Fetches())
	}
}

// A secret of the API cannot name a source: what looks like one is text, or refused.
func TestAPICannotNameASource(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	path := filepath.Join(t.TempDir(), "appsecret")
	writeFile(t, path, canary+"-right")
	i.load(w.sharing(""), proxyMain)
	for n, value := range []string{"source file " + path, "{file." + path + "}", "file " + path} {
		key := fmt.Sprintf("k%d", n)
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "p", "key": %q, "fields": {"appid": "app", "appsecret": %q}}`, key, value))
		if a := i.get("/any/p/" + key + "/x"); a.StatusCode == http.StatusOK {
			t.Errorf("%s was read", value)
		}
	}
	if n := w.Refusals(); n != 3 {
		t.Errorf("%d refusals of the text instead of 3", n)
	}
	source := fmt.Sprintf(`{"source": "file", "path": %q}`, path)
	for _, body := range []string{
		`{"realm": "p", "key": "s", "fields": {"appid": "app", "appsecret": ` + source + `}}`,
		`{"realm": "p", "key": "s", "fields": {"appid": "app"}, "sources": {"appsecret": ` + source + `}}`,
	} {
		if a := i.call(http.MethodPost, "/api/secret", body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s\n%s", body, a.Status, a.body)
		}
	}
}

// Reloads end the watches, and what is being asked.
func TestSourcesEndWithTheirConfiguration(t *testing.T) {
	w, i := newWeChat(t), newInstance(t)
	dir := t.TempDir()
	script, path := filepath.Join(dir, "hang"), filepath.Join(dir, "appsecret")
	writeScript(t, script, `echo $$ > "$1"; sleep 600 & wait`)
	writeFile(t, path, canary+"-right")
	pid := filepath.Join(dir, "pid")
	load := func(n int) {
		i.load(w.realm("source file "+path)+fmt.Sprintf("\nallow_private 127.0.0.%d", n), proxyMain)
	}
	for n := range 3 {
		load(n)
	}
	before := measure(t)
	for n := range 20 {
		load(n)
	}
	i.load(w.realm("source exec "+script+" "+pid+" {\ntimeout 1m\n}"), proxyMain)
	done := make(chan struct{})
	go func() { defer close(done); _, _ = try(http.MethodGet, "http://"+i.host+"/p/x", "") }()
	waitFor(t, "the command to run", func() bool { content, _ := os.ReadFile(pid); return strings.HasSuffix(string(content), "\n") })
	load(1)
	<-done
	waitFor(t, "the command to end", func() bool { return !isProcess(t, strings.TrimSpace(readText(t, pid))) })
	waitFor(t, "what was begun to end", func() bool {
		after := measure(t)
		return after.goroutines <= before.goroutines+3 && after.descriptors <= before.descriptors+3
	})
}

// isProcess reports whether a process is there, and no zombie.
func isProcess(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func writeScript(t *testing.T, path, body string) {
	t.Helper()
	writeFile(t, path, "#!/bin/sh\n"+body+"\n")
	if err := os.Chmod(path, 0o700); err != nil { // #nosec G302 -- it is run
		t.Fatal(err)
	}
}
