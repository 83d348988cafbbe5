package broker

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// asks lets a caller ask a node for a token, whose provider will call back
// later, and returns where to, and what becomes of the caller.
func (s *codeServer) asks(t *testing.T, n *node) (callback string, failed <-chan error) {
	t.Helper()
	called, end := make(chan string, 1), make(chan error, 1)
	s.then(func(_ http.ResponseWriter, r *http.Request) { called <- s.callback(r.URL.Query()) })
	go func() {
		_, err := n.Token(t.Context(), jd)
		end <- err
	}()
	callback = <-called
	eventually(t, "the claim waits for the callback", func() bool {
		st, err := n.pool.store.Peek(t.Context(), jd)
		return err == nil && st.Claim.Deadline.Sub(st.Now) == callbackWait
	})
	s.then(nil)
	return callback, end
}

// The password, and with it the user, may be replaced while the provider's
// callback is awaited: a code of before gives no token to the secret of now,
// and who waits gets one of the new user.
func TestCodeOfAnotherSecret(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	callback, failed := s.asks(t, a)
	b.saveSecret(t, jd, "client_id", "other")
	wantError(t, visit(t.Context(), t, b, callback), realm.CodeBadCallback, http.StatusBadRequest)
	if s.exchanges.Load() != 0 {
		t.Fatal("the code was exchanged")
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	want(t, b.View, jd, "T-1-other", realm.FromDatabase)
}

// Who waited for the callback of a secret that was replaced since asks nothing
// with the old one.
func TestSecretReplacedWhileTheCallbackIsAwaited(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	_, failed := s.asks(t, a)
	b.saveSecret(t, jd, "client_id", "other")
	closes := func(s *tokenstore.State) error { // as somebody does who got nothing
		s.Claim.Phase, s.Claim.ID, s.Claim.Deadline = tokenstore.PhaseNone, tokenstore.CallID{}, time.Time{}
		return nil
	}
	if _, err := a.pool.store.Coordinate(t.Context(), jd, closes); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.asked[len(s.asked)-1].Get("client_id"); len(s.asked) != 2 || got != "other" {
		t.Errorf("%d authorizations, the last of %q", len(s.asked), got)
	}
}

// A refresh token that was to be dropped while its code was awaited is dropped.
func TestDroppedWhileTheCallbackIsAwaited(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	callback, failed := s.asks(t, n)
	note := realm.Hidden("decides nothing")
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, Fields: map[string]*realm.Hidden{"note": &note}, DropRefreshToken: true}); err != nil {
		t.Fatal(err)
	}
	_ = visit(t.Context(), t, n, callback)
	<-failed
	if st, err := n.pool.store.Peek(t.Context(), jd); err != nil || st.Token.Refresh == "R-1" {
		t.Errorf("it is stored: %v", err)
	}
}

// A code that no limit lets be exchanged is given up at once, and its claim
// with it.
func TestCodeWithoutACallLeft(t *testing.T) {
	s := newCodeServer(t)
	n := s.within(t, 2, true)
	other, refresh := realm.Ref{Realm: jd.Realm, Key: "other"}, realm.Hidden("R-0")
	n.saveSecret(t, other, "client_id", "app2")
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: other, RefreshToken: &refresh}); err != nil {
		t.Fatal(err)
	}
	s.then(func(w http.ResponseWriter, r *http.Request) {
		if _, err := n.Token(r.Context(), other); err != nil { // takes the last call
			t.Error(err)
		}
		s.redirect(w, r)
	})
	_, err := n.Token(t.Context(), jd)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	st, err := n.pool.store.Peek(t.Context(), jd)
	if err != nil || st.Claim.ID != (tokenstore.CallID{}) || claim.IsPaused(st.Budget.Failure, st.Now) {
		t.Errorf("claim %v, trouble of the realm %+v, %v", st.Claim.ID, st.Budget.Failure, err)
	}
}

