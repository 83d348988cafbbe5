package broker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// script is a feed that gives what it is told to, and a gap before it.
type script struct {
	gap     bool
	changes []tokenstore.Change
}

func (s *script) Changes(_ context.Context, since string) ([]tokenstore.Change, string, error) {
	switch {
	case since == "":
		return nil, "next", nil
	case s.gap:
		return nil, "", tokenstore.ErrGap
	}
	return s.changes, "next", nil
}

// TestClientChangesAreHandedOn: changes of clients reach whoever knows clients,
// in their order, and only these.
func TestClientChangesAreHandedOn(t *testing.T) {
	n := ready(t)
	poll := func(feed tokenstore.ChangeFeed) error {
		_, err := n.pool.poll(t.Context(), feed, "since")
		return err
	}
	changes := []tokenstore.Change{
		{Client: "billing"},
		{Ref: wx},
		{Ref: realm.Ref{Realm: "wx"}},
		{},
		{Client: "wx"},
	}
	if err := poll(&script{changes: changes}); err != nil {
		t.Fatalf("with nobody who listens: %v", err)
	}
	var heard []string
	n.pool.OnClientChange(func(id string) { heard = append(heard, id) })
	for _, c := range []struct {
		feed script
		want []string
	}{
		{script{changes: changes}, []string{"billing", "", "wx"}},
		{script{changes: changes[1:3]}, nil},
		{script{gap: true}, []string{""}},
	} {
		heard = nil
		if err := poll(&c.feed); err != nil || !slices.Equal(heard, c.want) {
			t.Errorf("heard %q, %v; want %q", heard, err, c.want)
		}
	}
	n.pool.OnClientChange(func(string) { panic("a fault of the listener") })
	if err := poll(&script{changes: changes}); err == nil {
		t.Error("the listener's panic is no error of this reading")
	}
}

// TestClientChangeReachesAnotherNode: what one node does to a client, the other
// one hears by itself.
func TestClientChangeReachesAnotherNode(t *testing.T) {
	db := testserver.MariaDB(t)
	p, c := newProvider(t), newClock()
	a, b := nodeOn(t, mysqlStore(t, db), p, c), nodeOn(t, mysqlStore(t, db), p, c)
	if err := errors.Join(a.pool.Open(t.Context()), b.pool.Open(t.Context())); err != nil {
		t.Fatal(err)
	}
	var heard atomic.Pointer[string]
	b.pool.OnClientChange(func(id string) { heard.Store(&id) })
	_, err := a.pool.store.UpdateClient(t.Context(), "billing", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) { return c, nil })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "b hears of the client", func() bool { id := heard.Load(); return id != nil && *id == "billing" })
}

// TestDeafNodeSaysSince: whoever has to know learns since when nothing is heard.
func TestDeafNodeSaysSince(t *testing.T) {
	n := ready(t)
	n.clock.advance(hearingLasts)
	if since := n.pool.Deaf(); !since.IsZero() {
		t.Errorf("a node that is alone is deaf since %v", since)
	}
	last := n.clock.now()
	n.pool.hears(last)
	n.clock.advance(hearingLasts - time.Microsecond)
	if since := n.pool.Deaf(); !since.IsZero() {
		t.Errorf("a node that has just heard is deaf since %v", since)
	}
	n.clock.advance(time.Microsecond)
	if since := n.pool.Deaf(); !since.Equal(last) {
		t.Errorf("deaf since %v, want %v", since, last)
	}
	if s := n.Stats(); s.DeafFor != hearingLasts {
		t.Errorf("the figures say deaf for %v, want %v", s.DeafFor, hearingLasts)
	}
	n.pool.hears(n.clock.now())
	if since := n.pool.Deaf(); !since.IsZero() {
		t.Errorf("a node that hears again is deaf since %v", since)
	}
}
