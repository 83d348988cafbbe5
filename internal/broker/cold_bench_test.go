package broker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/redisstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// BenchmarkCold is how many tokens a second a node fetches of which there is
// nothing yet: 64 callers want one token of each of N secrets of one realm, which
// lie in the store. "unbound" allows 64 calls at a time, and the provider
// answers at once, so that the store is what bounds it; "default" allows 4, of
// 20 ms each, which makes 200 a second at most.
//
// provider-ms/op is how long the provider took: a timer fires late on a busy machine.
// cpu-ms/op is the processor time of this process, in which the callers and the
// provider are, too; servers-cpu-ms/op is that of MariaDB and Redis.
func BenchmarkCold(b *testing.B) {
	for _, store := range []struct {
		name string
		open func(b *testing.B) (tokenstore.Store, []int)
	}{{"sqlite", coldSQLite}, {"mariadb+redis", coldMariaDB}} {
		b.Run(store.name, func(b *testing.B) {
			b.Run("unbound", func(b *testing.B) { benchCold(b, store.open, 64, 0) })
			b.Run("default", func(b *testing.B) { benchCold(b, store.open, 0, 20*time.Millisecond) })
		})
	}
}

func coldSQLite(b *testing.B) (store tokenstore.Store, servers []int) {
	b.Helper()
	return sqlstore.SQLite(filepath.Join(b.TempDir(), "tokens.db"), testKeyring(b)), nil
}

func coldMariaDB(b *testing.B) (store tokenstore.Store, servers []int) {
	b.Helper()
	keys, mariadb, redis := testKeyring(b), testserver.MariaDB(b), testserver.Redis(b)
	db, err := sqlstore.MySQL(mariadb.DSN(), keys)
	if err != nil {
		b.Fatal(err)
	}
	cache, err := redisstore.New([]string{redis.URL()}, keys, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	return tokenstore.Levels(db, cache), []int{mariadb.PID(), redis.PID()}
}

func benchCold(b *testing.B, open func(b *testing.B) (tokenstore.Store, []int), concurrency int, latency time.Duration) {
	var fetches, took atomic.Int64
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		began := time.Now()
		if latency > 0 {
			time.Sleep(latency)
		}
		took.Add(int64(time.Since(began)))
		_, _ = fmt.Fprintf(w, `{"access_token":"A%d","expires_in":7200}`, fetches.Add(1))
	}))
	defer provider.Close()
	store, servers := open(b)
	n := coldNode(b, store, provider.URL, concurrency)
	refs := make([]realm.Ref, b.N)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprintf("key-%d", i)}
		n.saveSecret(b, refs[i], "key_1", "app", "key_2", "s3cret-value")
	}

	runtime.GC() // of what was made before
	ours, theirs := cpuTime(b), cpuTimeOf(b, servers)
	b.ResetTimer()
	var next atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(refs)); i = next.Add(1) - 1 {
				if _, err := n.Token(b.Context(), refs[i]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	if got := fetches.Load(); got != int64(b.N) {
		b.Errorf("%d fetches for %d tokens", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	b.ReportMetric(float64(took.Load())/1e6/float64(b.N), "provider-ms/op")
	b.ReportMetric((cpuTime(b)-ours).Seconds()*1000/float64(b.N), "cpu-ms/op")
	if len(servers) > 0 {
		b.ReportMetric((cpuTimeOf(b, servers)-theirs).Seconds()*1000/float64(b.N), "servers-cpu-ms/op")
	}
}

// coldNode is a node in real time whose realm is in the store.
func coldNode(b *testing.B, store tokenstore.Store, provider string, concurrency int) *node {
	b.Helper()
	n := &node{pool: New(store, zap.NewNop(), nil, WithPatience(longPatience))}
	b.Cleanup(func() {
		if err := n.pool.Destruct(); err != nil {
			b.Error(err)
		}
	})
	var err error
	n.View, err = n.pool.View(ViewConfig{Client: testClient(b, time.Now)})
	if err != nil {
		b.Fatal(err)
	}
	c := wechatAt(provider)
	c.Limits.Concurrency = concurrency
	n.saveRealm(b, "wx", c)
	return n
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTimeOf is the processor time of other processes.
func cpuTimeOf(b *testing.B, pids []int) time.Duration {
	b.Helper()
	const ticks = 100 // a second, see getconf CLK_TCK
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		_, behind, _ := strings.Cut(string(text), ") ") // the name may hold blanks
		for _, field := range strings.Fields(behind)[11:13] {
			spent, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += spent
		}
	}
	return time.Duration(sum) * time.Second / ticks
}
