package sqlstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// TestClaimsOfTheDeadAreVoid: what another process left open is over when the
// file is opened; what another pool of this process has open goes on, and what
// was over or closed stays as it was.
func TestClaimsOfTheDeadAreVoid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	id := tokenstore.NewCallID()
	put := func(key string, a tokenstore.Claim, left time.Duration) tokenstore.Claim {
		t.Helper()
		st, err := s.Coordinate(t.Context(), realm.Ref{Realm: "wx", Key: key}, func(st *tokenstore.State) error {
			st.Claim = a
			st.Claim.Purpose, st.Claim.Deadline = "expired", st.Now.Add(left)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return st.Claim
	}
	want := map[string]tokenstore.Claim{
		"dead":   put("dead", tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id, Node: "host-1-00", SendsRefresh: true, Parent: 3}, time.Minute),
		"none":   put("none", tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id}, time.Minute),
		"own":    put("own", tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id, Node: tokenstore.NodeID()}, time.Minute),
		"over":   put("over", tokenstore.Claim{Phase: tokenstore.PhaseCalling, ID: id, Node: "host-1-00"}, -time.Minute),
		"waits":  put("waits", tokenstore.Claim{ID: id, Node: "host-1-00", Phase: tokenstore.PhaseAwaiting}, time.Minute),
		"closed": put("closed", tokenstore.Claim{Node: "host-1-00"}, time.Minute),
	}
	second := openSQLite(t, path, keyring(t))
	for key, before := range want {
		st, err := second.Peek(t.Context(), realm.Ref{Realm: "wx", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		got := st.Claim
		if key == "dead" || key == "none" {
			if got.Deadline.After(st.Now) || !got.Deadline.After(st.Now.Add(-time.Minute)) {
				t.Errorf("%s: the deadline is %v, at %v", key, got.Deadline, st.Now)
			}
			before.Deadline = got.Deadline
		}
		if got.ID != before.ID || got.Node != before.Node || got.Deadline != before.Deadline || got.Parent != before.Parent || got.SendsRefresh != before.SendsRefresh {
			t.Errorf("%s: %+v became %+v", key, before, got)
		}
	}
	st, err := second.Peek(t.Context(), realm.Ref{Realm: "wx", Key: "another"})
	if err != nil || st.Open != 1 {
		t.Fatalf("%d claims are open, %v", st.Open, err)
	}
}

// TestOldRunsAreForgotten: the table of runs would grow for ever.
func TestOldRunsAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := openSQLite(t, path, keyring(t))
	for _, age := range []time.Duration{30 * 24 * time.Hour, 8 * 24 * time.Hour, 6 * 24 * time.Hour, 0} {
		if mine, err := s.Once(t.Context(), "nightly", time.Now().Add(-age)); err != nil || !mine {
			t.Fatal(mine, err)
		}
	}
	var left int
	if err := plainDB(t, path).QueryRowContext(t.Context(), "SELECT COUNT(*) FROM tokens_runs").Scan(&left); err != nil || left != 2 {
		t.Fatalf("%d runs are left, %v", left, err)
	}
}
