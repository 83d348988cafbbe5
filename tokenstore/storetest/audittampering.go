package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// testTampering: whoever can write the database and does not have the key
// cannot change, take away, add, or move an entry unnoticed.
func testTampering(t *testing.T, b Backend) {
	const node, other = "BROKEN", "OTHER"
	for name, c := range map[string]struct {
		// statements name the chains as BROKEN and OTHER.
		statements []string
		seq        int64
		reason     string
	}{
		"a changed byte": {
			[]string{"UPDATE tokens_audit SET entry = REPLACE(entry, '192.0.2.1', '192.0.2.2') WHERE node = BROKEN AND seq = 4"}, 4, "altered",
		},
		"a changed column": {[]string{"UPDATE tokens_audit SET result = x'6f6f' WHERE node = BROKEN AND seq = 3"}, 3, "column"},
		"a changed time":   {[]string{"UPDATE tokens_audit SET at = (SELECT at FROM copied WHERE node = BROKEN AND seq = 7) WHERE node = BROKEN AND seq = 5"}, 5, "column"},
		"a changed digest": {[]string{"UPDATE tokens_audit SET digest = x'00' WHERE node = BROKEN AND seq = 2"}, 2, "altered"},
		"no text":          {[]string{"UPDATE tokens_audit SET entry = '{' WHERE node = BROKEN AND seq = 2"}, 2, "altered"},
		"a hole":           {[]string{"DELETE FROM tokens_audit WHERE node = BROKEN AND seq = 5"}, 5, "missing"},
		"no beginning":     {[]string{"DELETE FROM tokens_audit WHERE node = BROKEN AND seq < 4"}, 1, "missing"},
		"a cut tail":       {[]string{"DELETE FROM tokens_audit WHERE node = BROKEN AND seq > 8"}, 9, "end are missing"},
		"no entries":       {[]string{"DELETE FROM tokens_audit WHERE node = BROKEN"}, 1, "end are missing"},
		"swapped entries": {[]string{
			"UPDATE tokens_audit SET seq = 100 WHERE node = BROKEN AND seq = 4", "UPDATE tokens_audit SET seq = 4 WHERE node = BROKEN AND seq = 6",
			"UPDATE tokens_audit SET seq = 6 WHERE node = BROKEN AND seq = 100",
		}, 4, "another entry"},
		"a foreign entry": {[]string{
			"DELETE FROM tokens_audit WHERE node = BROKEN AND seq = 4",
			"INSERT INTO tokens_audit SELECT BROKEN, seq, at, act, realm, ref_key, actor_kind, actor_id, result, entry, digest FROM copied WHERE node = OTHER AND seq = 4",
		}, 4, "another entry"},
		"an entry too many": {[]string{
			"INSERT INTO tokens_audit SELECT node, 11, at, act, realm, ref_key, actor_kind, actor_id, result, entry, digest FROM copied WHERE node = BROKEN AND seq = 10",
		}, 11, "another entry"},
		"an entry in front": {[]string{
			"INSERT INTO tokens_audit SELECT node, 0, at, act, realm, ref_key, actor_kind, actor_id, result, entry, digest FROM copied WHERE node = BROKEN AND seq = 10",
		}, 0, "deleted for its age"},
		"a head of another number": {[]string{"UPDATE tokens_audit_heads SET version = 8 WHERE kind = 'end' AND node = BROKEN"}, 1, "damaged"},
		"a head of another chain": {[]string{
			"DELETE FROM tokens_audit_heads WHERE kind = 'end' AND node = BROKEN",
			"INSERT INTO tokens_audit_heads SELECT kind, BROKEN, seal, key_id, version FROM copied_heads WHERE kind = 'end' AND node = OTHER",
		}, 1, "damaged"},
		"no head": {[]string{"DELETE FROM tokens_audit_heads WHERE kind = 'end' AND node = BROKEN"}, 1, "end of the chain is missing"},
		"an end as a beginning": {[]string{
			"INSERT INTO tokens_audit_heads SELECT 'start', node, seal, key_id, version FROM copied_heads WHERE kind = 'end' AND node = BROKEN",
			"DELETE FROM tokens_audit WHERE node = BROKEN",
		}, 0, "beginning of the chain is damaged"},
		"no chain": {[]string{
			"DELETE FROM tokens_audit WHERE node = BROKEN", "DELETE FROM tokens_audit_heads WHERE node = BROKEN",
		}, 1, "end of the chain is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			db, ring := b.Fresh(t), Ring(t)
			s := Open(t, db.Handle(t, ring))
			appendAudit(t, s, 1, 10)
			broken := audited(t, s)[0].Node
			ok(t, s.Close())
			s = Open(t, db.Handle(t, ring))
			appendAudit(t, s, 11, 20)
			whole := audited(t, s)[19].Node
			wantWhole(t, s)
			db.Alter(t, "CREATE TABLE copied AS SELECT * FROM tokens_audit")
			db.Alter(t, "CREATE TABLE copied_heads AS SELECT * FROM tokens_audit_heads")
			for _, statement := range c.statements {
				// The names hold nothing that would have to be quoted.
				statement = strings.ReplaceAll(strings.ReplaceAll(statement, node, fmt.Sprintf("x'%x'", broken)), other, fmt.Sprintf("x'%x'", whole))
				for _, word := range []string{"end", "start"} {
					statement = strings.ReplaceAll(statement, "'"+word+"'", fmt.Sprintf("x'%x'", word))
				}
				db.Alter(t, statement)
			}
			found, _ := breaks(t, s)
			if len(found) != 1 || found[0].Node != broken || found[0].Seq != c.seq || !strings.Contains(found[0].Reason, c.reason) {
				t.Errorf("got %+v", found)
			}
		})
	}
}

