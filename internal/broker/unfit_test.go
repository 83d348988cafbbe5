package broker

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// wantFailing asserts that a token is failing for a reason, everywhere where that is
// told.
func (n *node) wantFailing(t *testing.T, ref realm.Ref, reason string) {
	t.Helper()
	s := n.status(t, ref)
	if s.State != "failing" || !strings.Contains(s.LastError, reason) || s.LastErrorAt == nil || s.NextRefresh != nil {
		t.Errorf("the status: %+v", s)
	}
	if s.Failure != string(grant.KindRequest) {
		t.Errorf("the kind of failure is %q", s.Failure)
	}
	counts := n.Counts([]string{ref.Realm}, nil)[ref.Realm]
	if counts.States["failing"] != 1 || counts.Attention != 1 {
		t.Errorf("the counts: %+v", counts)
	}
	page := tokenstore.Page{Number: 1, Size: 10}
	if _, total := n.StatusPage(t.Context(), StatusQuery{Page: page, Attention: true, Realm: ref.Realm}); total != 1 {
		t.Errorf("%d tokens need attention", total)
	}
	if _, total := n.StatusPage(t.Context(), StatusQuery{Page: page, State: "failing", Realm: ref.Realm}); total != 1 {
		t.Errorf("%d tokens are listed as failing", total)
	}
	if sum := n.sum(t, ref.Realm); sum != "1 failing" {
		t.Errorf("the metrics: %s", sum)
	}
	if byState, _ := n.Outlook(n.clock.now(), 1, time.Minute, func(one realm.Ref) bool { return one == ref }); byState["failing"] != 1 {
		t.Errorf("the outlook: %v", byState)
	}
}

// A secret without a field that its realm reads was shown as idle: nothing that lists
// what needs attention had it.
func TestUnfitSecretIsFailing(t *testing.T) {
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app")
	w := n.Watch()
	defer w.Close()
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.wantFailing(t, wx, "key_2")
	if changes, _ := w.Take(); len(changes) != 1 || changes[0].State != "failing" {
		t.Errorf("a watch was told %+v", changes)
	}

	n.saveSecret(t, wx, "key_2", "s3cret-value")
	if s := n.status(t, wx); s.State != StateIdle || s.LastError != "" {
		t.Errorf("after the field came: %+v", s)
	}
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if s := n.status(t, wx); s.State != StateLive || s.LastError != "" {
		t.Errorf("with a token: %+v", s)
	}
}

// A fault is found out again by each attempt: it keeps nobody from trying, and a
// renewal of it waits like any other.
func TestFaultBlocksNothing(t *testing.T) {
	n := ready(t)
	e := n.pool.entry(wx)
	c, err := n.Catalog().Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	of, now := origin{n.View, c}, realm.InstantOf(n.clock.now())
	e.recordFailure(newFault(of, unavailable(http.StatusBadGateway, "a fault", nil), now), 0)
	e.backOff(of, now, time.Minute)
	if s := n.status(t, wx); s.State != "failing" || s.LastError != "a fault" {
		t.Errorf("while its renewal waits: %+v", s)
	}
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if s := n.status(t, wx); s.State != StateLive || s.LastError != "" {
		t.Errorf("with a token: %+v", s)
	}
}

// A realm that asks for more than the secret has makes its token useless; with the
// realm of before, the token is there again.
func TestRealmThatAsksForMore(t *testing.T) {
	n := ready(t)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	more := n.wechat()
	more.Arguments = append(more.Arguments, realm.Argument{Name: "agent", Place: realm.PlaceURL, Value: "$key_3"})
	n.saveRealm(t, "wx", more)
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.wantFailing(t, wx, "key_3")

	n.saveRealm(t, "wx", n.wechat())
	if s := n.status(t, wx); s.State != StateLive || s.LastError != "" {
		t.Errorf("after the realm was put right: %+v", s)
	}
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	if s := n.status(t, wx); s.State != StateLive || s.LastError != "" {
		t.Errorf("with a token: %+v", s)
	}
}

