package access

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// bigView is a view of 10,000 stored clients of 100 rules each, and the keys of
// the clients by their numbers. A client has rules of all kinds, and those that
// match the questions stand at the end.
func bigView(tb testing.TB, clients int) (*View, []string) {
	s := newMemoryStore()
	keys := make([]string, clients)
	rules := manyRules()
	for i := range clients {
		key, digest := NewKey()
		keys[i] = key.Reveal()
		id := "client-" + strconv.Itoa(i)
		s.set(tokenstore.Client{
			ID: id, Rules: rules, Keys: []tokenstore.ClientKey{{Digest: digest}},
			Users: []string{"user-" + strconv.Itoa(i)}, Subjects: []string{"CN=" + strconv.Itoa(i)},
			Sources: []string{fmt.Sprintf("10.%d.%d.0/24", i>>8, i&255)},
		})
	}
	_, v := newView(tb, s, ViewConfig{})
	return v, keys
}

// manyRules are 100 rules: half of them allow, the others deny, a third has **
// in the middle, and none decides about askedPath but the last one.
func manyRules() []tokenstore.Rule {
	var rules []tokenstore.Rule
	for i := range 99 {
		n := strconv.Itoa(i)
		r := tokenstore.Rule{Effect: effectAllow, Rights: []string{"use"}, Realms: []string{"wechat"}, Methods: []string{"GET", "POST"}}
		if i%2 == 1 {
			r.Effect = effectDeny
		}
		switch i % 3 {
		case 0:
			r.Paths = []string{"/one/**/x" + n + "/**/seven/**"}
		case 1:
			r.Paths = []string{"/one/two/*/x" + n}
		case 2:
			r.Paths = []string{"/**/seven/*" + n + "*/**"}
		}
		rules = append(rules, r)
	}
	return append(rules, tokenstore.Rule{Effect: effectAllow, Rights: []string{"use", "read"}, Realms: []string{"we*"}, Keys: []string{"*"}})
}

const askedPath = "/one/two/three/four/five/six/seven/eight/nine/ten"

func asked(path string) Question {
	return Question{Right: Use, Ref: realm.Ref{Realm: "wechat", Key: "main"}, Method: "GET", Path: path}
}

// BenchmarkReload is the first load of 10,000 clients, one in which nothing
// changed, and a change of one client.
func BenchmarkReload(b *testing.B) {
	v, _ := bigView(b, 10_000)
	s := v.registry.store
	b.Run("first", func(b *testing.B) {
		for range b.N {
			r := NewRegistry(RegistryConfig{Store: s})
			if err := r.Reload(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for range b.N {
			if err := v.registry.Reload(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		for range b.N {
			if err := v.registry.loadOne(b.Context(), "client-17"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// onCPU reports how much of the processor an operation took, which other
// programs on the machine change less than the time that went by.
func onCPU(b *testing.B, loop func()) {
	b.Helper()
	spent := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano()
	}
	b.ReportAllocs()
	runtime.GC() // of what was made before
	before := spent()
	loop()
	b.ReportMetric(float64(spent()-before)/float64(b.N), "cpu-ns/op")
}

func BenchmarkDecide(b *testing.B) {
	v, keys := bigView(b, 10_000)
	c, err := v.Identify(Caller{Key: keys[777]})
	if err != nil {
		b.Fatal(err)
	}
	for name, path := range map[string]string{
		"short": "/cgi-bin/menu/get", "ten": askedPath, "escaped": "/one/two/thr%65e/four/five/six/seven/eight/nine/t%C3%A9n",
	} {
		b.Run(name, func(b *testing.B) {
			q := asked(path)
			onCPU(b, func() {
				for range b.N {
					if d := c.Decide(q); !d.Allowed || d.Rule != 99 {
						b.Fatal(d)
					}
				}
			})
		})
	}
}

func BenchmarkIdentify(b *testing.B) {
	v, keys := bigView(b, 10_000)
	for name, caller := range map[string]func(i int) Caller{
		"key":     func(i int) Caller { return Caller{Key: keys[i%len(keys)]} },
		"subject": func(int) Caller { return Caller{Subject: "CN=4711"} },
		"user":    func(int) Caller { return Caller{Key: "the password of somebody", User: "user-4711"} },
		"source":  func(int) Caller { return Caller{Source: netip.MustParseAddr("::ffff:10.3.77.1")} },
	} {
		b.Run(name, func(b *testing.B) {
			onCPU(b, func() {
				for i := range b.N {
					if c, err := v.Identify(caller(i)); c == nil || err != nil {
						b.Fatal(c, err)
					}
				}
			})
		})
	}
}
