package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func testAudit(t *testing.T, b Backend) {
	t.Run("changes", func(t *testing.T) { testAuditedChanges(t, b) })
	t.Run("append", func(t *testing.T) { testAppendAudit(t, b) })
	t.Run("filters", func(t *testing.T) { testAuditFilters(t, b) })
	t.Run("at once", func(t *testing.T) { testAuditAtOnce(t, b) })
	t.Run("first chains", func(t *testing.T) { testFirstChains(t, b) })
	t.Run("odd texts", func(t *testing.T) { testAuditTexts(t, b) })
	t.Run("tampering", func(t *testing.T) { testTampering(t, b) })
	t.Run("old ends", func(t *testing.T) { testOldEnds(t, b) })
	t.Run("lost list", func(t *testing.T) { testLostList(t, b) })
	t.Run("old list", func(t *testing.T) { testOldList(t, b) })
	t.Run("rotation", func(t *testing.T) { testAuditRotation(t, b) })
	t.Run("retention", func(t *testing.T) { testRetention(t, b) })
	t.Run("unverified", func(t *testing.T) { testUnverified(t, b) })
	t.Run("lost end", func(t *testing.T) { testLostEnd(t, b) })
	t.Run("dead chains", func(t *testing.T) { testDeadChains(t, b) })
	t.Run("not written", func(t *testing.T) { testUnwrittenAudit(t, b) })
}

// auditTime is when the entries of the tests happened, the first one; each one
// is a minute later.
var auditTime = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// auditEntry is an entry that n tells from others.
func auditEntry(n int) *tokenstore.AuditEntry {
	return &tokenstore.AuditEntry{
		Time: auditTime.Add(time.Duration(n) * time.Minute), ActorKind: "client", ActorID: fmt.Sprint("c", n%3), Address: "192.0.2.1",
		Act: "token.read", Realm: fmt.Sprint("r", n%2), Key: fmt.Sprint("k", n), Result: tokenstore.AuditOK, Detail: fmt.Sprint(n), Count: int64(n),
	}
}

// appendAudit writes the entries from one number to another one.
func appendAudit(t *testing.T, s tokenstore.Store, from, to int) {
	t.Helper()
	var entries []*tokenstore.AuditEntry
	for n := from; n <= to; n++ {
		entries = append(entries, auditEntry(n))
	}
	ok(t, s.AppendAudit(t.Context(), entries...))
}

// audited are all entries, oldest first.
func audited(t *testing.T, s tokenstore.Store) []tokenstore.AuditEntry {
	t.Helper()
	var all []tokenstore.AuditEntry
	ok(t, s.WalkAudit(t.Context(), tokenstore.AuditFilter{}, func(e tokenstore.AuditEntry) error {
		all = append(all, e)
		return nil
	}))
	return all
}

// breaks are the chains in which a verification found something.
func breaks(t *testing.T, s tokenstore.Store) (broken []tokenstore.AuditChain, entries int64) {
	t.Helper()
	ok(t, s.VerifyAudit(t.Context(), func(c tokenstore.AuditChain) {
		if c.Reason != "" {
			broken = append(broken, c)
		}
		if c.Last > 0 {
			entries += c.Last - c.First + 1
		}
	}))
	return broken, entries
}

// wantWhole fails where a verification finds something, or has not looked at
// every entry.
func wantWhole(t *testing.T, s tokenstore.Store) {
	t.Helper()
	broken, entries := breaks(t, s)
	if len(broken) > 0 {
		t.Errorf("the verification found %+v", broken)
	}
	if all := audited(t, s); entries != int64(len(all)) {
		t.Errorf("%d entries were verified, %d are there", entries, len(all))
	}
}

// by is a context with an entry about an act.
func by(t *testing.T, act string) context.Context {
	return tokenstore.WithAudit(t.Context(), tokenstore.AuditEntry{Time: auditTime, ActorKind: "admin", Address: "127.0.0.1", Act: act, Result: tokenstore.AuditOK})
}

