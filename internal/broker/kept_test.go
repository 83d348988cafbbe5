package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// keeping is a realm whose tokens are used with what comes with them: where the
// API is, and whose company it is.
func (s *codeServer) keeping(unattended bool) realm.Config {
	c := s.config(unattended)
	c.API, c.Hosts = "https://{answer.host}/v3/{callback.realmId}", []string{"*.api.example"}
	c.Inject = append(c.Inject, realm.Injection{Place: realm.PlaceHeader, Name: "X-User", Value: "{answer.user.id}"})
	c.Refresh.Arguments = append(c.Refresh.Arguments, realm.Argument{Name: "company", Place: realm.PlaceBody, Value: "{callback.realmId}"})
	return c
}

// instance answers with a token of an instance of the API; none for "".
func instance(host string) func(w http.ResponseWriter, form url.Values) {
	return func(w http.ResponseWriter, form url.Values) {
		answer := map[string]any{
			"access_token": "T-" + form.Get("code") + form.Get("refresh_token"), "expires_in": 3600,
			"refresh_token": "R-" + form.Get("company") + form.Get("code") + form.Get("refresh_token"), "user": map[string]any{"id": 7},
		}
		if host != "" {
			answer["host"] = host
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// authorizeBy has a person authorize, whose callback has more than a code.
func (s *codeServer) authorizeBy(t *testing.T, n *node, more string) error {
	t.Helper()
	return visit(t.Context(), t, n, s.callback(begun(t, n))+more)
}

// wantAPI asserts the token of a proxied request and where that goes.
func wantAPI(t *testing.T, n *node, ref realm.Ref, token, api string) {
	t.Helper()
	lease, err := n.Proxyable(t.Context(), ref)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if lease.Access.Reveal() != token || lease.Target.API.String() != api {
		t.Fatalf("%q goes to %v, want %q to %s", lease.Access.Reveal(), lease.Target.API, token, api)
	}
}

// What came with a token is there for every node, after a reload, and after a
// refresh whose answer does not have it; a refresh whose answer has it replaces it.
func TestWhatComesWithATokenIsKept(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, false)
	a.saveRealm(t, jd.Realm, s.keeping(false))
	a.saveSecret(t, jd, "client_id", "app") // for the hosts of the realm
	s.thenToken(instance("acme.api.example"))
	if err := s.authorizeBy(t, a, "&realmId=91"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{a, b} {
		wantAPI(t, n, jd, "T-code-1", "https://acme.api.example/v3/91")
	}
	a.View = a.configure(t)
	wantAPI(t, a, jd, "T-code-1", "https://acme.api.example/v3/91")
	if lease, _ := a.Token(t.Context(), jd); lease.Values[1] != "7" {
		t.Errorf("injected %q", lease.Values)
	}

	s.thenToken(instance(""))
	a.clock.advance(time.Hour)
	wantAPI(t, a, jd, "T-R-code-1", "https://acme.api.example/v3/91")
	wantAPI(t, b, jd, "T-R-code-1", "https://acme.api.example/v3/91")
	s.thenToken(instance("moved.api.example"))
	a.clock.advance(time.Hour)
	wantAPI(t, b, jd, "T-R-91R-code-1", "https://moved.api.example/v3/91") // the company was sent, too
	if n := s.refreshes.Load(); n != 2 {
		t.Errorf("%d refreshes", n)
	}
}

// The server itself reads the callback, too.
func TestWhatAnUnattendedCallbackBringsIsKept(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	n.saveRealm(t, jd.Realm, s.keeping(true))
	n.saveSecret(t, jd, "client_id", "app") // for the hosts of the realm
	s.thenToken(instance("acme.api.example"))
	s.then(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.callback(r.URL.Query())+"&realmId=92", http.StatusFound)
	})
	wantAPI(t, n, jd, "T-code-1", "https://acme.api.example/v3/92")
}

// A callback without what the realm reads is refused, and its code not spent.
func TestCallbackWithoutWhatIsKept(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	n.saveRealm(t, jd.Realm, s.keeping(false))
	n.saveSecret(t, jd, "client_id", "app") // for the hosts of the realm
	err := s.authorizeBy(t, n, "&realm=91")
	wantError(t, err, realm.CodeBadCallback, http.StatusBadRequest)
	if !strings.Contains(err.Error(), "callback.realmId: is not in the callback; api needs it") || s.exchanges.Load() != 0 {
		t.Errorf("%v, %d exchanges", err, s.exchanges.Load())
	}
}

// An answer that lacks what the realm reads gives no token, and says what it
// lacks; but its refresh token may be the only good one, and is sent next.
func TestAnswerWithoutWhatIsKept(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	n.saveRealm(t, jd.Realm, s.keeping(false))
	n.saveSecret(t, jd, "client_id", "app") // for the hosts of the realm
	s.thenToken(instance(""))
	err := s.authorizeBy(t, n, "&realmId=91")
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	const why = "answer.host: is not in the answer; api needs it"
	if !strings.Contains(err.Error(), why) {
		t.Error(err)
	}
	_, err = n.Token(t.Context(), jd)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if !strings.Contains(err.Error(), why) || s.refreshes.Load() != 1 {
		t.Errorf("%v, %d refreshes", err, s.refreshes.Load())
	}
	if _, err = n.Token(t.Context(), jd); err == nil || s.refreshes.Load() != 1 {
		t.Errorf("%v: it was asked again at once", err)
	}
	s.thenToken(instance("acme.api.example"))
	n.clock.advance(2 * time.Minute)
	wantAPI(t, n, jd, "T-R-91R-code-1", "https://acme.api.example/v3/91") // with what the answer before gave
}

// A token that the realm cannot use any more, because the realm reads more of it
// than was kept, is replaced: by a fetch, a refresh, or a person.
func TestRealmThatReadsMore(t *testing.T) {
	s := newCodeServer(t)
	n, plain := s.account(t, false), s.config(false)
	plain.API, plain.Hosts = "https://main.api.example", []string{"*.api.example"}
	n.saveRealm(t, jd.Realm, plain)
	n.saveSecret(t, jd, "client_id", "app") // for the hosts of the realm
	if err := s.authorizeBy(t, n, "&realmId=91"); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, jd, "T-1-app", realm.FromMemory)
	more := plain
	more.API = "https://{answer.host}"
	n.clock.advance(time.Millisecond)
	n.saveRealm(t, jd.Realm, more)
	s.thenToken(instance("acme.api.example"))
	wantAPI(t, n, jd, "T-R-1", "https://acme.api.example")
	if r, e := s.refreshes.Load(), s.exchanges.Load(); r != 1 || e != 1 {
		t.Fatalf("%d refreshes, %d exchanges", r, e)
	}

	// No refresh brings a callback: it is not sent in vain.
	n.clock.advance(time.Millisecond)
	n.saveRealm(t, jd.Realm, s.keeping(false))
	_, err := n.Proxyable(t.Context(), jd)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	if !strings.Contains(err.Error(), "is not kept with the token") || s.refreshes.Load() != 1 {
		t.Errorf("%v, %d refreshes", err, s.refreshes.Load())
	}
	if err := s.authorizeBy(t, n, "&realmId=93"); err != nil {
		t.Fatal(err)
	}
	wantAPI(t, n, jd, "T-code-2", "https://acme.api.example/v3/93")
}

