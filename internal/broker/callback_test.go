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

// takingStore does something when it is asked for a state, and when it has
// given one up.
type takingStore struct {
	tokenstore.Store
	take, taken func()
}

func (s *takingStore) TakeAuthorization(ctx context.Context, state tokenstore.StateHash) (tokenstore.Authorization, error) {
	s.take()
	a, err := s.Store.TakeAuthorization(ctx, state)
	if err == nil {
		s.taken()
	}
	return a, err
}

func newTaking(t *testing.T, take func()) *node {
	t.Helper()
	c := newClock()
	return nodeOn(t, &takingStore{newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), take, func() {}}, newProvider(t), c)
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
		go func() { left <- bringCallback(ctx, n, jd.Realm, grant.Callback{Code: "c", State: "unknown"}) }()
	}
	eventually(t, "the places are taken", func() bool { return asked.Load() == callbackSlots })
	leave()
	for range callers {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	close(gate)
	wantError(t, bringCallback(t.Context(), n, jd.Realm, grant.Callback{Code: "c", State: "unknown"}), realm.CodeBadCallback, http.StatusBadRequest)
	if got := asked.Load(); got != callbackSlots+1 {
		t.Errorf("the store was asked %d times", got)
	}
}

// A panic ends the callback and not the process, and gives its place back.
func TestCallbackPanics(t *testing.T) {
	n := newTaking(t, func() { panic("canary") })
	for range callbackSlots + 1 {
		wantError(t, bringCallback(t.Context(), n, jd.Realm, grant.Callback{Code: "c", State: "s"}), realm.CodeInternal, http.StatusInternalServerError)
	}
}

// A process that stops finishes a callback whose state it has taken: nobody
// else can any more. The code was lost with the first read of the store.
func TestCallbackOfAProcessThatStops(t *testing.T) {
	s, c, path := newCodeServer(t), newClock(), filepath.Join(t.TempDir(), "tokens.db")
	var stop func()
	stopped := make(chan error, 1)
	n := nodeOn(t, &takingStore{newStore(t, path, c), func() {}, func() { stop() }}, newProvider(t), c)
	stop = func() {
		go func() { stopped <- n.pool.Destruct() }()
		<-n.pool.base.Done()
	}
	n.saveRealm(t, jd.Realm, s.config(false))
	n.saveSecret(t, jd, "client_id", "app")
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	want(t, nodeOn(t, newStore(t, path, c), nil, c).View, jd, "T-1-app", realm.FromDatabase)
}

// So does one that was logging in when it was told to stop.
func TestLoginOfAProcessThatStops(t *testing.T) {
	s, c, path := newCodeServer(t), newClock(), filepath.Join(t.TempDir(), "tokens.db")
	n := nodeOn(t, newStore(t, path, c), newProvider(t), c)
	n.saveRealm(t, jd.Realm, s.config(true))
	n.saveSecret(t, jd, "client_id", "app")
	stopped := make(chan error, 1)
	s.then(func(w http.ResponseWriter, r *http.Request) {
		go func() { stopped <- n.pool.Destruct() }()
		<-n.pool.base.Done()
		s.redirect(w, r)
	})
	_, _ = n.Token(t.Context(), jd) // whether the caller still hears of it does not matter
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	s.then(nil)
	want(t, nodeOn(t, newStore(t, path, c), nil, c).View, jd, "T-1-app", realm.FromDatabase)
	if asked := s.authorizations(); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
