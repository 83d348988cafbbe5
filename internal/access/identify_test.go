package access

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// newKey makes a key, and the list of it that a client has.
func newKey(expires time.Time) (string, []tokenstore.ClientKey) {
	key, digest := NewKey()
	return key.Reveal(), []tokenstore.ClientKey{{Digest: digest, ExpiresAt: expires}}
}

func asSource(text string) netip.Addr { return netip.MustParseAddr(text) }

// wantRefused checks that a caller is refused with this code, in these words.
func wantRefused(t testing.TB, v *View, caller Caller, code realm.Code, status int, words string) {
	t.Helper()
	c, err := v.Identify(caller)
	var e *realm.Error
	if c != nil || !errors.As(err, &e) || e.Code != code || e.Status != status || !strings.Contains(e.Detail, words) {
		t.Errorf("%+v is %v, %v; want %s: %q", caller, c, err, code, words)
	}
}

func TestIdentify(t *testing.T) {
	now := time.Now()
	past, future := now.Add(-time.Minute), now.Add(time.Minute)
	storedKey, storedKeys := newKey(time.Time{})
	ownKey, ownKeys := newKey(time.Time{})
	expiredKey, expiredKeys := newKey(past)
	keyOfExpired, keysOfExpired := newKey(future)
	shadowedKey, shadowedKeys := newKey(time.Time{})
	free := "a key of the Caddyfile of no form"
	s := newMemoryStore(
		tokenstore.Client{ID: "stored", Keys: storedKeys, Subjects: []string{"CN=stored"}, Users: []string{"bob"}, Sources: []string{"10.0.0.0/8", "2001:db8::/32"}},
		tokenstore.Client{ID: "inner", Sources: []string{"10.1.0.0/16"}},
		tokenstore.Client{ID: "over", Keys: keysOfExpired, Subjects: []string{"CN=over"}, Users: []string{"eve"}, Sources: []string{"10.1.2.0/24"}, ExpiresAt: past},
		tokenstore.Client{ID: "old key", Keys: expiredKeys, ExpiresAt: future},
		tokenstore.Client{ID: "own", Keys: shadowedKeys, Users: []string{"mallory"}, Sources: []string{"192.0.2.0/24"}},
	)
	_, v := newView(t, s, ViewConfig{Clients: []tokenstore.Client{
		{ID: "own", Keys: append(ownKeys, tokenstore.ClientKey{Digest: Digest(free)}), Users: []string{"alice"}, Sources: []string{"10.1.0.0/17"}},
		{ID: "own and over", Keys: []tokenstore.ClientKey{{Digest: Digest(free + "2")}}, Users: []string{"zoe"}, Sources: []string{"10.1.0.0/20"}, ExpiresAt: past},
	}})
	for name, c := range map[string]struct {
		caller Caller
		want   string
	}{
		"nobody":                    {Caller{}, ""},
		"a stored key":              {Caller{Key: storedKey}, "stored"},
		"a Caddyfile key":           {Caller{Key: ownKey}, "own"},
		"a Caddyfile key of text":   {Caller{Key: free}, "own"},
		"the key comes first":       {Caller{Key: storedKey, Subject: "CN=x", User: "alice", Source: asSource("10.1.0.1")}, "stored"},
		"a dummy key is no key":     {Caller{Key: "sk-dummy", User: "alice"}, "own"},
		"a long one neither":        {Caller{Key: strings.Repeat("x", 40), User: "bob"}, "stored"},
		"and lets nobody in":        {Caller{Key: strings.Repeat("x", 4000)}, ""},
		"the subject before users":  {Caller{Subject: "CN=stored", User: "alice"}, "stored"},
		"a subject as it is":        {Caller{Subject: "cn=stored"}, ""},
		"a user before sources":     {Caller{User: "alice", Source: asSource("10.2.0.1")}, "own"},
		"an unknown user's source":  {Caller{User: "nobody", Source: asSource("10.2.0.1")}, "stored"},
		"a source":                  {Caller{Source: asSource("10.200.0.1")}, "stored"},
		"the longest prefix":        {Caller{Source: asSource("10.1.200.1")}, "inner"},
		"of both":                   {Caller{Source: asSource("10.1.100.1")}, "own"},
		"IPv4 in IPv6":              {Caller{Source: asSource("::ffff:10.1.200.1")}, "inner"},
		"IPv6":                      {Caller{Source: asSource("2001:db8:1::1")}, "stored"},
		"IPv6 with a zone":          {Caller{Source: asSource("2001:db8:1::1%eth0")}, "stored"},
		"none of them":              {Caller{Source: asSource("172.16.0.1")}, ""},
		"an expired client's user":  {Caller{User: "eve"}, ""},
		"an expired subject":        {Caller{Subject: "CN=over", User: "bob"}, "stored"},
		"an expired prefix":         {Caller{Source: asSource("10.1.2.3")}, "own"},
		"one of the Caddyfile":      {Caller{User: "zoe"}, ""},
		"a hidden client's user":    {Caller{User: "mallory"}, ""},
		"a hidden client's prefix":  {Caller{Source: asSource("192.0.2.1")}, ""},
		"an address that is no one": {Caller{Source: netip.Addr{}}, ""},
	} {
		t.Run(name, func(t *testing.T) { mustBe(t, v, c.caller, c.want) })
	}
	for key, words := range map[string]string{
		keyOfExpired: badKey, expiredKey: badKey, shadowedKey: badKey, free + "2": badKey, keyOf(make([]byte, keyRandom)): badKey,
		"ctk_": "mistyped: has 4 characters", storedKey[:52]: "mistyped: has 52", storedKey[:52] + "\x00": "mistyped: character 53",
	} {
		wantRefused(t, v, Caller{Key: key, Subject: "CN=stored", User: "alice", Source: asSource("10.1.0.1")}, realm.CodeForbidden, 403, words)
	}
}

