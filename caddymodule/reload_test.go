package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestReloadKeepsTokens: an edited configuration costs no fetch, and what it
// says is in force.
func TestReloadKeepsTokens(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	if a := i.get("/p/x"); !strings.Contains(a.body, canary+"-token-1") {
		t.Fatalf("%s\n%s", a.Status, a.body)
	}
	i.load(p.realm("p", "inject query tok\ncomment edited"), proxyMain)
	if a := i.get("/p/x"); !strings.HasPrefix(a.body, "GET /x?tok="+canary+"-token-1 ") {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	i.load(p.realm("q", "inject query access_token"), proxyMain)
	if code, _ := problemOf(t, i.get("/p/x")); code != "realm_not_found" {
		t.Errorf("a removed realm: %s", code)
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches instead of one", n)
	}
}

// TestPoolLog: what outlives a configuration logs to the newest one.
func TestPoolLog(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	for n := range 2 {
		id := fmt.Sprintf("realm%d", n)
		i.load(p.realm(id, "inject query access_token"), "token_gateway")
		i.get("/" + id + "/main/x")
		if log := i.log(); !strings.Contains(log, `"logger":"tokens","msg":"token fetched","realm":"`+id+`"`) {
			t.Errorf("the fetch for %s is not logged:\n%s", id, log)
		}
		if newestApp.Load() == nil {
			t.Error("the log of the configuration is not used")
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if newestApp.Load() != nil {
		t.Error("a closed log is still used")
	}
}

// TestReloadFetchesForWaiters: a reload in the middle of a fetch costs neither
// the fetch nor those who wait for it.
func TestReloadFetchesForWaiters(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.hold = make(chan struct{})
	release := sync.OnceFunc(func() { close(p.hold) })
	defer release()
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	var wg sync.WaitGroup
	var a answer
	var err error
	wg.Go(func() { a, err = try(http.MethodGet, "http://"+i.host+"/p/x", "") })
	waitFor(t, "the fetch", func() bool { return p.fetches.Load() == 1 })
	i.load(p.realm("p", "inject query access_token\ncomment edited"), proxyMain)
	release()
	wg.Wait()
	if err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("the waiter: %v %+v", err, a)
	}
	if a := i.get("/p/x"); !strings.Contains(a.body, canary+"-token-1") {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
}

// references counts the configurations that hold the only pool.
func references(t *testing.T) int {
	t.Helper()
	var id any
	pools.Range(func(key, _ any) bool {
		id = key
		return false
	})
	refs, _ := pools.References(id)
	return refs
}

// TestFailedReload: a configuration that cannot be loaded changes nothing, and
// leaves nothing behind.
func TestFailedReload(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	good := p.realm("p", "inject query access_token")
	i.load(good, proxyMain)
	for name, bad := range map[string]struct{ tokens, site string }{
		"unset variable": {p.realm("p", "inject query access_token\nshared {\na {env.CADDY_TOKENS_NEVER_SET}\n}"), proxyMain},
		"unknown field":  {strings.Replace(good, "{secret.id}", "{secret.nope}", 1), proxyMain},
		"taken address":  {good, proxyMain + "\nbind 192.0.2.1"},
		"wrong key":      {good + "\nencryption_key bm90IGEga2V5", proxyMain},
	} {
		if err := i.tryLoad(bad.tokens, bad.site); err == nil {
			t.Errorf("%s: was loaded", name)
		}
		if a := i.get("/p/x"); a.StatusCode != http.StatusOK {
			t.Errorf("%s: the old configuration answers %s\n%s", name, a.Status, a.body)
		}
		if refs := references(t); refs != 1 {
			t.Errorf("%s: %d configurations hold the pool", name, refs)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches instead of one", n)
	}
}

// footprint is what a process holds on to.
type footprint struct{ goroutines, descriptors, heap int }

func measure(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	runtime.GC() // the second one frees what finalizers of the first let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return footprint{runtime.NumGoroutine(), len(open), int(m.HeapAlloc)}
}

// reloads is how often TestReloadsLeaveNothing reloads: 50, or what the
// environment variable RELOADS says.
func reloads(t *testing.T) int {
	t.Helper()
	text := os.Getenv("RELOADS")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("RELOADS=%s is not a number", text)
	}
	return n
}

// TestReloadsLeaveNothing compares what reloads leave behind with what as many
// reloads of stock Caddy leave behind, in the same process.
func TestReloadsLeaveNothing(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	stock := func(n int) {
		// With a transport of its own: Caddy does not clean up the default one,
		// which keeps its idle connections for two minutes.
		i.reloadStock(fmt.Sprintf("header X-N %d\nreverse_proxy %s {\ntransport http {\ndial_timeout 3s\n}\n}", n, p.URL))
		i.get("/x")
	}
	ours := func(n int) {
		i.load(p.realm("p", fmt.Sprintf("inject query access_token\ncomment %d", n))+"\nallow_private 127.0.0.1", proxyMain)
		i.post("/api/realm", p.post("db", inQuery))
		i.post("/api/secret", fmt.Sprintf(`{"realm": "db", "key": "k", "key_1": "%s-secret"}`, canary))
		for _, path := range []string{"/p/x", "/any/p/main/x", "/any/db/k/x", "/any/nope/main/x"} {
			i.get(path)
		}
	}
	const few = 3 // goroutines and descriptors that may come and go
	n := reloads(t)
	grow := func(reload func(int)) footprint {
		for k := range 3 { // what is allocated once is not counted
			reload(-k)
		}
		before := measure(t)
		for k := range n {
			reload(k)
		}
		var after footprint
		// What the last reload let go may still be on its way out.
		waitFor(t, "the old configurations to end", func() bool {
			after = measure(t)
			return after.goroutines <= before.goroutines+few
		})
		return footprint{after.goroutines - before.goroutines, after.descriptors - before.descriptors, after.heap - before.heap}
	}
	a, b := grow(stock), grow(ours)
	t.Logf("%d reloads: stock Caddy %+v, with tokens %+v", n, a, b)
	if b.goroutines > max(a.goroutines, 0)+few {
		t.Errorf("%d more goroutines; stock Caddy %d", b.goroutines, a.goroutines)
	}
	if b.descriptors > max(a.descriptors, 0)+few {
		t.Errorf("%d more descriptors; stock Caddy %d", b.descriptors, a.descriptors)
	}
	// The heap of one configuration is about 0.5 MB, and may or may not be
	// freed yet; a leak of one per reload would be far above.
	if slack := 2 << 20; b.heap > max(a.heap, 0)+slack+n*2<<10 {
		t.Errorf("%d more bytes; stock Caddy %d", b.heap, a.heap)
	}
	if fetched := p.fetches.Load(); fetched != 2 {
		t.Errorf("%d fetches instead of one for each realm", fetched)
	}
}

// post calls the admin API, again where a reload dropped the connection.
func (i *instance) post(path, body string) {
	i.t.Helper()
	waitFor(i.t, "an answer to "+path, func() bool {
		a, err := try(http.MethodPost, "http://"+i.api+path, body, "Content-Type", "application/json")
		return err == nil && a.StatusCode == http.StatusOK
	})
}

// reloadStock loads a configuration without anything of ours.
func (i *instance) reloadStock(site string) {
	i.t.Helper()
	text := fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\tstorage file_system %[1]s/caddy\n\tlog {\n\t\toutput file %[1]s/log\n\t}\n}\nhttp://%[2]s {\n%[3]s\n}\n", i.dir, i.host, site)
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		i.t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		i.t.Fatal(err)
	}
}
