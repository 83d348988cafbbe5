package broker

import (
	"net"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A provider at an address that may not be dialled: nothing is sent, but every
// attempt takes a call from the realm's quota. A caller a second spent the quota
// of a day within half an hour, and the address was still refused for budget
// when it was allowed. With the address allowed, the next call is made at once.
func TestForbiddenAddressSparesTheQuota(t *testing.T) {
	n := newNode(t)
	config := n.wechat()
	config.Limits.Windows = []realm.Window{{Calls: 2000, Per: realm.Duration(24 * time.Hour)}}
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	policy, err := netguard.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := n.pool.View(ViewConfig{Client: grant.NewClient(policy.Dialer(new(net.Dialer)), n.clock.now)})
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if _, err := guarded.Token(t.Context(), wx); err == nil {
			t.Fatal("a private address was dialled")
		}
		n.clock.advance(time.Second)
	}
	left, _ := n.pool.budgets.Load("wx")
	if spent := 2000 - left.left; spent > 12 {
		t.Errorf("%d calls were taken from the quota in ten minutes", spent)
	}
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
}
