package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testAuthorizations(t *testing.T, b Backend) {
	t.Run("begun and taken", func(t *testing.T) { testAuthorizationRoundTrip(t, fresh(t, b)) })
	t.Run("taken once", func(t *testing.T) { testTakenOnce(t, b) })
	t.Run("ended", func(t *testing.T) { testEnded(t, fresh(t, b)) })
	t.Run("end with their secret or realm", func(t *testing.T) { testAuthorizationsOfDeleted(t, fresh(t, b)) })
	t.Run("a new link ends older ones", func(t *testing.T) { testLinksEnd(t, b) })
	t.Run("many begin and are taken", func(t *testing.T) { testManyAuthorizations(t, b) })
	if b.Shared {
		t.Run("are no changes", func(t *testing.T) { testAuthorizationsAreNoChanges(t, fresh(t, b)) })
	}
}

// authorization is one of ref; the state tells it from others.
func authorization(ref realm.Ref, state string) tokenstore.Authorization {
	return tokenstore.Authorization{
		State: tokenstore.HashState(realm.Hidden(state)), Ref: ref, CallbackURL: "https://gw.example.com/callback?of=" + state,
		Verifier: realm.Hidden("verifier of " + state), Call: tokenstore.NewCallID(),
		Fingerprint: realm.Fingerprint{1, 2, 3}, Client: realm.Digest{4, 5, 6},
	}
}

func begin(t *testing.T, s tokenstore.Store, ref realm.Ref, state string) tokenstore.Authorization {
	t.Helper()
	a := authorization(ref, state)
	ok(t, s.BeginAuthorization(t.Context(), a, time.Minute))
	return a
}

// isTaken: nobody can take this one (any more).
func isTaken(t *testing.T, s tokenstore.Store, state tokenstore.StateHash) {
	t.Helper()
	a, err := s.TakeAuthorization(t.Context(), state)
	if !errors.Is(err, tokenstore.ErrAuthorizationNotFound) || errors.Is(err, tokenstore.ErrUnavailable) {
		t.Fatalf("got %v, %v", a, err)
	}
	if a != (tokenstore.Authorization{}) {
		t.Fatalf("an error came with %v", a)
	}
}

func testAuthorizationRoundTrip(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "jd ", Key: "Account"}
	byPerson := tokenstore.Authorization{State: tokenstore.HashState("by a person"), Ref: ref}
	for _, want := range []tokenstore.Authorization{authorization(ref, "one"), authorization(ref, "two"), byPerson} {
		isTaken(t, s, want.State)
		before := peek(t, s, ref).Now
		ok(t, s.BeginAuthorization(t.Context(), want, 10*time.Minute))
		after := peek(t, s, ref).Now
		got, err := s.TakeAuthorization(t.Context(), want.State)
		ok(t, err)
		if began := got.ExpiresAt.Add(-10 * time.Minute); began.Before(before) || began.After(after) {
			t.Errorf("it began at %v, that is not between %v and %v", began, before, after)
		}
		want.ExpiresAt = got.ExpiresAt
		if got != want { // a Hidden, too, is compared by what it holds
			t.Errorf("got %+v, want %+v", got, want)
		}
		isTaken(t, s, want.State)
	}

	cut := begin(t, s, ref, "cut")
	ok(t, s.BeginAuthorization(t.Context(), authorization(ref, "long"), 24*time.Hour))
	long, err := s.TakeAuthorization(t.Context(), tokenstore.HashState("long"))
	ok(t, err)
	if left := long.ExpiresAt.Sub(peek(t, s, ref).Now); left > tokenstore.MaxAuthorizationLife {
		t.Errorf("it lives for %v", left)
	}
	if got, err := s.TakeAuthorization(t.Context(), cut.State); err != nil || got.Verifier != cut.Verifier {
		t.Errorf("another one was taken with it: %v, %v", got, err)
	}
}

