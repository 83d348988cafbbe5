package redisstore

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// counter counts the operations that reach for Redis. What a new connection
// says first is not one.
type counter struct {
	n    atomic.Int64
	lose atomic.Bool // no operation gets through
}

var errLost = errors.New("lost on its way")

func (*counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if name := cmd.Name(); name == "hmget" || name == "evalsha" || name == "eval" {
			c.n.Add(1)
			if c.lose.Load() {
				return errLost
			}
		}
		return next(ctx, cmd)
	}
}

func (*counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// node is one node's levels over a database that it shares with others.
type node struct {
	store tokenstore.Store
	cache *Cache
	clock *clock
	count *counter
	downs func() int
}

func newNode(t *testing.T, r *testserver.RedisDB, path string, ring *tokenstore.Keyring) *node {
	t.Helper()
	cache, clk, logs := newCache(t, r, ring)
	count := &counter{}
	cache.client.AddHook(count)
	store := tokenstore.Levels(sqlstore.SQLite(path, ring), cache)
	t.Cleanup(func() { _ = store.Close() })
	if err := store.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	downs := func() int { return logs.FilterMessage("redis cannot be used; going on without it").Len() }
	return &node{store: store, cache: cache, clock: clk, count: count, downs: downs}
}

// lineage reads the token; it must be there, whatever Redis does.
func (n *node) lineage(t *testing.T) (int64, realm.Source) {
	t.Helper()
	got, source, err := n.store.Token(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return got.Lineage, source
}

func (n *node) save(t *testing.T, parent int64) {
	t.Helper()
	if _, err := storetest.SaveToken(t.Context(), n.store, ref, tok(0, time.Hour), parent); err != nil {
		t.Fatal(err)
	}
}

func (n *node) wants(t *testing.T, want int64) {
	t.Helper()
	if got, source := n.lineage(t); got != want {
		t.Fatalf("lineage %d from %s, want %d", got, source, want)
	}
}

func TestFaults(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T, r *testserver.RedisDB){
		"killed":  func(t *testing.T, r *testserver.RedisDB) { r.Kill(t) },
		"stopped": func(t *testing.T, r *testserver.RedisDB) { r.Stop(t) },
	} {
		t.Run(name, func(t *testing.T) { testFault(t, fault) })
	}
}

// testFault: without Redis every answer is right, and soon nobody asks Redis
// any more. When it is back, what it still has of older tokens is not served.
func testFault(t *testing.T, fault func(t *testing.T, r *testserver.RedisDB)) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	a.save(t, 0)
	eventually(t, "both nodes read from Redis", func() bool {
		_, one := a.lineage(t)
		_, two := b.lineage(t)
		return one == realm.FromRedis && two == realm.FromRedis
	})

	fault(t, r)
	a.cache.budget, b.cache.budget = opBudget, opBudget
	for range tripAfter {
		a.wants(t, 1)
	}
	eventually(t, "the breaker is open", func() bool { a.wants(t, 1); return a.downs() == 1 })
	tried := a.count.n.Load()
	for range 1000 {
		a.wants(t, 1)
	}
	if n := a.count.n.Load() - tried; n != 0 {
		t.Errorf("%d of 1000 reads asked Redis, though it is down", n)
	}
	a.save(t, 1)
	a.wants(t, 2)
	for range 5 { // each probe that fails is one only, however many read
		a.clock.Advance(maxPause)
		tried = a.count.n.Load()
		for range 50 {
			a.wants(t, 2)
		}
		if n := a.count.n.Load() - tried; n > 1 {
			t.Errorf("%d probes at once", n)
		}
	}
	if a.downs() != 1 {
		t.Errorf("%d warnings for one fault", a.downs())
	}

	r.Restart(t)
	eventually(t, "the node that wrote is back, and Redis has the new token", func() bool {
		a.clock.Advance(maxPause)
		a.wants(t, 2)
		return !a.cache.missed.contains(ref)
	})
	eventually(t, "the other node reads the new token", func() bool {
		b.clock.Advance(maxPause)
		got, _ := b.lineage(t)
		return got == 2
	})
	a.save(t, 2)
	eventually(t, "and the next one from Redis", func() bool {
		b.clock.Advance(maxPause)
		got, source := b.lineage(t)
		return got == 3 && source == realm.FromRedis
	})
}

