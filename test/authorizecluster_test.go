package test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// newAccounts is the same account on two nodes, which share a MariaDB and a
// Redis. The server sends the browser to the second.
func newAccounts(t *testing.T, start func(*testing.T, authOptions) *authServer) (a *account, b *node) {
	t.Helper()
	on := mariaDBAndRedis(t)
	a, b = &account{node: launchForPeople(t, on)}, launchForPeople(t, on)
	a.server = start(t, authOptions{callback: b.proxy + accountCallback, life: time.Hour})
	a.keepsQuiet(a.node)
	a.keepsQuiet(b)
	a.post("/api/realm", codeRealm(a.server))
	a.post("/api/secret", codeSecret)
	eventually(t, "the secret is known on both nodes", func() bool {
		status, _ := b.try(b.admin + "/api/secret/oa/main")
		return status == http.StatusOK
	})
	return a, b
}

// The callback arrives at another node than the one that made the link. From
// then on both serve the API, with one token.
func TestCallbackAtAnotherNode(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a, b := newAccounts(t, start)
		callback := a.returned(ann)
		b.get(callback, http.StatusOK)
		a.wantServed(a.node)
		a.wantServed(b)
		a.get(strings.Replace(callback, b.proxy, a.proxy, 1), http.StatusBadRequest) // replayed at the first node
		if x, y := a.token("oa", "main"), b.token("oa", "main"); x.Token != y.Token {
			t.Error("the nodes do not share a token")
		}

		a.server.kill(t, a.server.ledger.newest(t).Access)
		var race sync.WaitGroup
		for _, n := range []*node{a.node, b, a.node, b} {
			race.Go(func() {
				if status, body := n.try(n.proxy + accountAPI + a.server.api); status != http.StatusOK {
					t.Errorf("got %d %s", status, body)
				}
			})
		}
		race.Wait()
		if n := a.wantChain(1); n != 1 {
			t.Errorf("%d refreshes for one dead token", n)
		}
	})
}

// Both nodes ask for a person where the refresh token was revoked, and both
// serve again after one authorization.
func TestAuthorizedAgainAtAnotherNode(t *testing.T) {
	onEachServer(t, func(t *testing.T, start func(*testing.T, authOptions) *authServer) {
		a, b := newAccounts(t, start)
		b.get(a.returned(ann), http.StatusOK)
		a.wantServed(a.node)
		a.wantServed(b)
		a.server.revokeToken(t, a.server.ledger.newest(t).Refresh, "refresh_token")
		a.eventuallyLost(a.node)
		a.eventuallyLost(b)
		b.get(a.returned(ann), http.StatusOK)
		for _, n := range []*node{a.node, b} {
			eventually(t, "the new token is used on both nodes", func() bool {
				status, _ := n.try(n.proxy + accountAPI + a.server.api)
				return status == http.StatusOK
			})
		}
	})
}
