package claim

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// claimed is a state in which r has its claim, and the decision.
func claimed(t *testing.T, r *Request, token realm.Token) (*tokenstore.State, Decision) {
	t.Helper()
	s := &tokenstore.State{Now: noon, Token: token}
	d := r.Decide(s)
	if d.Verdict != Go {
		t.Fatalf("no claim: %d", d.Verdict)
	}
	s.Now = noon.Add(time.Second)
	return s, d
}

// keeping is a token with something that is kept with it.
func keeping(t realm.Token) realm.Token {
	t.Kept = realm.KeptOf(map[string]string{"answer.x": "1"})
	return t
}

func TestSettleAToken(t *testing.T) {
	old := tokenOf("A1", "R1", 7, -time.Minute)
	for name, c := range map[string]struct {
		between func(s *tokenstore.State, r *Request) // what others did meanwhile
		token   realm.Token
		access  realm.Hidden // of what is saved; "" for nothing
		refresh realm.Hidden
		kept    int // candidates
	}{
		"a new pair":                      {token: tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2"},
		"without a refresh token":         {token: tokenOf("A2", "", 0, time.Hour), access: "A2", refresh: "R1"},
		"the same token, extended":        {token: tokenOf("A1", "", 0, time.Hour), access: "A1", refresh: "R1"},
		"the same token, nothing new":     {token: tokenOf("A1", "", 0, -time.Minute)},
		"the same token, to be kept with": {token: keeping(tokenOf("A1", "", 0, -time.Minute)), access: "A1", refresh: "R1"},
		"taken over, and nobody is ahead": {between: takeOver, token: tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2"},
		"somebody saved another pair": {
			between: func(s *tokenstore.State, _ *Request) { s.Token = tokenOf("A3", "R3", 8, time.Hour) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), kept: 1,
		},
		"somebody saved a token asked for later": {
			between: func(s *tokenstore.State, _ *Request) { s.Token = tokenOf("A3", "", 8, time.Hour) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), access: "A3", refresh: "R2",
		},
		"somebody saved a token asked for earlier": {
			between: func(s *tokenstore.State, _ *Request) { s.Token = tokenOf("A3", "", 8, 58*time.Minute) },
			token:   tokenOf("A2", "R2", 0, 59*time.Minute), access: "A2", refresh: "R2",
		},
		"the secret was changed": { // its row lost the access token
			between: func(s *tokenstore.State, _ *Request) { s.Token.Access = "" },
			token:   tokenOf("A2", "R2", 0, time.Hour), access: "A2", refresh: "R2",
		},
		"the refresh token was dropped": { // it may be another account's
			between: func(s *tokenstore.State, r *Request) { s.Token, s.Claim.Dropped = realm.Token{}, r.ID },
			token:   tokenOf("A2", "R2", 0, time.Hour),
		},
		"the secret was deleted": {
			between: func(s *tokenstore.State, _ *Request) { s.Token, s.Claim = realm.Token{}, tokenstore.Claim{} },
			token:   tokenOf("A2", "R2", 0, time.Hour),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := refreshRequest(Load)
			s, d := claimed(t, r, old)
			if c.between != nil {
				c.between(s, r)
			}
			holder := s.Claim.ID
			settle(s, r, d, func(o *Outcome) { o.Token = c.token })
			var saved realm.Token
			if s.Save != nil {
				saved = *s.Save
			}
			if saved.Access != c.access || saved.Refresh != c.refresh || len(s.Claim.Candidates) != c.kept {
				t.Fatalf("saved %q %q, %d candidates", saved.Access.Reveal(), saved.Refresh.Reveal(), len(s.Claim.Candidates))
			}
			if open := s.Claim.ID != (tokenstore.CallID{}); open != (holder != r.ID && holder != tokenstore.CallID{}) {
				t.Errorf("a claim is open: %v", open)
			}
		})
	}
}

func takeOver(s *tokenstore.State, _ *Request) { s.Claim.ID = tokenstore.NewCallID() }

// A token that has no life left may come with the only refresh token that
// lives: that is kept, whatever becomes of the access token.
func TestRefreshTokenOfATokenWithoutALife(t *testing.T) {
	old := tokenOf("A1", "R1", 7, -time.Minute)
	lifeless := tokenOf("A2", "R2", 0, 0)
	r := refreshRequest(Load)
	s, d := claimed(t, r, old)
	settle(s, r, d, func(o *Outcome) { o.Token, o.Use = lifeless, ForWaiters })
	if s.Save == nil || s.Save.Refresh != "R2" {
		t.Fatal("the refresh token is lost")
	}
	if !IsPaused(s.Claim.Failure, s.Now) {
		t.Error("the provider is asked again at once")
	}
}

// A candidate that works becomes the stored refresh token, whatever the access
// token is good for.
func TestCandidateThatWorksIsKept(t *testing.T) {
	for name, set := range map[string]func(e *Outcome){
		"as always":          func(*Outcome) {},
		"without a life":     func(e *Outcome) { e.Use = ForWaiters },
		"the same token":     func(e *Outcome) { e.Token.Access, e.Token.ExpiresAt = "A1", noon.Add(-time.Minute) },
		"the secret changed": func(e *Outcome) { e.Use = OnlyRefreshToken },
		"overtaken":          func(e *Outcome) { e.Parent-- },
	} {
		t.Run(name, func(t *testing.T) {
			r := refreshRequest(Load)
			s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, -time.Minute), Claim: tokenstore.Claim{
				Rejected: rejected(7), Candidates: []realm.Token{tokenOf("A9", "R9", 0, 0)},
			}}
			d := r.Decide(s)
			if d.Verdict != Go || d.Source != FromCandidate {
				t.Fatalf("%+v", d)
			}
			end := NewOutcome(r, d)
			end.Token = tokenOf("A2", "", 0, time.Hour)
			set(end)
			end.Settle(s)
			stored := s.Save != nil && s.Save.Refresh == "R9"
			if kept := s.Claim.Candidates; !stored && (len(kept) != 1 || kept[0].Refresh != "R9") {
				t.Error("the refresh token is lost")
			}
		})
	}
}

