package test

import (
	"net/http"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// On a full disk a node serves the tokens that live, spends no refresh token
// that it could not keep, and goes on when there is room again.
func TestFullDisk(t *testing.T) {
	p := fakeprovider.New(fakeprovider.Options{
		Credentials: map[string]string{"app": "app-secret-01"},
		Refresh:     fakeprovider.RefreshRule{Semantics: fakeprovider.Strict},
	})
	base := p.Start(t)
	n := launchOn(t, sqlite(t))
	n.post("/api/realm", rotationRealm("rt", base, fakeprovider.Strict))
	f := &fleet{provider: p, members: []member{{node: n}}}
	f.authorize()
	f.eventuallyServes(t, rotationAPI)

	lift := testserver.LimitFiles(t, n.cmd.Process.Pid, 1)
	spent := len(p.Spends())
	load := startDemand(t, n.proxy+rotationAPI)
	for range 3 {
		if status, body := n.try(n.admin + "/api/token?realm=rt&key=main&flush=true"); status == http.StatusOK {
			t.Errorf("a token was fetched on a full disk: %s", body)
		}
	}
	if status, _ := n.tryPost("/api/realm", wechatRealm("other", base)); status == http.StatusOK {
		t.Error("a realm was stored on a full disk: it is not full")
	}
	if n := len(p.Spends()) - spent; n != 0 {
		t.Errorf("%d refresh tokens were spent on a full disk", n)
	}
	eventually(t, "calls are served meanwhile", func() bool { return load.made() >= 20 })
	calls := load.wantAllServed(t)
	lift()
	eventually(t, "there is room again", func() bool {
		status, _ := n.try(n.admin + "/api/token?realm=rt&key=main&flush=true")
		return status == http.StatusOK
	})
	n.kill()
	n.start()
	if got := n.token("rt", "main").Token; got != p.Newest() || len(p.Reuses()) != 0 {
		t.Errorf("stored is token %d of %d, %d refresh tokens were sent twice", p.Rank(got), len(p.Issued()), len(p.Reuses()))
	}
	t.Logf("full disk: %d calls served with the live token, 0 refresh tokens spent", calls)
}
