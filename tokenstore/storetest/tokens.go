package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testTokens(t *testing.T, b Backend) {
	t.Run("saved and read back", func(t *testing.T) { testTokenRoundTrip(t, fresh(t, b)) })
	t.Run("lineage", func(t *testing.T) { testLineage(t, fresh(t, b)) })
	t.Run("times", func(t *testing.T) { testTimes(t, fresh(t, b)) })
	t.Run("durable", func(t *testing.T) { testReopen(t, b) })
}

func testTokenRoundTrip(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
	want := token(1)
	saved, err := SaveToken(t.Context(), s, ref, want, 0)
	ok(t, err)
	want.Lineage = 1
	same(t, want, saved)
	for range 2 { // from each level
		got, source, err := s.Token(t.Context(), ref)
		ok(t, err)
		same(t, want, got)
		if got.Access.Reveal() != "access-1" || got.Refresh.Reveal() != "refresh-1" {
			t.Fatal("the token is not what was saved")
		}
		if source != realm.FromDatabase && source != realm.FromRedis {
			t.Fatalf("source %q", source)
		}
	}
}

// testLineage: only the child of the current token is saved, and no number
// comes twice.
func testLineage(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	save := func(n int, parent, want int64) {
		t.Helper()
		saved, err := SaveToken(t.Context(), s, ref, token(n), parent)
		if want == 0 {
			if !errors.Is(err, ErrReplaced) {
				t.Fatalf("with parent %d: %v", parent, err)
			}
			return
		}
		if err != nil || saved.Lineage != want {
			t.Fatalf("with parent %d: lineage %d, %v", parent, saved.Lineage, err)
		}
		got, _, err := s.Token(t.Context(), ref)
		if err != nil || got.Lineage != want || got.Access != saved.Access {
			t.Fatalf("read back: lineage %d, %v", got.Lineage, err)
		}
	}
	save(1, 1, 0)
	save(1, 0, 1)
	save(2, 0, 0)
	save(2, 1, 2)
	save(3, 1, 0)
	save(3, 3, 0)
	save(3, 2, 3)

	ok(t, DropToken(t.Context(), s, ref))
	ok(t, DropToken(t.Context(), s, ref))
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
	save(4, 3, 0) // a child of the deleted one
	save(4, 0, 4)

	putSecret(t, s, ref, map[string]realm.Hidden{"x": "y"})
	ok(t, s.DeleteSecret(t.Context(), ref))
	save(5, 0, 5)
	_, err := SaveRealm(t.Context(), s, realm.Realm{ID: "wx"})
	ok(t, err)
	ok(t, s.DeleteRealm(t.Context(), "wx", true))
	save(6, 0, 6)
	ok(t, DropToken(t.Context(), s, realm.Ref{Realm: "wx", Key: "absent"}))
}

// testTimes: microseconds are kept, zero stays zero, zones do not matter.
func testTimes(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	zone := time.FixedZone("CST", 8*3600)
	issued := time.Now().Add(time.Hour).In(zone)
	for n, want := range []realm.Token{
		{Access: "endless"},
		{Access: "a", IssuedAt: issued, ExpiresAt: issued.Add(400 * 24 * time.Hour)},
		{Access: "b", ExpiresAt: time.Date(2099, 12, 31, 23, 59, 59, 999_999_999, zone)},
		{Access: "c", ExpiresAt: issued.Truncate(time.Second), RefreshExpiresAt: issued},
		{Refresh: "refresh only", IssuedAt: issued},
	} {
		saved, err := SaveToken(t.Context(), s, ref, want, int64(n))
		ok(t, err)
		got, _, err := s.Token(t.Context(), ref)
		ok(t, err)
		same(t, saved, got)
		for name, pair := range map[string][2]time.Time{
			"issued": {want.IssuedAt, got.IssuedAt}, "expires": {want.ExpiresAt, got.ExpiresAt},
			"refresh expires": {want.RefreshExpiresAt, got.RefreshExpiresAt},
		} {
			if !pair[0].Truncate(time.Microsecond).Equal(pair[1]) || pair[0].IsZero() != pair[1].IsZero() {
				t.Errorf("%s %s: saved %v, read %v", want.Access.Reveal(), name, pair[0], pair[1])
			}
		}
	}
}

// testReopen: everything is there for the next process.
func testReopen(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	ref := realm.Ref{Realm: "wx", Key: "main"}
	s := Open(t, db.Handle(t, ring))
	savedRealm, err := SaveRealm(t.Context(), s, sample("wx"))
	ok(t, err)
	savedSecret := putSecret(t, s, ref, map[string]realm.Hidden{"x": "y"})
	savedToken, err := SaveToken(t.Context(), s, ref, token(1), 0)
	ok(t, err)
	ok(t, s.Close())
	if _, err := s.Realm(t.Context(), "wx"); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("after Close: %v", err)
	}
	if err := s.Open(t.Context()); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("Open after Close: %v", err)
	}

	s = db.Handle(t, ring)
	if _, err := s.Secret(t.Context(), ref); !errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("before Open: %v", err)
	}
	Open(t, s)
	ok(t, s.Open(t.Context())) // once more does nothing
	ok(t, s.Ping(t.Context()))
	gotRealm, err := s.Realm(t.Context(), "wx")
	ok(t, err)
	same(t, savedRealm, gotRealm)
	gotSecret, err := s.Secret(t.Context(), ref)
	ok(t, err)
	same(t, savedSecret, gotSecret)
	gotToken, _, err := s.Token(t.Context(), ref)
	ok(t, err)
	same(t, savedToken, gotToken)
}