// TestCallerHidesTheKey: callers get into logs.
func TestCallerHidesTheKey(t *testing.T) {
	key, _ := newKey(time.Time{})
	c := Caller{Key: key, User: "alice", Source: asSource("10.0.0.1")}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&logged), zap.DebugLevel)
	zap.New(core).Info("x", zap.Any("caller", c), zap.Any("callers", []Caller{c}))
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%s %v %+v %#v %q %x", c, c, &c, c, c, c), string(asJSON), logged.String()} {
		if strings.Contains(text, key) || strings.Contains(text, hex.EncodeToString([]byte(key))) || !strings.Contains(text, "alice") {
			t.Error(text)
		}
	}
}

// TestLongestPrefixAgreesWithTheModel: the model looks at all of them.
func TestLongestPrefixAgreesWithTheModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	someAddr := func() netip.Addr {
		// Few bits vary, so that prefixes enclose each other and addresses meet them.
		b := byte(random.IntN(4)) << 6
		if random.IntN(3) == 0 {
			return netip.AddrFrom16([16]byte{0x20, 1, b, byte(random.IntN(4)), 15: byte(random.IntN(4))})
		}
		return netip.AddrFrom4([4]byte{10, b, byte(random.IntN(4)), byte(random.IntN(4))})
	}
	found := 0
	for range 300 {
		known := make(map[netip.Prefix]bool)
		for range random.IntN(40) {
			a := someAddr()
			p, err := a.Prefix(random.IntN(a.BitLen() + 1))
			if err != nil {
				t.Fatal(err)
			}
			known[p] = true
		}
		var list []netip.Prefix
		for p := range known {
			list = append(list, p)
		}
		index := newPrefixes(list)
		for range 100 {
			a := someAddr()
			want := make(map[netip.Prefix]bool)
			for p := range known {
				if p.Contains(a) {
					want[p] = true
				}
			}
			bits := 129
			for p := range index.each(a) {
				if !want[p] || p.Bits() >= bits {
					t.Fatalf("%v: %v among %v", a, p, list)
				}
				delete(want, p)
				bits, found = p.Bits(), found+1
			}
			if len(want) > 0 {
				t.Fatalf("%v: %v not found among %v", a, want, list)
			}
		}
	}
	if found < 10_000 {
		t.Errorf("only %d were found", found)
	}
}

// TestNoAllocations: what each request does allocates nothing, for a client of
// 100 rules among many.
func TestNoAllocations(t *testing.T) {
	v, keys := bigView(t, 100)
	now := time.Now()
	c := mustBe(t, v, Caller{Key: keys[7]}, "client-7")
	for name, f := range map[string]func(){
		"key":     func() { mustBe(t, v, Caller{Key: keys[8]}, "client-8") },
		"no key":  func() { mustBe(t, v, Caller{Key: "a password of somebody that is long"}, "") },
		"subject": func() { mustBe(t, v, Caller{Subject: "CN=9"}, "client-9") },
		"user":    func() { mustBe(t, v, Caller{User: "user-10"}, "client-10") },
		"source":  func() { mustBe(t, v, Caller{Source: netip.AddrFrom4([4]byte{10, 0, 11, 1})}, "client-11") },
		"begin": func() {
			if c.Begin(now) == nil {
				c.End()
			}
		},
		"fetch":   func() { _ = c.MayFetch(now); c.Fetched(now) },
		"may any": func() { _ = c.MayAny(Read, "wechat", "main") },
		"short":   func() { _ = c.Decide(asked("/cgi-bin/menu/get")) },
		"ten":     func() { _ = c.Decide(asked(askedPath)) },
		"escaped": func() { _ = c.Decide(asked("/a%20b" + askedPath)) },
		"odd":     func() { _ = c.Decide(asked("/a//b")) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
