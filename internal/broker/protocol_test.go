package broker

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// What the model found, each as small as it gets.

// spending is a call that was claimed to spend a refresh token.
func spending(source rtSource, refresh realm.Hidden, parent int64) *ended {
	w := &asks{id: tokenstore.NewCallID(), draw: func(d time.Duration) time.Duration { return d }}
	w.canRefresh, w.initial, w.backoffCap = true, "seed", time.Minute
	return &ended{asks: w, verdict: verdict{source: source, refresh: refresh, parent: parent}}
}

func claimedBy(e *ended, now time.Time, t realm.Token) *tokenstore.State {
	return &tokenstore.State{Now: now, Token: t, Claim: tokenstore.Claim{
		Phase: tokenstore.PhaseCalling, ID: e.id, Parent: e.parent, SendsRefresh: true, Started: now, Deadline: now.Add(time.Minute),
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
	e := spending(fromSecret, "seed", 0)
	e.token = realm.Token{Access: "A", Refresh: "R", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	s := claimedBy(e, now, realm.Token{})
	e.settle(s)
	saved(s)
	s.Claim.Rejected.Refresh = s.Token.Lineage
	if source, _ := e.means(s); source != noRefresh {
		t.Fatalf("source %d", source)
	}
}

// The same where the process died in between, and the next one found the answer
// in its spool.
func TestSeedIsSpentOnceByReplay(t *testing.T) {
	keys, err := tokenstore.NewKeyring(storetest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	ref, now := realm.Ref{Realm: "r", Key: "k"}, time.Unix(1_700_000_000, 0)
	db, spool := newMemory(func() time.Time { return now }), tokenstore.NewSpool(t.TempDir(), keys)
	e := spending(fromSecret, "seed", 0)
	db.attempts[ref] = claimedBy(e, now, realm.Token{}).Claim
	token := realm.Token{Access: "A", Refresh: "R", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	if err := spool.Add(tokenstore.SpoolEntry{ID: e.id, Ref: ref, Token: token}); err != nil {
		t.Fatal(err)
	}
	p := New(&memoryStore{db: db}, zap.NewNop(), nil, WithSpool(spool))
	defer func() { _ = p.Destruct() }()
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := db.state(ref)
	if s.Token.Refresh != "R" {
		t.Fatal("the answer is not in the store")
	}
	s.Claim.Rejected.Refresh = s.Token.Lineage
	if source, _ := e.means(&s); source != noRefresh {
		t.Fatalf("source %d", source)
	}
}

// An outcome that was saved while the store's answer got lost was saved once
// more: beside a token that had followed meanwhile, as a candidate that the
// provider had seen spent.
func TestSettledOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(fromToken, "R1", 1)
	e.token = realm.Token{Access: "A2", Refresh: "R2", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	s := claimedBy(e, now, realm.Token{Access: "A1", Refresh: "R1", Lineage: 1})
	e.settle(s)
	saved(s)
	s.Token = realm.Token{Access: "A3", Refresh: "R3", Lineage: 3, IssuedAt: now.Add(time.Minute)}
	e.settle(s)
	if s.Save != nil || len(s.Claim.Candidates) != 0 {
		t.Fatalf("settled again: %d candidates", len(s.Claim.Candidates))
	}
}

// So it went for a call that failed: its refresh token counted as sent twice,
// and was not tried before the end of the access token.
func TestDoubtedOnce(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(fromToken, "R1", 1)
	e.cause = &grant.Error{Class: grant.Retryable, Kind: grant.KindTimeout}
	s := claimedBy(e, now, realm.Token{Access: "A1", Refresh: "R1", Lineage: 1})
	e.settle(s)
	e.settle(s)
	if s.Claim.Doubt.Count != 1 || s.Claim.Failure.Count != 1 {
		t.Fatalf("%d times in doubt, %d failures", s.Claim.Doubt.Count, s.Claim.Failure.Count)
	}
}

// A transaction that took long made the store's clock look ahead by half of
// that time, and tokens were saved with an end that other nodes believed, and
// that was too late.
func TestSlowAnswerTellsNoTime(t *testing.T) {
	c := newClock()
	p := &Pool{now: c.now}
	sent := c.now()
	c.advance(30 * time.Second)
	p.setClock(c.now(), sent)
	if ahead := time.Duration(p.ahead.Load()); ahead != 0 {
		t.Fatalf("the store is taken to be %v ahead", ahead)
	}
	p.setClock(c.now().Add(90*time.Second), c.now().Add(-time.Second))
	if ahead := time.Duration(p.ahead.Load()); ahead < 90*time.Second || ahead > 91*time.Second {
		t.Fatalf("the store is taken to be %v ahead", ahead)
	}
	c.advance(30 * time.Second)
	p.setClock(c.now().Add(90*time.Second), c.now().Add(-30*time.Second))
	if ahead := time.Duration(p.ahead.Load()); ahead != 90*time.Second {
		t.Fatalf("the store is taken to be %v ahead", ahead)
	}
}

// A call that was stopped until its claim was void could hold the only good
// refresh token, though another one had been saved meanwhile: it was not waited
// for.
func TestStoppedCallIsWaitedFor(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := spending(fromToken, "R1", 1)
	s := claimedBy(e, now, realm.Token{Refresh: "R2", Lineage: 2})
	s.Now = s.Claim.Deadline
	e.initial, e.concurrency = "", 1
	e.expire(s)
	s.Claim.Rejected.Refresh = 2
	if v := e.decide(s); v.ruling != refused || v.wait != e.lease() {
		t.Fatalf("ruling %d, wait %v", v.ruling, v.wait)
	}
	s.Now = s.Now.Add(e.lease())
	if v := e.decide(s); v.ruling != lapsed {
		t.Fatalf("ruling %d", v.ruling)
	}
}