// The secret's own refresh token is spent also where somebody was faster.
func TestSettleALateFirstToken(t *testing.T) {
	r := refreshRequest(Load)
	r.Initial = "R0"
	s, d := claimed(t, r, realm.Token{})
	s.Token = tokenOf("A3", "R3", 1, time.Hour)
	settle(s, r, d, func(o *Outcome) { o.Token = tokenOf("A2", "R2", 0, time.Hour) })
	if !s.Claim.Rejected.Initial || len(s.Claim.Candidates) != 1 {
		t.Errorf("%+v", s.Claim)
	}
}

// A refresh token that was refused is not carried on beside what was fetched in
// its place: it would be sent, and refused, at each renewal.
func TestSettleAFetchAfterARefusal(t *testing.T) {
	r := refreshRequest(Load)
	r.CanFetch = true
	s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, -time.Minute), Claim: tokenstore.Claim{Rejected: rejected(7)}}
	d := r.Decide(s)
	if d.Verdict != Go || d.Source != NoRefreshToken {
		t.Fatalf("%+v", d)
	}
	settle(s, r, d, func(o *Outcome) { o.Token = tokenOf("A2", "", 0, time.Hour) })
	if s.Save == nil || s.Save.Access != "A2" || s.Save.Refresh != "" {
		t.Fatal("the Wait refresh token is stored again")
	}
}

