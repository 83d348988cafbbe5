package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// claimed is a state in which w has its claim, and the verdict.
func claimed(t *testing.T, w *asks, token realm.Token) (*tokenstore.State, verdict) {
	t.Helper()
	s := &tokenstore.State{Now: noon, Token: token}
	v := w.decide(s)
	if v.ruling != granted {
		t.Fatalf("no claim: %d", v.ruling)
	}
	s.Now = noon.Add(time.Second)
	return s, v
}

func failure(class grant.Class, kind grant.Kind, notSent bool) *grant.Error {
	return &grant.Error{Class: class, Kind: kind, NotSent: notSent}
}

func TestSettleAToken(t *testing.T) {
	old := tokenOf("A1", "R1", 7, -time.Minute)
	for name, c := range map[string]struct {
		between func(s *tokenstore.State, w *asks) // what others did meanwhile
		token   realm.Token
		access  realm.Hidden // of what is saved; "" for nothing
		refresh realm.Hidden
		kept    int // candidates
	}{
		"a new pair":                      {token: tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2"},
		"without a refresh token":         {token: tokenOf("A2", "", 0, time.Hour), access: "A2", refresh: "R1"},
		"the same token, extended":        {token: tokenOf("A1", "", 0, time.Hour), access: "A1", refresh: "R1"},
		"the same token, nothing new":     {token: tokenOf("A1", "", 0, -time.Minute)},
		"taken over, and nobody is ahead": {between: takeOver, token: tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2"},
		"somebody saved another pair": {
			between: func(s *tokenstore.State, _ *asks) { s.Token = tokenOf("A3", "R3", 8, time.Hour) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), kept: 1,
		},
		"somebody saved a token asked for later": {
			between: func(s *tokenstore.State, _ *asks) { s.Token = tokenOf("A3", "", 8, time.Hour) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), access: "A3", refresh: "R2",
		},
		"somebody saved a token asked for earlier": {
			between: func(s *tokenstore.State, _ *asks) { s.Token = tokenOf("A3", "", 8, 58*time.Minute) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), access: "A2", refresh: "R2",
		},
		"the secret was changed": { // its row lost the access token
			between: func(s *tokenstore.State, _ *asks) { s.Token.Access = "" },
			token:   tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2",
		},
		"the refresh token was dropped": { // it may be another account's
			between: func(s *tokenstore.State, w *asks) { s.Token, s.Claim.Dropped = realm.Token{}, w.id },
			token:   tokenOf("A2", "R2", 0, time.Hour),
		},
		"the secret was deleted": {
			between: func(s *tokenstore.State, _ *asks) { s.Token, s.Claim = realm.Token{}, tokenstore.Claim{} },
			token:   tokenOf("A2", "R2", 0, time.Hour),
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := refreshes(load)
			s, v := claimed(t, w, old)
			if c.between != nil {
				c.between(s, w)
			}
			holder := s.Claim.ID
			(&ended{asks: w, verdict: v, token: c.token}).settle(s)
			var saved realm.Token
			if s.Save != nil {
				saved = *s.Save
			}
			if saved.Access != c.access || saved.Refresh != c.refresh || len(s.Claim.Candidates) != c.kept {
				t.Fatalf("saved %q %q, %d candidates", saved.Access.Reveal(), saved.Refresh.Reveal(), len(s.Claim.Candidates))
			}
			if open := s.Claim.ID != (tokenstore.CallID{}); open != (holder != w.id && holder != tokenstore.CallID{}) {
				t.Errorf("a claim is open: %v", open)
			}
		})
	}
}

func takeOver(s *tokenstore.State, _ *asks) { s.Claim.ID = tokenstore.NewCallID() }

// A token that has no life left may come with the only refresh token that
// lives: that is kept, whatever becomes of the access token.
func TestRefreshTokenOfATokenWithoutALife(t *testing.T) {
	old := tokenOf("A1", "R1", 7, -time.Minute)
	lifeless := tokenOf("A2", "R2", 0, 0)
	w := refreshes(load)
	s, v := claimed(t, w, old)
	(&ended{asks: w, verdict: v, token: lifeless, once: true}).settle(s)
	if s.Save == nil || s.Save.Refresh != "R2" {
		t.Fatal("the refresh token is lost")
	}
	if !waits(s.Claim.Failure, s.Now) {
		t.Error("the provider is asked again at once")
	}
}

// A candidate that works becomes the stored refresh token, whatever the access
// token is good for.
func TestCandidateThatWorksIsKept(t *testing.T) {
	for name, set := range map[string]func(e *ended){
		"as always":          func(*ended) {},
		"without a life":     func(e *ended) { e.once = true },
		"the same token":     func(e *ended) { e.token.Access, e.token.ExpiresAt = "A1", noon.Add(-time.Minute) },
		"the secret changed": func(e *ended) { e.discard = true },
		"overtaken":          func(e *ended) { e.parent-- },
	} {
		t.Run(name, func(t *testing.T) {
			w := refreshes(load)
			s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, -time.Minute), Claim: tokenstore.Claim{
				Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}, Candidates: []realm.Token{tokenOf("A9", "R9", 0, 0)},
			}}
			v := w.decide(s)
			if v.ruling != granted || v.source != fromCandidate {
				t.Fatalf("%+v", v)
			}
			end := &ended{asks: w, verdict: v, token: tokenOf("A2", "", 0, time.Hour)}
			set(end)
			end.settle(s)
			stored := s.Save != nil && s.Save.Refresh == "R9"
			if kept := s.Claim.Candidates; !stored && (len(kept) != 1 || kept[0].Refresh != "R9") {
				t.Error("the refresh token is lost")
			}
		})
	}
}

