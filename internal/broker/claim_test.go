package broker

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

var (
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	print1 = realm.Fingerprint{1}
)

// half draws the middle, so that waits are known.
func half(n time.Duration) time.Duration { return n - 1 }

// wants is a flight of a realm with the grant client_credentials.
func wants(k kind) *asks {
	return &asks{
		terms: terms{canFetch: true, concurrency: 4, backoffCap: time.Minute, timeout: 10 * time.Second},
		id:    tokenstore.NewCallID(), node: "n", kind: k, fingerprint: print1, draw: half,
		reseeded: func(f realm.Fingerprint) bool { return f == realm.Fingerprint{9} },
		usable:   func(t realm.Token) bool { return t.Fingerprint == print1 && t.ExpiresAt.After(noon) },
	}
}

// refreshes is a flight of a realm that can only refresh, strictly.
func refreshes(k kind) *asks {
	w := wants(k)
	w.canFetch, w.canRefresh = false, true
	return w
}

// token is one with an hour of life, of which left remains.
func tokenOf(access, refresh string, lineage int64, left time.Duration) realm.Token {
	return realm.Token{
		Access: realm.Hidden(access), Refresh: realm.Hidden(refresh), Lineage: lineage, Fingerprint: print1,
		IssuedAt: noon.Add(left - time.Hour), ExpiresAt: noon.Add(left),
	}
}

func cause(class grant.Class) string {
	return encodeCause(&grant.Error{Class: class, Kind: grant.KindRefused})
}