// Of two access tokens of a realm without refresh tokens the one that was
// asked for later stays.
func TestSettleALateToken(t *testing.T) {
	for life, want := range map[time.Duration]realm.Hidden{59 * time.Minute: "", 61 * time.Minute: "A2"} {
		r := request(Load)
		s, d := claimed(t, r, realm.Token{})
		s.Token = tokenOf("A3", "", 1, time.Hour)
		settle(s, r, d, func(o *Outcome) { o.Token = tokenOf("A2", "", 0, life) })
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
			r := refreshRequest(Load)
			s, d := claimed(t, r, tokenOf("A1", "R1", 7, -time.Minute))
			settle(s, r, d, func(o *Outcome) { o.Cause = c.cause })
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
			purpose  Purpose
			stage    Stage
			codeCall tokenstore.CallID
		}{
			"login":             {purpose: Load, stage: CodeRequest},
			"code of a login":   {purpose: Exchange, codeCall: tokenstore.NewCallID()},
			"code of a consent": {purpose: Exchange},
		} {
			r := request(call.purpose)
			r.CodeCall = call.codeCall
			s, d := claimed(t, r, realm.Token{})
			settle(s, r, d, func(o *Outcome) { o.Cause = c.cause; o.Stage = call.stage })
			if b := s.Budget.Failure; b.Count != c.realm || IsPaused(b, s.Now) != (c.realm > 0) || b.Until.Before(s.Now.Add(c.cause.RetryAfter)) && c.realm > 0 {
				t.Errorf("%s to a %s: %+v", name, what, b)
			}
		}
	}
}

// A login that was refused waits as long as the provider asked for, where that
// is more than the hour.
func TestSettleARefusedLogin(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{0: lockoutWait, time.Minute: lockoutWait, 3 * time.Hour: 3 * time.Hour} {
		r := request(Load)
		s, d := claimed(t, r, realm.Token{})
		settle(s, r, d, func(o *Outcome) {
			o.Stage, o.Cause = CodeRequest, &grant.Error{Class: grant.Hopeless, Kind: grant.KindRefused, RetryAfter: asked}
		})
		if got := s.Claim.Failure.Until.Sub(s.Now); got != want {
			t.Errorf("asked for %v: %v", asked, got)
		}
	}
}

// A process that was stopped until its claim was void, and sent nothing, leaves
// no failure behind.
func TestSettleACallThatWasTooLate(t *testing.T) {
	r := refreshRequest(Load)
	s, d := claimed(t, r, tokenOf("A1", "R1", 7, -time.Minute))
	takeOver(s, r)
	before := *s
	settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindTimeout, true) })
	if s.Claim.Failure != before.Claim.Failure || s.Budget.Failure != before.Budget.Failure || s.Claim.ID != before.Claim.ID {
		t.Errorf("%+v\n%+v", s.Claim, s.Budget)
	}
}

// A refresh token that the provider refuses decides nothing yet: somebody may
// have spent it and saved the next one.
func TestSettleARefusalOfAnOlderToken(t *testing.T) {
	r := refreshRequest(Load)
	s, d := claimed(t, r, tokenOf("A1", "R1", 7, -time.Minute))
	s.Token = tokenOf("A2", "R2", 8, time.Hour)
	settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Hopeless, grant.KindInvalidGrant, false) })
	if s.Claim.Rejected.Refresh != 0 {
		t.Errorf("refused: %d", s.Claim.Rejected.Refresh)
	}
	if d := r.Decide(s); d.Verdict != UseStored || d.Token.Access != "A2" {
		t.Errorf("%+v", d)
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
			r := request(Load)
			r.BackoffCap, r.Random = limit, Uniform
			d := r.Decide(s)
			if d.Verdict == Wait {
				if gap := s.Now.Add(d.Wait).Sub(last); gap > limit+time.Second {
					t.Fatalf("a wait of %v, the cap is %v", gap, limit)
				}
				s.Now = s.Now.Add(max(d.Wait, time.Millisecond))
				continue
			}
			calls, last = calls+1, s.Now
			settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindConnection, true) })
		}
		if most := 10 + 2*int(time.Hour/limit); calls > most {
			t.Errorf("cap %v: %d calls in an hour, promised are %d", limit, calls, most)
		}
	}
}

