package test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
)

const (
	// shortLife of the tokens that a fleet renews again and again. Half of it is
	// left at a renewal: what happens at a token's very end depends on how fast
	// the machine is.
	shortLife = 8 * time.Second
	// shortRefresh has them renewed after a half of it.
	shortRefresh = "refresh {\n\tbefore 50%\n\tjitter 0%\n}"
)

// launchShortLived is five nodes on a provider of tokens that live shortly.
func launchShortLived(t *testing.T) *fleet {
	t.Helper()
	f := launchFleet(t, fleetOptions{nodes: 5, tokens: shortRefresh, provider: fakeprovider.Options{
		Style:  fakeprovider.WeChat,
		Rule:   &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Life: shortLife, Overlap: shortLife / 2},
		Quotas: []fakeprovider.Quota{},
	}})
	realm := wechatRealm("wx", f.base)
	what := realm["config"].(map[string]any)
	what["semantics"], what["overlap"] = "rotate", (shortLife / 2).String()
	what["renew_on"] = []any{map[string]any{"json": "errcode", "values": []int{40001, 40014, 42001}}}
	f.members[0].post("/api/realm", realm)
	return f
}

// addKey stores a secret for an app of its own and waits until all nodes know
// it.
func (f *fleet) addKey(t *testing.T, key string) {
	t.Helper()
	f.provider.SetSecret("app-"+key, "secret-of-"+key)
	f.members[0].post("/api/secret", map[string]any{"realm": "wx", "key": key, "key_1": "app-" + key, "key_2": "secret-of-" + key})
	for _, m := range f.members {
		eventually(t, "the secret is known on all nodes", func() bool {
			status, _ := m.try(m.admin + "/api/secret/wx/" + key)
			return status == http.StatusOK
		})
	}
}

// urls are the API calls with keys on all nodes.
func (f *fleet) urls(keys ...string) (urls []string) {
	for _, m := range f.members {
		for _, key := range keys {
			urls = append(urls, m.proxy+"/any/wx/"+key+"/cgi-bin/menu/get")
		}
	}
	return urls
}

// Five nodes under constant load fetch a token once for each that goes to its
// end, whatever happens to Redis meanwhile. EXPIRIES is how many tokens end.
func TestOneFetchForEachExpiry(t *testing.T) {
	expiries := figure(t, "EXPIRIES", 25)
	f := launchShortLived(t)
	t.Run("all is well", func(t *testing.T) {
		f.renews(t, "calm", expiries, nil)
	})
	t.Run("redis fails", func(t *testing.T) {
		f.renews(t, "storm", expiries, f.stormOnRedis)
	})
	t.Run("cold start", f.startsCold)
}

// renews uses five keys on all nodes until so many tokens have been renewed.
func (f *fleet) renews(t *testing.T, prefix string, expiries int, storm func(*testing.T, <-chan struct{})) {
	t.Helper()
	var keys, apps []string
	for i := range 5 {
		keys = append(keys, fmt.Sprint(prefix, "-", i))
		apps = append(apps, "app-"+keys[i])
		f.addKey(t, keys[i])
	}
	stood := watchPauses(t)
	load := startDemand(t, f.urls(keys...)...)
	over := make(chan struct{})
	var weather sync.WaitGroup
	if storm != nil {
		weather.Go(func() { storm(t, over) })
	}
	deadline := time.Now().Add(patience + time.Duration(expiries/len(keys)+2)*shortLife)
	eventuallyBy(t, deadline, "the tokens are renewed", func() bool {
		return len(f.provider.Issued(apps...)) >= len(keys)+expiries
	})
	close(over)
	weather.Wait()
	calls := load.wantAllServed(t)
	renewals := 0
	for _, app := range apps {
		renewals += f.wantOneFetchEach(t, app, stood)
	}
	if stale := f.provider.StaleCalls(shortLife/2, apps...); len(stale) != 0 {
		t.Errorf("%d calls with a dead token, the first: %+v", len(stale), stale[0])
	}
	t.Logf("5 nodes, %s: %d expiries, %d fetches, %d calls, %d with a dead token",
		t.Name(), renewals, f.provider.Fetches(apps...)-len(apps), calls, len(f.provider.DeadCalls()))
}

// wantOneFetchEach checks by the ledger that no token was fetched long before it
// was time, and returns how many were fetched after the first.
func (f *fleet) wantOneFetchEach(t *testing.T, app string, p *pauses) (renewals int) {
	t.Helper()
	renewals = p.wantApart(t, app, f.provider.Events(app))
	if issued := len(f.provider.Issued(app)); issued != renewals {
		t.Errorf("%s: %d fetches, %d tokens", app, renewals, issued)
	}
	return renewals - 1
}

// stormOnRedis does something bad to Redis every moment.
func (f *fleet) stormOnRedis(t *testing.T, over <-chan struct{}) {
	ways := []func() (end func()){
		func() func() { f.redis.Kill(t); return func() { f.redis.Restart(t) } },
		func() func() { f.redis.Stop(t); return func() { f.redis.Cont(t) } },
		func() func() { f.redis.Flush(t); return func() {} },
		func() func() { return f.partition(faultproxy.Faults{Cut: true}) },
		func() func() { return f.partition(faultproxy.Faults{Blackhole: true}) },
		func() func() { return func() {} },
	}
	for {
		end := ways[rand.IntN(len(ways))]() // #nosec G404 -- any of them
		select {
		case <-time.After(time.Duration(50+rand.IntN(500)) * time.Millisecond): // #nosec G404 -- any moment
			end()
		case <-over:
			end()
			return
		}
	}
}

// partition cuts some of the nodes off from Redis.
func (f *fleet) partition(faults faultproxy.Faults) (end func()) {
	var cut []member
	for _, m := range f.members {
		if rand.IntN(2) == 0 { // #nosec G404 -- any of them
			cut = append(cut, m)
			m.toCache.Set(faults)
		}
	}
	return func() {
		for _, m := range cut {
			m.toCache.Set(faultproxy.Faults{})
		}
	}
}

// startsCold asks all nodes for a token that nobody has, and again after all
// were killed at once and the token has ended.
func (f *fleet) startsCold(t *testing.T) {
	f.addKey(t, "cold")
	f.askTogether(t, "cold")
	if n := f.provider.Fetches("app-cold"); n != 1 {
		t.Errorf("%d fetches by nodes that never had a token", n)
	}
	for _, m := range f.members {
		m.kill()
	}
	first := f.provider.Newest("app-cold")
	eventually(t, "the token ends", func() bool { return !f.provider.Live(first) })
	before := f.provider.Fetches("app-cold")
	for _, m := range f.members {
		m.spawn()
	}
	for _, m := range f.members {
		m.waitReady()
	}
	f.askTogether(t, "cold")
	if n := f.provider.Fetches("app-cold") - before; n != 1 {
		t.Errorf("%d fetches by nodes that all started at once", n)
	}
}

// askTogether has many callers on every node ask before the provider answers
// anybody.
func (f *fleet) askTogether(t *testing.T, key string) {
	t.Helper()
	before := f.provider.Fetches("app-" + key)
	release := f.provider.Hold()
	defer release()
	var asking sync.WaitGroup
	for _, url := range f.urls(key) {
		for range 10 {
			asking.Go(func() {
				if status, body := call(t.Context(), http.MethodGet, url, nil); status != http.StatusOK {
					t.Errorf("%s: %d %s", url, status, body)
				}
			})
		}
	}
	eventually(t, "the provider is asked", func() bool { return f.provider.Fetches("app-"+key) > before })
	release()
	asking.Wait()
}
