package testserver

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// FlushAll empties all databases of the server, also those of other tests.
func (r *RedisDB) FlushAll(tb testing.TB) {
	tb.Helper()
	r.admin(tb, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
}

// Pause lets every command wait for a time, as CLIENT PAUSE does. It cannot be
// ended early: the command that would end it waits, too. For a pause of any
// length see Stop.
func (r *RedisDB) Pause(tb testing.TB, d time.Duration) {
	tb.Helper()
	r.admin(tb, func(ctx context.Context, c *redis.Client) error { return c.ClientPause(ctx, d).Err() })
}

// RefuseWrites makes the server refuse all that writes (NOREPLICAS) and answer
// what reads, as a primary does that has lost its replicas, until allow is
// called or the test ends. Publishing is not writing.
func (r *RedisDB) RefuseWrites(tb testing.TB) (allow func()) {
	tb.Helper()
	set := func(replicas string) {
		r.admin(tb, func(ctx context.Context, c *redis.Client) error {
			return c.ConfigSet(ctx, "min-replicas-to-write", replicas).Err()
		})
	}
	allow = func() {
		r.Restart(tb) // it may be stopped, or gone
		set("0")
	}
	tb.Cleanup(allow)
	set("1")
	return allow
}

// KillConnections ends every connection to the server, subscribers too, and
// returns how many there were.
func (r *RedisDB) KillConnections(tb testing.TB) int {
	tb.Helper()
	killed := int64(0)
	r.admin(tb, func(ctx context.Context, c *redis.Client) (err error) {
		killed, err = c.ClientKillByFilter(ctx, "SKIPME", "yes").Result()
		return err
	})
	return int(killed)
}

// admin runs one command over a connection of its own.
func (r *RedisDB) admin(tb testing.TB, do func(context.Context, *redis.Client) error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), faultTimeout)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: r.addr, DB: int(r.number)})
	defer func() { _ = c.Close() }()
	if err := do(ctx, c); err != nil {
		tb.Fatal(err)
	}
}