// A pause that the provider asked for is not ended by another call's success.
func TestSuccessDuringAPause(t *testing.T) {
	r := request(Load)
	s, d := claimed(t, r, realm.Token{})
	s.Budget.Failure = tokenstore.Failure{Count: 1, At: noon, Until: noon.Add(time.Minute), Cause: cause(grant.Throttled)}
	settle(s, r, d, func(o *Outcome) { o.Token = tokenOf("A1", "", 0, time.Hour) })
	if !IsPaused(s.Budget.Failure, s.Now) || s.Save == nil {
		t.Errorf("%+v", s.Budget)
	}
}

// No more candidates are kept than fit, the newest ones first.
func TestCandidatesAreBounded(t *testing.T) {
	s := &tokenstore.State{Now: noon, Token: tokenOf("A", "R", 99, time.Hour), Claim: tokenstore.Claim{Started: noon}}
	for i := range 2 * maxCandidates {
		r := refreshRequest(Load)
		end := NewOutcome(r, Decision{Parent: int64(i), Source: FromToken})
		end.Token = tokenOf("B", fmt.Sprint("R-", i), 0, time.Minute)
		end.Settle(s)
	}
	if c := s.Claim.Candidates; len(c) != maxCandidates || c[0].Refresh != "R-15" {
		t.Errorf("%d candidates, the first is %s", len(c), c[0].Refresh.Reveal())
	}
	if len(s.Claim.Settled) > maxSettled {
		t.Errorf("%d ids are kept", len(s.Claim.Settled))
	}
}

// What our own guard refused was not sent: once the configuration allows the
// address, the next call is made.
func TestForbiddenAddressIsNotRemembered(t *testing.T) {
	r := request(Load)
	s, d := claimed(t, r, realm.Token{})
	settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindForbidden, true) })
	if s.Claim.Failure != (tokenstore.Failure{}) || s.Budget.Failure != (tokenstore.Failure{}) {
		t.Errorf("%+v, realm %+v", s.Claim.Failure, s.Budget.Failure)
	}
	if d := r.Decide(s); d.Verdict != Go {
		t.Errorf("%+v", d)
	}
}

// TestSettleARefreshTokenAlone: an answer whose access token is of no use is a
// failure, and its refresh token is kept: there may be no other one that is good.
func TestSettleARefreshTokenAlone(t *testing.T) {
	old := tokenOf("A1", "R1", 7, -time.Minute)
	brought := realm.Token{Refresh: "R2", IssuedAt: noon, Kept: "new"}
	for name, c := range map[string]struct {
		purpose Purpose
		between func(s *tokenstore.State)
		want    realm.Token // what is saved
		kept    int         // candidates
	}{
		"of a refresh": {purpose: Load, want: brought},
		"of a code":    {purpose: Exchange, kept: 1},
		"of a code, and there was nothing": {
			purpose: Exchange, between: func(s *tokenstore.State) { s.Token = realm.Token{} }, want: brought,
		},
		"of a code, and there is no refresh token": {
			purpose: Exchange, between: func(s *tokenstore.State) { s.Token.Refresh = "" },
			want: realm.Token{Access: "A1", Refresh: "R2", Lineage: 7, Fingerprint: print1, IssuedAt: old.IssuedAt, ExpiresAt: old.ExpiresAt, Kept: "new"},
		},
		"late": {purpose: Load, between: func(s *tokenstore.State) { s.Token = tokenOf("A3", "R3", 8, time.Hour) }, kept: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := refreshRequest(c.purpose)
			s, d := claimed(t, r, old)
			if c.between != nil {
				c.between(s)
			}
			settle(s, r, d, func(o *Outcome) {
				o.Cause, o.Token = failure(grant.Retryable, grant.KindBadResponse, false), brought
			})
			var saved realm.Token
			if s.Save != nil {
				saved = *s.Save
			}
			if saved != c.want || len(s.Claim.Candidates) != c.kept {
				t.Errorf("saved %q and %q, %d candidates", saved.Access.Reveal(), saved.Refresh.Reveal(), len(s.Claim.Candidates))
			}
			if isPaused := IsPaused(s.Claim.Failure, s.Now); isPaused != (c.purpose == Load) {
				t.Errorf("the next call waits: %v", isPaused)
			}
			if s.Claim.Doubt != (tokenstore.Doubt{}) && s.Save != nil {
				t.Error("the token that was sent is in doubt")
			}
		})
	}
}

