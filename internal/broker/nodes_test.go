package broker

import (
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
