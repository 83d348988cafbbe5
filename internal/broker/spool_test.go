package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// damaged is a store in which the state of one (realm, key) cannot be read.
type damaged struct {
	tokenstore.Store
	ref realm.Ref
}

func (s *damaged) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	if ref == s.ref {
		return tokenstore.State{}, fmt.Errorf("the row of %s: %w", ref, tokenstore.ErrDamaged)
	}
	return s.Store.Coordinate(ctx, ref, decide)
}

// What a process that is gone had in its spool is saved at the next start; what
// cannot be, because that row is damaged, stays where it is and stops nobody.
func TestReplayOfTheSpool(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	broken, whole := realm.Ref{Realm: "wx", Key: "broken"}, realm.Ref{Realm: "wx", Key: "whole"}
	for _, ref := range []realm.Ref{broken, whole} {
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	keys := testKeyring(t)
	if err := keys.Load(false); err != nil {
		t.Fatal(err)
	}
	spool := tokenstore.NewSpool(filepath.Join(t.TempDir(), "spool"), keys)
	for _, ref := range []realm.Ref{broken, whole} {
		if err := spool.Add(ref, tokenstore.NewAttemptID(), 1, tokenOf("A2", "R2", 0, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	next := New(&damaged{n.pool.store, broken}, zap.NewNop(), n.clock.now, WithSpool(spool))
	if err := next.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.cancel(); next.work.Wait() }) // the store is the node's
	if s, err := n.pool.store.Peek(t.Context(), whole); err != nil || s.Token.Refresh != "R2" || s.Token.Lineage != 2 {
		t.Errorf("%+v, %v", s.Token, err)
	}
	left, err := spool.Entries(t.Context())
	if err != nil || len(left) != 1 || left[0].Ref != broken {
		t.Errorf("in the spool: %v, %v", left, err)
	}
}
