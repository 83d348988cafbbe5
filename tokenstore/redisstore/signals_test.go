package redisstore

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// hello is said to find out whether anybody hears.
var hello = realm.Ref{Realm: "hello", Key: "hello"}

// listener is what one node heard.
type listener struct {
	heard  chan realm.Ref
	ended  chan struct{}
	wanted []realm.Ref
}

// listen lets a node listen until the context ends.
func listen(ctx context.Context, s tokenstore.Store) *listener {
	l := &listener{heard: make(chan realm.Ref, 1000), ended: make(chan struct{}), wanted: []realm.Ref{hello}}
	go func() {
		defer close(l.ended)
		s.(tokenstore.Waker).Wakes(ctx, func(r realm.Ref) { l.heard <- r })
	}()
	return l
}

// connected makes another node talk until this one hears it.
func (l *listener) connected(t *testing.T, other *node) {
	t.Helper()
	eventually(t, "the node hears the other one", func() bool {
		other.clock.Advance(maxPause) // whatever the breaker says
		other.cache.Wake(t.Context(), hello)
		select {
		case <-l.heard:
			return true
		default:
			return false
		}
	})
}

// hears repeats what the other node does until this one hears of it: a message
// that takes too long is lost. It must hear of nothing else.
func (l *listener) hears(t *testing.T, want realm.Ref, do func()) {
	t.Helper()
	l.wanted = append(l.wanted, want)
	eventually(t, fmt.Sprintf("%q is heard", want), func() bool {
		do()
		for {
			select {
			case got := <-l.heard:
				if got == want {
					return true
				}
				if !slices.Contains(l.wanted, got) {
					t.Fatalf("%q is heard, want %q", got, want)
				}
			default:
				return false
			}
		}
	})
}

