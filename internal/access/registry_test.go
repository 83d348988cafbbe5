package access

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var errAway = errors.Join(tokenstore.ErrUnavailable, errors.New("the store is away"))

// started makes a registry that has not loaded yet, with a view of it, both
// started. It is for a bubble.
func started(t *testing.T, s *memoryStore, c ViewConfig) (*Registry, *View) {
	t.Helper()
	r := NewRegistry(RegistryConfig{Store: s})
	t.Cleanup(r.Close)
	v, err := r.View(c)
	if err != nil {
		t.Fatal(err)
	}
	v.Start()
	return r, v
}

// TestStoreAwayAtStart: nobody is known, so that everything is closed, and a
// key is not said to be wrong.
func TestStoreAwayAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, keys := newKey(time.Time{})
		ownKey, ownKeys := newKey(time.Time{})
		s := newMemoryStore(tokenstore.Client{ID: "c", Keys: keys, Users: []string{"u"}})
		s.fail(errAway)
		r, v := started(t, s, ViewConfig{Clients: []tokenstore.Client{{ID: "own", Keys: ownKeys, Users: []string{"own"}}}})
		began := time.Now()
		synctest.Wait()
		if !v.Required() || v.Unavailable() == nil || !r.Since().Equal(began) {
			t.Errorf("required %v, %v, since %v", v.Required(), v.Unavailable(), r.Since())
		}
		for _, caller := range []Caller{{Key: key}, {Key: keyOf(make([]byte, keyRandom))}, {User: "u"}, {Subject: "CN=x"}} {
			wantRefused(t, v, caller, realm.CodeUnavailable, 503, "has not answered")
		}
		wantRefused(t, v, Caller{Key: "ctk_x"}, realm.CodeForbidden, 403, "mistyped")
		mustBe(t, v, Caller{Key: ownKey}, "own")
		mustBe(t, v, Caller{User: "own"}, "own")
		mustBe(t, v, Caller{}, "")
		if err := v.Ready(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("ready: %v", err)
		}
		reads := s.reads
		if err := v.Ready(t.Context()); !errors.Is(err, errAway) || s.reads != reads {
			t.Errorf("ready asks again at once: %v", err)
		}

		s.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		mustBe(t, v, Caller{Key: key}, "c")
		if v.Unavailable() != nil || !r.Since().IsZero() || !s.required {
			t.Errorf("%v, since %v, required %v", v.Unavailable(), r.Since(), s.required)
		}
	})
}

// TestReadyLoads: who cannot wait for the background loads by himself.
func TestReadyLoads(t *testing.T) {
	key, keys := newKey(time.Time{})
	r := NewRegistry(RegistryConfig{Store: newMemoryStore(tokenstore.Client{ID: "c", Keys: keys})})
	defer r.Close()
	v, err := r.View(ViewConfig{})
	if err != nil {
		t.Fatal(err)
	}
	wantRefused(t, v, Caller{Key: key}, realm.CodeUnavailable, 503, "")
	if err := v.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBe(t, v, Caller{Key: key}, "c")
}

// TestCallerWhoGoesAway: that says nothing about the store.
func TestCallerWhoGoesAway(t *testing.T) {
	r := NewRegistry(RegistryConfig{Store: newMemoryStore(), Open: func(ctx context.Context) error { return ctx.Err() }})
	defer r.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // the semaphore may be free, too
		if err := r.Ready(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	if !r.Since().IsZero() {
		t.Error("the store counts as away")
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestOpenIsCalledFirst: a store that is not open is not used.
func TestOpenIsCalledFirst(t *testing.T) {
	refused := errors.New("not open")
	r := NewRegistry(RegistryConfig{Store: newMemoryStore(), Open: func(context.Context) error { return refused }})
	defer r.Close()
	v, _ := r.View(ViewConfig{})
	if err := r.Reload(t.Context()); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if _, err := v.Get(t.Context(), "c"); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if !v.Required() {
		t.Error("not closed")
	}
}

// TestLastKnownRightsStay: while the store is away, nobody loses his rights, and
// what changed meanwhile is read when it is back.
func TestLastKnownRightsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore(tokenstore.Client{ID: "a", Users: []string{"a"}}, tokenstore.Client{ID: "b", Users: []string{"b"}})
		r, v := started(t, s, ViewConfig{})
		synctest.Wait()
		s.fail(errAway)
		s.set(tokenstore.Client{ID: "a", Users: []string{"other"}})
		r.Changed("a")
		since := time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		mustBe(t, v, Caller{User: "a"}, "a")
		if !r.Since().Equal(since) {
			t.Errorf("since %v, want %v", r.Since(), since)
		}
		s.fail(nil)
		time.Sleep(retryMax)
		synctest.Wait()
		mustBe(t, v, Caller{User: "a"}, "")
		mustBe(t, v, Caller{User: "other"}, "a")
		mustBe(t, v, Caller{User: "b"}, "b")
		if !r.Since().IsZero() {
			t.Errorf("since %v", r.Since())
		}
	})
}

