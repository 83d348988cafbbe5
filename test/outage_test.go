package test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
)

const credentialsAPI = "/any/cc/main/v1/things"

// credentialsRealm is a realm of the client credentials grant.
func credentialsRealm(id, base string) map[string]any {
	return map[string]any{"id": id, "config": map[string]any{
		"api": base, "allow_http": true, "semantics": "parallel",
		"grant":    map[string]any{"name": "client_credentials", "token_url": base + "/oauth2/token"},
		"inject":   []any{map[string]any{"place": "header", "name": "Authorization", "value": "Bearer {token}"}},
		"renew_on": []any{map[string]any{"status": []int{http.StatusUnauthorized}}},
	}}
}

// launchBoth is two nodes with a realm of each kind, whose tokens end soon:
// one whose tokens can be asked for at any time, and one with one-time refresh
// tokens.
func launchBoth(t *testing.T) *fleet {
	t.Helper()
	f := launchFleet(t, fleetOptions{nodes: 2, tokens: shortRefresh, provider: fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Rule:        &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: shortLife},
		Refresh:     fakeprovider.RefreshRule{Semantics: fakeprovider.Family},
	}})
	m := f.members[0]
	m.post("/api/realm", credentialsRealm("cc", f.base))
	f.addRobot(t, "main")
	realm := rotationRealm("rt", f.base, fakeprovider.Family)
	realm["config"].(map[string]any)["limits"] = map[string]any{"timeout": "5s"}
	m.post("/api/realm", realm)
	f.authorize()
	f.eventuallyServes(t, rotationAPI)
	return f
}

// addRobot stores a secret of the client credentials, and uses it on all nodes.
func (f *fleet) addRobot(t *testing.T, key string) (app, api string) {
	t.Helper()
	app, api = "robot-"+key, "/any/cc/"+key+"/v1/things"
	f.provider.SetSecret(app, "secret-of-"+key)
	f.members[0].post("/api/secret", map[string]any{
		"realm": "cc", "key": key, "fields": map[string]any{"client_id": app, "client_secret": "secret-of-" + key},
	})
	f.eventuallyServes(t, api)
	return app, api
}

// on is a path on all nodes.
func (f *fleet) on(path string) (urls []string) {
	for _, m := range f.members {
		urls = append(urls, m.proxy+path)
	}
	return urls
}

// wantConsistent checks that both realms work on all nodes, that what they use
// is stored, and that no refresh token was sent twice.
func (f *fleet) wantConsistent(t *testing.T) {
	t.Helper()
	for _, path := range []string{credentialsAPI, rotationAPI} {
		f.eventuallyServes(t, path)
	}
	// A refresh token that works was saved.
	spent := len(f.provider.Spends("app"))
	eventually(t, "the stored refresh token is the last one", func() bool {
		_ = f.statuses(rotationAPI)
		return len(f.provider.Spends("app")) > spent
	})
	f.eventuallyServes(t, rotationAPI)
	if reuses := f.provider.Reuses(); len(reuses) != 0 {
		t.Errorf("%d refresh tokens were sent twice", len(reuses))
	}
}

// While the database cannot be written, for longer than a token lives, clients
// of a realm that can ask for tokens at any time notice nothing, and a realm
// with one-time refresh tokens spends none. Afterwards all is as before.
func TestDatabaseIsAway(t *testing.T) {
	f := launchBoth(t)
	for _, c := range []struct {
		name string
		away func() (back func())
	}{
		{"killed", func() func() { f.mysql.Kill(t); return func() { f.mysql.Restart(t) } }},
		{"readonly", func() func() { f.mysql.ReadOnly(t, true); return func() { f.mysql.ReadOnly(t, false) } }},
		{"cut", func() func() { return f.cutDatabase(faultproxy.Faults{Cut: true}) }},
	} {
		t.Run(c.name, func(t *testing.T) { f.goesOnWithout(t, c.name, c.away) })
	}
}

