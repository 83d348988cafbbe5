package access

import (
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// newView makes a loaded registry over a store, and a view of it.
func newView(t testing.TB, s *memoryStore, c ViewConfig) (*Registry, *View) {
	t.Helper()
	r := NewRegistry(RegistryConfig{Store: s, Now: s.now})
	t.Cleanup(r.Close)
	v, err := r.View(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r, v
}

func TestKeyOfANewClient(t *testing.T) {
	_, v := newView(t, newMemoryStore(), ViewConfig{})
	if v.Required() {
		t.Fatal("clients are required before there was one")
	}
	saved, err := v.Save(t.Context(), "billing", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) {
		c.Rules = []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"wechat"}, Paths: []string{"/cgi-bin/**"}}}
		return c, nil
	})
	if err != nil || !saved.Created || !saved.ClosesLoopback || !v.Required() {
		t.Fatalf("%+v, %v", saved, err)
	}
	c, err := v.Identify(Caller{Key: saved.Key.Reveal()})
	if err != nil || c == nil || c.ID() != "billing" {
		t.Fatalf("%v, %v", c, err)
	}
	q := Question{Right: Use, Ref: realm.Ref{Realm: "wechat", Key: "main"}, Method: "GET", Path: "/cgi-bin/menu/get"}
	if d := c.Decide(q); !d.Allowed || d.Rule != 0 {
		t.Errorf("%+v", d)
	}
	q.Path = "/other"
	if d := c.Decide(q); d.Allowed || d.Rule != -1 {
		t.Errorf("%+v", d)
	}
}
