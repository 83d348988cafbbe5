package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
)

const edgeMenu = "/any/wx/main/cgi-bin/menu/get"

// central is an instance with a database and one realm, and the provider behind it.
type central struct {
	*node
	provider *fakeprovider.Provider
}

// launchCentral starts it. The tokens of main are those of the app wx-app.
func launchCentral(t *testing.T, o fakeprovider.Options, change ...func(config map[string]any)) *central {
	t.Helper()
	o.Style = fakeprovider.WeChat
	if o.Credentials == nil {
		o.Credentials = map[string]string{"wx-app": "wx-secret-01"}
	}
	c := &central{provider: fakeprovider.New(o)}
	base := c.provider.Start(t)
	c.node = launch(t, config{tokens: "allow_private 127.0.0.1", proxy: gateway}.caddyfile)
	realm := wechatRealm("wx", base)
	conf := realm["config"].(map[string]any)
	conf["renew_on"] = []any{map[string]any{"json": "errcode", "values": []int{40001, 40014, 42001}}}
	for _, f := range change {
		f(conf)
	}
	c.post("/api/realm", realm)
	c.addSecret("main", "wx-app")
	c.hides(func() []string { return append(c.provider.Issued(), "wx-secret-01") })
	return c
}

// hides is neverLogs for a node that need not have a request of the proxy.
func (n *node) hides(values func() []string) {
	n.t.Cleanup(func() {
		log := n.log()
		if !bytes.Contains(log, []byte(`"level":"debug"`)) {
			n.t.Error("the log is not written at level debug: it proves nothing")
		}
		for _, value := range values() {
			if bytes.Contains(log, []byte(value)) {
				n.t.Errorf("%.4s... stands in the log", value)
			}
		}
	})
}

func (c *central) addSecret(key, app string) {
	c.t.Helper()
	c.post("/api/secret", map[string]any{"realm": "wx", "key": key, "fields": map[string]any{"key_1": app, "key_2": "wx-secret-01"}})
}

// admit gives an edge a key of its own.
func (c *central) admit(id string, isEdge bool, rights ...string) (key string) {
	c.t.Helper()
	answer := c.post("/api/client", map[string]any{"id": id, "edge": isEdge, "rules": []any{
		map[string]any{"effect": "allow", "rights": rights, "realms": []string{"*"}, "keys": []string{"*"}},
	}})
	key = decode[struct{ Key string }](c.t, answer).Key
	c.hides(func() []string { return []string{key} })
	return key
}

// counter is between an edge and its upstream, and counts what is asked.
type counter struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string]int
}

// asks is how often something was asked, as "GET /api/token".
func (c *counter) asks(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[what]
}

// newCounter counts what target is asked. rewrite changes the answers; nil for none.
func newCounter(t *testing.T, target string, rewrite func(*http.Response) error) *counter {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{asked: map[string]int{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = to.Host },
		FlushInterval:  -1,
		ModifyResponse: rewrite,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.asked[r.Method+" "+r.URL.Path]++
		c.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { c.CloseClientConnections(); c.Close() })
	return c
}

