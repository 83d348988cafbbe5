package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testCoordinate(t *testing.T, b Backend) {
	t.Run("written and read back", func(t *testing.T) { testState(t, b) })
	t.Run("altered in place", func(t *testing.T) { testAlteredInPlace(t, b) })
	t.Run("nothing there", func(t *testing.T) { testNothingYet(t, fresh(t, b)) })
	t.Run("an error writes nothing", func(t *testing.T) { testDecideFails(t, fresh(t, b)) })
	t.Run("lineage", func(t *testing.T) { testChildren(t, fresh(t, b)) })
	t.Run("one claim", func(t *testing.T) { testOneClaim(t, b) })
	t.Run("one budget", func(t *testing.T) { testOneBudget(t, b) })
	t.Run("together", func(t *testing.T) { testTogether(t, b) })
	t.Run("open claims", func(t *testing.T) { testOpenClaims(t, fresh(t, b)) })
	t.Run("dropped", func(t *testing.T) { testDropped(t, fresh(t, b)) })
	t.Run("deleted", func(t *testing.T) { testClaimsGo(t, fresh(t, b)) })
	t.Run("large and strange", func(t *testing.T) { testLargeState(t, b) })
	t.Run("once", func(t *testing.T) { testOnce(t, b) })
}

// coordinate alters the state of a (realm, key).
func coordinate(t *testing.T, s tokenstore.Store, ref realm.Ref, alter func(*tokenstore.State)) tokenstore.State {
	t.Helper()
	st, err := s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error { alter(st); return nil })
	ok(t, err)
	return st
}

func peek(t *testing.T, s tokenstore.Store, ref realm.Ref) tokenstore.State {
	t.Helper()
	st, err := s.Peek(t.Context(), ref)
	ok(t, err)
	return st
}

// sameState compares all but the time of reading.
func sameState(t *testing.T, want, got tokenstore.State) {
	t.Helper()
	if got.Now.IsZero() || got.Now != got.Now.Truncate(time.Microsecond) || got.Now.Sub(want.Now).Abs() > time.Hour {
		t.Fatalf("the time of the store is %v", got.Now)
	}
	want.Now = got.Now
	same(t, want, got)
	for i := range want.Claim.Candidates { // what a comparison's report masks
		if want.Claim.Candidates[i] != got.Claim.Candidates[i] {
			t.Fatalf("candidate %d is another one", i)
		}
	}
	if want.Token != got.Token {
		t.Fatal("the token is another one")
	}
	if want.Claim.Rejected.Digest != got.Claim.Rejected.Digest || want.Claim.Failure.Digest != got.Claim.Failure.Digest || want.Budget.Failure.Digest != got.Budget.Failure.Digest {
		t.Fatal("a digest is another one")
	}
}

// fullClaim has every field set, times in a zone and with nanoseconds.
func fullClaim(now time.Time) tokenstore.Claim {
	at := func(seconds int) time.Time {
		return now.Add(time.Duration(seconds)*time.Second + 999).In(time.FixedZone("CST", 8*3600))
	}
	return tokenstore.Claim{
		Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Node: tokenstore.NodeID(), Purpose: `expired <"& '`, Parent: 7, SendsRefresh: true,
		Started: at(1), Deadline: at(30), Failure: fullFailure(at(2)),
		Doubt:    tokenstore.Doubt{Count: 2, Lineage: 7, At: at(3)},
		Rejected: tokenstore.Rejected{Refresh: 6, Initial: true, Access: 5, Digest: realm.Digest{1, 2, 3, 255}},
		Dropped:  tokenstore.NewCallID(), Settled: []tokenstore.CallID{tokenstore.NewCallID(), tokenstore.NewCallID()},
		Candidates: []realm.Token{token(1), token(2)},
	}
}

func fullFailure(at time.Time) tokenstore.Failure {
	return tokenstore.Failure{
		Count: 3, At: at, Until: at.Add(time.Minute), Cause: `{"type":"timeout","title":"微信 😀"}`,
		Key: "main", Recipe: "refresh", Digest: realm.Digest{4, 5, 6, 254},
	}
}

