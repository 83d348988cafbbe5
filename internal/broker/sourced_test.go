package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/sources"
)

// elsewhere is a source on another machine.
type elsewhere struct {
	mu    sync.Mutex
	text  realm.Hidden
	err   error
	reads int
}

func (e *elsewhere) String() string { return "elsewhere" }

func (e *elsewhere) set(text realm.Hidden, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.text, e.err = text, err
}

func (e *elsewhere) Read(context.Context) (sources.Value, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads++
	return sources.Value{Text: e.text, Fresh: time.Hour, Lease: 2 * time.Hour}, e.err
}

// sourced is a node whose secret has a field from elsewhere. The provider takes no
// secret but this one.
func sourced(t *testing.T, e *elsewhere, right string) *node {
	t.Helper()
	n := newNode(t)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, calls int64) {
		if r.URL.Query().Get("secret") != right {
			fails(http.StatusUnauthorized)(w, r, calls)
			return
		}
		gives(7200)(w, r, calls)
	})
	f := sources.NewField(e, sources.NewMemory(), zap.NewNop(), n.clock.now)
	t.Cleanup(f.Close)
	n.View = n.configure(t, catalog.Definition{
		Realm:   realm.Realm{ID: "wx", Config: n.wechat()},
		Secrets: []realm.Secret{{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app"}}},
		Sources: catalog.Sources{Secrets: map[string]map[string]*sources.Field{"main": {"key_2": f}}},
	})
	return n
}

// sourcedKey is a node whose secret is a key that nobody fetches, from elsewhere.
func sourcedKey(t *testing.T, e *elsewhere) *node {
	t.Helper()
	n := newNode(t)
	f := sources.NewField(e, sources.NewMemory(), zap.NewNop(), n.clock.now)
	t.Cleanup(f.Close)
	n.View = n.configure(t, catalog.Definition{
		Realm: realm.Realm{ID: "wx", Config: realm.Config{
			Grant: &realm.Grant{Name: "static"}, API: "https://api.example.com", Inject: []realm.Injection{{Place: realm.PlaceHeader, Name: "X-Key"}},
		}},
		Secrets: []realm.Secret{{Ref: wx}},
		Sources: catalog.Sources{Secrets: map[string]map[string]*sources.Field{"main": {"token": f}}},
	})
	return n
}

// The source of a key that nobody fetches is asked again when its value is not fresh any
// more, beside the requests. The key was served until a restart.
func TestKeyFollowsItsSource(t *testing.T) {
	e := &elsewhere{text: "one"}
	n := sourcedKey(t, e)
	want(t, n.View, wx, "one", realm.FromDatabase)
	e.set("two", nil)
	n.clock.advance(time.Hour - time.Second)
	want(t, n.View, wx, "one", realm.FromMemory)
	if f := n.pool.entry(wx).currentFlight(); f != nil || e.reads != 1 {
		t.Errorf("asked %d times before its time", e.reads)
	}
	n.clock.advance(time.Second)
	want(t, n.View, wx, "one", realm.FromMemory)
	eventually(t, "the new key", func() bool {
		lease, err := n.Token(t.Context(), wx)
		return err == nil && lease.Access == "two"
	})
}

// A key from a source that cannot be asked is served to the end of its lease, and no
// longer. Then the error tells why.
func TestKeyEndsWithItsSource(t *testing.T) {
	e := &elsewhere{text: "one"}
	n := sourcedKey(t, e)
	want(t, n.View, wx, "one", realm.FromDatabase)
	e.set("", errors.New("it cannot be reached"))
	n.clock.advance(2*time.Hour - 2*time.Second)
	want(t, n.View, wx, "one", realm.FromMemory)
	eventually(t, "the source is asked", func() bool {
		return n.pool.entry(wx).currentFlight() == nil && n.Catalog().SourcesOf(wx)[0].Error != ""
	})
	n.clock.advance(3 * time.Second / 2)
	want(t, n.View, wx, "one", realm.FromDatabase) // too short for those who come later
	n.clock.advance(time.Second / 2)
	if _, err := n.Token(t.Context(), wx); !errors.Is(err, catalog.ErrNoValue) {
		t.Errorf("a key after its end: %v", err)
	}
	e.set("one", nil)
	n.clock.advance(time.Second)
	want(t, n.View, wx, "one", realm.FromDatabase)
	if s, _ := n.StatusOf(wx); s.State != StateLive || s.LastError != "" {
		t.Errorf("%+v", s)
	}
}

// A key that the source says is gone is not served to the end of its lease.
func TestKeyThatItsSourceRefuses(t *testing.T) {
	e := &elsewhere{text: "one"}
	n := sourcedKey(t, e)
	want(t, n.View, wx, "one", realm.FromDatabase)
	e.set("", fmt.Errorf("%w: it was deleted", sources.ErrRefused))
	n.clock.advance(time.Hour)
	want(t, n.View, wx, "one", realm.FromMemory)
	eventually(t, "there is no key", func() bool {
		_, err := n.Token(t.Context(), wx)
		return errors.Is(err, sources.ErrRefused)
	})
}

// Callers with a token waited for the source when another node had changed something: the
// comparison with the store asked it. It goes by what is known, and is left out where
// nothing is.
func TestComparisonAsksNoSource(t *testing.T) {
	e := &elsewhere{text: "right"}
	n := sourced(t, e, "right")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	c, err := n.Catalog().Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	compare := func() {
		t.Helper()
		reads := e.reads
		n.pool.storeChanged(wx)
		want(t, n.View, wx, "T-1-app", realm.FromMemory)
		f := n.compare(n.pool.entry(wx), c, wx)
		if <-f.done; f.err != nil || e.reads != reads {
			t.Errorf("%v; asked %d times more", f.err, e.reads-reads)
		}
	}
	e.set("", fmt.Errorf("%w: it was deleted", sources.ErrRefused))
	n.clock.advance(time.Hour)
	compare()
	if _, err := n.Flush(t.Context(), wx); !errors.Is(err, sources.ErrRefused) {
		t.Errorf("%v", err)
	}
	n.clock.advance(time.Second)
	compare() // nothing is known any more
}

// A token that another node has obtained is found although the source cannot be asked.
func TestComparisonWithASource(t *testing.T) {
	e := &elsewhere{text: "right"}
	n := sourced(t, e, "right")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	old := *n.pool.entry(wx).live.Load()
	if _, err := n.Flush(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	n.pool.entry(wx).live.Store(&old)
	e.set("", errors.New("it cannot be reached"))
	n.clock.advance(time.Hour)
	n.pool.storeChanged(wx)
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
}

// A value that is refused, and that was asked for some time ago, is asked for again by
// the very flight that was refused: its caller gets a token.
func TestRefusedValueIsAskedForAgain(t *testing.T) {
	e := &elsewhere{text: "right"}
	n := sourced(t, e, "right")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, calls int64) {
		if r.URL.Query().Get("secret") != "next" {
			fails(http.StatusUnauthorized)(w, r, calls)
			return
		}
		gives(7200)(w, r, calls)
	})
	e.set("next", nil)
	n.clock.advance(30 * time.Minute)
	lease, err := n.Flush(t.Context(), wx)
	if err != nil || lease.Access != "T-3-app" || e.reads != 2 {
		t.Errorf("%v, asked %d times", err, e.reads)
	}
}

