package claim

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// otherSecret sends other values than those that a failure is of.
func otherSecret(r *Request) { r.Digests = digests{2, 1} }

func TestDecide(t *testing.T) {
	live, dead := tokenOf("A1", "", 7, time.Minute), tokenOf("A1", "", 7, -time.Minute)
	rt, rtDead := tokenOf("A1", "R1", 7, time.Minute), tokenOf("A1", "R1", 7, -time.Minute)
	other := tokenstore.NewCallID()
	open := tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: other, Started: noon.Add(-time.Second), Deadline: noon.Add(14 * time.Second), Parent: 7}
	void := tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: other, Started: noon.Add(-20 * time.Second), Deadline: noon.Add(-5 * time.Second), Parent: 7}
	voidSpends := void
	voidSpends.SendsRefresh = true
	refuse := func() error { return errors.New("no more calls") }
	for name, c := range map[string]struct {
		r    *Request
		set  func(r *Request)
		s    tokenstore.State
		want Verdict
		wait time.Duration
		src  Source
	}{
		"nothing is there":         {r: request(Load), want: Go},
		"somebody fetched":         {r: request(Load), s: tokenstore.State{Token: live}, want: UseStored},
		"the stored one has ended": {r: request(Load), s: tokenstore.State{Token: dead}, want: Go},
		"of another secret": {r: request(Load), set: func(r *Request) {
			r.Fingerprint = realm.Fingerprint{2}
			r.IsUsable = func(realm.Token) bool { return false }
		}, s: tokenstore.State{Token: live}, want: Go},
		"renewing what is newest":         {r: request(Renew), set: func(r *Request) { r.NewerThan = 7 }, s: tokenstore.State{Token: live}, want: Go},
		"renewed by somebody":             {r: request(Renew), set: func(r *Request) { r.NewerThan = 6 }, s: tokenstore.State{Token: live}, want: UseStored},
		"healing the current one":         {r: request(Heal), set: func(r *Request) { r.Failed = "A1" }, s: tokenstore.State{Token: live}, want: Go},
		"a late failure of an older one":  {r: request(Heal), set: func(r *Request) { r.Failed = "A0" }, s: tokenstore.State{Token: live}, want: UseStored},
		"flushed by somebody":             {r: request(Flush), set: func(r *Request) { r.NewerThan = 6 }, s: tokenstore.State{Token: live}, want: UseStored},
		"a claim is open":                 {r: request(Load), s: tokenstore.State{Token: dead, Claim: open}, want: InProgress, wait: 14 * time.Second},
		"a claim is void":                 {r: request(Load), s: tokenstore.State{Token: dead, Claim: void}, want: Go},
		"all places are taken":            {r: request(Load), s: tokenstore.State{Open: 4}, want: NoSlot},
		"one place while it fails":        {r: request(Load), s: tokenstore.State{Open: 1, Budget: tokenstore.Budget{Failure: tokenstore.Failure{Count: 1}}}, want: NoSlot},
		"the key has to wait":             {r: request(Load), s: tokenstore.State{Claim: tokenstore.Claim{Failure: failureOf(tokenstore.Failure{Count: 3, At: noon, Until: noon.Add(4 * time.Second)})}}, want: Wait, wait: 4 * time.Second},
		"another secret need not":         {r: request(Load), set: otherSecret, s: tokenstore.State{Claim: tokenstore.Claim{Failure: failureOf(tokenstore.Failure{Count: 3, At: noon, Until: noon.Add(4 * time.Second)})}}, want: Go},
		"the realm has to wait":           {r: request(Load), s: tokenstore.State{Budget: tokenstore.Budget{Failure: tokenstore.Failure{At: noon, Until: noon.Add(7 * time.Second)}}}, want: Wait, wait: 7 * time.Second},
		"whoever causes it may":           {r: request(Load), set: func(r *Request) { r.MayPay = func() error { return nil } }, want: Go},
		"whoever causes it may not":       {r: request(Load), set: func(r *Request) { r.MayPay = refuse }, want: Refused},
		"he may not, and a token serves":  {r: request(Load), set: func(r *Request) { r.MayPay = refuse }, s: tokenstore.State{Token: live}, want: UseStored},
		"he may not, and it is under way": {r: request(Load), set: func(r *Request) { r.MayPay = refuse }, s: tokenstore.State{Claim: open}, want: InProgress, wait: 14 * time.Second},
		"he may not, and a claim is void": {r: request(Load), set: func(r *Request) { r.MayPay = refuse }, s: tokenstore.State{Claim: void}, want: Refused},
		"a clock that went back":          {r: request(Load), s: tokenstore.State{Budget: tokenstore.Budget{Failure: tokenstore.Failure{At: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour)}}}, want: Go},
		"hopeless":                        {r: request(Load), s: tokenstore.State{Claim: tokenstore.Claim{Failure: failureOf(tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Hopeless)})}}, want: Wait, wait: time.Minute},
		"hopeless, and somebody flushes":  {r: request(Flush), s: tokenstore.State{Claim: tokenstore.Claim{Failure: failureOf(tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Hopeless)})}}, want: Go},
		"throttled, and somebody flushes": {r: request(Flush), s: tokenstore.State{Claim: tokenstore.Claim{Failure: failureOf(tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Throttled)})}}, want: Wait, wait: time.Minute},
		"too soon for the realm":          {r: request(Load), set: func(r *Request) { r.MinInterval = 30 * time.Second }, s: tokenstore.State{Claim: tokenstore.Claim{Started: noon.Add(-10 * time.Second)}}, want: Wait, wait: 20 * time.Second},

		"a refresh token":                      {r: refreshRequest(Renew), set: func(r *Request) { r.NewerThan = 7 }, s: tokenstore.State{Token: rt}, want: Go, src: FromToken},
		"its end is believed only to prefer":   {r: refreshRequest(Load), s: tokenstore.State{Token: func() realm.Token { t := rtDead; t.RefreshExpiresAt = noon.Add(-time.Hour); return t }()}, want: Go, src: FromToken},
		"never authorized":                     {r: refreshRequest(Load), want: NeedsAuthorization},
		"the secret's own":                     {r: refreshRequest(Load), set: func(r *Request) { r.Initial = "R0" }, want: Go, src: FromSecret},
		"refused, and the secret has one":      {r: refreshRequest(Load), set: func(r *Request) { r.Initial = "R0" }, s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7)}}, want: Go, src: FromSecret},
		"refused, and a candidate is kept":     {r: refreshRequest(Load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7), Candidates: []realm.Token{tokenOf("A9", "R9", 0, 0)}}}, want: Go, src: FromCandidate},
		"all refused":                          {r: refreshRequest(Load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7)}}, want: NeedsAuthorization},
		"all refused, and it can fetch anew":   {r: refreshRequest(Load), set: func(r *Request) { r.CanFetch = true }, s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7)}}, want: Go},
		"refused before the secret changed":    {r: refreshRequest(Load), set: otherSecret, s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7)}}, want: Go, src: FromToken},
		"refused was an older one":             {r: refreshRequest(Load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(6)}}, want: Go, src: FromToken},
		"a process died with the token alive":  {r: refreshRequest(Renew), set: func(r *Request) { r.NewerThan = 7 }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: Wait, wait: 45 * time.Second},
		"a process died, and the token is old": {r: refreshRequest(Load), s: tokenstore.State{Token: rtDead, Claim: voidSpends}, want: Go, src: FromToken},
		"a process died, stable":               {r: refreshRequest(Renew), set: func(r *Request) { r.NewerThan, r.MayResend = 7, true }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: Go, src: FromToken},
		"in doubt, and it can fetch anew":      {r: refreshRequest(Renew), set: func(r *Request) { r.NewerThan, r.CanFetch = 7, true }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: Go},
		"in doubt twice":                       {r: refreshRequest(Renew), set: func(r *Request) { r.NewerThan = 7 }, s: tokenstore.State{Token: rt, Claim: tokenstore.Claim{Doubt: tokenstore.Doubt{Count: 2, Lineage: 7}}}, want: Wait, wait: time.Minute},
		"in doubt, and the API refuses it":     {r: refreshRequest(Heal), set: func(r *Request) { r.Failed = "A1" }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: Go, src: FromToken},
		"refused after a process was stopped":  {r: refreshRequest(Load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: rejected(7), Doubt: tokenstore.Doubt{Count: 1, Lineage: 7, At: noon.Add(-5 * time.Second)}}}, want: Wait, wait: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if c.set != nil {
				c.set(c.r)
			}
			s := c.s
			s.Now = noon
			d := c.r.Decide(&s)
			if d.Verdict != c.want || d.Wait != c.wait || d.Source != c.src && c.want == Go {
				t.Fatalf("got %d wait %v source %d, want %d wait %v source %d", d.Verdict, d.Wait, d.Source, c.want, c.wait, c.src)
			}
			a := s.Claim
			if claimed := a.ID == c.r.ID; claimed != (c.want == Go) {
				t.Errorf("claimed: %v", claimed)
			}
			if c.want == Go && (a.Started != noon || a.Deadline != noon.Add(15*time.Second) || a.SendsRefresh != (c.src != NoRefreshToken) || a.Parent != c.s.Token.Lineage) {
				t.Errorf("the claim is %+v", a)
			}
		})
	}
}