// cutDatabase makes something wrong with the way to the database.
func (f *fleet) cutDatabase(faults faultproxy.Faults) (end func()) {
	for _, m := range f.members {
		m.toDatabase.Set(faults)
	}
	return func() {
		for _, m := range f.members {
			m.toDatabase.Set(faultproxy.Faults{})
		}
	}
}

// goesOnWithout uses a secret of its own: while the database is away, a node may
// ask for each once in 30 s.
func (f *fleet) goesOnWithout(t *testing.T, key string, away func() func()) {
	app, api := f.addRobot(t, key)
	before := f.provider.Newest(app)
	eventually(t, "the token is fresh", func() bool {
		_ = f.statuses(api)
		return f.provider.Newest(app) != before
	})
	fresh := f.provider.Newest(app)
	for _, m := range f.members {
		eventually(t, "all nodes have the fresh token", func() bool { return m.token("cc", key).Token == fresh })
	}
	spent, began := len(f.provider.Spends("app")), time.Now()
	load := startDemand(t, slices.Concat(f.on(api), f.on(api+"?2"))...)
	back := away()
	eventually(t, "the token ends", func() bool {
		_ = f.statuses(rotationAPI)
		return !f.provider.Live(fresh)
	})
	f.eventuallyServes(t, api)
	took, spends := time.Since(began), len(f.provider.Spends("app"))-spent
	if spends > 1 { // one may have been under way
		t.Errorf("%d refresh tokens were spent while none could be saved", spends)
	}
	back()
	calls := load.wantAllServed(t)
	f.wantConsistent(t)
	t.Logf("database %s: away for %v with tokens of %v, %d calls with client credentials, %d failed; %d refresh tokens spent",
		key, took.Round(time.Millisecond), shortLife, calls, load.failed, spends)
}

// Locks that others hold, killed connections, connections that break in the
// middle of a COMMIT, a slow line: refreshes may fail, and lose nothing.
func TestDatabaseMisbehaves(t *testing.T) {
	f := launchBoth(t)
	some := func(ways ...func() func()) func(*testing.T) {
		return func(t *testing.T) { f.refreshesThrough(t, ways...) }
	}
	nothing := func() {}
	t.Run("connections are killed", some(func() func() { f.mysql.KillConnections(t); return nothing }))
	t.Run("reset in the middle", some(func() func() {
		return f.cutDatabase(faultproxy.Faults{Down: faultproxy.Way{Reset: true, After: rand.IntN(400)}}) // #nosec G404 -- anywhere
	}, func() func() {
		return f.cutDatabase(faultproxy.Faults{Up: faultproxy.Way{Reset: true, After: rand.IntN(400)}}) // #nosec G404 -- anywhere
	}))
	t.Run("slow", some(func() func() {
		slow := faultproxy.Way{Latency: 60 * time.Millisecond}
		return f.cutDatabase(faultproxy.Faults{Up: slow, Down: slow})
	}))
	t.Run("locked", some(func() func() {
		return f.mysql.Hold(t, "LOCK TABLES tokens_budgets WRITE, tokens_claims WRITE")
	}))
}

// refreshesThrough refreshes without a pause on all nodes while something
// happens to the database, and then checks that nothing was lost.
func (f *fleet) refreshesThrough(t *testing.T, ways ...func() func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for _, m := range f.members {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = call(ctx, http.MethodGet, m.admin+"/api/token?realm=rt&key=main&flush=true", nil)
			}
		})
	}
	spent := len(f.provider.Spends("app"))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range figure(t, "DATABASE_FAULTS", 15) {
		end := ways[rand.IntN(len(ways))]() // #nosec G404 -- any of them
		<-tick.C
		end()
		<-tick.C
	}
	cancel()
	asking.Wait()
	f.wantConsistent(t)
	t.Logf("%s: %d refresh tokens spent, %d twice", t.Name(), len(f.provider.Spends("app"))-spent, len(f.provider.Reuses()))
}