// testOldEnds: an end that was put back, together with the entries of then, is
// noticed by the process that wrote the newer one.
func testOldEnds(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	appendAudit(t, s, 1, 5)
	putBack := copyTable(t, db, "tokens_audit_heads")
	appendAudit(t, s, 6, 9)
	putBack("")
	db.Alter(t, "DELETE FROM tokens_audit WHERE seq > 5")
	if found, _ := breaks(t, s); len(found) != 1 || !strings.Contains(found[0].Reason, "not the newest") {
		t.Errorf("got %+v", found)
	}
	// The next entry continues what was cut, so that all others notice.
	appendAudit(t, s, 10, 10)
	if found, _ := breaks(t, s); len(found) != 1 || found[0].Seq != 6 || !strings.Contains(found[0].Reason, "missing") {
		t.Errorf("got %+v", found)
	}
}

// testLostList: a chain cannot be taken away together with the list that names
// it.
func testLostList(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	appendAudit(t, s, 1, 5)
	gone := audited(t, s)[0].Node
	putBack := copyTable(t, db, "tokens_audit_heads")
	reopen := func(from, to int) {
		t.Helper()
		ok(t, s.Close())
		s = Open(t, db.Handle(t, ring))
		appendAudit(t, s, from, to)
	}
	reopen(6, 7)
	second := audited(t, s)[5].Node
	reopen(8, 9)
	third := audited(t, s)[7].Node

	// The list of then does not name the other chains.
	db.Alter(t, "DELETE FROM tokens_audit WHERE node = ?", []byte(second))
	db.Alter(t, "DELETE FROM tokens_audit_heads WHERE node = ?", []byte(second))
	putBack(" WHERE kind = ?", []byte("chains"))
	if found, _ := breaks(t, s); len(found) == 0 || found[0].Node != "" || !strings.Contains(found[0].Reason, "list of the chains") {
		t.Errorf("an old list: %+v", found)
	}
	db.Alter(t, "DELETE FROM tokens_audit_heads WHERE kind = ?", []byte("chains"))
	found, _ := breaks(t, s)
	if len(found) != 3 || found[0].Node != "" || !strings.Contains(found[0].Reason, "list of the chains") {
		t.Errorf("no list: %+v", found)
	}
	// Another list is made, which says that the one before was lost.
	reopen(10, 11)
	found, entries := breaks(t, s)
	if len(found) != 1 || !strings.Contains(found[0].Reason, "lost") || entries != 9 {
		t.Errorf("with a new list: %+v, %d entries of %s, %s", found, entries, gone, third)
	}
}

