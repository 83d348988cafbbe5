package broker

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A token that lives and is not due is left alone; one that is due is renewed
// before the call returns; one that is missing is obtained.
func TestEnsure(t *testing.T) {
	n := ready(t)
	ensured := func(token string, source realm.Source) {
		t.Helper()
		lease, err := n.Ensure(t.Context(), wx)
		if err != nil || lease.Access.Reveal() != token || lease.Source != source {
			t.Fatalf("%v %v", lease, err)
		}
	}
	ensured("T-1-app", realm.FromUpstream)
	n.clock.advance(time.Hour)
	ensured("T-1-app", realm.FromMemory)
	n.clock.advance(58 * time.Minute)
	ensured("T-2-app", realm.FromUpstream)
}

// A token that is due as soon as it comes, because the provider took half of
// its life to give it, is not asked for twice.
func TestEnsureOfASlowShortToken(t *testing.T) {
	n := ready(t)
	n.provider.then(func(w http.ResponseWriter, r *http.Request, call int64) {
		n.clock.advance(6 * time.Second)
		gives(10)(w, r, call)
	})
	if lease, err := n.Ensure(t.Context(), wx); err != nil || lease.Source != realm.FromUpstream {
		t.Fatalf("%v %v", lease, err)
	}
	if calls := calls64(n); calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// RenewNow renews a token that is not due, but none that was obtained a moment
// ago; and it says so where the provider gives the same one.
func TestRenewNow(t *testing.T) {
	n := ready(t)
	renewed := func(token string, untouched bool) {
		t.Helper()
		lease, fresh, err := n.RenewNow(t.Context(), wx)
		if err != nil || lease.Access.Reveal() != token || fresh != untouched {
			t.Fatalf("%v, fresh %v, %v", lease, fresh, err)
		}
	}
	renewed("T-1-app", false)
	renewed("T-1-app", true)
	n.clock.advance(2 * time.Minute)
	renewed("T-2-app", false)
	n.clock.advance(2 * time.Minute)
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = w.Write([]byte(`{"access_token":"T-2-app","expires_in":7000}`))
	})
	renewed("T-2-app", true)
	n.provider.then(fails(http.StatusBadGateway))
	n.clock.advance(2 * time.Minute)
	_, _, err := n.RenewNow(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	want(t, n.View, wx, "T-2-app", realm.FromMemory)
}

// What is a moment depends on how long the token lives.
func TestRenewNowOfShortTokens(t *testing.T) {
	n := ready(t)
	n.provider.then(gives(100))
	for _, tt := range []struct {
		passed time.Duration
		token  string
		fresh  bool
	}{{0, "T-1-app", false}, {9 * time.Second, "T-1-app", true}, {2 * time.Second, "T-2-app", false}} {
		n.clock.advance(tt.passed)
		lease, fresh, err := n.RenewNow(t.Context(), wx)
		if err != nil || lease.Access.Reveal() != tt.token || fresh != tt.fresh {
			t.Fatalf("%s later: %v, fresh %v, %v", tt.passed, lease, fresh, err)
		}
	}
}

// Two nodes renew at the same time: the second waits for the first, and one
// call is made.
func TestRenewNowWaitsForTheOtherNode(t *testing.T) {
	a, b := pair(t, nil)
	want(t, a.View, wx, "T-1-app", realm.FromUpstream)
	want(t, b.View, wx, "T-1-app", realm.FromDatabase)
	a.clock.advance(2 * time.Minute)
	gate, reached := make(chan struct{}), make(chan struct{}, 2)
	a.provider.then(blocks(gate, reached, gives(7200)))
	got := make(chan string, 2)
	renew := func(n *node) {
		lease, fresh, err := n.RenewNow(t.Context(), wx)
		got <- fmt.Sprintf("%s %v %v", lease.Access.Reveal(), fresh, err)
	}
	go renew(a)
	<-reached
	go renew(b)
	eventually(t, "the second one waits", func() bool {
		e, ok := b.pool.entries.Load(wx)
		return ok && e.currentFlight() != nil
	})
	close(gate)
	for range 2 {
		if s := <-got; s != "T-2-app false <nil>" {
			t.Error(s)
		}
	}
}

