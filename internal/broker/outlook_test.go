package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Renewals are counted in the step in which they are due, and only those of tokens
// that may be seen.
func TestOutlook(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	other := realm.Ref{Realm: "wx", Key: "other"}
	for _, ref := range []realm.Ref{wx, other} {
		n.saveSecret(t, ref, "key_1", "app", "key_2", "s3cret-value")
		if _, err := n.Token(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	due := n.pool.entry(wx).live.Load().renewAt.Time()
	outlook := func(from time.Time, may func(realm.Ref) bool) string {
		states, renewals := n.Outlook(from, 3, time.Minute, may)
		return fmt.Sprint(states["live"], states["idle"], renewals[1])
	}
	onlyWx := func(ref realm.Ref) bool { return ref == wx }
	if got := outlook(due.Add(-90*time.Second), onlyWx); got != "1 0 1" {
		t.Error(got)
	}
	if got := outlook(due.Add(-5*time.Minute), onlyWx); got != "1 0 0" {
		t.Error(got)
	}
	if states, renewals := n.Outlook(due.Add(time.Hour), 1, time.Minute, nil); states["live"] != 2 || renewals[0] != 2 {
		t.Errorf("overdue: %v %v", states, renewals)
	}
}
