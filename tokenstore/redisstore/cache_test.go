package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var ref = realm.Ref{Realm: "wx", Key: "main"}

// clock is a clock that stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func keyring(t testing.TB) *tokenstore.Keyring {
	t.Helper()
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	ring, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// patience bounds what has to happen: it is no measure of the machine.
const patience = 2 * time.Minute

// newCache is a cache with a clock of its own and everything that it logs. On a
// busy machine a Redis that is well may need longer than opBudget: here it has
// the time that a connection has.
func newCache(t *testing.T, r *testserver.RedisDB, ring *tokenstore.Keyring) (*Cache, *clock, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	c, err := New([]string{r.URL()}, ring, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	clk := &clock{now: time.Now()}
	c.now, c.budget = clk.Now, patience
	t.Cleanup(func() { _ = c.Close() })
	warm(t, c)
	return c, clk, logs
}

// warm connects, which takes longer than an operation.
func warm(t *testing.T, c *Cache) {
	t.Helper()
	eventually(t, "it is connected", func() bool { return c.client.Ping(t.Context()).Err() == nil })
}

// eventually repeats something until it holds.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func tok(lineage int64, life time.Duration) realm.Token {
	now := time.Now().UTC().Truncate(time.Microsecond)
	t := realm.Token{Access: realm.Hidden(fmt.Sprint("access-", lineage)), IssuedAt: now, Lineage: lineage, Fingerprint: realm.Fingerprint{7}}
	if life != 0 {
		t.ExpiresAt = now.Add(life)
	}
	return t
}

// cached is the lineage that the cache answers with; 0 for a miss.
func cached(c *Cache) int64 {
	t, ok := c.Get(context.Background(), ref)
	if !ok {
		return 0
	}
	return t.Lineage
}

func TestNewerWins(t *testing.T) {
	c, _, _ := newCache(t, testserver.Redis(t), keyring(t))
	put := func(lineage, want int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("after putting %d the cache has %d", lineage, want), func() bool {
			c.Put(t.Context(), ref, tok(lineage, time.Hour))
			return cached(c) == want
		})
	}
	put(9, 9) // compared as numbers: as text 10 would be smaller
	put(10, 10)
	put(9, 10)
	c.Delete(t.Context(), ref, 10)
	put(10, 0)
	put(9, 0)
	put(11, 11)
	c.Delete(t.Context(), ref, 10) // late: 11 came after what it deletes
	put(11, 11)
}

func TestRoundTripAndLife(t *testing.T) {
	r := testserver.Redis(t)
	c, clk, _ := newCache(t, r, keyring(t))
	want := tok(1, time.Hour)
	want.IssuedAt = clk.Now().UTC().Truncate(time.Microsecond) // the clock by which the life is counted
	want.ExpiresAt = want.IssuedAt.Add(time.Hour)
	want.Refresh, want.RefreshExpiresAt = "refresh", want.ExpiresAt.Add(time.Hour)
	eventually(t, "the token is cached", func() bool {
		c.Put(t.Context(), ref, want)
		got, ok := c.Get(t.Context(), ref)
		return ok && got == want
	})
	client := r.Client(t)
	if ttl := client.PTTL(t.Context(), key(ref)).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("the entry lives for %v", ttl)
	}
	eventually(t, "the endless token is cached", func() bool {
		c.Put(t.Context(), ref, tok(2, 0))
		return cached(c) == 2
	})
	if ttl := client.PTTL(t.Context(), key(ref)).Val(); ttl != -1 {
		t.Errorf("the endless entry lives for %v", ttl)
	}
	eventually(t, "an expired token leaves a tombstone", func() bool {
		c.Put(t.Context(), ref, tok(3, -time.Second))
		return client.HGet(t.Context(), key(ref), "l").Val() == "3"
	})
	if cached(c) != 0 {
		t.Error("an expired token is served")
	}
	eventually(t, "token 4 is cached", func() bool {
		c.Put(t.Context(), ref, tok(4, time.Hour))
		return cached(c) == 4
	})
	clk.Advance(2 * time.Hour) // Redis' clock goes slower than ours
	if cached(c) != 0 {
		t.Error("a token that ended meanwhile is served")
	}
}

func TestForeignEntriesAreMisses(t *testing.T) {
	r := testserver.Redis(t)
	ring := keyring(t)
	c, _, logs := newCache(t, r, ring)
	other, _, _ := newCache(t, r, keyring(t))
	client := r.Client(t)
	eventually(t, "the other key's token is there", func() bool {
		other.Put(t.Context(), ref, tok(1, time.Hour))
		return cached(other) == 1
	})
	if cached(c) != 0 {
		t.Error("a token that another key sealed is served")
	}
	client.HSet(t.Context(), key(ref), "v", "rubbish")
	if cached(c) != 0 {
		t.Error("rubbish is served")
	}
	eventually(t, "a newer token takes the place", func() bool {
		c.Put(t.Context(), ref, tok(2, time.Hour))
		return cached(c) == 2
	})
	client.HSet(t.Context(), key(ref), "l", "5") // an older token under a newer number
	if cached(c) != 0 {
		t.Error("a token with a forged lineage is served")
	}
	for _, e := range logs.All() {
		if bytes.Contains(fmt.Append(nil, e.Message, e.ContextMap()), []byte("access-")) {
			t.Errorf("a token is in the log: %v", e)
		}
	}
}

func TestCallerWhoLeavesProvesNothing(t *testing.T) {
	c, _, logs := newCache(t, testserver.Redis(t), keyring(t))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 * tripAfter {
		if _, ok := c.Get(gone, ref); ok {
			t.Fatal("a hit")
		}
	}
	if logs.FilterMessage("redis cannot be used; going on without it").Len() != 0 {
		t.Fatal("callers who left opened the breaker")
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	r := testserver.Redis(t)
	before := goleak.IgnoreCurrent()
	c, err := New([]string{r.URL()}, keyring(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	warm(t, c)
	c.Put(t.Context(), ref, tok(1, time.Hour))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	leaktest.VerifyNone(t, before)
}
