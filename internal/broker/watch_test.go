package broker

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// wantChanges takes what is told until it has all of it, in this order. Who reads the
// changes of the database once a second may look at a token just when the clock has
// moved on: that it is expired then counts for nothing.
func wantChanges(t *testing.T, w *Watch, want ...string) {
	t.Helper()
	var got []string
	eventually(t, fmt.Sprint(want), func() bool {
		changes, isLossy := w.Take()
		if isLossy {
			got = append(got, "gap")
		}
		for _, c := range withoutExpired(changes) {
			got = append(got, fmt.Sprintf("%s/%s %d %s", c.Realm, c.Key, c.Lineage, c.State))
		}
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("got %q, not %q", got, want)
		}
		return len(got) == len(want)
	})
}

// withoutExpired are the changes but for those.
func withoutExpired(changes []Change) []Change {
	return slices.DeleteFunc(changes, func(c Change) bool { return c.State == stateExpired.String() })
}

// Each change of a token is told once, with the word for its state.
func TestWatch(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	w, other := n.Watch(), n.Watch()
	defer w.Close()
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	wantChanges(t, w, "wx/main 1 live")
	_, _, err := n.Heal(t.Context(), wx, "T-1-app", realm.BlameToken)
	if err != nil {
		t.Fatal(err)
	}
	wantChanges(t, w, "wx/main 1 dead", "wx/main 2 live")
	n.clock.advance(3 * time.Hour)
	n.provider.then(fails(http.StatusInternalServerError))
	if _, err := n.Token(t.Context(), wx); err == nil {
		t.Fatal("no error")
	}
	wantChanges(t, w, "wx/main 2 failing")
	if err := n.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	wantChanges(t, w, "wx/main 0 deleted")
	if _, err := n.Token(t.Context(), wx); !catalog.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := n.Catalog().DeleteRealm(t.Context(), "wx", false); err != nil {
		t.Fatal(err)
	}
	wantChanges(t, w, "wx/ 0 deleted")
	other.Close()
	if changes, _ := other.Take(); len(withoutExpired(changes)) != 6 {
		t.Errorf("the other one was told of %v", changes)
	}
}