func TestDecide(t *testing.T) {
	live, dead := tokenOf("A1", "", 7, time.Minute), tokenOf("A1", "", 7, -time.Minute)
	rt, rtDead := tokenOf("A1", "R1", 7, time.Minute), tokenOf("A1", "R1", 7, -time.Minute)
	other := tokenstore.NewCallID()
	open := tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: other, Started: noon.Add(-time.Second), Deadline: noon.Add(14 * time.Second), Parent: 7}
	void := tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: other, Started: noon.Add(-20 * time.Second), Deadline: noon.Add(-5 * time.Second), Parent: 7}
	voidSpends := void
	voidSpends.SendsRefresh = true
	for name, c := range map[string]struct {
		w    *asks
		set  func(w *asks)
		s    tokenstore.State
		want ruling
		wait time.Duration
		src  rtSource
	}{
		"nothing is there":         {w: wants(load), want: granted},
		"somebody fetched":         {w: wants(load), s: tokenstore.State{Token: live}, want: served},
		"the stored one has ended": {w: wants(load), s: tokenstore.State{Token: dead}, want: granted},
		"of another secret": {w: wants(load), set: func(w *asks) {
			w.fingerprint = realm.Fingerprint{2}
			w.usable = func(realm.Token) bool { return false }
		}, s: tokenstore.State{Token: live}, want: granted},
		"renewing what is newest":         {w: wants(renew), set: func(w *asks) { w.after = 7 }, s: tokenstore.State{Token: live}, want: granted},
		"renewed by somebody":             {w: wants(renew), set: func(w *asks) { w.after = 6 }, s: tokenstore.State{Token: live}, want: served},
		"healing the current one":         {w: wants(heal), set: func(w *asks) { w.failed = "A1" }, s: tokenstore.State{Token: live}, want: granted},
		"a late failure of an older one":  {w: wants(heal), set: func(w *asks) { w.failed = "A0" }, s: tokenstore.State{Token: live}, want: served},
		"flushed by somebody":             {w: wants(flush), set: func(w *asks) { w.after = 6 }, s: tokenstore.State{Token: live}, want: served},
		"a claim is open":                 {w: wants(load), s: tokenstore.State{Token: dead, Claim: open}, want: busy, wait: 14 * time.Second},
		"a claim is void":                 {w: wants(load), s: tokenstore.State{Token: dead, Claim: void}, want: granted},
		"all places are taken":            {w: wants(load), s: tokenstore.State{Open: 4}, want: outpaced},
		"one place while it fails":        {w: wants(load), s: tokenstore.State{Open: 1, Budget: tokenstore.Budget{Failure: tokenstore.Failure{Count: 1}}}, want: outpaced},
		"the key has to wait":             {w: wants(load), s: tokenstore.State{Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}, Failure: tokenstore.Failure{Count: 3, At: noon, Until: noon.Add(4 * time.Second)}}}, want: refused, wait: 4 * time.Second},
		"another secret need not":         {w: wants(load), s: tokenstore.State{Claim: tokenstore.Claim{Failure: tokenstore.Failure{Count: 3, At: noon, Until: noon.Add(4 * time.Second)}}}, want: granted},
		"the realm has to wait":           {w: wants(load), s: tokenstore.State{Budget: tokenstore.Budget{Failure: tokenstore.Failure{At: noon, Until: noon.Add(7 * time.Second)}}}, want: refused, wait: 7 * time.Second},
		"a clock that went back":          {w: wants(load), s: tokenstore.State{Budget: tokenstore.Budget{Failure: tokenstore.Failure{At: noon.Add(time.Hour), Until: noon.Add(2 * time.Hour)}}}, want: granted},
		"hopeless":                        {w: wants(load), s: tokenstore.State{Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}, Failure: tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Hopeless)}}}, want: refused, wait: time.Minute},
		"hopeless, and somebody insists":  {w: wants(flush), s: tokenstore.State{Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}, Failure: tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Hopeless)}}}, want: granted},
		"throttled, and somebody insists": {w: wants(flush), s: tokenstore.State{Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}, Failure: tokenstore.Failure{At: noon.Add(-2 * time.Second), Until: noon.Add(time.Minute), Cause: cause(grant.Throttled)}}}, want: refused, wait: time.Minute},
		"too soon for the realm":          {w: wants(load), set: func(w *asks) { w.minInterval = 30 * time.Second }, s: tokenstore.State{Claim: tokenstore.Claim{Started: noon.Add(-10 * time.Second)}}, want: refused, wait: 20 * time.Second},

		"a refresh token":                      {w: refreshes(renew), set: func(w *asks) { w.after = 7 }, s: tokenstore.State{Token: rt}, want: granted, src: fromToken},
		"its end is believed only to prefer":   {w: refreshes(load), s: tokenstore.State{Token: func() realm.Token { t := rtDead; t.RefreshExpiresAt = noon.Add(-time.Hour); return t }()}, want: granted, src: fromToken},
		"never authorized":                     {w: refreshes(load), want: lapsed},
		"the secret's own":                     {w: refreshes(load), set: func(w *asks) { w.initial = "R0" }, want: granted, src: fromSecret},
		"refused, and the secret has one":      {w: refreshes(load), set: func(w *asks) { w.initial = "R0" }, s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}}}, want: granted, src: fromSecret},
		"refused, and a candidate is kept":     {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}, Candidates: []realm.Token{tokenOf("A9", "R9", 0, 0)}}}, want: granted, src: fromCandidate},
		"all refused":                          {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}}}, want: lapsed},
		"all refused, and it can fetch anew":   {w: refreshes(load), set: func(w *asks) { w.canFetch = true }, s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}}}, want: granted},
		"refused before the secret changed":    {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Refresh: 7}}}, want: granted, src: fromToken},
		"refused was an older one":             {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 6}}}, want: granted, src: fromToken},
		"a process died with the token alive":  {w: refreshes(renew), set: func(w *asks) { w.after = 7 }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: refused, wait: 45 * time.Second},
		"a process died, and the token is old": {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: voidSpends}, want: granted, src: fromToken},
		"a process died, stable":               {w: refreshes(renew), set: func(w *asks) { w.after, w.keeps = 7, true }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: granted, src: fromToken},
		"in doubt, and it can fetch anew":      {w: refreshes(renew), set: func(w *asks) { w.after, w.canFetch = 7, true }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: granted},
		"in doubt twice":                       {w: refreshes(renew), set: func(w *asks) { w.after = 7 }, s: tokenstore.State{Token: rt, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}, Doubt: tokenstore.Doubt{Count: 2, Lineage: 7}}}, want: refused, wait: time.Minute},
		"in doubt, and the API refuses it":     {w: refreshes(heal), set: func(w *asks) { w.failed = "A1" }, s: tokenstore.State{Token: rt, Claim: voidSpends}, want: granted, src: fromToken},
		"refused after a process was stopped":  {w: refreshes(load), s: tokenstore.State{Token: rtDead, Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1, Refresh: 7}, Doubt: tokenstore.Doubt{Count: 1, Lineage: 7, At: noon.Add(-5 * time.Second)}}}, want: refused, wait: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if c.set != nil {
				c.set(c.w)
			}
			s := c.s
			s.Now = noon
			v := c.w.decide(&s)
			if v.ruling != c.want || v.wait != c.wait || v.source != c.src && c.want == granted {
				t.Fatalf("got %d wait %v source %d, want %d wait %v source %d", v.ruling, v.wait, v.source, c.want, c.wait, c.src)
			}
			a := s.Claim
			if claimed := a.ID == c.w.id; claimed != (c.want == granted) {
				t.Errorf("claimed: %v", claimed)
			}
			if c.want == granted && (a.Started != noon || a.Deadline != noon.Add(15*time.Second) || a.SendsRefresh != (c.src != noRefresh) || a.Parent != c.s.Token.Lineage) {
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
		want  ruling
	}{"it fails": {cause(grant.Retryable), granted}, "a pause": {cause(grant.Throttled), refused}} {
		s := tokenstore.State{Now: noon}
		s.Budget.Failure = tokenstore.Failure{Count: 1, At: noon, Until: noon.Add(time.Minute), Cause: c.cause}
		if v := wants(exchange).decide(&s); v.ruling != c.want {
			t.Errorf("%s: %d", name, v.ruling)
		}
	}
}

