package broker

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// takingStore does something when it is asked for a state.
type takingStore struct {
	tokenstore.Store
	take func()
}

func (s *takingStore) TakeAuthorization(ctx context.Context, state tokenstore.StateHash) (tokenstore.Authorization, error) {
	s.take()
	return s.Store.TakeAuthorization(ctx, state)
}

func newTaking(t *testing.T, take func()) *node {
	t.Helper()
	c := newClock()
	return nodeOn(t, &takingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), take: take}, newProvider(t), c)
}

// Anybody may send callbacks. Few of them at a time ask the store, and who
// hangs up before its turn leaves nothing behind: thousands held every refresh
// up for as long as a request may wait for the store.
func TestManyCallbacks(t *testing.T) {
	var asked atomic.Int64
	gate := make(chan struct{})
	n := newTaking(t, func() { asked.Add(1); <-gate })
	ctx, leave := context.WithCancel(t.Context())
	const callers = 50
	left := make(chan error, callers)
	for range callers {
		go func() { left <- n.Callback(ctx, jd.Realm, grant.Callback{Code: "c", State: "unknown"}) }()
	}
	eventually(t, "the places are taken", func() bool { return asked.Load() == takingPlaces })
	leave()
	for range callers {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	close(gate)
	wantError(t, n.Callback(t.Context(), jd.Realm, grant.Callback{Code: "c", State: "unknown"}), realm.CodeBadCallback, http.StatusBadRequest)
	if got := asked.Load(); got != takingPlaces+1 {
		t.Errorf("the store was asked %d times", got)
	}
}

// A panic ends the callback and not the process, and gives its place back.
func TestCallbackPanics(t *testing.T) {
	n := newTaking(t, func() { panic("canary") })
	for range takingPlaces + 1 {
		wantError(t, n.Callback(t.Context(), jd.Realm, grant.Callback{Code: "c", State: "s"}), realm.CodeInternal, http.StatusInternalServerError)
	}
}