// While a refused token is replaced, the store and memory still have it. Whoever looks
// then does not tell that it lives; the end of the heal does, if no other came of it.
func TestWatchOfAHeal(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	w := n.Watch()
	defer w.Close()
	gate, reached, healed := make(chan struct{}), make(chan struct{}), make(chan error)
	heal := func() {
		_, _, err := n.Heal(t.Context(), wx, "T-1-app", realm.BlameToken)
		healed <- err
	}
	n.provider.then(blocks(gate, reached, fails(http.StatusInternalServerError)))
	go heal()
	<-reached
	wantChanges(t, w, "wx/main 1 dead")
	n.pool.tellState(wx, n.pool.entry(wx))
	if err := n.pool.lookAtStored(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	if changes, _ := w.Take(); len(changes) > 0 {
		t.Errorf("told %v of a token that is being replaced", changes)
	}
	close(gate)
	if err := <-healed; err == nil {
		t.Fatal("no error")
	}
	wantChanges(t, w, "wx/main 1 live")
}

// One who does not read costs a bounded memory and holds up nobody. What he is
// told afterwards begins with the gap.
func TestWatchOfOneWhoDoesNotRead(t *testing.T) {
	n := newNode(t)
	w := n.Watch()
	defer w.Close()
	for i := range 3*watchBuffer + 5 {
		n.pool.watchers.tell(Change{Realm: "wx", Key: "main", Lineage: int64(i), State: StateLive})
		if len(w.pending) > watchBuffer {
			t.Fatalf("%d wait", len(w.pending))
		}
	}
	changes, isLossy := w.Take()
	if !isLossy || len(changes) == 0 || changes[len(changes)-1].Lineage != 3*watchBuffer+4 {
		t.Fatalf("%v, %d changes", isLossy, len(changes))
	}
	for i, c := range changes[1:] {
		if c.Lineage != changes[i].Lineage+1 {
			t.Fatalf("%d behind %d", c.Lineage, changes[i].Lineage)
		}
	}
	n.pool.forgetAll()
	wantChanges(t, w, "gap")
}

// Nobody watches: nothing is remembered, allocated or looked up.
func TestNobodyWatches(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	n.Watch().Close()
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	e := n.pool.entry(wx)
	if allocs := testing.AllocsPerRun(100, func() { n.pool.tellState(wx, e); n.pool.noteUnseen(wx) }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
	if n.pool.watchers.last != nil || len(n.pool.unseen) > 0 {
		t.Errorf("%v, %d", n.pool.watchers.last, len(n.pool.unseen))
	}
}

// What another node changes is told with what became of it, whether memory knew
// the token or not; and the status of this node says the same by then.
func TestWatchHearsOfOtherNodes(t *testing.T) {
	m, p, c := testserver.MariaDB(t), newProvider(t), newClock()
	open := func() *node {
		s, err := sqlstore.MySQL(m.DSN(), testKeyring(t))
		if err != nil {
			t.Fatal(err)
		}
		c.us.Store(time.Now().UnixMicro()) // the server dates by its own
		n := nodeOn(t, s, p, c)
		n.Drive()
		t.Cleanup(n.Rest)
		return n
	}
	a, b := open(), open()
	a.saveRealm(t, "wx", a.wechat())
	a.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	if err := b.pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := b.Watch()
	defer w.Close()
	eventuallyTold := func(want Change) {
		t.Helper()
		eventually(t, fmt.Sprint(want), func() bool {
			changes, _ := w.Take()
			return slices.Contains(changes, want)
		})
	}
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	eventuallyTold(Change{"wx", "main", 1, StateLive}) // which b never used
	want(t, b.View, wx, "T-1-app", realm.FromDatabase)
	if _, err := a.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	eventuallyTold(Change{"wx", "main", 2, StateLive})
	if s, ok := b.StatusOf(wx); !ok || s.Lineage != 2 {
		t.Errorf("the status says %+v", s)
	}
	if err := a.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	eventuallyTold(Change{"wx", "main", 0, stateDeleted})
	if err := a.Catalog().DeleteRealm(t.Context(), "wx", false); err != nil {
		t.Fatal(err)
	}
	eventuallyTold(Change{"wx", "", 0, stateDeleted})
}

// A thousand who watch cost a change less than a millisecond each, and nobody who
// is gone is kept.
func TestManyWatch(t *testing.T) {
	c := newClock()
	n := nodeOn(t, newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), newProvider(t), c)
	var all []*Watch
	for range 1000 {
		all = append(all, n.Watch())
	}
	for i := range 50 {
		n.pool.watchers.tell(Change{Realm: "wx", Key: "main", Lineage: int64(i), State: StateLive})
	}
	for _, w := range all {
		if changes, isLossy := w.Take(); len(changes) != 50 || isLossy {
			t.Fatalf("%d changes, %v", len(changes), isLossy)
		}
		w.Close()
		w.Close()
	}
	if n.pool.watchers.isWatched() || n.pool.watchers.all != nil {
		t.Error("somebody is left")
	}
}

// One who was told that something is gone may have taken it from another node since,
// which had not heard of that: the feed tells it again.
func TestWatchTellsDeletedAgain(t *testing.T) {
	n := newNode(t)
	n.Drive()
	t.Cleanup(n.Rest)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	w := n.Watch()
	defer w.Close()
	again := func(id string, ref realm.Ref) {
		t.Helper()
		gone, count := Change{Realm: id, Key: ref.Key, State: stateDeleted}, 0
		n.pool.cache.Recheck(t.Context(), ref) // as the feed does
		eventually(t, fmt.Sprintf("%v is told twice", gone), func() bool {
			changes, _ := w.Take()
			for _, c := range changes {
				if c == gone {
					count++
				}
			}
			return count >= 2
		})
	}
	if err := n.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	again("wx", wx)
	if err := n.Catalog().DeleteRealm(t.Context(), "wx", false); err != nil {
		t.Fatal(err)
	}
	again("wx", realm.Ref{Realm: "wx"})
}

// A secret that another node saved, and whose token stays, is told of: what may be done
// with the token may have changed. A token that another node renewed is no such change.
func TestWatchTellsOfASavedSecret(t *testing.T) {
	n := newNode(t)
	n.Drive()
	t.Cleanup(n.Rest)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	w := n.Watch()
	defer w.Close()
	heard := func() (told []Change) {
		t.Helper()
		if err := n.pool.lookAtToken(t.Context(), wx); err != nil {
			t.Fatal(err)
		}
		told, _ = w.Take()
		return told
	}
	changed := Change{Realm: "wx", Key: "main", State: stateChanged}
	heard() // it is not known yet
	if told := heard(); slices.Contains(told, changed) {
		t.Errorf("nothing was saved: %v", told)
	}
	n.clock.advance(time.Second)
	_, err := n.pool.store.UpdateSecret(t.Context(), wx, func(s realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
		s.InjectOnly = true
		return s, tokenstore.TokenChange{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if told := heard(); !slices.Contains(told, changed) {
		t.Errorf("told %v, not %v", told, changed)
	}
}

// awayStore does not answer questions while it is away.
type awayStore struct {
	tokenstore.Store
	isAway atomic.Bool
}

func (s *awayStore) away() error {
	if s.isAway.Load() {
		return fmt.Errorf("%w: it is away", tokenstore.ErrUnavailable)
	}
	return nil
}

func (s *awayStore) Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	if err := s.away(); err != nil {
		return realm.Secret{}, err
	}
	return s.Store.Secret(ctx, ref)
}

func (s *awayStore) Peek(ctx context.Context, ref realm.Ref) (tokenstore.State, error) {
	if err := s.away(); err != nil {
		return tokenstore.State{}, err
	}
	return s.Store.Peek(ctx, ref)
}

// What the store did not tell leaves a gap, and another one when it answers again: who
// compared in between was told nothing new.
func TestWatchTellsOfAGapTwice(t *testing.T) {
	c := newClock()
	store := &awayStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.Drive()
	t.Cleanup(n.Rest)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	w := n.Watch()
	defer w.Close()
	wantGap := func(when string) {
		t.Helper()
		eventually(t, "a gap "+when, func() bool {
			_, isLossy := w.Take()
			return isLossy
		})
	}
	store.isAway.Store(true)
	n.pool.noteUnseen(wx) // as the feed does
	n.pool.noteUnseen(wx)
	wantGap("while the store is away")
	time.Sleep(storeRetry + storeRetry/2)
	if _, isLossy := w.Take(); isLossy {
		t.Error("another gap is told before the store answers")
	}
	store.isAway.Store(false)
	wantGap("when it answers again")
}

// A comparison that others began may have read the store before the change that is
// looked at.
func TestWatchComparesAgain(t *testing.T) {
	c := newClock()
	store := &readingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, newProvider(t), c)
	n.Drive()
	t.Cleanup(n.Rest)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	w := n.Watch()
	defer w.Close()
	e := n.pool.entry(wx)
	store.read = func() error {
		token := realm.Token{Access: "of-another-node", Fingerprint: e.live.Load().fingerprint, IssuedAt: c.now(), ExpiresAt: c.now().Add(time.Hour)}
		_, err := storetest.SaveToken(t.Context(), store, wx, token, 1)
		e.suspect.raise() // as the feed does
		return err
	}
	if err := n.pool.lookAtToken(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	changes, _ := w.Take()
	if next := (Change{"wx", "main", 2, StateLive}); !slices.Contains(changes, next) {
		t.Errorf("told %v, not %v", changes, next)
	}
}

// A secret that this node saved is told of, too, whatever becomes of its token at the
// same moment.
func TestWatchTellsOfASecretSavedHere(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	w := n.Watch()
	defer w.Close()
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	changes, _ := w.Take()
	if changed := (Change{"wx", "main", 0, stateChanged}); !slices.Contains(changes, changed) {
		t.Errorf("told %v, not %v", changes, changed)
	}
}
