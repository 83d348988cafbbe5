package claim

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What the model found, each as small as it gets.

// spending is a call that was claimed to spend a refresh token.
func spending(source Source, refresh realm.Hidden, parent int64) *Outcome {
	r := request(Load)
	r.CanFetch, r.CanRefresh, r.Initial, r.Random = false, true, "seed", func(d time.Duration) time.Duration { return d }
	return NewOutcome(r, Decision{Source: source, RefreshToken: refresh, Parent: parent})
}

func claimedBy(e *Outcome, now time.Time, t realm.Token) *tokenstore.State {
	return &tokenstore.State{Now: now, Token: t, Claim: tokenstore.Claim{
		Phase: tokenstore.PhaseCalling, ID: e.Request.ID, Parent: e.Parent, SendsRefresh: true, Started: now, Deadline: now.Add(time.Minute),
	}}
}

// saved does what a store does with a token that was saved.
func saved(s *tokenstore.State) {
	s.Save.Lineage = s.Token.Lineage + 1
	s.Token, s.Save = *s.Save, nil
}

// The secret's refresh token was sent again when all others were refused,
// though it had been exchanged: a provider that knows families of tokens ends
// the whole family for that.
func TestSeedIsSpentOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(FromSecret, "seed", 0)
	e.Token = realm.Token{Access: "A", Refresh: "R", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	s := claimedBy(e, now, realm.Token{})
	e.Settle(s)
	saved(s)
	s.Claim.Rejected.Refresh = s.Token.Lineage
	if source, _ := e.Request.chooseSource(s); source != NoRefreshToken {
		t.Fatalf("source %d", source)
	}
}

// An outcome that was saved while the store's answer got lost was saved once
// more: beside a token that had followed meanwhile, as a candidate that the
// provider had seen spent.
func TestSettledOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(FromToken, "R1", 1)
	e.Token = realm.Token{Access: "A2", Refresh: "R2", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	s := claimedBy(e, now, realm.Token{Access: "A1", Refresh: "R1", Lineage: 1})
	e.Settle(s)
	saved(s)
	s.Token = realm.Token{Access: "A3", Refresh: "R3", Lineage: 3, IssuedAt: now.Add(time.Minute)}
	e.Settle(s)
	if s.Save != nil || len(s.Claim.Candidates) != 0 {
		t.Fatalf("settled again: %d candidates", len(s.Claim.Candidates))
	}
}

// So it went for a call that failed: its refresh token counted as sent twice,
// and was not tried before the end of the access token.
func TestDoubtedOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(FromToken, "R1", 1)
	e.Cause = &grant.Error{Class: grant.Retryable, Kind: grant.KindTimeout}
	s := claimedBy(e, now, realm.Token{Access: "A1", Refresh: "R1", Lineage: 1})
	e.Settle(s)
	e.Settle(s)
	if s.Claim.Doubt.Count != 1 || s.Claim.Failure.Count != 1 {
		t.Fatalf("%d times in doubt, %d failures", s.Claim.Doubt.Count, s.Claim.Failure.Count)
	}
}

// A call that was stopped until its claim was void could hold the only good
// refresh token, though another one had been saved meanwhile: it was not waited
// for.
func TestStoppedCallIsWaitedFor(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(FromToken, "R1", 1)
	s := claimedBy(e, now, realm.Token{Refresh: "R2", Lineage: 2})
	s.Now = s.Claim.Deadline
	e.Request.Initial, e.Request.Concurrency = "", 1
	closeExpired(s)
	s.Claim.Rejected.Refresh = 2
	if d := e.Request.Decide(s); d.Verdict != Wait || d.Wait != e.Request.Life() {
		t.Fatalf("verdict %d, wait %v", d.Verdict, d.Wait)
	}
	s.Now = s.Now.Add(e.Request.Life())
	if d := e.Request.Decide(s); d.Verdict != NeedsAuthorization {
		t.Fatalf("verdict %d", d.Verdict)
	}
}