// A code does not wait for a provider that fails, but for a pause that it asked
// for.
func TestDecideOnACode(t *testing.T) {
	for name, c := range map[string]struct {
		cause string
		want  Verdict
	}{"it fails": {cause(grant.Retryable), Go}, "a pause": {cause(grant.Throttled), Wait}} {
		s := tokenstore.State{Now: noon}
		s.Budget.Failure = tokenstore.Failure{Count: 1, At: noon, Until: noon.Add(time.Minute), Cause: c.cause}
		if d := request(Exchange).Decide(&s); d.Verdict != c.want {
			t.Errorf("%s: %d", name, d.Verdict)
		}
	}
}

// A token that the API refuses at once counts as a failed call: the next one
// waits, longer each time, until one worked.
func TestDecideOnATokenThatNeverWorked(t *testing.T) {
	s := tokenstore.State{Now: noon, Token: tokenOf("A1", "", 1, time.Hour), Claim: tokenstore.Claim{Started: noon, Purpose: Heal.String()}}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		r := request(Heal)
		r.Failed, r.Acceptance = s.Token.Access, NeverAccepted
		d := r.Decide(&s)
		if d.Verdict != Wait || d.Wait != want {
			t.Fatalf("refusal %d: got %d, wait %v; want a wait of %v", i, d.Verdict, d.Wait, want)
		}
		if again := r.Decide(&s); again.Wait != want {
			t.Fatalf("the same refusal counted twice: %v", again.Wait)
		}
		s.Now = s.Now.Add(want)
		if d = r.Decide(&s); d.Verdict != Go {
			t.Fatalf("after the wait: %d", d.Verdict)
		}
		next := tokenOf("A"+string(rune('2'+i)), "", 0, time.Hour)
		settle(&s, r, d, func(o *Outcome) { o.Token = next })
		next.Lineage = s.Token.Lineage + 1
		s.Token, s.Save, s.Claim.Started = next, nil, s.Now
	}
	r := request(Heal)
	r.Failed = s.Token.Access // this one had worked
	s.Now = s.Now.Add(time.Minute)
	d := r.Decide(&s)
	if d.Verdict != Go {
		t.Fatalf("%d", d.Verdict)
	}
	settle(&s, r, d, func(o *Outcome) { o.Token = tokenOf("A9", "", 0, time.Hour) })
	if s.Claim.Failure.Count != 0 {
		t.Errorf("a success does not reset: %+v", s.Claim.Failure)
	}
}

