package broker

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// damaged is a store in which the state of one (realm, key) cannot be read.
type damaged struct {
	tokenstore.Store
	ref realm.Ref
}

func (s *damaged) Coordinate(ctx context.Context, ref realm.Ref, decide func(*tokenstore.State) error) (tokenstore.State, error) {
	if ref == s.ref {
		return tokenstore.State{}, fmt.Errorf("the row of %s: %w", ref, tokenstore.ErrDamaged)
	}
	return s.Store.Coordinate(ctx, ref, decide)
}

// What a process that is gone had in its spool is saved at the next start; what
// cannot be, because that row is damaged, stays where it is and stops nobody.
func TestReplayOfTheSpool(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	broken, whole := realm.Ref{Realm: "wx", Key: "broken"}, realm.Ref{Realm: "wx", Key: "whole"}
	for _, ref := range []realm.Ref{broken, whole} {
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	keys := testKeyring(t)
	if err := keys.Load(false); err != nil {
		t.Fatal(err)
	}
	spool := tokenstore.NewSpool(filepath.Join(t.TempDir(), "spool"), keys)
	for _, ref := range []realm.Ref{broken, whole} {
		answer := tokenstore.SpoolEntry{ID: tokenstore.NewCallID(), Ref: ref, Parent: 1, Token: tokenOf("A2", "R2", 0, time.Hour)}
		if err := spool.Add(answer); err != nil {
			t.Fatal(err)
		}
	}
	next := New(&damaged{n.pool.store, broken}, zap.NewNop(), n.clock.now, WithSpool(spool))
	if err := next.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.cancel(); next.work.Wait() }) // the store is the node's
	if s, err := n.pool.store.Peek(t.Context(), whole); err != nil || s.Token.Refresh != "R2" || s.Token.Lineage != 2 {
		t.Errorf("%+v, %v", s.Token, err)
	}
	left, err := spool.Entries(t.Context())
	if err != nil || len(left) != 1 || left[0].Ref != broken {
		t.Errorf("in the spool: %v, %v", left, err)
	}
}

// An answer goes to the disk first where it cannot be had again. That of a code
// cannot, however often its refresh token may be sent; it was taken for one that
// can.
func TestSpooledAnswers(t *testing.T) {
	keys := testKeyring(t)
	if err := keys.Load(false); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		source  claim.Source
		keeps   bool
		refresh string
		spooled bool
	}{
		"a refresh":                      {source: claim.FromToken, refresh: "R", spooled: true},
		"a refresh that may be repeated": {source: claim.FromToken, keeps: true, refresh: "R"},
		"a code":                         {source: claim.FromCode, refresh: "R", spooled: true},
		"a code, and a stable token":     {source: claim.FromCode, keeps: true, refresh: "R", spooled: true},
		"no refresh token":               {source: claim.NoRefreshToken},
	} {
		p := &Pool{log: zap.NewNop(), spool: tokenstore.NewSpool(filepath.Join(t.TempDir(), "spool"), keys)}
		a := &attempt{pool: p, ref: realm.Ref{Realm: "r", Key: "k"}, log: p.log}
		o := claim.NewOutcome(&claim.Request{Terms: claim.Terms{MayResend: c.keeps}}, claim.Decision{Source: c.source})
		o.Token = tokenOf("A", c.refresh, 0, 0)
		if said := a.spool(o); said != c.spooled {
			t.Errorf("%s: spooled: %t", name, said)
		}
		entries, err := p.spool.Entries(t.Context())
		if err != nil || len(entries) > 0 != c.spooled || c.spooled && entries[0].FromCode != (c.source == claim.FromCode) {
			t.Errorf("%s: the spool holds %+v, %v", name, entries, err)
		}
	}
}

// What a process that is gone got for an authorization code was saved beside
// what had been kept of the authorization before, which may be another
// account's; and it counted as the refresh token of the secret, spent.
func TestReplayOfACode(t *testing.T) {
	for name, c := range map[string]struct {
		fromCode bool
		now      realm.Token // what is stored at the start
		refresh  realm.Hidden
		kept     int
	}{
		"a refresh":                       {now: tokenOf("A1", "R1", 1, 0), refresh: "R2", kept: 1},
		"a code":                          {fromCode: true, now: tokenOf("A1", "R1", 1, 0), refresh: "R2"},
		"a code, and no token before":     {fromCode: true, now: tokenOf("", "", 1, 0), refresh: "R2"},
		"a code, and somebody was faster": {fromCode: true, now: tokenOf("A3", "R3", 2, 0), refresh: "R3", kept: 2},
	} {
		ref := realm.Ref{Realm: "r", Key: "k"}
		db, id := newMemory(func() time.Time { return noon }), tokenstore.NewCallID()
		db.tokens[ref] = memoryToken{Token: c.now}
		db.attempts[ref] = tokenstore.Claim{Started: noon, Phase: tokenstore.PhaseCalling, ID: id, Parent: 1, Candidates: []realm.Token{tokenOf("A0", "R0", 0, 0)}}
		p := New(&memoryStore{db: db}, zap.NewNop(), nil)
		if err := p.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = p.Destruct() }()
		entry := tokenstore.SpoolEntry{ID: id, Ref: ref, Parent: 1, FromCode: c.fromCode, Token: tokenOf("A2", "R2", 0, 0)}
		for range 2 { // a power failure brings an entry back
			if err := p.replayEntry(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
		}
		s := db.state(ref)
		if s.Token.Refresh != c.refresh || len(s.Claim.Candidates) != c.kept || s.Claim.Rejected.Initial {
			t.Errorf("%s: %s is stored beside %d candidates, the secret's own is spent: %t",
				name, s.Token.Refresh.Reveal(), len(s.Claim.Candidates), s.Claim.Rejected.Initial)
		}
	}
}