// A token that the API refuses at once counts as a failed call: the next one
// waits, longer each time, until one worked.
func TestDecideOnATokenThatNeverWorked(t *testing.T) {
	s := tokenstore.State{Now: noon, Token: tokenOf("A1", "", 1, time.Hour), Claim: tokenstore.Claim{Started: noon, Rejected: tokenstore.Rejected{Digest: print1}, Purpose: "heal"}}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		w := wants(heal)
		w.failed, w.refuted = s.Token.Access, true
		v := w.decide(&s)
		if v.ruling != refused || v.wait != want {
			t.Fatalf("refusal %d: got %d, wait %v; want a wait of %v", i, v.ruling, v.wait, want)
		}
		if again := w.decide(&s); again.wait != want {
			t.Fatalf("the same refusal counted twice: %v", again.wait)
		}
		s.Now = s.Now.Add(want)
		if v = w.decide(&s); v.ruling != granted {
			t.Fatalf("after the wait: %d", v.ruling)
		}
		next := tokenOf("A"+string(rune('2'+i)), "", 0, time.Hour)
		(&ended{asks: w, verdict: v, token: next}).settle(&s)
		next.Lineage = s.Token.Lineage + 1
		s.Token, s.Save, s.Claim.Started = next, nil, s.Now
	}
	w := wants(heal)
	w.failed = s.Token.Access // this one had worked
	s.Now = s.Now.Add(time.Minute)
	v := w.decide(&s)
	if v.ruling != granted {
		t.Fatalf("%d", v.ruling)
	}
	(&ended{asks: w, verdict: v, token: tokenOf("A9", "", 0, time.Hour)}).settle(&s)
	if s.Claim.Failure.Count != 0 {
		t.Errorf("a success does not reset: %+v", s.Claim.Failure)
	}
}

