package broker

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Each step asks for a heal at an instant, in milliseconds.
func TestHealFloor(t *testing.T) {
	type step struct {
		at     int64
		blame  realm.Blame
		want   int64 // how long it has to wait, in milliseconds
		helped bool  // where it does not wait
	}
	const unknown, token = realm.BlameUnknown, realm.BlameToken
	for name, steps := range map[string][]step{
		"without help it doubles": {
			{0, unknown, 0, false},
			{1, unknown, 999, false},
			{999, unknown, 1, false},
			{1000, unknown, 0, false},
			{1001, unknown, 1999, false},
			{3000, unknown, 0, false},
			{3001, unknown, 3999, false},
			{7000, unknown, 0, false},
			{15_000, unknown, 0, false},
			{31_000, unknown, 0, false},
			{63_000, unknown, 0, false},
			{63_001, unknown, 59_999, false},
			{123_000, unknown, 0, false},
			{123_001, unknown, 59_999, false},
		},
		"help lifts it": {
			{0, unknown, 0, false}, {1000, unknown, 0, true}, {1001, unknown, 0, true}, {1002, unknown, 0, false}, {1003, unknown, 999, false},
		},
		"a request that was accepted before goes below it": {
			{0, unknown, 0, false}, {1, token, 0, true}, {2, unknown, 0, false}, {3, token, 0, true}, {4, token, 0, true},
		},
		"twice in a row without help": {
			{0, token, 0, false},
			{1, token, 0, false},
			{2, token, 0, false},
			{3, token, 3999, false},
			{4002, token, 0, false},
			{4003, token, 7999, false},
		},
		"a quiet while lifts it": {
			{0, token, 0, false},
			{1, token, 0, false},
			{2, token, 0, false},
			{4002 + 60_000, token, 0, false},
			{4003 + 60_000, unknown, 999, false},
			{4004 + 60_000, token, 0, false},
		},
		"the clock went back": {
			{100_000, unknown, 0, false}, {101_000, unknown, 0, false}, {50_000, unknown, 0, false}, {50_001, unknown, 999, false},
		},
	} {
		var f healFloor
		for i, s := range steps {
			now := realm.InstantOf(noon) + realm.Instant(s.at*1000)
			wait := f.waitFor(now, s.blame).Milliseconds()
			if wait != s.want {
				t.Errorf("%s, step %d: it waits %d ms, want %d", name, i, wait, s.want)
			}
			if wait > 0 {
				continue
			}
			bought := realm.Hidden("T-" + string(rune('a'+i)))
			f.record(now, bought)
			if f.lift("another") {
				t.Errorf("%s, step %d: a token of long ago helped", name, i)
			}
			if s.helped && !f.lift(bought) {
				t.Errorf("%s, step %d: the token did not help", name, i)
			}
		}
	}
}

// Whatever the requests are like, at most four tokens are fetched within 10 s.
func TestHealFloorWithinTenSeconds(t *testing.T) {
	for pattern := range 1 << 10 { // bit i: the blame of each call with i = call % 10
		var f healFloor
		bought := 0
		for call := range 1000 {
			now := realm.Instant(1 + call*10_000)
			blame := realm.BlameUnknown
			if pattern>>(call%10)&1 == 1 {
				blame = realm.BlameToken
			}
			if f.waitFor(now, blame) == 0 {
				bought++
				f.record(now, "T")
			}
		}
		if bought > 4 {
			t.Fatalf("pattern %b: %d tokens", pattern, bought)
		}
	}
}

// refuse has the API refuse a request with our token, though that may live, and
// returns whether there was another token.
func (s *simulated) refuse(t *testing.T, blame realm.Blame) bool {
	t.Helper()
	_, _, err := s.Heal(t.Context(), wx, s.take(t).Access, blame)
	return err == nil
}

// serve has the API judge our token, as the last hop of a request does that was
// accepted before; false where the caller sees a refusal.
func (s *simulated) serve(t *testing.T) bool {
	t.Helper()
	lease := s.take(t)
	if !s.fake.Live(lease.Access.Reveal()) {
		fresh, bought, err := s.Heal(t.Context(), wx, lease.Access, realm.BlameToken)
		if err != nil || !s.fake.Live(fresh.Access.Reveal()) {
			return false
		}
		if lease = fresh; bought {
			s.Helped(wx, lease)
		}
	}
	s.Worked(wx, lease)
	return true
}

func simulateUnlimited(t *testing.T) *simulated {
	t.Helper()
	return simulate(t, fakeprovider.Options{Style: fakeprovider.WeChat, Quotas: []fakeprovider.Quota{}}, nil)
}