// TestSinceKnowsTheDeafNode: a node that hears nothing of the others says so,
// though it can read the store.
func TestSinceKnowsTheDeafNode(t *testing.T) {
	var deaf time.Time
	r := NewRegistry(RegistryConfig{Store: newMemoryStore(), Deaf: func() time.Time { return deaf }})
	defer r.Close()
	if !r.Since().IsZero() {
		t.Error("stale")
	}
	deaf = time.Now()
	if !r.Since().Equal(deaf) {
		t.Error("not stale")
	}
}

// TestChangesOfOtherNodes: created, updated, damaged and deleted, one by one and
// all together, without reading all clients again.
func TestChangesOfOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore(tokenstore.Client{ID: "old", Users: []string{"old"}})
		r, v := started(t, s, ViewConfig{})
		synctest.Wait()
		reads := s.reads
		change := func(f func()) {
			f()
			synctest.Wait()
		}
		change(func() { s.set(tokenstore.Client{ID: "new", Users: []string{"u"}}); r.Changed("new") })
		mustBe(t, v, Caller{User: "u"}, "new")
		// A user goes from one client to another.
		change(func() {
			s.set(tokenstore.Client{ID: "new", Users: []string{"w"}})
			s.set(tokenstore.Client{ID: "old", Users: []string{"old", "u"}})
			r.Changed("new")
			r.Changed("old")
		})
		mustBe(t, v, Caller{User: "u"}, "old")
		mustBe(t, v, Caller{User: "w"}, "new")
		change(func() { s.set(tokenstore.Client{ID: "new", Damaged: true}); r.Changed("new") })
		mustBe(t, v, Caller{User: "w"}, "")
		change(func() {
			if err := s.DeleteClient(t.Context(), "old"); err != nil {
				t.Fatal(err)
			}
			r.Changed("old")
		})
		mustBe(t, v, Caller{User: "u"}, "")
		if s.reads != reads {
			t.Errorf("all clients were read %d times", s.reads-reads)
		}
		change(func() { s.set(tokenstore.Client{ID: "third", Users: []string{"t"}}); r.Changed("") })
		mustBe(t, v, Caller{User: "t"}, "third")
	})
}

// TestIdentityOfAnotherClient: a user goes from one client to another, and the
// node hears of the one that has him now before it hears of the other.
func TestIdentityOfAnotherClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore(tokenstore.Client{ID: "a", Users: []string{"a"}}, tokenstore.Client{ID: "b", Users: []string{"b", "u"}})
		r, v := started(t, s, ViewConfig{})
		synctest.Wait()
		was := mustBe(t, v, Caller{User: "u"}, "b").Revoked()
		s.set(tokenstore.Client{ID: "b", Users: []string{"b"}})
		s.set(tokenstore.Client{ID: "a", Users: []string{"a", "u"}})
		for _, id := range []string{"a", "b"} {
			r.Changed(id)
			synctest.Wait()
			mustBe(t, v, Caller{User: "u"}, "a")
			mustBe(t, v, Caller{User: "a"}, "a")
			mustBe(t, v, Caller{User: "b"}, "b")
		}
		if !isClosed(was) {
			t.Error("the user is still the other client")
		}
		if err := r.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustBe(t, v, Caller{User: "u"}, "a")
	})
}