// A token that was brought by the API has nothing with it: another one is fetched
// where it is needed.
func TestImportedTokenHasNothingWithIt(t *testing.T) {
	n := ready(t)
	c := n.wechat()
	c.API, c.Hosts = "{answer.u}", []string{"a.example"}
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value") // for the hosts of the realm
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, n int64) {
		_, _ = fmt.Fprintf(w, `{"access_token":"T-%d","expires_in":7200,"u":"https://a.example"}`, n)
	})
	imported, end := realm.Hidden("IMPORTED"), n.clock.now().Add(time.Hour)
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, Token: &imported, ExpiresAt: &end}); err != nil {
		t.Fatal(err)
	}
	wantAPI(t, n, wx, "T-1", "https://a.example")
}

// A host that the provider says and that is none of the realm's is refused on the
// proxy; whoever is shown the token still gets it.
func TestHostOfTheProviderIsRefused(t *testing.T) {
	n := ready(t)
	c := n.wechat()
	c.API, c.Hosts = "{answer.u}", []string{"*.a.example"}
	n.saveRealm(t, "wx", c)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value") // for the hosts of the realm
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = w.Write([]byte(`{"access_token":"T","expires_in":7200,"u":"https://evil.example"}`))
	})
	_, err := n.Proxyable(t.Context(), wx)
	wantError(t, err, realm.CodeHostNotAllowed, http.StatusBadGateway)
	if strings.Contains(err.Error(), "evil") || !strings.Contains(err.Error(), "config.api") {
		t.Error(err)
	}
	want(t, n.View, wx, "T", realm.FromMemory)
	if target, err := n.Destination(t.Context(), wx); err != nil || target.API != nil {
		t.Errorf("%v, %v", target, err)
	}
}

// After a reload the token of memory goes on, with what was kept with it.
func TestKeptThroughAReload(t *testing.T) {
	n := newNode(t)
	c := n.wechat()
	c.Inject = append(c.Inject, realm.Injection{Place: realm.PlaceHeader, Name: "X-User", Value: "{answer.user}"})
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = w.Write([]byte(`{"access_token":"T","expires_in":7200,"user":7}`))
	})
	for _, source := range []realm.Source{realm.FromUpstream, realm.FromMemory} {
		n.View = n.configure(t, catalog.Definition{
			Realm:   realm.Realm{ID: "wx", Config: c},
			Secrets: []realm.Secret{{Ref: wx, Fields: map[string]realm.Hidden{"key_1": "app", "key_2": "s3cret-value"}}},
		})
		want(t, n.View, wx, "T", source)
	}
}