// A thousand calls within 10 s, half of which no token cures: at most four
// tokens are fetched, and nobody else is suspected to fetch them.
func TestRefusalsThatNoTokenCures(t *testing.T) {
	s := simulateUnlimited(t)
	for range 500 {
		if !s.serve(t) {
			t.Fatal("an accepted call is refused")
		}
		s.refuse(t, realm.BlameUnknown)
		s.clock.advance(20 * time.Millisecond)
	}
	if n := s.fake.Fetches() - 1; n > 4 || n < 2 {
		t.Errorf("%d tokens for 500 refusals, at most 4 are allowed", n)
	}
	if s.log.FilterMessageSnippet(contention).Len() != 0 || s.Status(t.Context()).Tokens[0].Note != "" {
		t.Error("somebody else is suspected to fetch the credential")
	}
	// Then the token dies, and callers of what was accepted see nothing of it.
	s.fake.Revoke(s.fake.Newest())
	for range 10 {
		if !s.serve(t) {
			t.Error("a caller sees that the token died")
		}
	}
}

// A request that is at fault itself gets no token, but for one that is there.
func TestHealOfARequestAtFault(t *testing.T) {
	s := simulateUnlimited(t)
	old := s.take(t)
	if s.refuse(t, realm.BlameRequest) {
		t.Error("there is another token")
	}
	if !s.refuse(t, realm.BlameUnknown) {
		t.Error("there is no other token")
	}
	lease, bought, err := s.Heal(t.Context(), wx, old.Access, realm.BlameRequest)
	if err != nil || bought || lease.Access != s.take(t).Access {
		t.Errorf("%v %v %v", lease, bought, err)
	}
	if n := s.fake.Fetches(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// Tokens that really die in quick succession are replaced each time, also those
// that die during the floor of a refusal that no token cured.
func TestHealOfDeathsInQuickSuccession(t *testing.T) {
	s := simulateUnlimited(t)
	const deaths = 100
	for i := range deaths {
		if i%10 == 0 && !s.refuse(t, realm.BlameUnknown) {
			t.Fatalf("death %d: the floor was not lifted", i)
		}
		if !s.serve(t) {
			t.Fatalf("death %d: a caller sees it", i)
		}
		s.fake.Revoke(s.fake.Newest())
		s.clock.advance(10 * time.Millisecond)
	}
	if n := s.fake.Fetches(); n > deaths+deaths/10+1 {
		t.Errorf("%d fetches for %d deaths", n, deaths)
	}
}

// Of those who wait for one token, one has bought it. A renewal may have ended
// the token of the others, so what becomes of their requests tells nothing.
func TestHealIsBoughtByOne(t *testing.T) {
	s := simulateUnlimited(t)
	old := s.take(t)
	s.Worked(wx, old)
	var calls sync.WaitGroup
	var buyers atomic.Int64
	for range 100 {
		calls.Go(func() {
			lease, bought, err := s.Heal(t.Context(), wx, old.Access, realm.BlameUnknown)
			if err != nil || lease.Access == old.Access {
				t.Errorf("%v %v", lease, err)
			}
			if bought {
				buyers.Add(1)
			}
		})
	}
	calls.Wait()
	if n := buyers.Load(); n != 1 || s.fake.Fetches() != 2 {
		t.Errorf("%d bought it, with %d fetches", n, s.fake.Fetches()-1)
	}
}

// An API refuses everything for a while, and two nodes wait longer and longer.
// Once a token has worked, its death is healed at once.
func TestHealAfterTokensThatNeverWorked(t *testing.T) {
	a, b := pair(t, nil)
	for _, n := range []*node{a, b} { // the longest waits, so that one is known to be under way at the end
		n.pool.random = func(d time.Duration) time.Duration { return d - 1 }
	}
	for range 120 {
		for _, n := range []*node{a, b} {
			if lease, err := n.Token(t.Context(), wx); err == nil {
				_, _, _ = n.Heal(t.Context(), wx, lease.Access, realm.BlameUnknown)
			}
			n.clock.advance(400 * time.Millisecond)
		}
	}
	s, err := a.pool.store.Peek(t.Context(), wx)
	if err != nil || !claim.IsPaused(s.Claim.Failure, a.clock.now()) {
		t.Fatalf("nobody waits: %+v %v", s.Claim.Failure, err)
	}
	lease, err := a.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Heal(t.Context(), wx, lease.Access, realm.BlameToken); err == nil {
		t.Error("a token that never worked is replaced at once")
	}
	a.Worked(wx, lease)
	fresh, bought, err := a.Heal(t.Context(), wx, lease.Access, realm.BlameToken)
	if err != nil || !bought {
		t.Errorf("%v %v %v", fresh, bought, err)
	}
}

// The floor does not hold up what replaces a token that has ended.
func TestHealOfATokenThatEnded(t *testing.T) {
	s := simulateUnlimited(t)
	lease := s.take(t)
	s.clock.advance(lease.Expires.Time().Sub(s.clock.now()) - slack - 500*time.Millisecond)
	s.pool.entry(wx).recordHeal(realm.InstantOf(s.clock.now()), "T")
	if _, _, err := s.Heal(t.Context(), wx, lease.Access, realm.BlameUnknown); err == nil {
		t.Error("a token was fetched below the floor")
	}
	s.clock.advance(600 * time.Millisecond)
	fresh, _, err := s.Heal(t.Context(), wx, lease.Access, realm.BlameUnknown)
	if err != nil || fresh.Access == lease.Access {
		t.Errorf("%v %v", fresh, err)
	}
}
