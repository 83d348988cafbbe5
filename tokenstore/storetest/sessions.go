package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testSessions(t *testing.T, b Backend) {
	t.Run("begun, found and ended", func(t *testing.T) { testSessionLife(t, b) })
	t.Run("ended by time", func(t *testing.T) { testSessionsEnd(t, sessionsOf(t, fresh(t, b))) })
	t.Run("so many of an owner", func(t *testing.T) { testSessionsOfAnOwner(t, sessionsOf(t, fresh(t, b))) })
	t.Run("a link is taken once", func(t *testing.T) { testLinkTakenOnce(t, b) })
	t.Run("with the entry of the audit", func(t *testing.T) { testSessionAudited(t, fresh(t, b)) })
}

// sessionsOf is the store as one of sessions.
func sessionsOf(t *testing.T, s tokenstore.Store) tokenstore.SessionStore {
	t.Helper()
	sessions, is := s.(tokenstore.SessionStore)
	if !is {
		t.Fatalf("a %T keeps no sessions", s)
	}
	return sessions
}

// owner is whose the sessions are, and other somebody else.
var owner, other = tokenstore.SessionOwner{1}, tokenstore.SessionOwner{2}

func sessionNamed(id string) tokenstore.SessionHash { return tokenstore.HashSession(realm.Hidden(id)) }

// isNoSession: neither a session nor a link has this name.
func isNoSession(t *testing.T, s tokenstore.SessionStore, id tokenstore.SessionHash) {
	t.Helper()
	if err := s.FindSession(t.Context(), id); !errors.Is(err, tokenstore.ErrSessionNotFound) {
		t.Errorf("a session was found: %v", err)
	}
	if sealed, err := s.TakeLink(t.Context(), id); !errors.Is(err, tokenstore.ErrSessionNotFound) || sealed != nil {
		t.Errorf("a link was taken: %q, %v", sealed, err)
	}
}

// testSessionLife: what one node begins or ends is so on all of them.
func testSessionLife(t *testing.T, b Backend) {
	stores := handles(t, b)
	one, other := sessionsOf(t, stores[0]), sessionsOf(t, stores[1])
	first, second := sessionNamed("first"), sessionNamed("second")
	isNoSession(t, one, first)
	before := peek(t, stores[0], realm.Ref{Realm: "r", Key: "k"}).Now
	ends, err := one.BeginSession(t.Context(), first, owner, time.Hour)
	ok(t, err)
	after := peek(t, stores[0], realm.Ref{Realm: "r", Key: "k"}).Now
	if began := ends.Add(-time.Hour); began.Before(before) || began.After(after) {
		t.Errorf("it began at %v, that is not between %v and %v", began, before, after)
	}
	long, err := one.BeginSession(t.Context(), second, owner, 1000*time.Hour)
	ok(t, err)
	if life := long.Sub(ends); life > tokenstore.MaxSessionLife {
		t.Errorf("a session lives %v longer than one of an hour", life)
	}
	ok(t, other.FindSession(t.Context(), first))
	if sealed, err := other.TakeLink(t.Context(), first); !errors.Is(err, tokenstore.ErrSessionNotFound) {
		t.Errorf("a session was taken for a link: %q, %v", sealed, err)
	}
	ok(t, other.EndSession(t.Context(), first))
	ok(t, other.EndSession(t.Context(), first))
	isNoSession(t, one, first)
	ok(t, one.FindSession(t.Context(), second))
}