// testOldList: an old list is not taken for the newest one when the next chain
// begins.
func testOldList(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	appendAudit(t, s, 1, 2)
	putBack := copyTable(t, db, "tokens_audit_heads")
	for range 2 {
		ok(t, s.Close())
		s = Open(t, db.Handle(t, ring))
		appendAudit(t, s, 3, 4)
		putBack(" WHERE kind = ?", []byte("chains"))
	}
	if found, _ := breaks(t, s); len(found) == 0 || found[0].Node != "" {
		t.Errorf("an old list: %+v", found)
	}
	ok(t, s.Close())
	s = Open(t, db.Handle(t, ring))
	appendAudit(t, s, 5, 6)
	if found, entries := breaks(t, s); len(found) != 1 || !strings.Contains(found[0].Reason, "lost") || entries != 8 {
		t.Errorf("with a new list: %+v, %d entries", found, entries)
	}
}

// testUnverified: what cannot be verified is not deleted for its age, because
// nobody could tell any more that it was altered.
func testUnverified(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	appendAudit(t, s, 1, 10)
	db.Alter(t, "UPDATE tokens_audit SET entry = REPLACE(entry, '192.0.2.1', '192.0.2.2') WHERE seq = 7")
	for _, want := range []int{6, 0} {
		if n, err := s.PruneAudit(t.Context(), auditEntry(11).Time); err != nil || n != want {
			t.Errorf("%d were deleted, %v", n, err)
		}
		if found, _ := breaks(t, s); len(found) != 1 || found[0].Seq != 7 || !strings.Contains(found[0].Reason, "altered") {
			t.Errorf("got %+v", found)
		}
	}
}

// testLostEnd: a process whose chain somebody removed goes on with another one.
func testLostEnd(t *testing.T, b Backend) {
	db := b.Fresh(t)
	s := Open(t, db.Handle(t, Ring(t)))
	appendAudit(t, s, 1, 3)
	lost := audited(t, s)[0].Node
	db.Alter(t, "DELETE FROM tokens_audit_heads WHERE kind = ?", []byte("end"))
	_, err := SaveRealm(by(t, "realm.update"), s, sample("wx"))
	ok(t, err)
	e := auditEntry(5)
	ok(t, s.AppendAudit(t.Context(), e))
	if e.Node == lost || e.Seq != 2 {
		t.Errorf("got %+v", e)
	}
	if found, _ := breaks(t, s); len(found) != 1 || found[0].Node != lost {
		t.Errorf("got %+v", found)
	}
}

// testDeadChains: a chain of which nothing is left is taken off the list.
func testDeadChains(t *testing.T, b Backend) {
	db, ring := b.Fresh(t), Ring(t)
	s := Open(t, db.Handle(t, ring))
	appendAudit(t, s, 1, 5)
	dead := audited(t, s)[0].Node
	ok(t, s.Close())
	s = Open(t, db.Handle(t, ring))
	appendAudit(t, s, 6, 9)
	n, err := s.PruneAudit(t.Context(), auditEntry(8).Time)
	ok(t, err)
	if n != 7 {
		t.Errorf("%d were deleted", n)
	}
	chains := 0
	ok(t, s.VerifyAudit(t.Context(), func(c tokenstore.AuditChain) {
		if chains++; c.Node == dead || c.Reason != "" {
			t.Errorf("got %+v", c)
		}
	}))
	if chains != 1 {
		t.Errorf("%d chains are left", chains)
	}
	wantWhole(t, s)
}