// A token of a while ago may have worked on another node: if it is refused
// when it is used for the first time here, the provider is asked at once.
func TestDecideOnATokenThatWorkedElsewhere(t *testing.T) {
	r := request(Heal)
	r.Failed, r.Acceptance = "A1", NeverAccepted
	s := tokenstore.State{Now: noon, Token: tokenOf("A1", "", 1, time.Hour), Claim: tokenstore.Claim{
		Started: noon.Add(-r.BackoffCap), Purpose: Heal.String(),
	}}
	if d := r.Decide(&s); d.Verdict != Go || s.Claim.Failure.Count != 0 {
		t.Fatalf("%+v", d)
	}
}

// TestDecideOnATokenFromBeforeAFailedHeal: a heal that failed brought no token, and
// the one from before it may have worked for long. Its refusal on another node
// counted as that of a new token.
func TestDecideOnATokenFromBeforeAFailedHeal(t *testing.T) {
	s := tokenstore.State{Now: noon, Token: tokenOf("A1", "", 1, time.Hour)}
	r := request(Heal)
	r.Failed, r.Acceptance = "A1", Accepted
	settle(&s, r, r.Decide(&s), func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindConnection, false) })
	s.Now = s.Claim.Failure.Until
	other := request(Heal)
	other.Failed, other.Acceptance = "A1", NeverAccepted
	if d := other.Decide(&s); d.Verdict != Go || s.Claim.Failure.Count != 1 {
		t.Fatalf("%+v, %+v", d, s.Claim.Failure)
	}
}