// testAuditedChanges: every change leaves an entry that says what it was about,
// and what changed nothing leaves none.
func testAuditedChanges(t *testing.T, b Backend) {
	s := fresh(t, b)
	refused := errors.New("refused")
	saveRealm := func(err error) {
		t.Helper()
		_, got := s.UpdateRealm(by(t, "realm.update"), "wx", func(realm.Realm, bool) (realm.Realm, error) { return sample("wx"), err })
		if !errors.Is(got, err) {
			t.Fatal(got)
		}
	}
	saveSecret := func() {
		t.Helper()
		_, err := s.UpdateSecret(by(t, "secret.update"), realm.Ref{Realm: "wx", Key: "main"}, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
			return old, tokenstore.TokenChange{}, nil
		})
		ok(t, err)
	}
	saveCompany := func() {
		t.Helper()
		_, err := s.UpdateCompany(by(t, "company.update"), "9111", func(c tokenstore.Company, _ bool) (tokenstore.Company, error) { return c, nil })
		ok(t, err)
	}
	saveClient := func(act string) {
		t.Helper()
		_, err := s.UpdateClient(by(t, act), "billing", func(c tokenstore.Client, _ bool) (tokenstore.Client, error) { return c, nil })
		ok(t, err)
	}
	saveRealm(nil)
	saveRealm(nil)
	saveRealm(refused)
	saveSecret()
	saveSecret()
	saveCompany()
	saveCompany()
	if err := s.DeleteRealm(by(t, "realm.delete"), "unknown", false); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Fatal(err)
	}
	ok(t, s.DeleteCompany(by(t, "company.delete"), "9111"))
	ok(t, s.DeleteSecret(by(t, "secret.delete"), realm.Ref{Realm: "wx", Key: "main"}))
	ok(t, s.DeleteRealm(by(t, "realm.delete"), "wx", true))
	saveClient("client.update")
	saveClient("client.update")
	saveClient("client.rotate")
	ok(t, s.DeleteClient(by(t, "client.delete"), "billing"))
	// What is saved for another reason is no change of the secret.
	_, err := SaveToken(by(t, "token.flush"), s, realm.Ref{Realm: "wx", Key: "main"}, token(1), 0)
	ok(t, err)
	_, err = SaveRealm(t.Context(), s, sample("unaudited"))
	ok(t, err)

	var got []string
	for _, e := range audited(t, s) {
		got = append(got, strings.TrimSpace(fmt.Sprint(e.Seq, " ", e.Act, " ", e.Realm, " ", e.Key, " ", e.Target)))
		if e.Node == "" || e.ActorKind != "admin" || e.Address != "127.0.0.1" || e.Result != tokenstore.AuditOK || !e.Time.Equal(auditTime) {
			t.Errorf("got %+v", e)
		}
	}
	same(t, []string{
		"1 realm.create wx", "2 realm.update wx", "3 secret.create wx main", "4 secret.update wx main", "5 company.create   9111",
		"6 company.update   9111", "7 company.delete   9111", "8 secret.delete wx main", "9 realm.delete wx",
		"10 client.create   billing", "11 client.update   billing", "12 client.rotate   billing", "13 client.delete   billing",
	}, got)
	wantWhole(t, s)
}

func testAppendAudit(t *testing.T, b Backend) {
	s := fresh(t, b)
	wantWhole(t, s) // of nothing
	first, second := auditEntry(1), auditEntry(2)
	second.Time = time.Time{}
	ok(t, s.AppendAudit(t.Context(), first, second))
	third := auditEntry(3)
	ok(t, s.AppendAudit(t.Context(), third))
	if first.Node == "" || first.Node != third.Node || first.Seq != 1 || second.Seq != 2 || third.Seq != 3 || second.Time.IsZero() {
		t.Errorf("got %+v, %+v, %+v", first, second, third)
	}
	all := audited(t, s)
	slices.SortFunc(all, func(a, b tokenstore.AuditEntry) int { return int(a.Seq - b.Seq) })
	same(t, []tokenstore.AuditEntry{*first, *second, *third}, all)
	appendAudit(t, s, 4, 1203) // more than a batch
	if all := audited(t, s); len(all) != 1203 {
		t.Errorf("%d entries", len(all))
	}
	wantWhole(t, s)
}