// A value that was asked for a moment ago is not asked for again by everybody whose
// request fails, but when some seconds have passed. Then it is tried at once.
func TestRefusedValueIsNotAskedForInAStorm(t *testing.T) {
	e := &elsewhere{text: "wrong"}
	n := sourced(t, e, "right")
	for range 5 {
		if _, err := n.Token(t.Context(), wx); err == nil {
			t.Fatal("a token for the wrong secret")
		}
	}
	if calls := n.provider.calls.Load(); e.reads != 1 || calls != 1 {
		t.Errorf("asked %d times, %d calls", e.reads, calls)
	}
	e.set("right", nil)
	n.clock.advance(10 * time.Second)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	if e.reads != 2 {
		t.Errorf("asked %d times", e.reads)
	}
}

// Without a value there is no token, and the error and the state name the field and its
// source. A token that is in memory is served to its end.
func TestFieldWithoutAValue(t *testing.T) {
	e := &elsewhere{text: "right"}
	n := sourced(t, e, "right")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	e.set("", errors.New("it cannot be reached"))
	n.clock.advance(100 * time.Minute)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	n.clock.advance(21 * time.Minute) // both have ended
	_, err := n.Token(t.Context(), wx)
	var known *realm.Error
	if !errors.As(err, &known) || known.Code != realm.CodeTokenUnavailable || known.Detail != "the field key_2 has no value: elsewhere: it cannot be reached" {
		t.Errorf("%v", err)
	}
	status, _ := n.StatusOf(wx)
	if len(status.Sources) != 1 || status.Sources[0].Error != "it cannot be reached" || !strings.Contains(status.LastError, "elsewhere") {
		t.Errorf("%+v", status)
	}
	e.set("right", nil)
	n.clock.advance(time.Second)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
}

