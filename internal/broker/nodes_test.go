package broker

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// Two nodes on one MariaDB: what one of them changes, the other notices, and
// neither is told.
func TestOtherNodesChanges(t *testing.T) {
	db := testserver.MariaDB(t)
	p, c := newProvider(t), newClock()
	a, b := nodeOn(t, mysqlStore(t, db), p, c), nodeOn(t, mysqlStore(t, db), p, c)
	a.saveRealm(t, "wx", a.wechat())
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	want(t, b.View, wx, "T-1-app", realm.FromDatabase)

	if _, err := a.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has the token that a fetched", func() bool { return b.has(t, "T-2-app") })
	a.saveSecret(t, wx, "key_1", "other")
	eventually(t, "b has a token of the new secret", func() bool { return b.has(t, "T-3-other") })
	want(t, a.View, wx, "T-3-other", realm.FromDatabase)

	config := a.wechat()
	config.Inject[0].Name = "token"
	a.saveRealm(t, "wx", config)
	eventually(t, "b injects as the new realm says", func() bool {
		lease, err := b.Proxyable(t.Context(), wx)
		return err == nil && lease.Target.Inject[0].Name == "token"
	})
	if err := a.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b does not know the secret any more", func() bool {
		_, err := b.Token(t.Context(), wx)
		return catalog.IsNotFound(err)
	})
	if calls := p.calls.Load(); calls != 3 {
		t.Fatalf("%d calls to the provider, want 3", calls)
	}
}

func mysqlStore(t *testing.T, db *testserver.MySQL) tokenstore.Store {
	t.Helper()
	store, err := sqlstore.MySQL(db.DSN(), testKeyring(t))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (n *node) has(t *testing.T, token string) bool {
	t.Helper()
	lease, err := n.Token(t.Context(), wx)
	return err == nil && lease.Access.Reveal() == token
}

// TestLiveTokenStays: a token that is in memory, and one that is in the store,
// go to no new host of the API either, on whatever node. Back at the old one,
// both serve again. Once the values are entered again, a token that is got with
// them goes to the new one.
func TestLiveTokenStays(t *testing.T) {
	for name, move := range map[string]func(c *realm.Config){
		"api":     func(c *realm.Config) { c.API = "https://evil.example" },
		"hosts":   func(c *realm.Config) { c.Hosts = []string{"evil.example"} },
		"refresh": func(c *realm.Config) { c.Refresh = &realm.Recipe{URL: "https://evil.example/?r={refresh_token}"} },
	} {
		t.Run(name, func(t *testing.T) {
			db, p, c := testserver.MariaDB(t), newProvider(t), newClock()
			a, b := nodeOn(t, mysqlStore(t, db), p, c), nodeOn(t, mysqlStore(t, db), p, c)
			a.saveRealm(t, "wx", a.wechat())
			a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
			want(t, a.View, wx, "T-1-app", realm.FromUpstream)
			want(t, b.View, wx, "T-1-app", realm.FromDatabase)
			moved := a.wechat()
			move(&moved)
			a.saveRealm(t, "wx", moved)
			refused := func(n *node) bool {
				_, err := n.Proxyable(t.Context(), wx)
				var e *realm.Error
				return errors.As(err, &e) && e.Code == realm.CodeHostNotAllowed && e.Status == http.StatusConflict && strings.Contains(e.Detail, "evil.example")
			}
			if !refused(a) {
				t.Error("the token went to the new host")
			}
			eventually(t, "the other node sends it no more either", func() bool { return refused(b) })
			for _, n := range []*node{a, b} {
				if _, err := n.Token(t.Context(), wx); err == nil {
					t.Error("the token is handed out")
				}
				if _, err := n.Flush(t.Context(), wx); err == nil {
					t.Error("a new token is got")
				}
			}

			a.saveRealm(t, "wx", a.wechat())
			want(t, a.View, wx, "T-1-app", realm.FromMemory)
			eventually(t, "the other node serves it again", func() bool { return b.has(t, "T-1-app") })
			a.saveRealm(t, "wx", moved)
			a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
			if lease, err := a.Proxyable(t.Context(), wx); err != nil || lease.Access != "T-2-app" {
				t.Errorf("entered again: %v", err)
			}
			eventually(t, "the other node serves it, too", func() bool {
				lease, err := b.Proxyable(t.Context(), wx)
				return err == nil && lease.Target.API.String() == moved.API && lease.Access == "T-2-app"
			})
		})
	}
}