func fullBudget(now time.Time) tokenstore.Budget {
	return tokenstore.Budget{
		Failure: fullFailure(now),
		Windows: []tokenstore.Spending{
			{Per: 24 * time.Hour, Named: now.Add(1), Calls: []tokenstore.Calls{{First: now.Add(1), Last: now.Add(time.Minute), N: 5}, {First: now, Last: now, N: 1}}},
			{Per: time.Minute},
		},
	}
}

// testState: what decide alters is returned, peeked, and read by another
// handle; a time is kept to the microsecond.
func testState(t *testing.T, b Backend) {
	stores := handles(t, b)
	ref, child := realm.Ref{Realm: "wx", Key: "main"}, token(9)
	var asked time.Time
	saved := coordinate(t, stores[0], ref, func(st *tokenstore.State) {
		asked = st.Now
		st.Claim, st.Budget, st.Save = fullClaim(st.Now), fullBudget(st.Now), &child
	})
	if saved.Save != nil || saved.Token.Lineage != 1 || saved.Token.Access.Reveal() != "access-9" {
		t.Fatalf("saved with lineage %d", saved.Token.Lineage)
	}
	if want := asked.Add(time.Second).UTC(); saved.Claim.Started != want {
		t.Fatalf("a time became %v of %v", saved.Claim.Started, want)
	}
	for _, s := range stores {
		sameState(t, saved, peek(t, s, ref))
		sameState(t, saved, coordinate(t, s, ref, func(st *tokenstore.State) { sameState(t, saved, *st) }))
	}
	got, _, err := stores[1].Token(t.Context(), ref)
	ok(t, err)
	same(t, saved.Token, got)

	// What decide writes into the other fields is not taken for what is there.
	again := coordinate(t, stores[1], ref, func(st *tokenstore.State) {
		st.Claim, st.Budget = tokenstore.Claim{}, tokenstore.Budget{}
		st.Now, st.Open, st.Token = time.Time{}, 99, realm.Token{Access: "no"}
	})
	sameState(t, tokenstore.State{Now: again.Now, Token: saved.Token}, again)
	sameState(t, again, peek(t, stores[0], ref))
}

// testAlteredInPlace: what lies behind a slice may be altered where it is.
func testAlteredInPlace(t *testing.T, b Backend) {
	stores := handles(t, b)
	ref := realm.Ref{Realm: "wx", Key: "main"}
	coordinate(t, stores[0], ref, func(st *tokenstore.State) { st.Claim, st.Budget = fullClaim(st.Now), fullBudget(st.Now) })
	coordinate(t, stores[1], ref, func(st *tokenstore.State) {
		st.Budget.Windows[0].Calls[0].N = 77
		st.Claim.Candidates[0].Access = "another"
	})
	got := peek(t, stores[0], ref)
	if got.Budget.Windows[0].Calls[0].N != 77 || got.Claim.Candidates[0].Access.Reveal() != "another" {
		t.Fatalf("not written: %+v", got.Budget)
	}
}

// testNothingYet: a decision that alters nothing leaves nothing behind.
func testNothingYet(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	for range 2 {
		st := peek(t, s, ref)
		sameState(t, tokenstore.State{Now: st.Now}, st)
		sameState(t, st, coordinate(t, s, ref, func(*tokenstore.State) {}))
	}
}

// testDecideFails: the error comes back as it is, and nothing is written.
func testDecideFails(t *testing.T, s tokenstore.Store) {
	ref, refusal := realm.Ref{Realm: "wx", Key: "main"}, errors.New("not now")
	before := coordinate(t, s, ref, func(st *tokenstore.State) { st.Budget.Failure.Count = 1 })
	_, err := s.Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
		child := token(1)
		st.Claim, st.Save, st.Budget = fullClaim(st.Now), &child, tokenstore.Budget{}
		return refusal
	})
	if err != refusal { //nolint:errorlint // as it is, not wrapped
		t.Fatalf("got %v", err)
	}
	sameState(t, before, peek(t, s, ref))
	if _, _, err := s.Token(t.Context(), ref); !errors.Is(err, tokenstore.ErrTokenNotFound) {
		t.Fatalf("got %v", err)
	}
}

