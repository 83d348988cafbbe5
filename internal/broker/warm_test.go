package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// countingStore counts the claims that are asked for, and cannot list realms
// while it is down.
type countingStore struct {
	tokenstore.Store
	claims atomic.Int64
	down   atomic.Bool
	failed atomic.Int64
}

func (s *countingStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	s.claims.Add(1)
	return s.Store.Coordinate(ctx, ref, decide)
}

func (s *countingStore) Realms(ctx context.Context, page tokenstore.Page, f tokenstore.RealmFilter) ([]realm.Realm, int, error) {
	if s.down.Load() {
		s.failed.Add(1)
		return nil, 0, fmt.Errorf("list realms: %w", tokenstore.ErrUnavailable)
	}
	return s.Store.Realms(ctx, page, f)
}

func newCounting(t *testing.T) (*node, *countingStore) {
	t.Helper()
	c := newClock()
	s := &countingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	return nodeOn(t, s, nil, c), s
}

// The accounts of a configuration get their tokens when it starts, also by a
// reload: they waited for up to ten minutes.
func TestWarmAfterAReload(t *testing.T) {
	s := newCodeServer(t)
	n := newNode(t)
	n.Drive()
	if err := n.pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.turns(t, time.Minute, time.Second)
	v := n.configure(t, catalog.Definition{
		Realm:   realm.Realm{ID: jd.Realm, Config: s.config(true)},
		Secrets: []realm.Secret{{Ref: jd, Fields: map[string]realm.Hidden{"client_id": "app"}}},
	})
	v.Drive()
	eventually(t, "the account has a token", func() bool { return n.pool.live(jd) != nil })
}

// Accounts that could not be listed, because the store was away, are looked for
// again as soon as it may be back.
func TestWarmAfterAnOutage(t *testing.T) {
	s := newCodeServer(t)
	n, store := newCounting(t)
	n.saveRealm(t, jd.Realm, s.config(true))
	n.saveSecret(t, jd, "client_id", "app")
	store.down.Store(true)
	n.Drive()
	eventually(t, "the accounts cannot be listed", func() bool { return store.failed.Load() > 0 })
	store.down.Store(false)
	n.turns(t, 2*warmAgain, time.Second)
	eventually(t, "the account has a token", func() bool { return n.pool.live(jd) != nil })
}

// What waits for a person costs the store next to nothing, however many accounts
// there are: each was asked about once a minute. The token that the person
// brings is kept warm.
func TestWarmAwaitsAPerson(t *testing.T) {
	s := newCodeServer(t)
	n, store := newCounting(t)
	config := s.config(false)
	config.KeepWarm = realm.On
	n.saveRealm(t, jd.Realm, config)
	n.saveSecret(t, jd, "client_id", "app")
	n.Drive()
	eventually(t, "it is found that a person is needed", func() bool {
		e, ok := n.pool.entries.Load(jd)
		if !ok {
			return false
		}
		f, _ := e.state()
		return f.needsPerson()
	})
	n.settled(t)
	before := store.claims.Load()
	n.turns(t, 9*time.Minute, 10*time.Second)
	if asked := store.claims.Load() - before; asked != 0 {
		t.Errorf("the store was asked %d times", asked)
	}
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	n.turns(t, 2*time.Hour, 10*time.Second)
	if got := s.refreshes.Load(); got < 2 || got > 3 {
		t.Errorf("%d refreshes in two hours", got)
	}
}
