package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// instances are processes with the Caddyfile of deploy/serverless, as a function
// platform has them: no disk, everything else by the environment. Each reaches the
// database and the cache over a network of its own.
type instances struct {
	members  []member
	provider *fakeprovider.Provider
	base     string // the provider's URL
}

const (
	serverlessAdmin = "serverless-admin-token-0123456789"
	serverlessMenu  = "/any/wx/main/cgi-bin/menu/get"
)

// nowhere is a directory in which not even root can make a file.
const nowhere = "/proc/nowhere"

// prepareInstances makes the instances, and starts none.
func prepareInstances(t testing.TB, n int, provider fakeprovider.Options) *instances {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "deploy", "serverless", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	mysql, redis := testserver.MariaDB(t), testserver.Redis(t)
	f := &instances{provider: fakeprovider.New(provider), members: make([]member, n)}
	f.base = f.provider.Start(t)
	key := newKey()
	for i := range f.members {
		m := &f.members[i]
		m.toDatabase, m.toCache = faultproxy.New(t, mysql.Addr()), faultproxy.New(t, redis.Addr())
		var port int
		// The provider is on loopback, which no platform's is.
		m.node = prepare(t, func(proxyPort, _ int) string {
			port = proxyPort
			return strings.Replace(string(text), "require client", "require client\n\t\tallow_private 127.0.0.1", 1)
		}, frugal...)
		m.env = append(slices.Clone(m.env), fmt.Sprint("PORT=", port), "HOME="+nowhere, "XDG_DATA_HOME="+nowhere, "XDG_CONFIG_HOME="+nowhere,
			"TOKENS_DSN="+mysql.DSNVia(m.toDatabase.Addr()), "TOKENS_REDIS="+redis.URLVia(m.toCache.Addr())+"?pool_size=1",
			"TOKENS_KEY="+key, "TOKENS_ADMIN="+serverlessAdmin)
	}
	return f
}

// wait waits until an instance is ready, as a platform does.
func (m *member) wait(t testing.TB) {
	t.Helper()
	eventually(t, "the instance is ready", func() bool {
		if !m.isUp() {
			t.Fatalf("the instance ended at its start:\n%s", m.logTail())
		}
		status, _ := m.try(m.proxy + "/readyz")
		return status == http.StatusOK
	})
}

// ask sends a request as the operator.
func (m *member) ask(ctx context.Context, by *http.Client, method, path, body string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, method, m.proxy+path, strings.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+serverlessAdmin)
	return sendBy(by, req)
}

// setUp has one instance make the realm, the secret and a client, and kills it
// without notice, as a platform does. It returns the key of the client.
func (f *instances) setUp(t testing.TB) (key string) {
	t.Helper()
	m := &f.members[0]
	m.spawn()
	m.wait(t)
	realm, err := json.Marshal(wechatRealm("wx", f.base))
	if err != nil {
		t.Fatal(err)
	}
	m.must(t, http.MethodPost, "/api/realm", string(realm))
	m.must(t, http.MethodPost, "/api/secret", `{"realm":"wx","key":"main","key_1":"app","key_2":"app-secret-01"}`)
	answer := m.must(t, http.MethodPost, "/api/client", `{"id":"app","rules":[{"effect":"allow","rights":["use"],"realms":["wx"],"keys":["*"]}]}`)
	if status, body := m.try(m.proxy + serverlessMenu); status != http.StatusForbidden {
		t.Fatalf("a caller from loopback, as a platform's gateway is, is served without a key: %d %s", status, body)
	}
	m.kill()
	return decode[struct{ Key string }](t, answer).Key
}

// menu makes a call to the provider's API through an instance.
func (m *member) menu(ctx context.Context, by *http.Client, key string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.proxy+serverlessMenu, nil)
	if err != nil {
		return 0, []byte(err.Error())
	}
	req.Header.Set("Authorization", "Bearer "+key)
	return sendBy(by, req)
}

// serves expects that the next request is served, and that it took no more than one
// attempt.
func (m *member) serves(t testing.TB, when, key string) {
	t.Helper()
	if status, body := m.menu(t.Context(), client, key); status != http.StatusOK {
		t.Fatalf("%s: %d %s\n%s", when, status, body, m.logTail())
	}
}

