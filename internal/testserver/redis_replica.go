package testserver

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// OwnRedis starts a Redis server for this test alone; it ends with the test.
// It may follow another one.
func OwnRedis(tb testing.TB) *RedisDB {
	tb.Helper()
	s, err := startRedis(find(tb, "redis-server"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = s.alive.Close() // the watchdog ends the server
		<-s.exited()
	})
	return &RedisDB{Server: s}
}

// Follow makes the server a replica of the one at an address, which may be
// that of a proxy, and waits until it has all data. It answers what reads, and
// refuses what writes. Replication is asynchronous: what was written just
// before a Promote may be lost.
func (r *RedisDB) Follow(tb testing.TB, addr string) {
	tb.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	r.admin(tb, func(ctx context.Context, c *redis.Client) error {
		if err := c.Do(ctx, "REPLICAOF", host, port).Err(); err != nil {
			return err
		}
		return untilInSync(ctx, c)
	})
}

// Promote makes a replica a server of its own, with the data that it has.
func (r *RedisDB) Promote(tb testing.TB) {
	tb.Helper()
	r.admin(tb, func(ctx context.Context, c *redis.Client) error {
		return c.Do(ctx, "REPLICAOF", "NO", "ONE").Err()
	})
}

func untilInSync(ctx context.Context, c *redis.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := c.Info(ctx, "replication").Result()
		if err != nil || strings.Contains(info, "master_link_status:up") {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