// The secret's own refresh token is spent also where somebody was faster.
func TestSettleALateFirstToken(t *testing.T) {
	w := refreshes(load)
	w.initial = "R0"
	s, v := claimed(t, w, realm.Token{})
	s.Token = tokenOf("A3", "R3", 1, time.Hour)
	(&ended{asks: w, verdict: v, token: tokenOf("A2", "R2", 0, time.Hour)}).settle(s)
	if !s.Claim.Rejected.Initial || len(s.Claim.Candidates) != 1 {
		t.Errorf("%+v", s.Claim)
	}
}

// A refresh token that was refused is not carried on beside what was fetched in
// its place: it would be sent, and refused, at each renewal.
func TestSettleAFetchAfterARefusal(t *testing.T) {
	w := refreshes(load)
	w.canFetch = true
	s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, -time.Minute), Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}}}
	v := w.decide(s)
	if v.ruling != granted || v.source != noRefresh {
		t.Fatalf("%+v", v)
	}
	(&ended{asks: w, verdict: v, token: tokenOf("A2", "", 0, time.Hour)}).settle(s)
	if s.Save == nil || s.Save.Access != "A2" || s.Save.Refresh != "" {
		t.Fatal("the refused refresh token is stored again")
	}
}

// Of two access tokens of a realm without refresh tokens the one that was
// asked for later stays.
func TestSettleALateToken(t *testing.T) {
	for life, want := range map[time.Duration]realm.Hidden{59 * time.Minute: "", 61 * time.Minute: "A2"} {
		w := wants(load)
		s, v := claimed(t, w, realm.Token{})
		s.Token = tokenOf("A3", "", 1, time.Hour)
		(&ended{asks: w, verdict: v, token: tokenOf("A2", "", 0, life)}).settle(s)
		var saved realm.Hidden
		if s.Save != nil {
			saved = s.Save.Access
		}
		if saved != want {
			t.Errorf("%v: saved %q, want %q", life, saved.Reveal(), want.Reveal())
		}
	}
}

func TestSettleAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		cause     *grant.Error
		uncertain int
		key       int // failures
		realm     int
	}{
		"no answer":             {failure(grant.Retryable, grant.KindTimeout, false), 1, 1, 1},
		"nothing was sent":      {failure(grant.Retryable, grant.KindConnection, true), 0, 1, 1},
		"the secret is wrong":   {&grant.Error{Class: grant.Hopeless, Kind: grant.KindRefused, Status: 401}, 0, 1, 0},
		"too often":             {&grant.Error{Class: grant.Throttled, Kind: grant.KindRefused, Status: 429, RetryAfter: time.Minute}, 0, 1, 1},
		"a broken server":       {&grant.Error{Class: grant.Retryable, Kind: grant.KindRefused, Status: 502}, 1, 1, 1},
		"an answer of nonsense": {&grant.Error{Class: grant.Retryable, Kind: grant.KindBadResponse, Status: 200}, 1, 1, 1},
		"it was spent":          {&grant.Error{Class: grant.Hopeless, Kind: grant.KindInvalidGrant, Status: 400}, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := refreshes(load)
			s, v := claimed(t, w, tokenOf("A1", "R1", 7, -time.Minute))
			(&ended{asks: w, verdict: v, cause: c.cause}).settle(s)
			a, b := s.Claim, s.Budget
			if a.Doubt.Count != c.uncertain || a.Failure.Count != c.key || b.Failure.Count != c.realm || a.ID != (tokenstore.CallID{}) || s.Save != nil {
				t.Fatalf("%+v\n%+v", a, b)
			}
			if c.cause.RetryAfter > 0 && !b.Failure.Until.Equal(s.Now.Add(c.cause.RetryAfter)) {
				t.Errorf("the realm waits until %v", b.Failure.Until)
			}
			if refusedIt := c.cause.Kind == grant.KindInvalidGrant; (a.Rejected.Refresh == 7) != refusedIt {
				t.Errorf("refused: %d", a.Rejected.Refresh)
			}
		})
	}
}

// What a provider says of one login or code is not about the realm's other
// accounts; what it says of itself, or of how often it is asked, is.
func TestSettleALoginOrACode(t *testing.T) {
	for name, c := range map[string]struct {
		cause *grant.Error
		realm int // failures
	}{
		"a refusal in other words": {&grant.Error{Class: grant.Retryable, Kind: grant.KindRefused, Status: 200, ProviderCode: "8011"}, 0},
		"no code":                  {failure(grant.Retryable, grant.KindRefused, false), 0},
		"too often":                {&grant.Error{Class: grant.Throttled, Kind: grant.KindRefused, Status: 429, RetryAfter: time.Minute}, 1},
		"a broken server":          {&grant.Error{Class: grant.Retryable, Kind: grant.KindRefused, Status: 503}, 1},
		"no answer":                {failure(grant.Retryable, grant.KindTimeout, false), 1},
	} {
		for what, call := range map[string]struct {
			kind  kind
			asked bool
			code  *code
		}{
			"login":             {kind: load, asked: true},
			"code of a login":   {kind: exchange, code: &code{attempt: tokenstore.NewCallID()}},
			"code of a consent": {kind: exchange, code: &code{}},
		} {
			w := wants(call.kind)
			w.code = call.code
			s, v := claimed(t, w, realm.Token{})
			(&ended{asks: w, verdict: v, asked: call.asked, cause: c.cause}).settle(s)
			if b := s.Budget.Failure; b.Count != c.realm || waits(b, s.Now) != (c.realm > 0) || b.Until.Before(s.Now.Add(c.cause.RetryAfter)) && c.realm > 0 {
				t.Errorf("%s to a %s: %+v", name, what, b)
			}
		}
	}
}

// A login that was refused waits as long as the provider asked for, where that
// is more than the hour.
func TestSettleARefusedLogin(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{0: lockoutWait, time.Minute: lockoutWait, 3 * time.Hour: 3 * time.Hour} {
		w := wants(load)
		s, v := claimed(t, w, realm.Token{})
		(&ended{asks: w, verdict: v, asked: true, cause: &grant.Error{Class: grant.Hopeless, Kind: grant.KindRefused, RetryAfter: asked}}).settle(s)
		if got := s.Claim.Failure.Until.Sub(s.Now); got != want {
			t.Errorf("asked for %v: %v", asked, got)
		}
	}
}