// A value that the provider takes after all is not asked for again before its time.
func TestTakenValueIsNotDoubted(t *testing.T) {
	e := &elsewhere{text: "right"}
	n := sourced(t, e, "right")
	n.provider.then(fails(http.StatusUnauthorized))
	if _, err := n.Token(t.Context(), wx); err == nil {
		t.Fatal("a token of a provider that fails")
	}
	n.provider.then(gives(7200))
	n.clock.advance(10 * time.Minute)
	want(t, n.View, wx, "T-2-app", realm.FromUpstream)
	n.clock.advance(10 * time.Second)
	if _, err := n.Flush(t.Context(), wx); err != nil || e.reads != 2 {
		t.Errorf("%v, asked %d times", err, e.reads)
	}
}

// With refresh on_demand, a change is tried by the next request and not beside it.
func TestChangeOfASourceOnDemand(t *testing.T) {
	e := &elsewhere{text: "wrong"}
	n := sourced(t, e, "right")
	n.View.onDemand = true
	n.Drive()
	if _, err := n.Token(t.Context(), wx); err == nil {
		t.Fatal("a token for the wrong secret")
	}
	n.pool.catalogChanged(catalog.Change{Ref: wx, Event: catalog.Sourced})
	if f := n.pool.entry(wx).currentFlight(); f != nil || n.provider.calls.Load() != 1 {
		t.Error("something is under way without a request")
	}
}

// What an earlier configuration was refused is tried at once where the configuration of
// now sends it, and not where that one did.
func TestChangeOfASourceAfterAReload(t *testing.T) {
	e := &elsewhere{text: "wrong"}
	n := sourced(t, e, "right")
	n.Drive()
	if _, err := n.Token(t.Context(), wx); err == nil {
		t.Fatal("a token for the wrong secret")
	}
	before := n.provider
	n.provider = newProvider(t)
	n.configure(t, catalog.Definition{
		Realm:   realm.Realm{ID: "wx", Config: n.wechat()},
		Secrets: []realm.Secret{{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "next"}}},
	}).Drive()
	calls := before.calls.Load()
	n.pool.catalogChanged(catalog.Change{Ref: wx, Event: catalog.Sourced})
	eventually(t, "it is tried", func() bool { return n.pool.entry(wx).live.Load() != nil })
	if before.calls.Load() != calls || n.provider.calls.Load() != 1 {
		t.Errorf("%d calls to the provider of before, %d to that of now", before.calls.Load()-calls, n.provider.calls.Load())
	}
}
