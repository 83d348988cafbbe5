package broker

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// What the model found, each as small as it gets.

// The secret's refresh token was sent again when all others were refused, though
// it had been exchanged: the process had died in between, and the next one found
// the answer in its spool.
func TestSeedIsSpentOnceByReplay(t *testing.T) {
	keys, err := tokenstore.NewKeyring(storetest.Key(t))
	if err != nil {
		t.Fatal(err)
	}
	ref, now := realm.Ref{Realm: "r", Key: "k"}, time.Unix(1_700_000_000, 0)
	db, spool := newMemory(func() time.Time { return now }), tokenstore.NewSpool(t.TempDir(), keys)
	id := tokenstore.NewCallID()
	db.attempts[ref] = tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id, SendsRefresh: true, Started: now, Deadline: now.Add(time.Minute)}
	token := realm.Token{Access: "A", Refresh: "R", IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	if err := spool.Add(tokenstore.SpoolEntry{ID: id, Ref: ref, Token: token}); err != nil {
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
	if !s.Claim.Rejected.Initial {
		t.Fatal("the secret's own refresh token is sent once more")
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