// A process that was stopped until its claim was void, and sent nothing, leaves
// no trouble behind.
func TestSettleACallThatWasTooLate(t *testing.T) {
	w := refreshes(load)
	s, v := claimed(t, w, tokenOf("A1", "R1", 7, -time.Minute))
	takeOver(s, w)
	before := *s
	(&ended{asks: w, verdict: v, cause: failure(grant.Retryable, grant.KindTimeout, true)}).settle(s)
	if s.Claim.Failure != before.Claim.Failure || s.Budget.Failure != before.Budget.Failure || s.Claim.ID != before.Claim.ID {
		t.Errorf("%+v\n%+v", s.Claim, s.Budget)
	}
}

// A refresh token that the provider refuses is no verdict yet: somebody may
// have spent it and saved the next one.
func TestSettleARefusalOfAnOlderToken(t *testing.T) {
	w := refreshes(load)
	s, v := claimed(t, w, tokenOf("A1", "R1", 7, -time.Minute))
	s.Token = tokenOf("A2", "R2", 8, time.Hour)
	(&ended{asks: w, verdict: v, cause: failure(grant.Hopeless, grant.KindInvalidGrant, false)}).settle(s)
	if s.Claim.Rejected.Refresh != 0 {
		t.Errorf("refused: %d", s.Claim.Rejected.Refresh)
	}
	if v := w.decide(s); v.ruling != served || v.token.Access != "A2" {
		t.Errorf("%+v", v)
	}
}

// A provider that is down for an hour is asked within the promised bound, and
// is asked again within the cap when it is back. (A cap of an hour is reached
// by twelve doublings, two more than the promise counts.)
func TestCallsToAProviderThatIsDown(t *testing.T) {
	for seed := range 50 {
		limit := []time.Duration{time.Minute, 10 * time.Second, 15 * time.Minute}[seed%3]
		s := &tokenstore.State{Now: noon}
		calls, last := 0, noon
		for s.Now.Before(noon.Add(time.Hour)) {
			w := wants(load)
			w.backoffCap, w.draw = limit, randomly
			v := w.decide(s)
			if v.ruling == refused {
				if gap := s.Now.Add(v.wait).Sub(last); gap > limit+time.Second {
					t.Fatalf("a wait of %v, the cap is %v", gap, limit)
				}
				s.Now = s.Now.Add(max(v.wait, time.Millisecond))
				continue
			}
			calls, last = calls+1, s.Now
			(&ended{asks: w, verdict: v, cause: failure(grant.Retryable, grant.KindConnection, true)}).settle(s)
		}
		if most := 10 + 2*int(time.Hour/limit); calls > most {
			t.Errorf("cap %v: %d calls in an hour, promised are %d", limit, calls, most)
		}
	}
}

// A pause that the provider asked for is not ended by another call's success.
func TestSuccessDuringAPause(t *testing.T) {
	w := wants(load)
	s, v := claimed(t, w, realm.Token{})
	s.Budget.Failure = tokenstore.Failure{Count: 1, At: noon, Until: noon.Add(time.Minute), Cause: cause(grant.Throttled)}
	(&ended{asks: w, verdict: v, token: tokenOf("A1", "", 0, time.Hour)}).settle(s)
	if !waits(s.Budget.Failure, s.Now) || s.Save == nil {
		t.Errorf("%+v", s.Budget)
	}
}

// No more candidates are kept than fit, the newest ones first.
func TestCandidatesAreBounded(t *testing.T) {
	s := &tokenstore.State{Now: noon, Token: tokenOf("A", "R", 99, time.Hour), Claim: tokenstore.Claim{Started: noon}}
	for i := range 2 * maxCandidates {
		w := refreshes(load)
		end := &ended{asks: w, verdict: verdict{parent: int64(i), source: fromToken}, token: tokenOf("B", fmt.Sprint("R-", i), 0, time.Minute)}
		end.settle(s)
	}
	if c := s.Claim.Candidates; len(c) != maxCandidates || c[0].Refresh != "R-15" {
		t.Errorf("%d candidates, the first is %s", len(c), c[0].Refresh.Reveal())
	}
	if len(s.Claim.Settled) > maxSettled {
		t.Errorf("%d ids are kept", len(s.Claim.Settled))
	}
}