// TestReloadKeepsWhatIsTheSame: and takes notice of a change of any field.
func TestReloadKeepsWhatIsTheSame(t *testing.T) {
	_, keys := newKey(time.Time{})
	c := tokenstore.Client{ID: "c", Keys: keys, Users: []string{"u"}, Subjects: []string{"s"}, Sources: []string{"10.0.0.0/8"}}
	s := newMemoryStore(c)
	r, v := newView(t, s, ViewConfig{})
	reload := func() *policy {
		t.Helper()
		if err := r.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, caller := range []Caller{{User: "u"}, {Subject: "s"}, {Source: asSource("10.1.1.1")}} {
			mustBe(t, v, caller, "c")
		}
		return mustBe(t, v, Caller{User: "u"}, "c").policy
	}
	before := reload()
	c.UsedAt = time.Now()
	s.set(c)
	if reload() != before {
		t.Error("it was compiled again")
	}
	for name, change := range map[string]func(){
		"rules":  func() { c.Rules = []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"*"}}} },
		"limits": func() { c.Limits.Requests = "1/s" },
		"edge":   func() { c.Edge = true },
		"end":    func() { c.ExpiresAt = time.Now().Add(time.Hour) },
		"key":    func() { c.Keys = append(slices.Clone(c.Keys), tokenstore.ClientKey{Digest: Digest("x")}) },
	} {
		change()
		s.set(c)
		after := reload()
		if after == before {
			t.Errorf("%s: the old one counts", name)
		}
		before = after
	}
	if n := r.tallies["c"].holders; n != 1 {
		t.Errorf("%d have the counters", n)
	}
}

// TestPanicOfTheStore: it must not end the process, and what was to be read is
// read later.
func TestPanicOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore()
		var panics atomic.Bool
		r := NewRegistry(RegistryConfig{Store: s, Open: func(context.Context) error {
			if panics.Load() {
				panic("x")
			}
			return nil
		}})
		defer r.Close()
		v, _ := r.View(ViewConfig{})
		r.Start()
		synctest.Wait()
		panics.Store(true)
		s.set(tokenstore.Client{ID: "c", Users: []string{"u"}})
		r.Changed("c")
		synctest.Wait()
		panics.Store(false)
		time.Sleep(retryMax)
		synctest.Wait()
		mustBe(t, v, Caller{User: "u"}, "c")
	})
}

// TestRequired: once a client has existed, the proxy stays closed.
func TestRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore()
		r, v := started(t, s, ViewConfig{})
		synctest.Wait()
		if v.Required() {
			t.Fatal("required from the start")
		}
		s.set(tokenstore.Client{ID: "c", Users: []string{"u"}}) // by another node
		r.Changed("c")
		synctest.Wait()
		if !v.Required() {
			t.Fatal("not required with a client")
		}
		if err := v.Delete(t.Context(), "c", ""); err != nil || !v.Required() {
			t.Fatalf("not required after the last one: %v", err)
		}
		again, other := started(t, s, ViewConfig{})
		synctest.Wait()
		if !other.Required() || again == r {
			t.Error("not required after a restart")
		}
	})
}

// TestViewsThatRequireClients: the store notes it when the view starts, and not
// before.
func TestViewsThatRequireClients(t *testing.T) {
	for name, c := range map[string]ViewConfig{
		"require client": {Require: true},
		"a client":       {Clients: []tokenstore.Client{{ID: "c", Users: []string{"u"}}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newMemoryStore()
			r, v := newView(t, s, c)
			if !v.Required() || s.required {
				t.Errorf("%s: required %v, stored %v", name, v.Required(), s.required)
			}
			s.fail(errAway)
			v.Start()
			synctest.Wait()
			s.fail(nil)
			time.Sleep(retryMax)
			synctest.Wait()
			without, err := r.View(ViewConfig{})
			if err != nil || !s.required || !without.Required() {
				t.Errorf("%s: stored %v, required %v, %v", name, s.required, without.Required(), err)
			}
		})
	}
}

// TestNoStore: an edge has no clients of its own.
func TestNoStore(t *testing.T) {
	r := NewRegistry(RegistryConfig{})
	defer r.Close()
	v, err := r.View(ViewConfig{Clients: []tokenstore.Client{{ID: "c", Users: []string{"u"}}}})
	if err != nil {
		t.Fatal(err)
	}
	v.Start()
	if err := errors.Join(v.Ready(t.Context()), r.Reload(t.Context())); err != nil || v.Unavailable() != nil {
		t.Error(err, v.Unavailable())
	}
	mustBe(t, v, Caller{User: "u"}, "c")
	wantRefused(t, v, Caller{Key: keyOf(make([]byte, keyRandom))}, realm.CodeForbidden, 403, badKey)
	if list, n, err := v.List(t.Context(), tokenstore.Page{Number: 1, Size: 10}, ""); err != nil || n != 1 || len(list) != 1 {
		t.Error(list, n, err)
	}
	if _, err := v.Save(t.Context(), "d", nil); !isCode(err, realm.CodeReadOnly) {
		t.Error(err)
	}
}