// A call that found a parent dead waits like any other that failed, but for whoever
// renewed the parent. The provider of the realm is not at fault, nor is what was
// sent of the secret.
func TestDecideAfterADeadParent(t *testing.T) {
	for name, terms := range map[string]func(Purpose) *Request{"fetch": request, "refresh": refreshRequest} {
		s := tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 1, -time.Minute)}
		r := terms(Load)
		d := r.Decide(&s)
		settle(&s, r, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindDeadParent, false) })
		if s.Budget.Failure.Count > 0 || s.Claim.Doubt.Count > 0 || s.Claim.Rejected != (tokenstore.Rejected{}) || s.Claim.Failure.Count != 1 {
			t.Fatalf("%s: %+v, %+v", name, s.Claim, s.Budget)
		}
		if d := terms(Load).Decide(&s); d.Verdict != Wait || !IsOfDeadParent(d.Cause) || d.Wait != time.Second {
			t.Fatalf("%s: another node: %+v", name, d)
		}
		again := terms(Load)
		again.IsParentRenewed = true
		if next := again.Decide(&s); next.Verdict != Go || next.Source != d.Source || next.RefreshToken != d.RefreshToken {
			t.Fatalf("%s: the call once more: %+v", name, next)
		}
		settle(&s, again, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindConnection, false) })
		more := terms(Load)
		more.IsParentRenewed = true
		if d := more.Decide(&s); d.Verdict != Wait {
			t.Fatalf("%s: a renewed parent excuses another failure: %+v", name, d)
		}
	}
}

