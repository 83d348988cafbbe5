package testserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// redisDatabases is how many numbered databases the server has; each call of
// Redis gets the next one.
const redisDatabases = 512

// RedisDB is one empty database on the shared Redis server.
type RedisDB struct {
	*Server
	number int64
}

var redisServer struct {
	sync.Once
	server  *Server
	err     error
	numbers atomic.Int64
}

// Redis returns an empty database. The server is started by the first call;
// it keeps nothing on disk, a killed one comes back empty.
func Redis(tb testing.TB) *RedisDB {
	tb.Helper()
	program := find(tb, "redis-server")
	redisServer.Do(func() { redisServer.server, redisServer.err = startRedis(program) })
	if redisServer.err != nil {
		tb.Fatal(redisServer.err)
	}
	r := &RedisDB{Server: redisServer.server, number: redisServer.numbers.Add(1) % redisDatabases}
	r.Flush(tb)
	tb.Cleanup(func() { r.Restart(tb) })
	return r
}

// URL is the database's address.
func (r *RedisDB) URL() string { return r.URLVia(r.addr) }

// URLVia is URL by another address: that of a proxy before the server.
func (r *RedisDB) URLVia(addr string) string { return fmt.Sprintf("redis://%s/%d", addr, r.number) }

// Client is a plain client of the database, closed when the test ends.
func (r *RedisDB) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: r.addr, DB: int(r.number)})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Flush empties the database.
func (r *RedisDB) Flush(tb testing.TB) {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: r.addr, DB: int(r.number)})
	defer func() { _ = c.Close() }()
	if err := c.FlushDB(context.Background()).Err(); err != nil {
		tb.Fatal(err)
	}
}

func startRedis(program string) (*Server, error) {
	dir, alive, err := newDir("redis")
	if err != nil {
		return nil, err
	}
	s := &Server{name: "redis-server", dir: dir, alive: alive, ready: pingRedis}
	return s, s.firstStart(func(addr, port string) {
		s.addr = addr
		s.args = []string{
			program, "--bind", "127.0.0.1", "--port", port, "--dir", s.Dir(), "--save", "", "--appendonly", "no",
			"--databases", fmt.Sprint(redisDatabases),
			"--repl-diskless-sync-delay", "0", // a replica need not wait for others
		}
	})
}

// pingRedis asks who answers: the address may have been taken by a server of
// somebody else's. It asks once somebody listens: until then, the client would write
// to the output of the test that it cannot connect.
func pingRedis(ctx context.Context, s *Server) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "server").Result()
	if err == nil && !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", s.PID())) {
		err = errors.New("another server has the address")
	}
	return err
}