// A configuration that is loaded anew has the realms of the Caddyfile anew.
func TestFaultEndsWithAReload(t *testing.T) {
	n := newNode(t)
	config := n.wechat()
	config.Arguments = append(config.Arguments, realm.Argument{Name: "agent", Place: realm.PlaceURL, Value: "$key_3"})
	n.View = n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: config}})
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.wantFailing(t, wx, "key_3")
	n.View = n.configure(t, catalog.Definition{Realm: realm.Realm{ID: "wx", Config: n.wechat()}})
	if s := n.status(t, wx); s.State != StateIdle || s.LastError != "" {
		t.Errorf("after the reload: %+v", s)
	}
}

// Other ways in which there is no token before any provider is asked.
func TestOtherFaults(t *testing.T) {
	for name, test := range map[string]struct {
		config func(n *node, c *realm.Config)
		fields []string
		code   realm.Code
		status int
		reason string
	}{
		"a fixed token that has ended": {
			func(_ *node, c *realm.Config) { c.Recipe, c.Grant = realm.Recipe{}, &realm.Grant{Name: "static"} },
			[]string{"token", "T-0", "expires_at", "1000"},
			realm.CodeTokenUnavailable, http.StatusBadGateway, "has ended",
		},
		"a fixed token that there is not": {
			func(_ *node, c *realm.Config) { c.Recipe, c.Grant = realm.Recipe{}, &realm.Grant{Name: "static"} },
			[]string{"other", "x"},
			realm.CodeFixedToken, http.StatusBadGateway, "token",
		},
		"a value that was not pushed": {
			func(_ *node, c *realm.Config) { c.Volatile = []string{"key_2"} },
			[]string{"key_1", "app"},
			realm.CodeTokenUnavailable, http.StatusServiceUnavailable, "key_2",
		},
		"a parent that there is not": {
			func(n *node, c *realm.Config) { c.URL = n.provider.URL + "/token?p={token_of.suite.main}" },
			[]string{"key_1", "app", "key_2", "s3cret-value"},
			realm.CodeTokenUnavailable, http.StatusBadGateway, "suite/main",
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.saveParentRealm(t)
			config := n.wechat()
			test.config(n, &config)
			n.saveRealm(t, "wx", config)
			n.saveSecret(t, wx, test.fields...)
			_, err := n.Token(t.Context(), wx)
			wantError(t, err, test.code, test.status)
			n.wantFailing(t, wx, test.reason)
		})
	}
}

// saveParentRealm saves a realm whose tokens may go to the provider of the test.
func (n *node) saveParentRealm(t *testing.T) {
	t.Helper()
	config := n.wechat()
	config.API = n.provider.URL
	n.saveRealm(t, "suite", config)
}

// A parent whose secret does not fit is named by the error of its child.
func TestUnfitParent(t *testing.T) {
	n := newNode(t)
	n.saveParentRealm(t)
	n.saveSecret(t, suite, "key_1", "app")
	config := n.wechat()
	config.URL = n.provider.URL + "/token?p={token_of.suite.main}"
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.wantFailing(t, wx, "the token of suite/main is needed first: the secret does not fit the realm: key_2")

	// Nobody tells the child that its parent was put right.
	n.saveSecret(t, suite, "key_1", "app", "key_2", "s3cret-value")
	n.clock.advance(reauthRetry)
	if s := n.status(t, wx); s.State != StateIdle || s.LastError != "" {
		t.Errorf("a while after the parent was put right: %+v", s)
	}
}

// A secret that is saved is looked at at once. One that fits is not worth an entry, and
// neither is one that is gone.
func TestExamine(t *testing.T) {
	n := ready(t)
	n.Examine(t.Context(), wx)
	if _, ok := n.StatusOf(wx); ok {
		t.Error("memory has an entry of a secret that fits")
	}
	other := realm.Ref{Realm: "wx", Key: "other"}
	n.saveSecret(t, other, "key_1", "app")
	n.Examine(t.Context(), other)
	n.wantFailing(t, other, "key_2")
	c, err := n.Catalog().Realm(t.Context(), "wx")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Catalog().DeleteSecret(context.Background(), other); err != nil {
		t.Fatal(err)
	}
	n.noteUnfit(t.Context(), c, other)
	if _, ok := n.StatusOf(other); ok {
		t.Error("memory has an entry of a secret that is gone")
	}
	if n.provider.calls.Load() != 0 {
		t.Error("the provider was asked")
	}
}