// must is ask with an answer of 200.
func (m *member) must(t testing.TB, method, path, body string) []byte {
	t.Helper()
	status, answer := m.ask(t.Context(), client, method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: %d %s\n%s", method, path, status, answer, m.logTail())
	}
	return answer
}

// Instances that are started at a time, on a cold cache, make one fetch, and answer
// every request of a burst without an error, with two connections each to the
// database and to the cache. `make soak` has forty of them, and the 10,000 requests
// on 300 connections of the earlier service's load test.
func TestServerlessColdStartAndBurst(t *testing.T) {
	n, requests, connections := figure(t, "INSTANCES", 4), figure(t, "BURST", 1000), figure(t, "BURST_CONNECTIONS", 60)
	f := prepareInstances(t, n, fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"}})
	key := f.setUp(t)
	for i := range f.members {
		f.members[i].spawn()
	}
	release := f.provider.Hold()
	defer release()
	var answered sync.WaitGroup
	statuses := make([]int, n)
	for i := range f.members {
		m := &f.members[i]
		m.wait(t)
		answered.Go(func() { statuses[i], _ = m.menu(t.Context(), client, key) })
	}
	eventually(t, "the provider is asked", func() bool { return f.provider.Fetches() > 0 })
	release()
	answered.Wait()
	for i, status := range statuses {
		if status != http.StatusOK {
			t.Errorf("the first request to instance %d got %d\n%s", i, status, f.members[i].logTail())
		}
	}
	if fetches := f.provider.Fetches(); fetches != 1 {
		t.Errorf("%d fetches", fetches)
	}

	var failed, left atomic.Int64
	left.Store(int64(requests))
	toDatabase, toCache, looks := 0, 0, 0
	look := func() {
		open := connectionsTo(t)
		looks++
		for i := range f.members {
			toDatabase = max(toDatabase, open[f.members[i].toDatabase.Addr()])
			toCache = max(toCache, open[f.members[i].toCache.Addr()])
		}
	}
	look()
	var callers sync.WaitGroup
	began := time.Now()
	for i := range connections {
		m := &f.members[i%n]
		callers.Go(func() {
			by := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
			defer by.CloseIdleConnections()
			for left.Add(-1) >= 0 {
				if status, _ := m.menu(t.Context(), by, key); status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	for left.Load() > 0 {
		look()
	}
	callers.Wait()
	t.Logf("%d instances, %d requests on %d connections: %d failed, %.0f requests/s", n, requests, connections, failed.Load(),
		float64(requests)/time.Since(began).Seconds())
	if failed.Load() != 0 || f.provider.Fetches() != 1 || len(f.provider.DeadCalls()) != 0 {
		t.Errorf("%d failed, %d fetches, dead calls: %+v", failed.Load(), f.provider.Fetches(), f.provider.DeadCalls())
	}
	if toDatabase == 0 || toDatabase > 2 || toCache > 2 {
		t.Errorf("in %d looks an instance had %d connections to the database, and %d to the cache", looks, toDatabase, toCache)
	}
}

// connectionsTo counts the established connections to each address of loopback, as
// their clients have them: one that a client has closed does not count.
func connectionsTo(t *testing.T) map[string]int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	open, seen := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(string(table)) {
		// The columns are number, local address, remote address, state (01 is
		// established), and more; an address is in hexadecimal.
		columns := strings.Fields(line)
		if len(columns) < 4 || columns[3] != "01" || seen[columns[1]+columns[2]] {
			continue // a table that changes while it is read has a line more than once
		}
		seen[columns[1]+columns[2]] = true
		if port, isLoopback := strings.CutPrefix(columns[2], "0100007F:"); isLoopback {
			if n, err := strconv.ParseUint(port, 16, 16); err == nil {
				open[fmt.Sprint("127.0.0.1:", n)]++
			}
		}
	}
	return open
}

// A platform freezes instances between requests, for longer than a token lives,
// while their connections die, and kills others without notice. Whoever is thawed,
// or lives on, or is started anew serves the next request.
func TestServerlessFrozenAndKilled(t *testing.T) {
	freeze := time.Duration(figure(t, "FROZEN_SECONDS", 0)) * time.Second
	f := prepareInstances(t, 3, fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"}, Quotas: []fakeprovider.Quota{},
		Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Overlap: 3 * time.Second, Life: 10 * time.Second},
	})
	key := f.setUp(t)
	for i := range f.members {
		f.members[i].spawn()
	}
	for i := range f.members {
		f.members[i].wait(t)
		f.members[i].serves(t, "at first", key)
	}
	busy, frozen, killed := &f.members[0], &f.members[1], &f.members[2]
	// sleep is how long instances are frozen: until what they know has ended.
	sleep := func(beside func()) {
		t.Helper()
		token, since := f.provider.Newest(), time.Now()
		eventuallyBy(t, since.Add(freeze+patience), "the token ends", func() bool {
			beside()
			return !f.provider.Live(token) && time.Since(since) >= freeze
		})
	}
	lose := func(m *member) {
		for _, p := range []*faultproxy.Proxy{m.toDatabase, m.toCache} {
			p.Set(faultproxy.Faults{Cut: true})
			eventually(t, "the connections are gone", func() bool { return p.Open() == 0 })
			p.Set(faultproxy.Faults{})
		}
	}
	for range figure(t, "FREEZES", 2) {
		// One is frozen while another one serves: it renews beside its requests, and
		// its callers notice nothing.
		frozen.pause()
		sleep(func() { busy.serves(t, "beside a frozen instance", key) })
		lose(frozen)
		frozen.resume()
		frozen.serves(t, "thawed, while another one had the tokens", key)

		// All are frozen, and nobody renews; one is killed meanwhile.
		busy.pause()
		frozen.pause()
		killed.pause()
		sleep(func() {})
		killed.kill()
		fetches := f.provider.Fetches()
		lose(busy)
		busy.resume()
		frozen.resume()
		var both sync.WaitGroup
		for _, m := range []*member{busy, frozen} {
			both.Go(func() {
				if status, body := m.menu(t.Context(), client, key); status != http.StatusOK {
					t.Errorf("thawed, with a token that has ended: %d %s\n%s", status, body, m.logTail())
				}
			})
		}
		both.Wait()
		if got := f.provider.Fetches() - fetches; got != 1 {
			t.Errorf("%d fetches of the two that were thawed", got)
		}
		killed.spawn()
		killed.wait(t)
		killed.serves(t, "started after a kill", key)
	}
	if dead := f.provider.DeadCalls(); len(dead) != 0 {
		t.Errorf("calls with dead tokens: %+v", dead)
	}
}

// Without requests nothing is renewed; a timer's request renews what is due, on
// whichever instance it comes to, and is answered with what was done.
func TestServerlessTimer(t *testing.T) {
	f := prepareInstances(t, 2, fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"app": "app-secret-01"}, Quotas: []fakeprovider.Quota{},
		Rule: &fakeprovider.Rule{Semantics: fakeprovider.Rotate, Life: 10 * time.Second},
	})
	key := f.setUp(t)
	used, asked := &f.members[0], &f.members[1]
	used.spawn()
	used.wait(t)
	used.serves(t, "at first", key)
	asked.spawn()
	asked.wait(t)
	first := f.provider.Newest()
	eventually(t, "the token ends, and nobody renews it", func() bool { return !f.provider.Live(first) })
	if f.provider.Fetches() != 1 {
		t.Fatalf("%d fetches", f.provider.Fetches())
	}
	const done = `{"data":{"list":[{"realm":"wx","key":"main","result":"ok"}],"total":1},"success":"ok"}`
	if answer := asked.must(t, http.MethodPost, "/api/renew-due", ""); strings.TrimSpace(string(answer)) != done {
		t.Errorf("%s", answer)
	}
	if status, answer := asked.menu(t.Context(), client, key); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	if f.provider.Fetches() != 2 {
		t.Errorf("%d fetches", f.provider.Fetches())
	}
}