// edgeCaddyfile is the configuration of an edge.
func edgeCaddyfile(upstream, more string) func(proxyPort, adminPort int) string {
	return func(proxyPort, adminPort int) string {
		return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	debug
	tokens {
		storage edge %s {
			key {env.EDGE_KEY}
		}
		allow_private 127.0.0.1
		%s
	}
}

:%d {
	bind 127.0.0.1
	token_health
	%s
}

:%d {
	bind 127.0.0.1
	token_admin {
		auth local
	}
}
`, upstream, more, proxyPort, gateway, adminPort)
	}
}

// launchEdge starts an edge, and waits until it hears of changes.
func launchEdge(t *testing.T, upstream, key, more string, env ...string) *node {
	t.Helper()
	n := launch(t, edgeCaddyfile(upstream, more), append(env, "EDGE_KEY="+key)...)
	n.hides(func() []string { return []string{key} })
	n.awaitUpstream()
	return n
}

// upstream is what the status of an edge says of the instance behind it; "" for
// nothing wrong.
func (n *node) upstream() string {
	n.t.Helper()
	status := decode[struct {
		Stores []struct {
			Name  string
			OK    bool
			Error string
		}
	}](n.t, n.get(n.admin+"/api/status", http.StatusOK))
	if len(status.Stores) != 1 || status.Stores[0].Name != "upstream" || status.Stores[0].OK != (status.Stores[0].Error == "") {
		n.t.Fatalf("the stores of an edge: %+v", status.Stores)
	}
	return status.Stores[0].Error
}

func (n *node) awaitUpstream() {
	n.t.Helper()
	eventually(n.t, "the edge hears of changes", func() bool { return n.upstream() == "" })
}

// menus makes calls through the proxy of a node at once, which must all be answered.
func (n *node) menus(count int) {
	n.t.Helper()
	var calls sync.WaitGroup
	for range count {
		calls.Go(func() {
			if status, body := n.try(n.proxy + edgeMenu); status != http.StatusOK {
				n.t.Errorf("%d %s", status, body)
			}
		})
	}
	calls.Wait()
}

// An edge behind an edge. 300 cold callers are one question to each, and one request
// to the provider; a token that the API refuses is healed through both. The audit of
// the instance with the database names the edge that asked it.
func TestEdgeBehindEdge(t *testing.T) {
	c := launchCentral(t, fakeprovider.Options{})
	first := newCounter(t, c.admin, nil)
	// The far one is a client in the Caddyfile of the near one.
	const farKey = "far-edge-key-0123456789-0123456789"
	near := launchEdge(t, first.URL, c.admit("near", true, "read"), `client far {
			key {env.FAR_KEY}
			allow read * *
			edge on
		}
		client local {
			source 127.0.0.1
			allow use * *
		}`, "FAR_KEY="+farKey)
	second := newCounter(t, near.admin, nil)
	far := launchEdge(t, second.URL, farKey, "")
	for _, n := range []*node{near, far} {
		n.hides(func() []string { return append(c.provider.Issued(), farKey) })
	}

	far.menus(300)
	for what, got := range map[string]int{
		"questions to the near edge":  second.asks("GET /api/token"),
		"questions to the instance":   first.asks("GET /api/token"),
		"realms asked of the near":    second.asks("GET /api/realm/wx"),
		"realms asked of the first":   first.asks("GET /api/realm/wx"),
		"requests to the provider":    c.provider.Fetches("wx-app"),
		"streams of the far edge":     second.asks("GET /api/watch"),
		"heals that nobody asked for": first.asks("POST /api/token"),
	} {
		want := 1
		if strings.HasPrefix(what, "heals") {
			want = 0
		}
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}

	c.provider.Revoke(c.provider.Newest("wx-app"))
	far.menus(50)
	if n := c.provider.Fetches("wx-app"); n != 2 {
		t.Errorf("%d requests to the provider after a token died, want 2", n)
	}
	if n := first.asks("POST /api/token"); n != 1 {
		t.Errorf("%d heals were asked for, want 1", n)
	}
	near.menus(1) // it has the new token already, or learns of it
	if n := c.provider.Fetches("wx-app"); n != 2 {
		t.Errorf("%d requests to the provider, want 2", n)
	}

	audit := string(c.get(c.admin+"/api/audit?act=token.read", http.StatusOK))
	if !strings.Contains(audit, `"actor":{"kind":"client","id":"near"}`) || strings.Contains(audit, `"id":"far"`) {
		t.Errorf("the audit: %s", audit)
	}
}

// refused is the code with which a call is refused.
func (n *node) refused(url string, status int) (code string) {
	n.t.Helper()
	return decode[struct{ Code string }](n.t, n.get(url, status)).Code
}

// The instance with the database is killed. What lives is served on, what is not
// there is refused, and the status says since when; once it is back, all is as
// before.
func TestEdgeOutlivesItsUpstream(t *testing.T) {
	c := launchCentral(t, fakeprovider.Options{Credentials: map[string]string{"wx-app": "wx-secret-01", "wx-other": "wx-secret-01"}})
	c.addSecret("other", "wx-other")
	e := launchEdge(t, c.admin, c.admit("edge", true, "read"), "")
	e.menus(1)
	c.kill()
	e.menus(20)
	other := e.proxy + strings.Replace(edgeMenu, "main", "other", 1)
	if code := e.refused(other, http.StatusServiceUnavailable); code != "store_unavailable" {
		t.Errorf("a token that is not there is refused with %s", code)
	}
	if why := e.upstream(); !strings.Contains(why, "since 20") {
		t.Errorf("the status says %q", why)
	}
	e.get(e.proxy+"/readyz", http.StatusOK)
	c.start()
	e.awaitUpstream()
	e.menus(20)
	e.get(other, http.StatusOK)
	if n := c.provider.Fetches("wx-app"); n != 1 {
		t.Errorf("%d requests to the provider, want 1", n)
	}
}

// The network between the two fails, in a way that is noticed and in one that is
// not. What lives is served on; what was deleted and replaced meanwhile is not
// served from the moment on at which the edge hears of changes again.
func TestEdgeInAPartition(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]faultproxy.Faults{"cut": {Cut: true}, "silent": {Blackhole: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apps := map[string]string{"wx-app": "wx-secret-01", "wx-gone": "wx-secret-01", "wx-cold": "wx-secret-01"}
			c := launchCentral(t, fakeprovider.Options{Credentials: apps})
			c.addSecret("gone", "wx-gone")
			c.addSecret("cold", "wx-cold")
			network := faultproxy.New(t, host(c.admin))
			e := launchEdge(t, "http://"+network.Addr(), c.admit("edge", true, "read"), "")
			gone, cold := e.proxy+strings.Replace(edgeMenu, "main", "gone", 1), e.proxy+strings.Replace(edgeMenu, "main", "cold", 1)
			e.menus(1)
			e.get(gone, http.StatusOK)
			network.Set(faults)
			e.refused(cold, http.StatusServiceUnavailable) // whoever asks notices
			e.menus(20)
			e.get(gone, http.StatusOK)
			if why := e.upstream(); !strings.Contains(why, "since 20") {
				t.Errorf("the status says %q", why)
			}
			c.post("/api/token", map[string]any{"realm": "wx", "key": "main", "flush": true})
			if status, body := call(t.Context(), http.MethodDelete, c.admin+"/api/secret/wx/gone", nil); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			network.Set(faultproxy.Faults{})
			e.awaitUpstream()
			if code := e.refused(gone, http.StatusNotFound); code != "secret_not_found" {
				t.Errorf("a secret that is gone is refused with %s", code)
			}
			if got := e.token("wx", "main").Token; got != c.provider.Newest("wx-app") {
				t.Error("a token that was replaced is served")
			}
			e.get(cold, http.StatusOK)
		})
	}
}

// The clock of the other instance is an hour ahead, or behind: its times count for
// nothing, and its tokens live as long as they do there.
func TestEdgeWithAClockThatIsOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			c := launchCentral(t, fakeprovider.Options{})
			between := newCounter(t, c.admin, func(r *http.Response) error {
				r.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
				if r.Request.URL.Path != "/api/token" {
					return nil
				}
				text, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				var answer map[string]any
				if err := json.Unmarshal(text, &answer); err != nil {
					return err
				}
				answer["expires_at"] = int64(answer["expires_at"].(float64)) + off.Milliseconds()
				if text, err = json.Marshal(answer); err != nil {
					return err
				}
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
				r.Header.Set("Content-Length", strconv.Itoa(len(text)))
				return nil
			})
			e := launchEdge(t, between.URL, c.admit("edge", true, "read"), "")
			before := c.token("wx", "main").ExpiresIn
			got := e.token("wx", "main").ExpiresIn
			if after := c.token("wx", "main").ExpiresIn; got > before || got < after-patience.Milliseconds() {
				t.Errorf("%d ms are left at the edge, and %d to %d where it comes from", got, after, before)
			}
			e.menus(3)
			if n := between.asks("GET /api/token"); n != 1 {
				t.Errorf("%d questions, want 1", n)
			}
		})
	}
}

// Ten thousand keys (EDGE_KEYS; a sample by default): each is asked for once, whoever
// asks how often, and after a partition those that are used are asked about again.
func TestEdgeWithManyKeys(t *testing.T) {
	keys := 2_000
	if text := os.Getenv("EDGE_KEYS"); text != "" {
		var err error
		if keys, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var realm strings.Builder
	realm.WriteString("realm fixed {\ngrant static\n")
	for i := range keys {
		fmt.Fprintf(&realm, "secret k%d {\ntoken fixed-token-%d\n}\n", i, i)
	}
	realm.WriteString("}")
	c := launch(t, config{tokens: realm.String()}.caddyfile)
	answer := c.post("/api/client", map[string]any{"id": "edge", "rules": []any{
		map[string]any{"effect": "allow", "rights": []string{"read"}, "realms": []string{"*"}, "keys": []string{"*"}},
	}})
	between := newCounter(t, c.admin, nil)
	e := launchEdge(t, between.URL, decode[struct{ Key string }](t, answer).Key, "")
	readAll := func(step int) {
		t.Helper()
		var readers sync.WaitGroup
		next := make(chan int)
		for range 32 {
			readers.Go(func() {
				for i := range next {
					if got, want := e.kept("fixed", "k"+strconv.Itoa(i)), "fixed-token-"+strconv.Itoa(i); got != want {
						t.Errorf("key %d: %q", i, got)
					}
				}
			})
		}
		for i := 0; i < keys; i += step {
			next <- i
		}
		close(next)
		readers.Wait()
	}
	// Just after it has begun to hear, an edge asks once a second about what it uses: a
	// node of the upstream may have missed what was told before. After that nobody is asked.
	asksUntilSure := func(step int) int {
		t.Helper()
		before := between.asks("GET /api/token")
		readAll(step)
		eventually(t, "nobody is asked any more", func() bool {
			last := between.asks("GET /api/token")
			readAll(step)
			return between.asks("GET /api/token") == last
		})
		return between.asks("GET /api/token") - before
	}
	if n := asksUntilSure(1); n < keys || n > 5*keys {
		t.Errorf("%d questions about %d keys", n, keys)
	}
	between.CloseClientConnections()
	eventually(t, "the edge hears of changes again", func() bool { return between.asks("GET /api/watch") == 2 })
	e.awaitUpstream()
	if n, used := asksUntilSure(100), keys/100; n < used || n > 5*used {
		t.Errorf("%d questions about %d keys that are used", n, used)
	}
}

// kept is a token of a node, asked for over a connection that is kept.
func (n *node) kept(realm, key string) string {
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.admin+"/api/token?realm="+realm+"&key="+key, nil)
	if err != nil {
		return err.Error()
	}
	status, body := sendBy(keeping, req)
	var answer tokenAnswer
	if err := json.Unmarshal(body, &answer); status != http.StatusOK || err != nil {
		return fmt.Sprintf("%d %s", status, body)
	}
	return answer.Token
}

var keeping = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// From the moment on at which an edge has heard that a token is dead, a secret or a
// right is gone, or a realm was changed, it acts upon it. It tells its own watchers
// what it has heard, so that no clock decides.
func TestEdgeActsUponWhatItHears(t *testing.T) {
	c := launchCentral(t, fakeprovider.Options{Credentials: map[string]string{"wx-app": "wx-secret-01", "wx-other": "wx-secret-01"}})
	c.addSecret("other", "wx-other")
	key := c.admit("edge", true, "read")
	e := launchEdge(t, c.admin, key, "")
	other := e.proxy + strings.Replace(edgeMenu, "main", "other", 1)
	e.menus(1)
	e.get(other, http.StatusOK)
	heard := e.listens()

	c.post("/api/token", map[string]any{"realm": "wx", "key": "main", "flush": true})
	heard(`"key":"main","lineage":2,"state":"live"`)
	if got := e.token("wx", "main").Token; got != c.provider.Newest("wx-app") {
		t.Error("a token that was replaced is served")
	}

	// A token becomes inject_only, and the realm takes GET no more.
	c.post("/api/secret", map[string]any{"realm": "wx", "key": "other", "inject_only": true})
	heard(`"key":"other"`)
	if code := e.refused(e.admin+"/api/token?realm=wx&key=other", http.StatusForbidden); code != "forbidden" {
		t.Errorf("inject_only is refused with %s", code)
	}
	e.get(other, http.StatusOK)
	realm := decode[map[string]any](t, c.get(c.admin+"/api/realm/wx", http.StatusOK))
	realm["config"].(map[string]any)["methods"] = []string{"POST"}
	c.post("/api/realm", map[string]any{"id": "wx", "config": realm["config"]})
	heard(`"realm":"wx","lineage":0,"state":"changed"`)
	e.get(other, http.StatusMethodNotAllowed)

	if status, body := call(t.Context(), http.MethodDelete, c.admin+"/api/secret/wx/other", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	heard(`"key":"other","lineage":0,"state":"deleted"`)
	e.get(other, http.StatusNotFound)

	// The right to one key ends: no event says of which, so that all are asked about.
	c.post("/api/client", map[string]any{"id": "edge", "rules": []any{
		map[string]any{"effect": "allow", "rights": []string{"read"}, "realms": []string{"wx"}, "keys": []string{"nothing"}},
	}})
	heard("event: gap")
	if code := e.refused(e.admin+"/api/token?realm=wx&key=main", http.StatusForbidden); code != "forbidden" {
		t.Errorf("without the right: %s", code)
	}
}

// listens opens a stream of changes of a node, and returns what waits for an event.
func (n *node) listens() (heard func(what string)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	n.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.admin+"/api/watch", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	heard = func(what string) {
		n.t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return
			}
		}
		n.t.Fatalf("the stream ended before %s: %v", what, lines.Err())
	}
	heard("event: ready")
	return heard
}

// Nothing can be changed on an edge, what its client may not is refused there in the
// words of the other instance, and nobody reads a token that is inject_only.
func TestEdgeRefuses(t *testing.T) {
	c := launchCentral(t, fakeprovider.Options{}, func(config map[string]any) { config["inject_only"] = true })
	e := launchEdge(t, c.admin, c.admit("edge", true, "read"), "")
	e.menus(2)
	if code := e.refused(e.admin+"/api/token?realm=wx&key=main", http.StatusForbidden); code != "forbidden" {
		t.Errorf("a token that is inject_only is refused with %s", code)
	}
	for _, post := range []string{"/api/realm", "/api/secret", "/api/client", "/api/renew-due", "/wx-account/request-access-token"} {
		if status, body := e.tryPost(post, map[string]any{"id": "x"}); status != http.StatusConflict || !bytes.Contains(body, []byte(`"code":"read_only"`)) {
			t.Errorf("POST %s: %d %s", post, status, body)
		}
	}
	if status, body := e.try(e.admin + "/api/backup"); status != http.StatusConflict || !bytes.Contains(body, []byte("an edge, without a database")) {
		t.Errorf("a backup: %d %s", status, body)
	}
	if code := e.refused(e.proxy+"/any/nowhere/main/x", http.StatusNotFound); code != "realm_not_found" {
		t.Errorf("a realm that is not there is refused with %s", code)
	}
	if code := e.refused(e.proxy+"/any/wx/nobody/x", http.StatusNotFound); code != "secret_not_found" {
		t.Errorf("a key that is not there is refused with %s", code)
	}

	plain := launchEdge(t, c.admin, c.admit("plain", false, "read"), "")
	if code := plain.refused(plain.proxy+edgeMenu, http.StatusForbidden); code != "forbidden" {
		t.Errorf("without edge on: %s", code)
	}
	none := launchEdge(t, c.admin, c.admit("none", true, "use", "audit", "read"), "")
	c.post("/api/client", map[string]any{"id": "none", "rules": []any{}})
	if code := none.refused(none.proxy+edgeMenu, http.StatusForbidden); code != "forbidden" {
		t.Errorf("without a right: %s", code)
	}
}
