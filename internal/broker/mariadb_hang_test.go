package broker

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// A database that hangs instead of refusing made callers wait for 40 to 69 s,
// and most of them got an error in the end; one that was killed made nobody
// wait. Now both are the same: the token ends, and the node asks the provider
// for itself. The bound here is not that of a caller's wait, which is patience,
// but one that a slow machine keeps, too, and that the old way did not.
func TestMariaDBThatHangs(t *testing.T) {
	const bound = 20 * time.Second
	for name, hang := range map[string]func(*testing.T, *testserver.MySQL, *faultproxy.Proxy) (goOn func()){
		"stopped": func(t *testing.T, db *testserver.MySQL, _ *faultproxy.Proxy) func() {
			db.Stop(t)
			return func() { db.Cont(t) }
		},
		"a black hole": func(_ *testing.T, _ *testserver.MySQL, way *faultproxy.Proxy) func() {
			way.Set(faultproxy.Faults{Blackhole: true})
			return func() { way.Set(faultproxy.Faults{}) }
		},
		"a lock that is never given up": func(t *testing.T, db *testserver.MySQL, _ *faultproxy.Proxy) func() {
			return db.Hold(t, "BEGIN", "SELECT * FROM tokens_budgets WHERE realm = 'wx' FOR UPDATE")
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := testserver.MariaDB(t)
			way := faultproxy.New(t, db.Addr())
			store, err := sqlstore.MySQL(db.DSNVia(way.Addr()), testKeyring(t))
			if err != nil {
				t.Fatal(err)
			}
			n := nodeOn(t, store, newProvider(t), newClock())
			config := n.wechat()
			config.Semantics = realm.SemanticsParallel
			n.saveRealm(t, "wx", config)
			n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
			want(t, n.View, wx, "T-1-app", realm.FromUpstream)

			n.setPatience(defaultPatience)
			goOn := hang(t, db, way)
			defer goOn()
			n.clock.advance(3 * time.Hour) // the token has ended
			began := time.Now()
			want(t, n.View, wx, "T-2-app", realm.FromUpstream)
			for range 10 {
				want(t, n.View, wx, "T-2-app", realm.FromMemory)
			}
			if waited := time.Since(began); waited > bound {
				t.Errorf("callers waited for %v", waited)
			}
			goOn()
			eventually(t, "the store is used again", func() bool { return !isSilent(n, "") && !isSilent(n, "wx") })
		})
	}
}