// A token of a while ago may have worked on another node: where it is refused
// when it is used for the first time here, the provider is asked at once.
func TestDecideOnATokenThatWorkedElsewhere(t *testing.T) {
	w := wants(heal)
	w.failed, w.refuted = "A1", true
	s := tokenstore.State{Now: noon, Token: tokenOf("A1", "", 1, time.Hour), Claim: tokenstore.Claim{
		Started: noon.Add(-w.backoffCap), Rejected: tokenstore.Rejected{Digest: print1}, Purpose: "heal",
	}}
	if v := w.decide(&s); v.ruling != granted || s.Claim.Failure.Count != 0 {
		t.Fatalf("%+v", v)
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
		w := wants(load)
		if v := w.decide(&s); v.ruling != busy || v.wait != 15*time.Second {
			t.Fatalf("%+v", v)
		}
		s.Now = noon.Add(15 * time.Second)
		if v := w.decide(&s); v.ruling != granted {
			t.Fatalf("%+v", v)
		}
	})
	t.Run("a quota", func(t *testing.T) {
		w := wants(load)
		w.windows = []realm.Window{{Calls: 1, Per: realm.Duration(time.Hour)}}
		s := tokenstore.State{Now: noon, Budget: tokenstore.Budget{Windows: []tokenstore.Spending{
			{Per: time.Hour, Calls: []tokenstore.Calls{{First: ahead, Last: ahead, N: 1}}},
		}}}
		if v := w.decide(&s); v.ruling != refused || v.wait != time.Hour {
			t.Fatalf("%+v", v)
		}
		s.Now = noon.Add(time.Hour)
		if v := w.decide(&s); v.ruling != granted {
			t.Fatalf("%+v", v)
		}
	})
	t.Run("a refresh token in doubt", func(t *testing.T) {
		token := tokenOf("A1", "R1", 7, 0)
		token.IssuedAt, token.ExpiresAt = ahead, ahead.Add(time.Hour)
		s := tokenstore.State{Now: noon, Token: token, Claim: tokenstore.Claim{
			Rejected: tokenstore.Rejected{Digest: print1}, Doubt: tokenstore.Doubt{Count: 1, Lineage: 7, At: ahead},
		}}
		w := refreshes(load)
		w.usable = func(realm.Token) bool { return false }
		if v := w.decide(&s); v.ruling != granted {
			t.Fatalf("%+v", v)
		}
		(&ended{asks: w, verdict: verdict{parent: 7, source: fromToken, refresh: "R1"}, cause: failure(grant.Hopeless, grant.KindInvalidGrant, false)}).settle(&s)
		if v := w.decide(&s); v.ruling != refused || v.wait > w.lease() {
			t.Fatalf("%+v", v)
		}
	})
}

// A claim outlives its call, also where it was long in coming: the store dates
// it after it was asked for.
func TestClaimOutlivesItsCall(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, defaultTimeout, 5 * time.Minute} {
		w := wants(load)
		w.timeout = timeout
		s, _ := claimed(t, w, realm.Token{})
		sendBy, endBy := w.bounds(noon)
		if !endBy.After(sendBy) || s.Claim.Deadline.Sub(endBy) < time.Second {
			t.Errorf("%v: sent by %v, ended by %v, void at %v", timeout, sendBy, endBy, s.Claim.Deadline)
		}
	}
}

// No refresh token whose use is in doubt is sent again and again while the
// access token lives, wherever it is from.
func TestDoubtAboutAnotherRefreshToken(t *testing.T) {
	for source, set := range map[rtSource]func(w *asks, s *tokenstore.State){
		fromCandidate: func(_ *asks, s *tokenstore.State) {
			s.Claim.Rejected.Refresh, s.Claim.Candidates = 7, []realm.Token{tokenOf("A9", "R9", 0, 0)}
		},
		fromSecret: func(w *asks, s *tokenstore.State) { w.initial, s.Token.Refresh = "R0", "" },
	} {
		s := &tokenstore.State{Now: noon, Token: tokenOf("A1", "R1", 7, 30*time.Minute), Claim: tokenstore.Claim{Rejected: tokenstore.Rejected{Digest: print1}}}
		spends := 0
		for ; s.Now.Before(s.Token.ExpiresAt); s.Now = s.Now.Add(time.Second) {
			w := refreshes(renew)
			w.after = 7
			set(w, s)
			if v := w.decide(s); v.ruling == granted && v.source == source {
				spends++
				(&ended{asks: w, verdict: v, cause: failure(grant.Retryable, grant.KindTimeout, false)}).settle(s)
			}
		}
		if spends != 2 {
			t.Errorf("source %d: sent %d times, want once and once more", source, spends)
		}
	}
}