func isCode(err error, code realm.Code) bool {
	var e *realm.Error
	return errors.As(err, &e) && e.Code == code
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestRevoked: a channel is closed when that by which its client was identified
// ends, and not by other changes.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, keys := newKey(time.Time{})
		second, more := newKey(time.Time{})
		c := tokenstore.Client{ID: "c", Keys: append(keys, more...), Users: []string{"u", "w"}, Subjects: []string{"s"}, Sources: []string{"10.0.0.0/8"}}
		s := newMemoryStore(c)
		r, v := started(t, s, ViewConfig{})
		synctest.Wait()
		callers := []Caller{{Key: first}, {Key: second}, {User: "u"}, {User: "w"}, {Subject: "s"}, {Source: asSource("10.1.1.1")}}
		var ended []<-chan struct{}
		for _, caller := range callers {
			ended = append(ended, mustBe(t, v, caller, "c").Revoked())
		}
		wantOpen := func(what string, open ...bool) {
			t.Helper()
			synctest.Wait()
			var got []bool
			for _, e := range ended {
				got = append(got, !isClosed(e))
			}
			if !slices.Equal(got, open) {
				t.Fatalf("%s: open %v, want %v", what, got, open)
			}
		}
		update := func() {
			s.set(c)
			r.Changed("c")
		}
		c.Rules = []tokenstore.Rule{{Effect: "deny", Rights: []string{"use"}, Realms: []string{"*"}}}
		update()
		wantOpen("other rules", true, true, true, true, true, true)
		c.Keys, c.Users = c.Keys[1:], c.Users[:1]
		update()
		wantOpen("a key and a user less", false, true, true, false, true, true)
		c.Keys[0].ExpiresAt = time.Now().Add(time.Hour)
		update()
		time.Sleep(time.Hour - time.Nanosecond)
		wantOpen("just before the key's end", false, true, true, false, true, true)
		time.Sleep(time.Nanosecond)
		wantOpen("at the key's end", false, false, true, false, true, true)
		wantRefused(t, v, Caller{Key: second}, realm.CodeForbidden, 403, badKey)
		c.Sources = []string{"10.0.0.0/9"}
		update()
		wantOpen("another prefix", false, false, true, false, true, false)

		// An end that was put off is not the end.
		c.ExpiresAt = time.Now().Add(3 * time.Hour)
		update()
		time.Sleep(2 * time.Hour)
		c.ExpiresAt = time.Now().Add(3 * time.Hour)
		update()
		time.Sleep(3*time.Hour - 1)
		wantOpen("before the client's end", false, false, true, false, true, false)
		time.Sleep(time.Nanosecond)
		wantOpen("at the client's end", false, false, false, false, false, false)
		if !isClosed(r.stored.Load().users["u"].Revoked()) {
			t.Error("what has expired can be waited for")
		}

		// A client that lives on is another one.
		c.ExpiresAt = time.Time{}
		update()
		synctest.Wait()
		again := mustBe(t, v, Caller{User: "u"}, "c").Revoked()
		if isClosed(again) {
			t.Error("the new end has come")
		}
		if err := s.DeleteClient(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		if err := r.Reload(t.Context()); err != nil || !isClosed(again) {
			t.Errorf("a deleted client lives: %v", err)
		}
	})
}

// TestRevokedOfACaddyfileClient: it outlives a reload that leaves it as it is.
func TestRevokedOfACaddyfileClient(t *testing.T) {
	client := tokenstore.Client{ID: "c", Users: []string{"u", "w"}}
	r, first := newView(t, newMemoryStore(), ViewConfig{Clients: []tokenstore.Client{client}})
	stays, goes := mustBe(t, first, Caller{User: "u"}, "c").Revoked(), mustBe(t, first, Caller{User: "w"}, "c").Revoked()
	client.Users = client.Users[:1]
	second, err := r.View(ViewConfig{Clients: []tokenstore.Client{client}})
	if err != nil {
		t.Fatal(err)
	}
	if isClosed(stays) || isClosed(goes) {
		t.Error("ended while the old configuration runs")
	}
	first.Close()
	first.Close()
	if isClosed(stays) || !isClosed(goes) {
		t.Errorf("after the reload: %v, %v", isClosed(stays), isClosed(goes))
	}
	second.Close()
	if !isClosed(stays) {
		t.Error("it outlives its last configuration")
	}
}