func coordinate(t *testing.T, s tokenstore.Store, r realm.Ref, alter func(*tokenstore.State)) tokenstore.State {
	t.Helper()
	st, err := s.Coordinate(t.Context(), r, func(st *tokenstore.State) error { alter(st); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func save(st *tokenstore.State) { child := tok(0, time.Hour); st.Save = &child }

func claim(st *tokenstore.State) {
	st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Node: tokenstore.NodeID(), Deadline: st.Now.Add(time.Hour)}
}

// TestWake: a token that was saved and a claim that was closed are heard by
// the other node, and by no means by the one who did it. Anything else is not
// worth a word.
func TestWake(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	atA, atB := listen(t.Context(), a.store), listen(t.Context(), b.store)
	atA.connected(t, b)
	atB.connected(t, a)
	aside := realm.Ref{Realm: "not", Key: "heard"}
	coordinate(t, a.store, aside, claim)
	coordinate(t, a.store, aside, func(st *tokenstore.State) { st.Claim.Purpose, st.Budget.Failure.Count = "x", 1 })
	coordinate(t, b.store, aside, claim)
	strange := realm.Ref{Realm: strings.Repeat("\x00\xff/", 85), Key: "\r\n"}
	atB.hears(t, strange, func() { coordinate(t, a.store, strange, save) })
	atB.hears(t, ref, func() {
		coordinate(t, a.store, ref, claim)
		coordinate(t, a.store, ref, func(st *tokenstore.State) { st.Claim = tokenstore.Claim{} })
	})
	fromB := realm.Ref{Realm: "from", Key: "b"}
	atA.hears(t, fromB, func() { coordinate(t, b.store, fromB, save) })
}

// TestForeignWordsAreIgnored: anybody may publish anything.
func TestForeignWordsAreIgnored(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	atB := listen(t.Context(), b.store)
	atB.connected(t, a)
	for _, text := range []string{"", "\x02wx", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", strings.Repeat("x", 1<<20)} {
		if err := r.Client(t).Publish(t.Context(), wakeChannel, text).Err(); err != nil {
			t.Fatal(err)
		}
	}
	atB.hears(t, ref, func() { coordinate(t, a.store, ref, save) })
}

// TestWakesOutliveRedis: while Redis is away everything is coordinated all the
// same; when it is back, so are the messages.
func TestWakesOutliveRedis(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	atB := listen(ctx, b.store)
	atB.connected(t, a)

	for name, fault := range map[string]func(){
		"flushed": func() { r.Flush(t) },
		"killed":  func() { r.Kill(t); coordinate(t, a.store, ref, save); r.Restart(t) },
		"stopped": func() { r.Stop(t); coordinate(t, a.store, ref, save); r.Cont(t) },
	} {
		t.Log(name)
		fault()
		coordinate(t, a.store, ref, claim)
		coordinate(t, b.store, ref, save)
		atB.connected(t, a)
	}
	r.Kill(t)
	cancel()
	<-atB.ended
}

// TestWakesEnd: with the caller's context, or with the cache; nothing is left
// behind.
func TestWakesEnd(t *testing.T) {
	r := testserver.Redis(t)
	before := goleak.IgnoreCurrent()
	for _, byContext := range []bool{true, false} {
		c, err := New([]string{r.URL()}, keyring(t), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { c.Wakes(ctx, func(realm.Ref) {}); close(ended) }()
		eventually(t, "it listens", func() bool {
			return r.Client(t).PubSubNumSub(t.Context(), wakeChannel).Val()[wakeChannel] > 0
		})
		if byContext {
			cancel()
			<-ended
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-ended
		cancel()
	}
	leaktest.VerifyNone(t, before, goleak.IgnoreTopFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).reaper"))
}

// TestLease: one of all gets it, until its time is over or Redis forgets it.
func TestLease(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	a, b := newNode(t, r, path, ring), newNode(t, r, path, ring)
	lease := func(n *node, of realm.Ref, d time.Duration) (granted bool) {
		t.Helper()
		eventually(t, "Redis answers", func() (known bool) {
			n.clock.Advance(maxPause)
			granted, known = n.store.(tokenstore.Leaser).Lease(t.Context(), of, d)
			return known
		})
		return granted
	}
	one := lease(a, ref, time.Hour) || r.Client(t).Exists(t.Context(), leaseKey(ref)).Val() == 1 // its answer may be late
	if !one || lease(b, ref, time.Hour) || lease(a, ref, time.Hour) {
		t.Fatal("not exactly one has it")
	}
	if !lease(b, realm.Ref{Realm: "wx", Key: "other"}, 0) {
		t.Fatal("another key is refused, too")
	}
	r.Flush(t)
	eventually(t, "it is free again", func() bool { return lease(b, ref, 300*time.Millisecond) })
	eventually(t, "it runs out", func() bool { return lease(a, ref, time.Hour) })

	// It does not stand in the way of the token.
	coordinate(t, a.store, ref, save)
	eventually(t, "the token is read from Redis", func() bool { _, source := b.lineage(t); return source == realm.FromRedis })

	r.Kill(t)
	if granted, known := a.store.(tokenstore.Leaser).Lease(t.Context(), realm.Ref{Realm: "x", Key: "y"}, time.Hour); granted || known {
		t.Fatalf("without Redis: granted %v, known %v", granted, known)
	}
}

// TestCoordinateFillsTheCache: with what was saved, and with what somebody
// else saved that never reached it.
func TestCoordinateFillsTheCache(t *testing.T) {
	r, path, ring := testserver.Redis(t), filepath.Join(t.TempDir(), "tokens.db"), keyring(t)
	n, db := newNode(t, r, path, ring), sqlstore.SQLite(path, ring)
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	coordinate(t, n.store, ref, save)
	eventually(t, "Redis has it", func() bool { _, source := n.lineage(t); return source == realm.FromRedis })
	coordinate(t, db, ref, save) // its node died before it told Redis
	st := coordinate(t, n.store, ref, func(*tokenstore.State) {})
	if st.Token.Lineage != 2 {
		t.Fatalf("lineage %d", st.Token.Lineage)
	}
	n.wants(t, 2)
}

// TestSignalsAreTheCachesOwn: the levels can do what their parts can.
func TestSignalsAreTheCachesOwn(t *testing.T) {
	c, err := New([]string{"redis://127.0.0.1:1"}, keyring(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	shared, err := sqlstore.MySQL("u:p@tcp(127.0.0.1:1)/none", keyring(t))
	if err != nil {
		t.Fatal(err)
	}
	file := sqlstore.SQLite(filepath.Join(t.TempDir(), "none.db"), keyring(t))
	quiet := struct{ tokenstore.Cache }{c}
	for name, s := range map[string]struct {
		store         tokenstore.Store
		feeds, speaks bool
	}{
		"sqlite and redis":      {tokenstore.Levels(file, c), false, true},
		"mysql and redis":       {tokenstore.Levels(shared, c), true, true},
		"sqlite and a mute one": {tokenstore.Levels(file, quiet), false, false},
		"mysql and a mute one":  {tokenstore.Levels(shared, quiet), true, false},
	} {
		_, feeds := s.store.(tokenstore.ChangeFeed)
		_, wakes := s.store.(tokenstore.Waker)
		_, leases := s.store.(tokenstore.Leaser)
		_, rereads := s.store.(tokenstore.Rereader)
		_, reports := s.store.(tokenstore.HealthReporter)
		if feeds != s.feeds || wakes != s.speaks || leases != s.speaks || !rereads || !reports {
			t.Errorf("%s: feed %v, wakes %v, leases %v, rereads %v, reports %v", name, feeds, wakes, leases, rereads, reports)
		}
	}
}

// A user who may not publish stores tokens nevertheless.
func TestPutOfAUserWhoMayNotPublish(t *testing.T) {
	r := testserver.OwnRedis(t) // users are of the whole server
	admin := r.Client(t)
	for name, rights := range map[string][]any{
		"channels": {"allkeys", "resetchannels", "+@all"}, "pubsub": {"allkeys", "allchannels", "+@all", "-@pubsub"},
	} {
		t.Run(name, func(t *testing.T) {
			set := append([]any{"ACL", "SETUSER", name, "on", ">secret"}, rights...)
			if err := admin.Do(t.Context(), set...).Err(); err != nil {
				t.Fatal(err)
			}
			ring := keyring(t)
			c, err := New([]string{strings.Replace(r.URL(), "redis://", "redis://"+name+":secret@", 1)}, ring, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			c.budget = patience
			warm(t, c)
			if err := c.client.Publish(t.Context(), wakeChannel, "x").Err(); err == nil {
				t.Fatal("the user may publish: the test proves nothing")
			}
			r.Flush(t)
			c.PutAndWake(t.Context(), ref, tok(3, time.Hour))
			if got := cached(c); got != 3 {
				t.Errorf("lineage %d is cached, want 3", got)
			}
		})
	}
}