// At the start, accounts that the server authorizes itself get their tokens in
// the background, of two nodes by one each; what is there and lives is left
// alone.
func TestAccountsGetTheirTokensAtTheStart(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	refs := []realm.Ref{jd}
	for i := range 9 {
		refs = append(refs, realm.Ref{Realm: jd.Realm, Key: fmt.Sprint("k", i)})
		a.saveSecret(t, refs[i+1], "client_id", fmt.Sprint("app", i))
	}
	want(t, a.View, jd, "T-1-app", realm.FromUpstream)
	for _, n := range []*node{a, b} {
		n.Drive()
		if err := n.pool.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all have a token on both nodes", func() bool {
		for _, n := range []*node{a, b} {
			for _, ref := range refs {
				if n.pool.live(ref) == nil {
					return false
				}
			}
		}
		return true
	})
	if asked := s.authorizations(); asked != len(refs) {
		t.Errorf("%d authorizations of %d accounts", asked, len(refs))
	}
}

// An account whose first token cannot be had is tried again, by the schedule
// alone; a login that was refused is not, before an hour.
func TestAccountIsTriedAgain(t *testing.T) {
	for name, failure := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		within time.Duration
		asked  int
	}{
		"down":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, time.Minute, 2},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>wrong password</html>")) }, 50 * time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCodeServer(t)
			s.then(failure.answer)
			n := s.account(t, true)
			n.Drive()
			eventually(t, "the first attempt", func() bool { return s.authorizations() == 1 })
			n.settled(t)
			s.then(nil)
			n.turns(t, failure.within, 10*time.Second)
			if asked := s.authorizations(); asked != failure.asked {
				t.Fatalf("%d attempts within %v", asked, failure.within)
			}
			n.turns(t, 30*time.Minute, 10*time.Second)
			if n.pool.live(jd) == nil {
				t.Error("no token in the end")
			}
		})
	}
}

// A refresh token can be imported, beside an access token or alone.
func TestImportedRefreshToken(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	token, refresh, empty := realm.Hidden("imported"), realm.Hidden("R-0"), realm.Hidden("")
	end := n.clock.now().Add(time.Minute)
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, Token: &token, ExpiresAt: &end, RefreshToken: &refresh, RefreshExpiresAt: &end}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, jd, "imported", realm.FromDatabase)
	var sent string
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		sent = form.Get("refresh_token")
		s.gives(w, form)
	})
	n.clock.advance(2 * time.Minute)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
	if sent != "R-0" {
		t.Errorf("sent %q", sent)
	}
	refresh = "R-9"
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, RefreshToken: &refresh}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, jd, "T-1-app", realm.FromDatabase) // it stays
	n.clock.advance(2 * time.Hour)
	want(t, n.View, jd, "T-2-app", realm.FromUpstream)
	if sent != "R-9" {
		t.Errorf("sent %q", sent)
	}
	// An access token alone leaves the refresh token where it is.
	end = n.clock.now().Add(time.Minute)
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, Token: &token, ExpiresAt: &end}); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, jd, "imported", realm.FromDatabase)
	n.clock.advance(2 * time.Minute)
	want(t, n.View, jd, "T-3-app", realm.FromUpstream)
	if sent != "R-2" {
		t.Errorf("sent %q", sent)
	}
	for _, u := range []catalog.SecretUpdate{
		{Ref: jd, RefreshExpiresAt: &end}, {Ref: jd, RefreshToken: &empty},
	} {
		if _, err := n.Catalog().SaveSecret(t.Context(), u); err == nil {
			t.Errorf("taken: %+v", u)
		}
	}
}

// How many calls may be under way is what the realm says, else the
// configuration.
func TestConcurrency(t *testing.T) {
	n := ready(t)
	for _, want := range []int{defaultConcurrency, 7} {
		if places, err := n.Concurrency(t.Context(), "wx"); err != nil || places != want {
			t.Fatalf("%d %v, want %d", places, err, want)
		}
		config := n.wechat()
		config.Limits.Concurrency = 7
		n.saveRealm(t, "wx", config)
	}
	_, err := n.Concurrency(t.Context(), "nobody")
	wantError(t, err, realm.CodeRealmNotFound, http.StatusNotFound)
}