// TestCloseEndsAll: nobody hears of a key's end once the registry is gone.
func TestCloseEndsAll(t *testing.T) {
	r, v := newView(t, newMemoryStore(tokenstore.Client{ID: "a", Users: []string{"a"}}), ViewConfig{Clients: []tokenstore.Client{{ID: "b", Users: []string{"b"}}}})
	a, b := mustBe(t, v, Caller{User: "a"}, "a").Revoked(), mustBe(t, v, Caller{User: "b"}, "b").Revoked()
	r.Close()
	if !isClosed(a) || !isClosed(b) {
		t.Error(isClosed(a), isClosed(b))
	}
}

// TestLastUse: the store is told in the background, in hours, and what it did
// not take is told again.
func TestLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore(tokenstore.Client{ID: "a", Users: []string{"a"}}, tokenstore.Client{ID: "b", Users: []string{"b"}})
		r, v := started(t, s, ViewConfig{Clients: []tokenstore.Client{{ID: "own", Users: []string{"own"}}}})
		synctest.Wait()
		for _, id := range []string{"a", "own"} {
			c := mustBe(t, v, Caller{User: id}, id)
			if e := c.Begin(time.Now()); e != nil {
				t.Fatal(e)
			}
			c.End()
		}
		hour := time.Now().Truncate(time.Hour)
		if i, err := v.Get(t.Context(), "a"); err != nil || !i.UsedAt.Equal(hour) {
			t.Errorf("%v, %v", i.UsedAt, err)
		}
		if i, err := v.Get(t.Context(), "own"); err != nil || !i.UsedAt.Equal(hour) {
			t.Errorf("%v, %v", i.UsedAt, err)
		}
		if i, err := v.Get(t.Context(), "b"); err != nil || !i.UsedAt.IsZero() {
			t.Errorf("%v, %v", i.UsedAt, err)
		}
		s.fail(errAway)
		time.Sleep(usedInterval)
		synctest.Wait()
		s.fail(nil)
		time.Sleep(usedInterval)
		synctest.Wait()
		if len(s.used) != 1 || !s.used["a"].Equal(hour) {
			t.Errorf("%v", s.used)
		}
		clear(s.used)
		time.Sleep(usedInterval)
		synctest.Wait()
		if len(s.used) != 0 {
			t.Errorf("told twice: %v", s.used)
		}
		time.Sleep(2 * time.Hour)
		if e := mustBe(t, v, Caller{User: "b"}, "b").Begin(time.Now()); e != nil {
			t.Fatal(e)
		}
		r.Close() // which tells what is left
		if len(s.used) != 1 || !s.used["b"].Equal(hour.Add(2*time.Hour)) {
			t.Errorf("%v", s.used)
		}
	})
}

// TestTablesChangeUnderLoad is for the race detector: a client that is there all
// the time is found all the time.
func TestTablesChangeUnderLoad(t *testing.T) {
	key, keys := newKey(time.Time{})
	stays := tokenstore.Client{ID: "stays", Keys: keys, Users: []string{"u"}, Sources: []string{"10.0.0.0/8"}, Limits: tokenstore.ClientLimits{Requests: "1000000/s"}}
	s := newMemoryStore(stays)
	r, v := newView(t, s, ViewConfig{})
	r.Start()
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, caller := range []Caller{{Key: key}, {User: "u"}, {Source: asSource("10.1.1.1")}} {
					c, err := v.Identify(caller)
					if err != nil || c == nil || c.ID() != "stays" || isClosed(c.Revoked()) {
						t.Errorf("%v, %v", c, err)
						return
					}
					if c.Begin(time.Now()) == nil {
						_ = c.Decide(asked("/a"))
						c.End()
					}
				}
			}
		})
	}
	for i := range 200 {
		id := "c" + strconv.Itoa(i%7)
		stays.Comment = id
		s.set(stays)
		s.set(tokenstore.Client{ID: id, Users: []string{"u" + strconv.Itoa(i)}})
		r.Changed(id)
		r.Changed("stays")
		if i%20 == 0 {
			if err := r.Reload(t.Context()); err != nil {
				t.Error(err)
			}
			own, err := r.View(ViewConfig{Clients: []tokenstore.Client{{ID: "own", Users: []string{"own"}}}})
			if err != nil {
				t.Fatal(err)
			}
			own.Close()
		}
		if _, err := v.Explain("stays", asked("/a")); err != nil {
			t.Error(err)
		}
	}
	close(done)
	all.Wait()
}
