package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// node is Sessions of one node over a real store that can be made to fail, with a
// clock of its own.
type node struct {
	*session.Sessions
	store tokenstore.Store
	away  atomic.Bool
	asked atomic.Int64
	now   time.Time
}

// flaky is the store of a node.
type flaky struct {
	tokenstore.SessionStore
	n *node
}

func (f flaky) FindSession(ctx context.Context, id tokenstore.SessionHash) error {
	f.n.asked.Add(1)
	if f.n.away.Load() {
		return tokenstore.ErrUnavailable
	}
	return f.SessionStore.FindSession(ctx, id)
}

func newNode(tb testing.TB, path string, keys ...realm.Hidden) *node {
	tb.Helper()
	ring := storetest.Ring(tb, keys...)
	n := &node{now: time.Now()}
	store := sqlstore.SQLite(path, ring)
	if err := store.Open(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = store.Close() })
	n.store = store
	n.Sessions = session.New(session.Config{Store: flaky{store, n}, Keys: ring, Now: func() time.Time { return n.now }})
	return n
}

var ops = session.Identity{Kind: "client", ID: "ops", Credential: []byte("digest of a key"), User: "alice"}

func begin(tb testing.TB, n *node, who session.Identity) (realm.Hidden, *session.Session) {
	tb.Helper()
	cookie, _, err := n.Begin(tb.Context(), who, time.Time{})
	if err != nil {
		tb.Fatal(err)
	}
	x, err := n.Read(cookie)
	if err != nil {
		tb.Fatal(err)
	}
	return cookie, x
}

func TestCookie(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	cookie, x := begin(t, n, ops)
	if x.Kind != "client" || x.ID != "ops" || x.User != "alice" || !x.HasCredential() {
		t.Errorf("the session is %+v", x)
	}
	if !x.IsOf(ops.Credential) || x.IsOf([]byte("another")) || x.IsOf(nil) {
		t.Error("the session does not know its credential")
	}
	if text := cookie.Reveal(); strings.Contains(text, "_") || strings.ContainsAny(text, " ,;\"\\") {
		t.Errorf("the cookie looks like a key, or cannot stand in a header: %s", text)
	}
	body, _, _ := strings.Cut(cookie.Reveal(), ".")
	if content, err := base64.RawStdEncoding.DecodeString(body); err != nil || strings.Contains(string(content), "digest of a key") {
		t.Errorf("the cookie tells the credential: %v", err)
	}
	_, local := begin(t, n, session.Identity{Kind: "local"})
	if local.HasCredential() || local.IsOf(nil) || local.IsOf([]byte{}) {
		t.Error("a session without a credential is of one")
	}
	// A session of one kind is not one of another with the same digest.
	_, admin := begin(t, n, session.Identity{Kind: "admin", Credential: ops.Credential})
	if !admin.IsOf(ops.Credential) {
		t.Error("the admin's session does not know its credential")
	}
	n.now = x.Ends
	if x, err := n.Read(cookie); !errors.Is(err, session.ErrEnded) {
		t.Errorf("after its time: %v %v", x, err)
	}
}

// TestCookieIsForged: no byte of a cookie can be changed.
func TestCookieIsForged(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	cookie, _ := begin(t, n, ops)
	text := cookie.Reveal()
	for i := range text {
		for _, c := range []byte{'A', 'b', '9', '.', text[i] ^ 1} {
			if c == text[i] {
				continue
			}
			if x, err := n.Read(realm.Hidden(text[:i] + string(rune(c)) + text[i+1:])); !errors.Is(err, session.ErrForged) {
				t.Fatalf("%c at %d: %v %v", c, i, x, err)
			}
		}
	}
	for _, other := range []string{"", ".", text[1:], text[:len(text)-1], text + "A", text + ".A", strings.Repeat("A", 5000)} {
		if x, err := n.Read(realm.Hidden(other)); !errors.Is(err, session.ErrForged) {
			t.Errorf("%.40s: %v %v", other, x, err)
		}
	}
}

// TestCookieAfterARotation: an older key verifies as long as it is configured, on
// every node.
func TestCookieAfterARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	first, second := storetest.Key(t), storetest.Key(t)
	one := newNode(t, path, first)
	cookie, _ := begin(t, one, ops)
	if err := one.store.Close(); err != nil {
		t.Fatal(err)
	}
	both := newNode(t, path, second, first)
	x, err := both.Read(cookie)
	if err != nil || !x.IsOf(ops.Credential) || both.Check(t.Context(), x) != nil {
		t.Errorf("with both keys: %v", err)
	}
	stranger := newNode(t, filepath.Join(t.TempDir(), "b.db"), second)
	if _, err := stranger.Read(cookie); !errors.Is(err, session.ErrForged) {
		t.Errorf("without the older key: %v", err)
	}
}

