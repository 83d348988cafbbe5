package test

import (
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// fleetOptions say what a fleet is made of. The zero value of each but nodes
// will do.
type fleetOptions struct {
	nodes    int
	tokens   string // further lines of the tokens block: short times, for instance
	proxy    string // and of the public site
	provider fakeprovider.Options
	// program runs instead of binary, see withFailpoints.
	program string
}

// fleet is several nodes on one MariaDB and one Redis, and a provider. Each
// node reaches the two over a network of its own.
type fleet struct {
	members  []member
	mysql    *testserver.MySQL
	redis    *testserver.RedisDB
	provider *fakeprovider.Provider
	base     string // the provider's URL
}

// member is one node of a fleet.
type member struct {
	*node
	toDatabase, toCache *faultproxy.Proxy
}

// frugal keeps many nodes small: they share two cores and some memory.
var frugal = []string{"GOMAXPROCS=2", "GOMEMLIMIT=64MiB"}

// launchFleet starts all nodes at once and waits until each answers.
func launchFleet(t *testing.T, o fleetOptions) *fleet {
	t.Helper()
	f := &fleet{
		mysql: testserver.MariaDB(t), redis: testserver.Redis(t),
		provider: fakeprovider.New(o.provider), members: make([]member, o.nodes),
	}
	f.base = f.provider.Start(t)
	key := newKey()
	for i := range f.members {
		m := &f.members[i]
		m.toDatabase, m.toCache = faultproxy.New(t, f.mysql.Addr()), faultproxy.New(t, f.redis.Addr())
		s := storeAt(f.mysql.DSNVia(m.toDatabase.Addr()), f.redis.URLVia(m.toCache.Addr()), key)
		c := config{tokens: s.config + "allow_private 127.0.0.1\n" + o.tokens, proxy: gateway + "\n" + o.proxy}
		m.node = prepare(t, c.caddyfile, append(s.env, frugal...)...)
		if o.program != "" {
			m.program = o.program
			m.env = append(m.env, "TOKENS_FAILPOINT_FILE="+filepath.Join(m.dir, "failpoint"))
		}
		m.spawn()
	}
	for _, m := range f.members {
		m.waitReady()
	}
	return f
}

// statuses makes a call on every node; the answers are in their order.
func (f *fleet) statuses(path string) []int {
	all := make([]int, len(f.members))
	for i, m := range f.members {
		all[i], _ = m.try(m.proxy + path)
	}
	return all
}

// eventuallyServes waits until every node answers a call with 200.
func (f *fleet) eventuallyServes(t *testing.T, path string) {
	t.Helper()
	eventually(t, "every node serves "+path, func() bool {
		for _, status := range f.statuses(path) {
			if status != http.StatusOK {
				return false
			}
		}
		return true
	})
}

// A fleet stands what the tests do to it: a node without its stores, one that
// is paused, one that is killed.
func TestFleetGoesOn(t *testing.T) {
	const api = "/any/wx/main/cgi-bin/menu/get"
	f := launchFleet(t, fleetOptions{nodes: 5, tokens: "refresh {\n\ttimeout 2s\n}", provider: fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"},
	}})
	first, cutOff, paused, killed := f.members[0], f.members[1], f.members[2], f.members[3]
	first.post("/api/realm", wechatRealm("wx", f.base))
	first.post("/api/secret", map[string]any{"realm": "wx", "key": "main", "key_1": "app", "key_2": "app-secret-01"})
	first.get(first.proxy+api, http.StatusOK)
	f.eventuallyServes(t, api)
	if f.provider.Fetches() != 1 {
		t.Errorf("%d fetches", f.provider.Fetches())
	}

	cutOff.toDatabase.Set(faultproxy.Faults{Cut: true})
	cutOff.toCache.Set(faultproxy.Faults{Blackhole: true})
	cutOff.get(cutOff.proxy+api, http.StatusOK)
	if status, body := cutOff.tryPost("/api/realm", wechatRealm("other", f.base)); status == http.StatusOK {
		t.Errorf("the node without its database stores a realm: %s", body)
	}
	paused.pause()
	killed.kill()
	if status, _ := killed.try(killed.proxy + api); status != 0 {
		t.Errorf("the killed node answers %d", status)
	}
	killed.start()
	paused.resume()
	cutOff.toDatabase.Set(faultproxy.Faults{})
	cutOff.toCache.Set(faultproxy.Faults{})
	f.eventuallyServes(t, api)
	if f.provider.Fetches() != 1 || len(f.provider.DeadCalls()) != 0 {
		t.Errorf("%d fetches, dead calls: %+v", f.provider.Fetches(), f.provider.DeadCalls())
	}
}

// The build with failpoints is the product as long as none is named.
func TestFailpointsAreAsleep(t *testing.T) {
	f := launchFleet(t, fleetOptions{nodes: 1, program: withFailpoints(t)})
	n := f.members[0]
	n.signal(syscall.SIGTERM)
	n.waitEnd()
	n.start("TOKENS_FAILPOINT=nowhere")
}