// TestSettleARefreshTokenAheadOfTheEnd: a renewal that brings a refresh token alone
// does not take away the access token, which lives.
func TestSettleARefreshTokenAheadOfTheEnd(t *testing.T) {
	for _, c := range []struct {
		purpose   Purpose
		old       map[string]string
		got, want map[string]string
		access    realm.Hidden
	}{
		{Renew, nil, nil, nil, "A1"},
		{Renew, map[string]string{"answer.a": "1", "answer.b": "2"}, map[string]string{"answer.b": "3"}, map[string]string{"answer.a": "1", "answer.b": "3"}, "A1"},
		{Flush, map[string]string{"answer.a": "1"}, nil, nil, ""}, // somebody wants to be rid of it
	} {
		old := tokenOf("A1", "R1", 7, time.Minute)
		old.Kept = realm.KeptOf(c.old)
		r := refreshRequest(c.purpose)
		r.NewerThan = 7
		s, d := claimed(t, r, old)
		settle(s, r, d, func(o *Outcome) {
			o.Cause, o.Token = failure(grant.Retryable, grant.KindBadResponse, false), realm.Token{Refresh: "R2", IssuedAt: noon, Kept: realm.KeptOf(c.got)}
		})
		switch got := s.Save; {
		case got == nil:
			t.Errorf("%v: nothing is saved", c.purpose)
		case got.Access != c.access || got.Refresh != "R2" || got.Kept != realm.KeptOf(c.want):
			t.Errorf("%v: saved %q and %q with %v", c.purpose, got.Access.Reveal(), got.Refresh.Reveal(), got.Kept.Reveal())
		case got.Access != "" && (got.ExpiresAt != old.ExpiresAt || got.IssuedAt != old.IssuedAt || got.Fingerprint != old.Fingerprint):
			t.Errorf("another life: %+v", got)
		}
	}
}

// TestChooseWhatMayBeRefreshed: a refresh token without what its refresh has to
// send, or cannot bring, is not sent.
func TestChooseWhatMayBeRefreshed(t *testing.T) {
	token := tokenOf("A1", "R1", 7, -time.Minute)
	other := tokenOf("A2", "R2", 0, -time.Minute)
	other.Kept = "good"
	for name, c := range map[string]struct {
		kept       realm.Kept
		candidates []realm.Token
		initial    realm.Hidden
		canFetch   bool
		source     Source
		verdict    Verdict
		with       realm.Kept
	}{
		"good":               {kept: "good", source: FromToken, with: "good"},
		"a candidate":        {candidates: []realm.Token{token, other}, source: FromCandidate, with: "good"},
		"nothing":            {candidates: []realm.Token{token}, verdict: NeedsAuthorization},
		"the secret's":       {initial: "R0", verdict: NeedsAuthorization},
		"there is the fetch": {canFetch: true, source: NoRefreshToken},
	} {
		r := refreshRequest(Load)
		r.CanFetch, r.Initial, r.IsReseeded = c.canFetch, c.initial, func(realm.Fingerprint) bool { return true }
		r.MayRefresh = func(kept realm.Kept) bool { return kept == "good" }
		stored := token
		stored.Kept = c.kept
		s := &tokenstore.State{Now: noon, Token: stored, Claim: tokenstore.Claim{Candidates: c.candidates}}
		if d := r.Decide(s); d.Verdict != c.verdict || d.Source != c.source || d.Kept != c.with {
			t.Errorf("%s: verdict %d, source %d, with %q", name, d.Verdict, d.Source, string(d.Kept))
		}
	}
}