// TestMissedChangeIsMadeUpFor: a token whose change did not reach Redis leaves
// it soon after Redis answers again, though nobody asks for anything: the
// other nodes would go on reading the older one.
func TestMissedChangeIsMadeUpFor(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	a.save(t, 0)
	eventually(t, "both nodes read from Redis", func() bool {
		_, one := a.lineage(t)
		_, two := b.lineage(t)
		return one == realm.FromRedis && two == realm.FromRedis
	})
	a.count.lose.Store(true)
	a.save(t, 1)
	a.count.lose.Store(false)
	eventually(t, "the other node reads the new token", func() bool {
		a.clock.Advance(maxPause)
		got, _ := b.lineage(t)
		return got == 2 && !a.cache.missed.contains(ref)
	})
}

// TestStaleEntryIsReplaced: an entry that stayed behind in Redis (its node died
// before it could make up for it) lasts until somebody looks into the database.
func TestStaleEntryIsReplaced(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	n, db := newNode(t, r, path, ring), sqlstore.SQLite(path, ring)
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.save(t, 0)
	eventually(t, "Redis has it", func() bool { _, source := n.lineage(t); return source == realm.FromRedis })
	if _, err := storetest.SaveToken(t.Context(), db, ref, tok(0, time.Hour), 1); err != nil {
		t.Fatal(err)
	}
	n.wants(t, 1) // stale
	coordinate(t, n.store, ref, func(*tokenstore.State) {})
	n.wants(t, 2)
	n.save(t, 2)
	n.wants(t, 3)
}

// TestFlushed: an emptied Redis is filled again, with what is current.
func TestFlushed(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	for parent := range int64(20) {
		a.save(t, parent)
		r.Flush(t)
		b.wants(t, parent+1)
		a.wants(t, parent+1)
	}
	eventually(t, "Redis is used again", func() bool { _, source := b.lineage(t); return source == realm.FromRedis })
	if err := storetest.DropToken(t.Context(), a.store, ref); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.store.Token(t.Context(), ref); err == nil {
		t.Fatal("the deleted token is served")
	}
}

// TestFailuresAreCounted: what Redis does not do counts; what is not tried does
// not, nor what the caller gave up.
func TestFailuresAreCounted(t *testing.T) {
	r := testserver.Redis(t)
	c, clk, _ := newCache(t, r, keyring(t))
	var failures []string
	WithFailures(func(level string) { failures = append(failures, level) })(c)
	c.Get(t.Context(), ref)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	c.Get(gone, ref)
	if len(failures) != 0 {
		t.Fatalf("nothing failed: %v", failures)
	}
	r.Kill(t)
	for range 10 * tripAfter {
		c.Get(t.Context(), ref)
	}
	if len(failures) != tripAfter || failures[0] != "redis" {
		t.Errorf("got %v, want %d", failures, tripAfter)
	}
	clk.Advance(firstPause)
	c.Get(t.Context(), ref)
	if len(failures) != tripAfter+1 {
		t.Errorf("the probe does not count: %v", failures)
	}
}

// TestHealth: both levels report.
func TestHealth(t *testing.T) {
	r := testserver.Redis(t)
	n := newNode(t, r, filepath.Join(t.TempDir(), "tokens.db"), keyring(t))
	report := func() map[string]bool {
		up := map[string]bool{}
		for _, h := range n.store.(tokenstore.HealthReporter).Health(t.Context()) {
			up[h.Name] = h.OK
			if h.OK != (h.Err == nil) {
				t.Errorf("%s: OK %v with error %v", h.Name, h.OK, h.Err)
			}
		}
		return up
	}
	if up := report(); len(up) != 2 || !up["sqlite"] || !up["redis"] {
		t.Fatalf("got %v", up)
	}
	r.Kill(t)
	if up := report(); !up["sqlite"] || up["redis"] {
		t.Fatalf("without Redis: %v", up)
	}
	if err := n.store.Ping(t.Context()); err != nil {
		t.Fatalf("the store can be used without Redis: %v", err)
	}
}