// testSessionsEnd: what has ended is not found, and does not stay for ever. A link
// is no session, and is not ended as one.
func testSessionsEnd(t *testing.T, s tokenstore.SessionStore) {
	for _, life := range []time.Duration{0, -time.Hour} {
		id := sessionNamed("session " + life.String())
		_, err := s.BeginSession(t.Context(), id, owner, life)
		ok(t, err)
		isNoSession(t, s, id)
		ok(t, s.BeginLink(t.Context(), sessionNamed("link "+life.String()), []byte("sealed"), life))
		isNoSession(t, s, sessionNamed("link "+life.String()))
	}
	// The names are free again: the rows were removed, or inserting would fail.
	for _, life := range []time.Duration{0, -time.Hour} {
		_, err := s.BeginSession(t.Context(), sessionNamed("session "+life.String()), owner, time.Hour)
		ok(t, err)
	}
	link := sessionNamed("link")
	ok(t, s.BeginLink(t.Context(), link, []byte("sealed"), time.Minute))
	if err := s.FindSession(t.Context(), link); !errors.Is(err, tokenstore.ErrSessionNotFound) {
		t.Errorf("a link was found as a session: %v", err)
	}
	ok(t, s.EndSession(t.Context(), link))
	if _, err := s.TakeLink(t.Context(), link); err != nil {
		t.Errorf("a link was ended as a session: %v", err)
	}
}

// testSessionsOfAnOwner: one more than he may have ends the one that would have ended
// first, and nothing of anybody else.
func testSessionsOfAnOwner(t *testing.T, s tokenstore.SessionStore) {
	begin := func(name string, whose tokenstore.SessionOwner, life time.Duration) {
		t.Helper()
		_, err := s.BeginSession(t.Context(), sessionNamed(name), whose, life)
		ok(t, err)
	}
	begin("of somebody else", other, time.Minute)
	ok(t, s.BeginLink(t.Context(), sessionNamed("link"), owner[:], time.Minute))
	begin("oldest", owner, 2*time.Hour)
	begin("ends first", owner, time.Hour)
	for i := range tokenstore.MaxSessions - 2 {
		begin(fmt.Sprint(i), owner, 3*time.Hour)
	}
	ok(t, s.FindSession(t.Context(), sessionNamed("ends first")))
	begin("one more", owner, 3*time.Hour)
	isNoSession(t, s, sessionNamed("ends first"))
	ok(t, s.FindSession(t.Context(), sessionNamed("oldest")))
	begin("and another", owner, 3*time.Hour)
	isNoSession(t, s, sessionNamed("oldest"))
	for _, name := range []string{"0", "one more", "and another", "of somebody else"} {
		ok(t, s.FindSession(t.Context(), sessionNamed(name)))
	}
	if _, err := s.TakeLink(t.Context(), sessionNamed("link")); err != nil {
		t.Errorf("a link was ended as a session: %v", err)
	}
}

// testLinkTakenOnce: of 50 who have the same code, on two nodes, one gets the link.
func testLinkTakenOnce(t *testing.T, b Backend) {
	const takers, rounds = 50, 4
	stores := handles(t, b)
	for round := range rounds {
		code, want := sessionNamed(string(rune('a'+round))), []byte{0, 1, 2, byte(round)}
		ok(t, sessionsOf(t, stores[round%2]).BeginLink(t.Context(), code, want, time.Minute))
		var wins atomic.Int32
		var wg sync.WaitGroup
		for i := range takers {
			s := sessionsOf(t, stores[i%2])
			wg.Go(func() {
				got, err := s.TakeLink(t.Context(), code)
				switch {
				case err == nil && bytes.Equal(got, want):
					wins.Add(1)
				case !errors.Is(err, tokenstore.ErrSessionNotFound):
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d got the link", wins.Load())
		}
	}
}

// testSessionAudited: who signed in is written down in the transaction that
// begins the session.
func testSessionAudited(t *testing.T, s tokenstore.Store) {
	entry := tokenstore.AuditEntry{Time: time.Now(), ActorKind: "client", ActorID: "ops", Act: "login", Result: tokenstore.AuditOK}
	_, err := sessionsOf(t, s).BeginSession(tokenstore.WithAudit(t.Context(), entry), sessionNamed("audited"), owner, time.Hour)
	ok(t, err)
	list, total, err := s.Audit(t.Context(), tokenstore.AuditFilter{Act: "login"}, tokenstore.Page{Number: 1, Size: 10})
	ok(t, err)
	if total != 1 || list[0].ActorID != "ops" || list[0].Result != tokenstore.AuditOK {
		t.Errorf("the audit has %d: %v", total, list)
	}
}