// TestSignedOut: a session that was ended is so at once on its node, and on another
// one when half a second is over. The store is not asked for each request.
func TestSignedOut(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	cookie, x := begin(t, n, ops)
	for range 5 {
		if err := n.Check(t.Context(), x); err != nil {
			t.Fatal(err)
		}
	}
	if asked := n.asked.Load(); asked != 1 {
		t.Errorf("the store was asked %d times", asked)
	}
	// Another node ends it: this one does not hear of that, and asks again.
	if err := n.store.(tokenstore.SessionStore).EndSession(t.Context(), hashIn(t, cookie)); err != nil {
		t.Fatal(err)
	}
	n.now = n.now.Add(500 * time.Millisecond)
	if err := n.Check(t.Context(), x); !errors.Is(err, session.ErrEnded) {
		t.Errorf("another node ended it: %v", err)
	}
	_, x = begin(t, n, ops)
	if err := n.Check(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if err := n.End(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(t.Context(), x); !errors.Is(err, session.ErrEnded) {
		t.Errorf("this node ended it: %v", err)
	}
}

// hashIn is the name of a cookie's session.
func hashIn(t *testing.T, cookie realm.Hidden) tokenstore.SessionHash {
	t.Helper()
	body, _, _ := strings.Cut(cookie.Reveal(), ".")
	content, err := base64.RawStdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), `"session":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return tokenstore.HashSession(realm.Hidden(id))
}

// TestStoreIsAway: a session that this node has seen goes on, one that it has not
// seen does not begin.
func TestStoreIsAway(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	_, seen := begin(t, n, ops)
	_, unseen := begin(t, n, ops)
	if err := n.Check(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	n.away.Store(true)
	n.now = n.now.Add(time.Hour)
	if err := n.Check(t.Context(), seen); err != nil {
		t.Errorf("a session that was seen: %v", err)
	}
	if err := n.Check(t.Context(), unseen); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Errorf("a session that was not seen: %v", err)
	}
	n.now = seen.Ends
	if err := n.Check(t.Context(), seen); !errors.Is(err, session.ErrEnded) {
		t.Errorf("at its end: %v", err)
	}
}

func TestLink(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	want := session.Link{Who: session.Identity{Kind: "client", ID: "ops", Credential: []byte{1, 2}}, Until: n.now.Add(time.Hour).Truncate(time.Second).UTC()}
	code, err := n.MakeLink(t.Context(), want)
	if err != nil || len(code) != 64 {
		t.Fatalf("%d characters, %v", len(code), err)
	}
	got, err := n.Redeem(t.Context(), code)
	if err != nil || got.Who.ID != "ops" || string(got.Who.Credential) != "\x01\x02" || !got.Until.Equal(want.Until) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, wrong := range []realm.Hidden{code, "", "x", code[1:] + "0"} {
		want := session.ErrForged
		if wrong == code {
			want = session.ErrEnded
		}
		if got, err := n.Redeem(t.Context(), wrong); !errors.Is(err, want) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	// The end stands in what is sealed, too.
	if code, err = n.MakeLink(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	n.now = n.now.Add(3 * time.Minute)
	if got, err := n.Redeem(t.Context(), code); !errors.Is(err, session.ErrEnded) {
		t.Errorf("a link with a longer life: %+v, %v", got, err)
	}
	// A session of it ends when it says.
	cookie, ends, err := n.Begin(t.Context(), ops, n.now.Add(time.Minute))
	if err != nil || cookie == "" || ends.After(n.now.Add(2*time.Minute)) {
		t.Errorf("it ends at %v, %v", ends, err)
	}
}

// TestTooManySessions: the sessions of a credential are counted together, and those of
// others are not.
func TestTooManySessions(t *testing.T) {
	n := newNode(t, filepath.Join(t.TempDir(), "a.db"))
	others := []session.Identity{
		{Kind: "client", ID: "ops", Credential: []byte("another key")},
		{Kind: "client", ID: "dev", Credential: ops.Credential},
		{Kind: "user", ID: "ops"},
		{Kind: "admin", Credential: ops.Credential},
		{Kind: "local"},
	}
	var kept []*session.Session
	for _, who := range others {
		_, x := begin(t, n, who)
		kept = append(kept, x)
	}
	_, first := begin(t, n, ops)
	for range tokenstore.MaxSessions - 1 {
		begin(t, n, ops)
	}
	if err := n.Check(t.Context(), first); err != nil {
		t.Errorf("as many as allowed: %v", err)
	}
	_, last := begin(t, n, ops)
	n.now = n.now.Add(time.Second)
	if err := n.Check(t.Context(), first); !errors.Is(err, session.ErrEnded) {
		t.Errorf("one more did not end the first: %v", err)
	}
	for i, x := range append(kept, last) {
		if err := n.Check(t.Context(), x); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// FuzzRead: whatever a caller sends as a cookie, reading it does not panic, and
// nothing but what was signed is a session.
func FuzzRead(f *testing.F) {
	n := newNode(f, filepath.Join(f.TempDir(), "a.db"))
	cookie, _ := begin(f, n, ops)
	for _, seed := range []string{cookie.Reveal(), "", ".", "e30.e30", "e30", strings.Repeat("A", 3000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if x, err := n.Read(realm.Hidden(text)); err == nil && text != cookie.Reveal() {
			t.Errorf("%q is the session %+v", text, x)
		} else if err != nil && !errors.Is(err, session.ErrForged) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