func testAuditFilters(t *testing.T, b Backend) {
	s := fresh(t, b)
	appendAudit(t, s, 1, 30)
	refused := auditEntry(31)
	refused.ActorKind, refused.ActorID, refused.Act, refused.Result = "local", "", "realm.update", tokenstore.AuditRefused
	ok(t, s.AppendAudit(t.Context(), refused))
	at := func(n int) time.Time { return auditEntry(n).Time }
	for name, c := range map[string]struct {
		filter tokenstore.AuditFilter
		total  int
		newest string
	}{
		"all":               {tokenstore.AuditFilter{}, 31, "31"},
		"from":              {tokenstore.AuditFilter{From: at(29)}, 3, "31"},
		"to":                {tokenstore.AuditFilter{To: at(29)}, 28, "28"},
		"both":              {tokenstore.AuditFilter{From: at(3), To: at(5)}, 2, "4"},
		"actor":             {tokenstore.AuditFilter{Actor: "c1"}, 10, "28"},
		"kind of actor":     {tokenstore.AuditFilter{Actor: "local"}, 1, "31"},
		"kind, with an id":  {tokenstore.AuditFilter{Actor: "client"}, 0, ""},
		"realm":             {tokenstore.AuditFilter{Realm: "r0"}, 15, "30"},
		"realm and key":     {tokenstore.AuditFilter{Realm: "r0", Key: "k4"}, 1, "4"},
		"act":               {tokenstore.AuditFilter{Act: "realm.update"}, 1, "31"},
		"result":            {tokenstore.AuditFilter{Result: tokenstore.AuditRefused}, 1, "31"},
		"of another case":   {tokenstore.AuditFilter{Realm: "R0"}, 0, ""},
		"no pattern":        {tokenstore.AuditFilter{Realm: "r_"}, 0, ""},
		"in contradiction":  {tokenstore.AuditFilter{Actor: "c1", Result: tokenstore.AuditRefused}, 0, ""},
		"realm of an actor": {tokenstore.AuditFilter{Actor: "c1", Realm: "r1"}, 5, "25"},
	} {
		t.Run(name, func(t *testing.T) {
			list, total, err := s.Audit(t.Context(), c.filter, tokenstore.Page{Number: 1, Size: 2})
			ok(t, err)
			if total != c.total || len(list) != min(2, c.total) || c.total > 0 && list[0].Detail != c.newest {
				t.Errorf("got %d of %d: %+v", len(list), total, list)
			}
			walked := 0
			ok(t, s.WalkAudit(t.Context(), c.filter, func(tokenstore.AuditEntry) error { walked++; return nil }))
			if walked != c.total {
				t.Errorf("walked %d", walked)
			}
		})
	}
	second, _, err := s.Audit(t.Context(), tokenstore.AuditFilter{}, tokenstore.Page{Number: 2, Size: 10})
	ok(t, err)
	if len(second) != 10 || second[0].Detail != "21" {
		t.Errorf("second page: %+v", second)
	}
	stop := errors.New("stop")
	if err := s.WalkAudit(t.Context(), tokenstore.AuditFilter{}, func(tokenstore.AuditEntry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// testAuditAtOnce: changes and entries of many callers make one chain a node,
// while others verify.
func testAuditAtOnce(t *testing.T, b Backend) {
	const workers, each = 8, 12
	stores := handles(t, b)
	var work sync.WaitGroup
	for w := range workers {
		s := stores[w%len(stores)]
		work.Go(func() {
			for n := range each {
				ref := realm.Ref{Realm: fmt.Sprint("w", w%3), Key: fmt.Sprint(w, "-", n)}
				_, err := s.UpdateSecret(by(t, "secret.update"), ref, func(old realm.Secret, _ bool) (realm.Secret, tokenstore.TokenChange, error) {
					return old, tokenstore.TokenChange{}, nil
				})
				if err == nil {
					err = s.AppendAudit(t.Context(), auditEntry(n))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Go(func() {
		for range 5 {
			if broken, _ := breaks(t, stores[0]); len(broken) > 0 {
				t.Errorf("while others write: %+v", broken)
			}
		}
	})
	work.Wait()
	if all := audited(t, stores[0]); len(all) != 2*workers*each {
		t.Errorf("%d entries", len(all))
	}
	wantWhole(t, stores[0])
}

// testFirstChains: several nodes that begin the first chains of a database at
// the same time are all in the list. Whoever came second took the list, which was
// not there when it looked, for a lost one.
func testFirstChains(t *testing.T, b Backend) {
	const nodes = 8
	db, ring := b.Fresh(t), Ring(t)
	var work sync.WaitGroup
	begin := make(chan struct{})
	var stores []tokenstore.Store
	for n := range nodes {
		s := Open(t, db.Handle(t, ring))
		stores = append(stores, s)
		work.Go(func() {
			<-begin
			if err := s.AppendAudit(t.Context(), auditEntry(n)); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	work.Wait()
	if all := audited(t, stores[0]); len(all) != nodes {
		t.Errorf("%d entries", len(all))
	}
	wantWhole(t, stores[0])
}

// testAuditTexts: whoever is refused may have sent anything.
func testAuditTexts(t *testing.T, b Backend) {
	s := fresh(t, b)
	long := strings.Repeat("微", 2000)
	for _, text := range []string{"\x00", "a\xffb", long, "</script>\u2028\"'\\", "😀", strings.Repeat("\xff", 300)} {
		e := &tokenstore.AuditEntry{
			Time: auditTime, ActorKind: text, ActorID: text, Address: text, Act: text, Realm: text, Key: text,
			Target: text, Result: text, Code: text, Detail: text,
		}
		ok(t, s.AppendAudit(t.Context(), e))
		list, _, err := s.Audit(t.Context(), tokenstore.AuditFilter{}, tokenstore.Page{Number: 1, Size: 1})
		ok(t, err)
		same(t, []tokenstore.AuditEntry{*e}, list)
	}
	wantWhole(t, s)
}

// testAuditRotation: the chains outlive the encryption keys.
func testAuditRotation(t *testing.T, b Backend) {
	db, oldKey, newKey := b.Fresh(t), Key(t), Key(t)
	s := Open(t, db.Handle(t, Ring(t, oldKey)))
	appendAudit(t, s, 1, 5)
	ok(t, s.Close())
	s = Open(t, db.Handle(t, Ring(t, newKey, oldKey)))
	appendAudit(t, s, 6, 7)
	rotate(t, s)
	appendAudit(t, s, 8, 9)
	wantWhole(t, s)
	ok(t, s.Close())
	s = Open(t, db.Handle(t, Ring(t, newKey)))
	appendAudit(t, s, 10, 12)
	wantWhole(t, s)
	if all := audited(t, s); len(all) != 12 {
		t.Errorf("%d entries", len(all))
	}
	db.Alter(t, "UPDATE tokens_audit SET entry = REPLACE(entry, '192.0.2.1', '192.0.2.2') WHERE seq = 5")
	if found, _ := breaks(t, s); len(found) != 1 {
		t.Errorf("got %+v", found)
	}
}

// testRetention: what is deleted for its age leaves a chain that verifies, and
// nobody can delete in its name.
func testRetention(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	prune := func(before time.Time, want int) {
		t.Helper()
		if n, err := s.PruneAudit(t.Context(), before); err != nil || n != want {
			t.Fatalf("%d were deleted, %v", n, err)
		}
		wantWhole(t, s)
	}
	appendAudit(t, s, 1, 1300) // more than two batches
	prune(auditTime, 0)
	prune(auditEntry(1201).Time, 1200)
	prune(auditEntry(1201).Time, 0)
	appendAudit(t, s, 1301, 1310)
	prune(auditEntry(1301).Time, 100)
	all := audited(t, s)
	checkpoints := slices.DeleteFunc(slices.Clone(all), func(e tokenstore.AuditEntry) bool { return e.Act != tokenstore.ActCheckpoint })
	if len(all) != 10+len(checkpoints) || len(checkpoints) != 4 || checkpoints[0].Target != all[0].Node || !strings.Contains(checkpoints[0].Detail, "1 to 500") {
		t.Errorf("got %d entries, checkpoints %+v", len(all), checkpoints)
	}

	// An old beginning does not hide that somebody else deletes.
	db.Alter(t, "DELETE FROM tokens_audit_heads WHERE kind = ?", []byte("start"))
	if found, _ := breaks(t, s); len(found) != 1 || found[0].Seq != 1 {
		t.Errorf("without a beginning: %+v", found)
	}
}

// testUnwrittenAudit: a change without its entry is not done.
func testUnwrittenAudit(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	_, err := SaveRealm(by(t, "realm.update"), s, sample("before"))
	ok(t, err)
	db.Alter(t, "ALTER TABLE tokens_audit RENAME TO hidden")
	_, err = SaveRealm(by(t, "realm.update"), s, sample("wx"))
	if !errors.Is(err, tokenstore.ErrAudit) {
		t.Errorf("got %v", err)
	}
	if err := s.AppendAudit(t.Context(), auditEntry(1)); !errors.Is(err, tokenstore.ErrAudit) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Realm(t.Context(), "wx"); !errors.Is(err, tokenstore.ErrRealmNotFound) {
		t.Errorf("the change was done: %v", err)
	}
	_, err = SaveRealm(t.Context(), s, sample("unaudited"))
	ok(t, err)
	db.Alter(t, "ALTER TABLE hidden RENAME TO tokens_audit")
	_, err = SaveRealm(by(t, "realm.update"), s, sample("wx"))
	ok(t, err)
	wantWhole(t, s)
	if raw := fmt.Sprint(audited(t, s)); bytes.Contains([]byte(raw), []byte("shared-1")) {
		t.Errorf("a secret is in the audit: %s", raw)
	}
}