// The store's clock was ahead and was put right: what was dated by it counts
// from now on, and not until that clock is there again.
func TestDecideAfterTheClockWentBack(t *testing.T) {
	const year = 365 * 24 * time.Hour
	ahead := noon.Add(10 * year)
	t.Run("a claim of a process that died", func(t *testing.T) {
		s := tokenstore.State{Now: noon, Claim: tokenstore.Claim{
			Phase: tokenstore.PhaseCalling, ID: tokenstore.NewCallID(), Started: ahead, Deadline: ahead.Add(15 * time.Second),
		}}
		r := request(Load)
		if d := r.Decide(&s); d.Verdict != InProgress || d.Wait != 15*time.Second {
			t.Fatalf("%+v", d)
		}
		s.Now = noon.Add(15 * time.Second)
		if d := r.Decide(&s); d.Verdict != Go {
			t.Fatalf("%+v", d)
		}
	})
	t.Run("a quota", func(t *testing.T) {
		r := request(Load)
		r.Windows = []realm.Window{{Calls: 1, Per: realm.Duration(time.Hour)}}
		s := tokenstore.State{Now: noon, Budget: tokenstore.Budget{Windows: []tokenstore.Spending{
			{Per: time.Hour, Calls: []tokenstore.Calls{{First: ahead, Last: ahead, N: 1}}},
		}}}
		if d := r.Decide(&s); d.Verdict != Wait || d.Wait != time.Hour {
			t.Fatalf("%+v", d)
		}
		s.Now = noon.Add(time.Hour)
		if d := r.Decide(&s); d.Verdict != Go {
			t.Fatalf("%+v", d)
		}
	})
	t.Run("a refresh token in doubt", func(t *testing.T) {
		token := tokenOf("A1", "R1", 7, 0)
		token.IssuedAt, token.ExpiresAt = ahead, ahead.Add(time.Hour)
		s := tokenstore.State{Now: noon, Token: token, Claim: tokenstore.Claim{
			Doubt: tokenstore.Doubt{Count: 1, Lineage: 7, At: ahead},
		}}
		r := refreshRequest(Load)
		r.IsUsable = func(realm.Token) bool { return false }
		if d := r.Decide(&s); d.Verdict != Go {
			t.Fatalf("%+v", d)
		}
		settle(&s, r, Decision{Parent: 7, Source: FromToken, RefreshToken: "R1"}, func(o *Outcome) { o.Cause = failure(grant.Hopeless, grant.KindInvalidGrant, false) })
		if d := r.Decide(&s); d.Verdict != Wait || d.Wait > r.Life() {
			t.Fatalf("%+v", d)
		}
	})
}

// A claim outlives its call, also where it was long in coming: the store dates
// it after it was asked for.
func TestClaimOutlivesItsCall(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 10 * time.Second, 5 * time.Minute} {
		r := request(Load)
		r.Timeout = timeout
		s, _ := claimed(t, r, realm.Token{})
		sendBy, endBy := r.Bounds(noon)
		if !endBy.After(sendBy) || s.Claim.Deadline.Sub(endBy) < time.Second {
			t.Errorf("%v: sent by %v, ended by %v, void at %v", timeout, sendBy, endBy, s.Claim.Deadline)
		}
	}
}

// No refresh token whose use is in doubt is sent again and again while the
// access token lives, wherever it is from.
func TestDoubtAboutAnotherRefreshToken(t *testing.T) {
	for source, set := range map[Source]func(r *Request, s *tokenstore.State){
		FromCandidate: func(_ *Request, s *tokenstore.State) {
			s.Claim.Rejected.Refresh, s.Claim.Candidates = 7, []realm.Token{tokenOf("A9", "R9", 0, 0)}
		},
		FromSecret: func(r *Request, s *tokenstore.State) { r.Initial, s.Token.Refresh = "R0", "" },
	} {
		s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, 30*time.Minute), Claim: tokenstore.Claim{}}
		spends := 0
		for ; s.Now.Before(s.Token.ExpiresAt); s.Now = s.Now.Add(time.Second) {
			r := refreshRequest(Renew)
			r.NewerThan = 7
			set(r, s)
			if d := r.Decide(s); d.Verdict == Go && d.Source == source {
				spends++
				settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Retryable, grant.KindTimeout, false) })
			}
		}
		if spends != 2 {
			t.Errorf("source %d: sent %d times, want once and once more", source, spends)
		}
	}
}
