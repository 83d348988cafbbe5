package broker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// keepFromAll tells whether the token of a secret is shown to anybody.
func (n *node) keepFromAll(t *testing.T, ref realm.Ref, on bool) {
	t.Helper()
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: ref, InjectOnly: &on}); err != nil {
		t.Fatal(err)
	}
}

// wantInjectOnly asserts that nobody is shown the token, in whatever way it is
// asked for, and that asking costs no call.
func (n *node) wantInjectOnly(t *testing.T, ref realm.Ref) {
	t.Helper()
	before := calls64(n)
	refused := func(_ *realm.Lease, err error) {
		t.Helper()
		wantError(t, err, realm.CodeForbidden, http.StatusForbidden)
		var e *realm.Error
		if errors.As(err, &e) && !strings.Contains(e.Detail, "inject_only") {
			t.Errorf("the reason is %q", e.Detail)
		}
	}
	refused(n.Read(t.Context(), ref))
	refused(n.ReadBy(t.Context(), ref, func(context.Context, realm.Ref) (*realm.Lease, error) {
		t.Error("the token was obtained")
		return &realm.Lease{}, nil
	}))
	if calls := calls64(n) - before; calls != 0 {
		t.Errorf("%d calls to the provider", calls)
	}
}

// wantProxied asserts the token that a proxied request gets.
func (n *node) wantProxied(t *testing.T, token string) {
	t.Helper()
	lease, err := n.Proxyable(t.Context(), wx)
	if err != nil || lease.Access.Reveal() != token {
		t.Fatalf("%v %v", lease, err)
	}
}

// wantRead asserts the token that somebody is shown.
func (n *node) wantRead(t *testing.T, token string) {
	t.Helper()
	lease, err := n.Read(t.Context(), wx)
	if err != nil || lease.Access.Reveal() != token {
		t.Fatalf("%v %v", lease, err)
	}
}

// A token that is inject_only goes into proxied requests, and nobody reads it:
// neither before there is one, nor from memory, nor by a flush.
func TestInjectOnly(t *testing.T) {
	for name, keep := range map[string]func(t *testing.T, n *node){
		"realm": func(t *testing.T, n *node) {
			c := n.wechat()
			c.InjectOnly = realm.On
			n.saveRealm(t, "wx", c)
		},
		"secret": func(t *testing.T, n *node) { n.keepFromAll(t, wx, true) },
	} {
		t.Run(name, func(t *testing.T) {
			n := ready(t)
			keep(t, n)
			n.wantInjectOnly(t, wx)
			n.wantProxied(t, "T-1-app")
			n.wantInjectOnly(t, wx)
			if _, err := n.Flush(t.Context(), wx); err != nil { // for nobody to see
				t.Fatal(err)
			}
			n.wantProxied(t, "T-2-app")
			n.wantInjectOnly(t, wx)
			n.View = n.configure(t)
			n.wantInjectOnly(t, wx)
		})
	}
}

// A secret of the configuration can be inject_only, too.
func TestDefinedSecretIsInjectOnly(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	n.View = n.configure(t, catalog.Definition{
		Realm: realm.Realm{ID: "wx", Config: c},
		Secrets: []realm.Secret{
			{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"}, InjectOnly: true},
			{Ref: realm.Ref{Realm: "wx", Key: "open"}, Fields: map[string]realm.Hidden{"key_1": "open", "key_2": "s3cret-value"}},
		},
	})
	n.wantInjectOnly(t, wx)
	n.wantProxied(t, "T-1-app")
	n.wantInjectOnly(t, wx)
	if _, err := n.Read(t.Context(), realm.Ref{Realm: "wx", Key: "open"}); err != nil {
		t.Error(err)
	}
}

// To keep a token from everybody, and to show it again, changes nothing about
// the token itself.
func TestInjectOnlyIsSwitched(t *testing.T) {
	n := ready(t)
	n.wantRead(t, "T-1-app")
	n.keepFromAll(t, wx, true)
	n.wantInjectOnly(t, wx)
	n.wantProxied(t, "T-1-app")
	n.wantInjectOnly(t, wx)
	n.saveSecret(t, wx, "key_1", "app") // what is not said stays
	n.wantInjectOnly(t, wx)
	n.keepFromAll(t, wx, false)
	n.wantRead(t, "T-1-app")

	c := n.wechat()
	c.InjectOnly = realm.On
	n.saveRealm(t, "wx", c)
	n.wantInjectOnly(t, wx)
	n.wantProxied(t, "T-1-app")
	n.wantInjectOnly(t, wx)
	n.saveRealm(t, "wx", n.wechat())
	n.wantRead(t, "T-1-app")
}

// Another node has the token in its memory, from before the secret was changed:
// it shows it no more as soon as it hears of the change, and goes on with it.
func TestInjectOnlyOnOtherNodes(t *testing.T) {
	for _, semantics := range []string{"", realm.SemanticsRotate, realm.SemanticsParallel} {
		t.Run("semantics "+semantics, func(t *testing.T) {
			a, b := pair(t, func(c *realm.Config) { c.Semantics = semantics })
			b.wantRead(t, "T-1-app")
			for range 2 {
				a.keepFromAll(t, wx, true)
				b.pool.cache.Recheck(t.Context(), wx) // what the feed does
				b.wantInjectOnly(t, wx)
				b.wantProxied(t, "T-1-app")
				b.settled(t)
				b.wantInjectOnly(t, wx)
				a.keepFromAll(t, wx, false)
				b.pool.cache.Recheck(t.Context(), wx)
				b.wantProxied(t, "T-1-app")
				b.settled(t)
				b.wantRead(t, "T-1-app")
			}
			if calls := calls64(b); calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

// A read from memory asks nobody, as a proxied request does.
func TestReadAllocatesNothing(t *testing.T) {
	n := ready(t)
	n.wantRead(t, "T-1-app")
	ctx := t.Context()
	if allocations := testing.AllocsPerRun(100, func() { _, _ = n.Read(ctx, wx) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