// testChildren: each token saved has one more than any before, whoever saved
// or deleted that.
func testChildren(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	save := func(parent, want int64) {
		t.Helper()
		st := coordinate(t, s, ref, func(st *tokenstore.State) {
			if st.Token.Lineage != parent {
				t.Errorf("the parent is %d, want %d", st.Token.Lineage, parent)
			}
			child := token(int(want))
			child.Lineage = 99 // the store's to give
			st.Save = &child
		})
		got, _, err := s.Token(t.Context(), ref)
		if err != nil || st.Token.Lineage != want || got.Lineage != want || got.Access != st.Token.Access {
			t.Fatalf("saved %d, read %d, want %d, %v", st.Token.Lineage, got.Lineage, want, err)
		}
	}
	save(0, 1)
	save(1, 2)
	ok(t, DropToken(t.Context(), s, ref))
	save(0, 3)
	_, err := SaveToken(t.Context(), s, ref, token(4), 3)
	ok(t, err)
	save(4, 5)
	if _, err := SaveToken(t.Context(), s, ref, token(6), 4); !errors.Is(err, ErrReplaced) {
		t.Fatalf("got %v", err)
	}
}

// testOneClaim: of many on several handles who take a claim when none is open,
// one gets it. So it goes again for the next token, and for a realm that had
// no row.
func testOneClaim(t *testing.T, b Backend) {
	const claimers = 24
	stores := handles(t, b)
	for parent := range int64(4) {
		var wins atomic.Int32
		var winner atomic.Pointer[tokenstore.CallID]
		var wg sync.WaitGroup
		ref := realm.Ref{Realm: fmt.Sprint("wx", parent/2), Key: "main"}
		for i := range claimers {
			wg.Go(func() {
				id := tokenstore.NewCallID()
				st, err := stores[i%len(stores)].Coordinate(t.Context(), ref, claim(id, parent%2))
				switch {
				case err == nil && st.Claim.ID == id:
					wins.Add(1)
					winner.Store(&id)
				case !errors.Is(err, errClaimed):
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 || peek(t, stores[0], ref).Claim.ID != *winner.Load() {
			t.Fatalf("%d winners", wins.Load())
		}
		coordinate(t, stores[1], ref, func(st *tokenstore.State) {
			child := token(1)
			st.Claim, st.Save = tokenstore.Claim{}, &child
		})
	}
}

var errClaimed = errors.New("another claim is open")

// claim takes the claim on the call after a lineage.
func claim(id tokenstore.CallID, parent int64) func(*tokenstore.State) error {
	return func(st *tokenstore.State) error {
		if st.Token.Lineage != parent || st.Claim.Deadline.After(st.Now) {
			return errClaimed
		}
		st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id, Node: tokenstore.NodeID(), Parent: parent, Deadline: st.Now.Add(time.Minute)}
		return nil
	}
}

// testOneBudget: of all transactions of one realm, one runs at a time, also
// for different keys: no call is left uncounted, and no time goes back.
func testOneBudget(t *testing.T, b Backend) {
	const callers, each, limit = 8, 6, 4
	stores := handles(t, b)
	var wg sync.WaitGroup
	for i := range callers {
		ref := realm.Ref{Realm: "wx", Key: fmt.Sprint(i)}
		wg.Go(func() {
			for range each {
				_, err := stores[i%len(stores)].Coordinate(t.Context(), ref, func(st *tokenstore.State) error {
					if st.Now.Before(st.Budget.Failure.At) {
						t.Errorf("at %v somebody was here at %v already", st.Now, st.Budget.Failure.At)
					}
					if st.Open < limit {
						st.Claim = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Node: tokenstore.NodeID(), Deadline: st.Now.Add(time.Minute)}
					}
					st.Budget.Failure.At = st.Now
					st.Budget.Failure.Count++
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	st := peek(t, stores[1], realm.Ref{Realm: "wx", Key: "another"})
	if st.Budget.Failure.Count != callers*each || st.Open != limit {
		t.Fatalf("%d of %d calls counted, %d claims of %d are open", st.Budget.Failure.Count, callers*each, st.Open, limit)
	}
}

// testDropped: with the refresh token go those that are kept beside it, and what
// the call brings that is under way.
func testDropped(t *testing.T, s tokenstore.Store) {
	ref, id := realm.Ref{Realm: "wx", Key: "main"}, tokenstore.NewCallID()
	drop := func(c tokenstore.TokenChange) tokenstore.State {
		t.Helper()
		_, err := s.UpdateSecret(t.Context(), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			return old, c, nil
		})
		ok(t, err)
		return peek(t, s, ref)
	}
	if st := drop(tokenstore.TokenChange{DropRefresh: true}); st.Claim.Dropped != (tokenstore.CallID{}) {
		t.Fatal("there is a claim of nothing")
	}
	candidates := func(id tokenstore.CallID) {
		coordinate(t, s, ref, func(st *tokenstore.State) {
			st.Claim.Phase, st.Claim.ID, st.Claim.Candidates = phaseOf(id), id, []realm.Token{token(1), token(2)}
		})
	}
	candidates(id)
	if st := drop(tokenstore.TokenChange{DropAccess: true}); len(st.Claim.Candidates) != 2 || st.Claim.Dropped == id {
		t.Fatalf("%d candidates", len(st.Claim.Candidates))
	}
	if st := drop(tokenstore.TokenChange{DropRefresh: true}); len(st.Claim.Candidates) != 0 || st.Claim.Dropped != id || st.Claim.ID != id {
		t.Fatalf("%d candidates, dropped is %v", len(st.Claim.Candidates), st.Claim.Dropped)
	}
	candidates(tokenstore.CallID{})
	if st := drop(tokenstore.TokenChange{DropRefresh: true}); len(st.Claim.Candidates) != 0 || st.Claim.Dropped != id {
		t.Fatalf("%d candidates, dropped is %v", len(st.Claim.Candidates), st.Claim.Dropped)
	}
}

// phaseOf is the phase of a claim with this id: none without one.
func phaseOf(id tokenstore.CallID) tokenstore.Phase {
	if id == (tokenstore.CallID{}) {
		return tokenstore.PhaseNone
	}
	return tokenstore.PhaseCalling
}

// testOpenClaims: counted are the realm's other keys whose claim is not over,
// and was not dated by a clock that went back since.
func testOpenClaims(t *testing.T, s tokenstore.Store) {
	ref := realm.Ref{Realm: "wx", Key: "main"}
	put := func(r realm.Ref, id tokenstore.CallID, left time.Duration) {
		t.Helper()
		coordinate(t, s, r, func(st *tokenstore.State) {
			st.Claim = tokenstore.Claim{Phase: phaseOf(id), ID: id, Node: tokenstore.NodeID(), Deadline: st.Now.Add(left)}
		})
	}
	counts := func(want int) {
		t.Helper()
		open := coordinate(t, s, ref, func(*tokenstore.State) {}).Open
		if peeked := peek(t, s, ref).Open; open != want || peeked != want {
			t.Fatalf("%d open, peeked %d, want %d", open, peeked, want)
		}
	}
	id := tokenstore.NewCallID()
	put(ref, id, time.Minute)
	put(realm.Ref{Realm: "WX", Key: "b"}, id, time.Minute)
	counts(0)
	for _, key := range []string{"a", "b", "MAIN", "main "} {
		put(realm.Ref{Realm: "wx", Key: key}, id, time.Minute)
	}
	counts(4)
	put(realm.Ref{Realm: "wx", Key: "a"}, tokenstore.CallID{}, time.Minute)
	put(realm.Ref{Realm: "wx", Key: "b"}, id, -time.Microsecond)
	counts(2)
	put(realm.Ref{Realm: "wx", Key: "MAIN"}, id, 0) // until now, not longer
	counts(1)
	put(realm.Ref{Realm: "wx", Key: "b"}, id, 24*time.Hour)
	counts(1)
	coordinate(t, s, realm.Ref{Realm: "wx", Key: "waits"}, func(st *tokenstore.State) {
		st.Claim = tokenstore.Claim{ID: id, Node: tokenstore.NodeID(), Deadline: st.Now.Add(time.Minute), Phase: tokenstore.PhaseAwaiting}
	})
	counts(1)
	put(realm.Ref{Realm: "wx", Key: "waits"}, id, time.Minute) // it goes on
	counts(2)
	put(realm.Ref{Realm: "wx", Key: "waits"}, tokenstore.CallID{}, 0)
	put(realm.Ref{Realm: "wx", Key: "main "}, id, 200*time.Millisecond)
	eventually(t, "the deadline passes", func() bool { return peek(t, s, ref).Open == 0 })
	counts(0)
}

// testClaimsGo: claims go with their secret, the budget with the realm.
func testClaimsGo(t *testing.T, s tokenstore.Store) {
	one, two := realm.Ref{Realm: "wx", Key: "one"}, realm.Ref{Realm: "wx", Key: "two"}
	other := realm.Ref{Realm: "other", Key: "one"}
	_, err := SaveRealm(t.Context(), s, realm.Realm{ID: "wx"})
	ok(t, err)
	fill := func() {
		t.Helper()
		for _, ref := range []realm.Ref{one, two, other} {
			putSecret(t, s, ref, nil)
			coordinate(t, s, ref, func(st *tokenstore.State) { st.Claim, st.Budget = fullClaim(st.Now), fullBudget(st.Now) })
		}
	}
	has := func(ref realm.Ref, claim, budget bool) {
		t.Helper()
		st := peek(t, s, ref)
		if (st.Claim.Purpose != "") != claim || (st.Budget.Windows != nil) != budget {
			t.Errorf("%s: %+v, %+v", ref, st.Claim, st.Budget)
		}
	}
	fill()
	ok(t, s.DeleteSecret(t.Context(), one))
	has(one, false, true)
	has(two, true, true)
	fill()
	ok(t, s.DeleteRealm(t.Context(), "wx", true))
	has(one, false, false)
	has(two, false, false)
	has(other, true, true)
}

// testLargeState: the longest ids, of any bytes, and as many tokens as are
// kept, with every byte a token may have.
func testLargeState(t *testing.T, b Backend) {
	stores := handles(t, b)
	all := make([]byte, 255)
	for i := range all {
		all[i] = byte(255 - i)
	}
	refs := []realm.Ref{
		{Realm: strings.Repeat("r", 255), Key: strings.Repeat("k", 255)},
		{Realm: string(all), Key: string(all)},
		{Realm: string(all[:254]), Key: string(all)},
		{Realm: "a", Key: "\x00"},
		{Realm: "\x00", Key: "a"},
		{Realm: "b", Key: "'; DROP TABLE tokens_tokens; --"},
	}
	want := map[realm.Ref]tokenstore.State{}
	for n, ref := range refs {
		want[ref] = coordinate(t, stores[0], ref, func(st *tokenstore.State) {
			child := token(n)
			st.Save, st.Claim, st.Budget = &child, fullClaim(st.Now), fullBudget(st.Now)
			st.Claim.Candidates = nil
			for i := range 8 {
				big := token(i)
				big.Refresh = realm.Hidden(strings.Repeat(string(rune('a'+i))+"\"\\\x01<&é\u2028", 64<<10/12))
				st.Claim.Candidates = append(st.Claim.Candidates, big)
			}
			st.Claim.ID = tokenstore.CallID{} // closed: none counts for another
		})
	}
	for _, ref := range refs {
		sameState(t, want[ref], peek(t, stores[1], ref))
	}
}

// testOnce: of many who ask, one does it.
func testOnce(t *testing.T, b Backend) {
	const askers = 24
	stores := handles(t, b)
	at := time.Now().Truncate(time.Minute).In(time.FixedZone("CST", 8*3600))
	long := strings.Repeat("n", 255)
	for _, run := range []struct {
		name string
		at   time.Time
	}{{"nightly", at}, {"nightly", at.Add(time.Minute)}, {"Nightly", at}, {long, at}, {"sub-second", at.Add(time.Microsecond)}} {
		var done atomic.Int32
		var wg sync.WaitGroup
		for i := range askers {
			wg.Go(func() {
				mine, err := stores[i%len(stores)].Once(t.Context(), run.name, run.at)
				if err != nil {
					t.Error(err)
				}
				if mine {
					done.Add(1)
				}
			})
		}
		wg.Wait()
		if done.Load() != 1 {
			t.Fatalf("%s at %v: done %d times", run.name, run.at, done.Load())
		}
	}
	mine, err := stores[1].Once(t.Context(), "nightly", at.UTC().Add(time.Nanosecond))
	if ok(t, err); mine {
		t.Fatal("the same time in another zone, but for what is not kept, is another run")
	}
}

// eventually repeats a question whose answer needs time to pass.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
