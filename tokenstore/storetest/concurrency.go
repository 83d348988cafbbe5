package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testConcurrency(t *testing.T, b Backend) {
	t.Run("savers", func(t *testing.T) { testSavers(t, b) })
	t.Run("updates", func(t *testing.T) { testUpdates(t, b) })
	t.Run("opens", func(t *testing.T) { testOpens(t, b) })
}

// handles are two handles of one database: two nodes, or two configurations.
func handles(t *testing.T, b Backend) []tokenstore.Store {
	t.Helper()
	db, ring := b.Fresh(t), Ring(t)
	return []tokenstore.Store{Open(t, db.Handle(t, ring)), Open(t, db.Handle(t, ring))}
}

// testSavers: of 16 who save the child of one token, one wins.
func testSavers(t *testing.T, b Backend) {
	const savers, generations = 16, 5
	stores := handles(t, b)
	ref := realm.Ref{Realm: "wx", Key: "main"}
	for parent := range int64(generations) {
		var wins atomic.Int32
		var wg sync.WaitGroup
		for i := range savers {
			wg.Go(func() {
				_, err := SaveToken(t.Context(), stores[i%2], ref, token(i), parent)
				switch {
				case err == nil:
					wins.Add(1)
				case !errors.Is(err, ErrReplaced):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("generation %d: %d winners", parent+1, wins.Load())
		}
		for _, s := range stores {
			reaches(t, s, ref, parent+1)
		}
	}
}

// reaches waits until a handle reads a lineage. A shared cache may give
// another handle's token a moment later, never another result.
func reaches(t *testing.T, s tokenstore.Store, ref realm.Ref, lineage int64) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		got, _, err := s.Token(t.Context(), ref)
		ok(t, err)
		if got.Lineage == lineage {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("lineage %d is read, %d was saved", got.Lineage, lineage)
		}
	}
}

// testUpdates: no update of a secret or realm is lost, the first ones neither.
func testUpdates(t *testing.T, b Backend) {
	const writers, each = 8, 5
	stores := handles(t, b)
	ref := realm.Ref{Realm: "wx", Key: "main"}
	var wg sync.WaitGroup
	for i := range writers {
		s := stores[i%2]
		wg.Go(func() {
			for n := range each {
				field := fmt.Sprint(i, "-", n)
				_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
					old.Fields = with(old.Fields, field)
					return old, tokenstore.TokenChange{}, nil
				})
				if err != nil {
					t.Error(err)
				}
				_, err = s.UpdateRealm(t.Context(), "wx", func(r realm.Realm, _ bool) (realm.Realm, error) {
					r.Config.Shared = with(r.Config.Shared, field)
					return r, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	secret, err := stores[1].Secret(t.Context(), ref)
	ok(t, err)
	r, err := stores[0].Realm(t.Context(), "wx")
	ok(t, err)
	if len(secret.Fields) != writers*each || len(r.Config.Shared) != writers*each {
		t.Fatalf("%d and %d of %d updates are there", len(secret.Fields), len(r.Config.Shared), writers*each)
	}
}

func with(fields map[string]realm.Hidden, name string) map[string]realm.Hidden {
	if fields == nil {
		fields = map[string]realm.Hidden{}
	}
	fields[name] = "x"
	return fields
}

// testOpens: many who open a new database at once end with one schema and one
// key.
func testOpens(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	shared := db.Handle(t, ring)
	t.Cleanup(func() { _ = shared.Close() })
	var wg sync.WaitGroup
	for i := range 6 {
		s := shared
		if i%2 == 0 {
			s = db.Handle(t, ring)
			t.Cleanup(func() { _ = s.Close() })
		}
		wg.Go(func() {
			if err := s.Open(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := SaveRealm(t.Context(), s, realm.Realm{ID: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, total, err := shared.Realms(t.Context(), tokenstore.Page{Number: 1, Size: 10}, tokenstore.RealmFilter{})
	ok(t, err)
	if total != 6 {
		t.Fatalf("%d realms", total)
	}
}
