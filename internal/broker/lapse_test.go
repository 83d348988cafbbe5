package broker

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// A node that says that a person is needed tries what another one saved since.
// Where it still had a token of its own, one that had ended or was about to, it
// did not for a minute.
func TestLapseEndsWithWhatOthersSave(t *testing.T) {
	type asking = func(*View, context.Context, realm.Ref) (*realm.Lease, error)
	for age, ask := range map[time.Duration]asking{57 * time.Second: (*View).Ensure, 2 * time.Minute: (*View).Token} {
		n := newNode(t)
		ref := n.authorized(t)
		n.provider.then(gives(60))
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		n.clock.advance(age)
		n.provider.then(invalidGrant)
		_, err := ask(n.View, t.Context(), ref)
		wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)

		// It comes out of a spool, so late that the access token has ended.
		late, _, err := n.pool.store.Token(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		late.Access, late.Refresh = "late", "RT-late"
		if _, err := storetest.SaveToken(t.Context(), n.pool.store, ref, late, late.Lineage); err != nil {
			t.Fatal(err)
		}
		n.pool.storeChanged(ref) // as the feed does
		n.clock.advance(20 * time.Second)
		n.provider.then(gives(7200))
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Errorf("%v old: after another node saved a refresh token: %v", age, err)
		}
	}
}

// lapsingStore does something right after it was decided that a person is needed.
type lapsingStore struct {
	tokenstore.Store
	lapses bool
	lapsed func()
}

func (l *lapsingStore) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	s, err := l.Store.Coordinate(ctx, ref, decide)
	if do := l.lapsed; do != nil && l.lapses {
		l.lapsed = nil
		do()
	}
	return s, err
}

// What another node, or a callback, saves while this one is about to say that a
// person is needed is tried by the next caller. It was told so for a minute.
func TestLapseEndsWithWhatOthersSaveMeanwhile(t *testing.T) {
	c := newClock()
	store := &lapsingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.pool.concluded = func(realm.Ref) { store.lapses = true }
	ref := n.authorized(t)
	n.provider.then(invalidGrant)
	store.lapsed = func() {
		late := realm.Token{Access: "late", Refresh: "RT-late", IssuedAt: c.now().Add(-time.Hour), ExpiresAt: c.now().Add(-time.Minute)}
		if _, err := storetest.SaveToken(t.Context(), store, ref, late, 0); err != nil {
			t.Error(err)
		}
		n.pool.storeChanged(ref) // as the feed does
	}
	_, err := n.Token(t.Context(), ref)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	n.provider.then(gives(7200))
	if _, err := n.Token(t.Context(), ref); err != nil {
		t.Errorf("after a refresh token was saved: %v", err)
	}
}

// readingStore does something right after a token was read, once, and may fail
// then.
type readingStore struct {
	tokenstore.Store
	read func() error
}

func (r *readingStore) Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error) {
	token, source, err := r.Store.Token(ctx, ref)
	if do := r.read; do != nil {
		r.read = nil
		if err := do(); err != nil {
			return realm.Token{}, 0, err
		}
	}
	return token, source, err
}

// The same while memory is compared with the store, which finds nothing wrong:
// the node said so for the rest of the minute.
func TestLapseEndsWithWhatOthersSaveDuringAComparison(t *testing.T) {
	c := newClock()
	store := &readingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	ref := n.authorized(t)
	n.provider.then(gives(60))
	first, err := n.Token(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	n.clock.advance(57 * time.Second)
	n.provider.then(invalidGrant)
	_, err = n.Ensure(t.Context(), ref)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)

	e := n.pool.entry(ref)
	e.suspect.raise() // somebody used the token while its renewal was under way
	store.read = func() error {
		late := realm.Token{Access: "late", Refresh: "RT-late", IssuedAt: c.now().Add(-time.Hour), ExpiresAt: c.now().Add(-time.Minute)}
		if _, err := storetest.SaveToken(t.Context(), store, ref, late, 1); err != nil {
			t.Error(err)
		}
		n.pool.storeChanged(ref) // as the feed does
		return nil
	}
	n.provider.then(gives(7200))
	if lease, err := n.Token(t.Context(), ref); err != nil || lease.Access != first.Access {
		t.Fatalf("%v %v", lease, err)
	}
	eventually(t, "the comparison is over", func() bool { return e.currentFlight() == nil })
	n.clock.advance(10 * time.Second)
	if _, err := n.Token(t.Context(), ref); err != nil {
		t.Errorf("after a refresh token was saved: %v", err)
	}
}