// testTakenOnce: of 50 who have the same state, on two nodes, one gets the
// authorization.
func testTakenOnce(t *testing.T, b Backend) {
	const takers, rounds = 50, 4
	stores := handles(t, b)
	for round := range rounds {
		want := begin(t, stores[round%2], realm.Ref{Realm: "jd", Key: "main"}, fmt.Sprint(round))
		var wins atomic.Int32
		var wg sync.WaitGroup
		for i := range takers {
			wg.Go(func() {
				got, err := stores[i%2].TakeAuthorization(t.Context(), want.State)
				switch {
				case err == nil && got.Verifier == want.Verifier:
					wins.Add(1)
				case !errors.Is(err, tokenstore.ErrAuthorizationNotFound):
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d got the authorization", wins.Load())
		}
	}
}

func testEnded(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "jd", Key: "main"}
	for _, life := range []time.Duration{0, -time.Hour} {
		ended := authorization(ref, life.String())
		ok(t, s.BeginAuthorization(t.Context(), ended, life))
		isTaken(t, s, ended.State)
		isTaken(t, s, ended.State)
	}
	ended := authorization(ref, "ended")
	ok(t, s.BeginAuthorization(t.Context(), ended, 0))
	live := begin(t, s, ref, "live") // clears away what ended, and nothing else
	begin(t, s, ref, "another")
	isTaken(t, s, ended.State)
	if got, err := s.TakeAuthorization(t.Context(), live.State); err != nil || got.Verifier != live.Verifier {
		t.Fatalf("got %v, %v", got, err)
	}
}

func testAuthorizationsOfDeleted(t *testing.T, s tokenstore.Store) {
	ref, sibling, other := realm.Ref{Realm: "jd", Key: "a"}, realm.Ref{Realm: "jd", Key: "b"}, realm.Ref{Realm: "sn", Key: "a"}
	states := map[realm.Ref]tokenstore.StateHash{}
	for _, r := range []realm.Ref{ref, sibling, other} {
		_, err := SaveRealm(t.Context(), s, realm.Realm{ID: r.Realm})
		ok(t, err)
		putSecret(t, s, r, nil)
		states[r] = begin(t, s, r, r.String()).State
	}
	again := begin(t, s, sibling, "again").State
	ok(t, s.DeleteSecret(t.Context(), ref))
	isTaken(t, s, states[ref])
	if _, err := s.TakeAuthorization(t.Context(), states[sibling]); err != nil {
		t.Fatalf("that of another secret: %v", err)
	}
	ok(t, s.DeleteRealm(t.Context(), "jd", true))
	isTaken(t, s, again)
	if _, err := s.TakeAuthorization(t.Context(), states[other]); err != nil {
		t.Fatalf("that of another realm: %v", err)
	}

	// The secrets of this one are a Caddyfile's.
	_, err := SaveRealm(t.Context(), s, realm.Realm{ID: "jd"})
	ok(t, err)
	orphan := begin(t, s, ref, "orphan").State
	ok(t, s.DeleteRealm(t.Context(), "jd", false))
	isTaken(t, s, orphan)
}

// testLinksEnd: a person's authorization ends when another one is begun for the
// same secret, on whatever node, and nothing else ends with it.
func testLinksEnd(t *testing.T, b Backend) {
	stores := handles(t, b)
	ref := realm.Ref{Realm: "jd", Key: "main"}
	link := func(s tokenstore.Store, ref realm.Ref, state string) tokenstore.StateHash {
		a := authorization(ref, state)
		a.Call = tokenstore.CallID{}
		ok(t, s.BeginAuthorization(t.Context(), a, time.Minute))
		return a.State
	}
	first := link(stores[0], ref, "first")
	sibling := link(stores[0], realm.Ref{Realm: "jd", Key: "Main"}, "of another key")
	stranger := link(stores[1], realm.Ref{Realm: "sn", Key: "main"}, "of another realm")
	login := begin(t, stores[0], ref, "of the server itself").State
	second := link(stores[1], ref, "second")
	isTaken(t, stores[0], first)
	begin(t, stores[1], ref, "another of the server") // which ends no link
	for _, state := range []tokenstore.StateHash{sibling, stranger, login, second} {
		if _, err := stores[0].TakeAuthorization(t.Context(), state); err != nil {
			t.Errorf("another authorization ended: %v", err)
		}
	}
}

// testManyAuthorizations: those that begin, end and are taken at once do not
// hinder each other.
func testManyAuthorizations(t *testing.T, b Backend) {
	const people, each = 8, 6
	stores := handles(t, b)
	var wg sync.WaitGroup
	for i := range people {
		s := stores[i%2]
		wg.Go(func() {
			for n := range each {
				a := authorization(realm.Ref{Realm: "jd", Key: fmt.Sprint(i % 3)}, fmt.Sprint(i, "-", n))
				ended := authorization(a.Ref, fmt.Sprint(i, "-", n, " ended"))
				if err := errors.Join(s.BeginAuthorization(t.Context(), a, time.Minute), s.BeginAuthorization(t.Context(), ended, 0)); err != nil {
					t.Error(err)
				}
				if got, err := stores[(i+n)%2].TakeAuthorization(t.Context(), a.State); err != nil || got.Call != a.Call {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// testAuthorizationsAreNoChanges: other nodes have nothing to forget.
func testAuthorizationsAreNoChanges(t *testing.T, s tokenstore.Store) {
	feed := s.(tokenstore.ChangeFeed)
	_, cursor, err := feed.Changes(t.Context(), "")
	ok(t, err)
	a := begin(t, s, realm.Ref{Realm: "jd", Key: "main"}, "quiet")
	_, err = s.TakeAuthorization(t.Context(), a.State)
	ok(t, err)
	putCompany(t, s, "91110000", nil)
	putSecret(t, s, realm.Ref{Realm: "jd", Key: "loud"}, nil)
	changes, _, err := feed.Changes(t.Context(), cursor)
	ok(t, err)
	if len(changes) != 1 || changes[0].Ref.Key != "loud" {
		t.Fatalf("got %v", changes)
	}
}