// A person's code that cannot be exchanged is lost. The log says whose, and why.
func TestLostCodeIsLogged(t *testing.T) {
	s := newCodeServer(t)
	n := s.within(t, 1, false)
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	n.pool.log = zap.New(core)
	wantError(t, visit(t.Context(), t, n, s.callback(begun(t, n))), realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	told := logs.FilterMessage("authorization failed").FilterField(zap.String("key", jd.Key)).All()
	if len(told) != 1 || !strings.Contains(fmt.Sprint(told[0].ContextMap()["error"]), "limits allow no call") {
		t.Errorf("the log: %v", logs.All())
	}
}

// So it is where the store goes away when it has given up the state.
func TestCodeLostWithTheStoreIsLogged(t *testing.T) {
	s, c := newCodeServer(t), newClock()
	store := &readingStore{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	n := nodeOn(t, store, nil, c)
	n.saveRealm(t, jd.Realm, s.config(false))
	n.saveSecret(t, jd, "client_id", "app")
	core, logs := observer.New(zap.WarnLevel)
	n.pool.log = zap.New(core)
	callback := s.callback(begun(t, n))
	store.read = func() error { return tokenstore.ErrUnavailable }
	wantError(t, visit(t.Context(), t, n, callback), realm.CodeUnavailable, http.StatusServiceUnavailable)
	if told := logs.FilterMessage("authorization failed").FilterField(zap.String("key", jd.Key)).Len(); told != 1 {
		t.Errorf("the log: %v", logs.All())
	}
}

// A callback that went astray says nothing about the password: nothing is
// locked, and the waiting caller is told at once.
func TestForeignCallbackLocksNothing(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	n.saveRealm(t, "other", s.config(true))
	callback, failed := s.asks(t, n)
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	cb, err := grant.ParseCallback(u.RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, bringCallback(t.Context(), n, "other", cb), realm.CodeBadCallback, http.StatusBadRequest)
	wantError(t, <-failed, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.clock.advance(2 * time.Second)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
}

// What a person's code gave while the secret was replaced: a refresh token
// counts for the new one, too; without one there is nothing, and the person is
// told. A change that decides nothing loses nothing.
func TestSecretReplacedDuringTheExchange(t *testing.T) {
	for name, c := range map[string]struct {
		field, answer string
		worked        bool
	}{
		"with a refresh token":      {"client_id", `{"access_token":"A","expires_in":60,"refresh_token":"R"}`, true},
		"without":                   {"client_id", `{"access_token":"A","expires_in":60}`, false},
		"a field that says nothing": {"note", `{"access_token":"A","expires_in":60}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCodeServer(t)
			n := s.account(t, false)
			s.thenToken(func(w http.ResponseWriter, _ url.Values) {
				n.saveSecret(t, jd, c.field, "other")
				s.thenToken(nil)
				_, _ = w.Write([]byte(c.answer))
			})
			err := visit(t.Context(), t, n, s.callback(begun(t, n)))
			if !c.worked {
				wantError(t, err, realm.CodeBadCallback, http.StatusBadRequest)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := n.Token(t.Context(), jd); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// An API that refuses every token does not make the server log in once for
// every request.
func TestRefutedAuthorizations(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		_, _ = w.Write([]byte(`{"access_token":"` + form.Get("code") + `","expires_in":3600}`))
	})
	lease, err := n.Token(t.Context(), jd)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if got, err := n.heal(t.Context(), jd, lease.Access); err == nil {
			lease = got
		}
		n.clock.advance(100 * time.Millisecond)
	}
	if asked := s.authorizations(); asked > 8 {
		t.Errorf("asked %d times within five seconds", asked)
	}
}

// A new authorization that gives the token again that the API refuses has healed
// nothing.
func TestAuthorizationGivesTheSameToken(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	s.thenToken(func(w http.ResponseWriter, _ url.Values) {
		_, _ = w.Write([]byte(`{"access_token":"the same","expires_in":3600}`))
	})
	lease, err := n.Token(t.Context(), jd)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.heal(t.Context(), jd, lease.Access)
	var e *realm.Error
	if !errors.As(err, &e) || e.Code != realm.CodeTokenUnavailable || !errors.Is(err, claim.ErrSameToken) {
		t.Fatalf("got %v", err)
	}
}

// A secret that does not fit the realm any more when the code comes.
func TestCallbackToASecretThatDoesNotFit(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	callback := s.callback(begun(t, n))
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: jd, Fields: map[string]*realm.Hidden{"client_id": nil}}); err != nil {
		t.Fatal(err)
	}
	wantError(t, visit(t.Context(), t, n, callback), realm.CodeBadCallback, http.StatusBadRequest)
	if s.exchanges.Load() != 0 {
		t.Error("the code was exchanged")
	}
}

// A person's consent is not set aside by what was made of the one before, while
// its exchange took longer than its claim.
func TestConsentCountsMoreThanARefresh(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		call tokenstore.CallID
		want realm.Hidden
	}{
		"a person's":       {tokenstore.CallID{}, "R-consent"},
		"the server's own": {tokenstore.NewCallID(), "R-refreshed"}, // both are the same user's
	} {
		s := tokenstore.State{Now: now, Token: realm.Token{Access: "T", Refresh: "R-refreshed", Lineage: 2, IssuedAt: now}}
		s.Claim.Started = now.Add(-time.Minute)
		r := &claim.Request{ID: tokenstore.NewCallID(), Purpose: claim.Exchange, CodeCall: c.call, Digests: claim.FixedDigest{}}
		o := claim.NewOutcome(r, claim.Decision{Parent: 1, Source: claim.FromCode})
		o.Token = realm.Token{Access: "A", Refresh: "R-consent", IssuedAt: now.Add(-time.Minute)}
		if o.Settle(&s); s.Save == nil && c.want == "R-refreshed" {
			s.Save = &s.Token
		}
		if s.Save.Refresh != c.want || len(s.Claim.Candidates) > 0 != (c.want == "R-refreshed") {
			t.Errorf("%s: %v is stored, beside %d", name, s.Save.Refresh == "R-consent", len(s.Claim.Candidates))
		}
	}
}

// A code waits for a call that is under way, however long that may still take:
// most are over soon.
func TestCodeWaitsForACallUnderWay(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	config := s.config(false)
	config.Limits.Timeout = realm.Duration(2 * codePatience)
	n.saveRealm(t, jd.Realm, config)
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	second := s.callback(begun(t, n))
	gate, reached, flushed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		if form.Get("refresh_token") != "" {
			close(reached)
			<-gate
		}
		s.gives(w, form)
	})
	go func() { _, err := n.Flush(t.Context(), jd); flushed <- err }()
	<-reached
	exchanged := make(chan error, 1)
	go func() { exchanged <- visit(t.Context(), t, n, second) }()
	select {
	case err := <-exchanged:
		t.Error("it did not wait")
		exchanged <- err
	case <-time.After(10 * pollFirst): // a right one is never early
	}
	close(gate)
	if err := <-flushed; err != nil {
		t.Error(err)
	}
	if err := <-exchanged; err != nil {
		t.Error(err)
	}
	s.wantSpentOnce(t)
}

// A person's code whose exchange has no answer is not sent again: the person is
// told, and begins anew.
func TestConsentWithoutAnAnswer(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	s.thenToken(func(http.ResponseWriter, url.Values) { panic(http.ErrAbortHandler) })
	callback := s.callback(begun(t, n))
	wantError(t, visit(t.Context(), t, n, callback), realm.CodeTokenUnavailable, http.StatusBadGateway)
	s.thenToken(nil)
	wantError(t, visit(t.Context(), t, n, callback), realm.CodeBadCallback, http.StatusBadRequest)
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	s.wantSpentOnce(t)
}

// A call that gave nothing, and could not be taken down, leaves a refresh token
// alone that could not be saved either.
func TestFailureDoesNotDisplaceARefreshToken(t *testing.T) {
	e := new(entry)
	e.keepUnsaved(&claim.Outcome{Token: realm.Token{Refresh: "R"}}, origin{}, 1)
	e.keepUnsaved(&claim.Outcome{Cause: errNoCallback}, origin{}, 2)
	if _, kept := e.state(); kept.Token.Refresh != "R" {
		t.Errorf("kept is %v", kept.Cause)
	}
}

// A password that was replaced while it was refused locks nothing: who waits is
// served with the new one.
func TestReplacedPasswordIsRefused(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	s.then(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("client_id") == "other" {
			s.redirect(w, r)
			return
		}
		b.saveSecret(t, jd, "client_id", "other") //nolint:contextcheck // somebody else does
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>wrong password</html>"))
	})
	want(t, a.View, jd, "T-1-other", realm.FromUpstream)
}

// The same of a client that was replaced while its code was exchanged.
func TestReplacedClientIsRefused(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	s.thenToken(func(w http.ResponseWriter, _ url.Values) {
		b.saveSecret(t, jd, "client_id", "other")
		s.thenToken(nil)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
	})
	lease, err := a.Token(t.Context(), jd)
	if err != nil {
		t.Fatal(err)
	}
	if token := lease.Access.Reveal(); !strings.HasSuffix(token, "-other") {
		t.Errorf("got %q", token)
	}
}
