package broker

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// filled is a view whose memory holds n tokens of 512 bytes, and their names
// in random order: the caller's own copy of a name is in the cache, what
// memory keeps of it is not.
func filled(tb testing.TB, n int) (*View, []realm.Ref) {
	tb.Helper()
	p := New(nil, zap.NewNop(), nil)
	p.opened.Store(true)
	v, err := p.View(ViewConfig{Definitions: []catalog.Definition{{Realm: realm.Realm{ID: "wx", Config: realm.Config{
		Recipe: realm.Recipe{URL: "https://api.example.com/token", TokenPath: "access_token"},
		API:    "https://api.example.com",
		Inject: []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
	}}}}})
	if err != nil {
		tb.Fatal(err)
	}
	c, _ := v.catalog.Remembered("wx")
	bound, err := c.Program.Bind(realm.Secret{Ref: realm.Ref{Realm: "wx", Key: "k"}})
	if err != nil {
		tb.Fatal(err)
	}
	refs := make([]realm.Ref, n)
	for i := range refs {
		refs[i] = realm.Ref{Realm: "wx", Key: fmt.Sprintf("key-%d", i)}
		fill(tb, v, c, bound, refs[i], i)
	}
	rand.Shuffle(n, func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	for i := range refs { // in the order in which they are used, as a request has just brought them
		refs[i].Key = strings.Clone(refs[i].Key)
	}
	return v, refs
}

func fill(tb testing.TB, v *View, c *catalog.Realm, bound *grant.Bound, ref realm.Ref, i int) {
	tb.Helper()
	now := time.Now()
	t := &attempt{view: v, pool: v.pool, entry: v.pool.entry(ref), flight: &flight{owner: c}, ref: ref, bound: bound, log: v.pool.log}
	access := strings.Repeat("x", 500) + fmt.Sprintf("%012d", i)
	if _, err := t.publish(realm.Token{Access: realm.Hidden(access), IssuedAt: now, ExpiresAt: now.Add(time.Hour), Lineage: 1}, realm.FromUpstream, 0); err != nil {
		tb.Fatal(err)
	}
}

// A hit allocates nothing.
func TestHitAllocatesNothing(t *testing.T) {
	v, refs := filled(t, 100)
	ctx := t.Context()
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := v.Token(ctx, refs[i%len(refs)]); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Proxyable(ctx, refs[i%len(refs)]); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Fatalf("%v allocations on a hit", n)
	}
}

// BenchmarkToken is P4: a memory hit among a million keys, on one core and on
// all.
func BenchmarkToken(b *testing.B) {
	v, refs := filled(b, 1_000_000)
	runtime.GC() // of what was made before
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			_, _ = v.Token(b.Context(), refs[i%len(refs)])
			i++
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				_, _ = v.Token(b.Context(), refs[i%len(refs)])
			}
		})
	})
}

// BenchmarkMemory is P6: bytes of heap for each of a million cached tokens of
// 512 bytes, keys and all.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		v, refs := filled(b, 1_000_000)
		n := len(refs)
		refs = nil
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/token")
		runtime.KeepAlive(v)
		runtime.KeepAlive(refs)
	}
}
