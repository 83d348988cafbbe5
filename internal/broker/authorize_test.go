package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Without a person: the redirect is read in process, and the code exchanged.
func TestAuthorizedByItself(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
	want(t, n.View, jd, "T-1-app", realm.FromMemory)
	n.clock.advance(2 * time.Hour)
	want(t, n.View, jd, "T-2-app", realm.FromUpstream)
	if a, r := s.authorizations(), s.refreshes.Load(); a != 1 || r != 1 {
		t.Errorf("%d authorizations, %d refreshes", a, r)
	}
}

// A thousand callers on two nodes make one authorization, whoever the provider
// calls back.
func TestOneAuthorizationForAll(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	called := make(chan string, 2)
	s.then(func(w http.ResponseWriter, r *http.Request) { // the provider calls later
		called <- s.callback(r.URL.Query())
	})
	for _, n := range []*node{a, b} { // else each of them reads the realm, which may take longer than a caller waits
		if err := n.Authorizable(t.Context(), jd.Realm); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan error, 1000)
	for i := range 1000 {
		n := []*node{a, b}[i%2]
		go func() {
			lease, err := n.Authorize(t.Context(), jd)
			if err == nil && lease.Access != "T-1-app" {
				err = fmt.Errorf("got %q", lease.Access.Reveal())
			}
			got <- err
		}()
	}
	if err := visit(t.Context(), t, b, <-called); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
	if asked := s.authorizations(); asked != 1 || s.exchanges.Load() != 1 {
		t.Errorf("%d authorizations, %d exchanges", asked, s.exchanges.Load())
	}
}

// The provider may call back before it answers, and another node; what it
// answers then is of no account.
func TestCalledBackWithinTheCall(t *testing.T) {
	for _, node := range []string{"the same", "another"} {
		t.Run(node, func(t *testing.T) {
			s := newCodeServer(t)
			a, b := s.accounts(t, true)
			taker := b
			if node == "the same" {
				taker = a
			}
			s.then(func(w http.ResponseWriter, r *http.Request) {
				if err := visit(r.Context(), t, taker, s.callback(r.URL.Query())); err != nil {
					t.Error(err)
				}
				_, _ = w.Write([]byte("<html><body>thank you</body></html>"))
			})
			lease, err := a.Token(t.Context(), jd)
			if err != nil || lease.Access != "T-1-app" {
				t.Fatalf("%v %v", lease, err)
			}
			if asked := s.authorizations(); asked != 1 {
				t.Errorf("%d authorizations", asked)
			}
		})
	}
}

// Who waits is told why nothing came.
func TestCallbackWithoutACode(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, true)
	visited := make(chan error, 1)
	s.then(func(_ http.ResponseWriter, r *http.Request) {
		ctx := context.WithoutCancel(r.Context())
		go func() {
			visited <- visit(ctx, t, b, callbackURL+"?error=access_denied&state="+r.URL.Query().Get("state"))
		}()
	})
	_, err := a.Authorize(t.Context(), jd)
	wantError(t, <-visited, realm.CodeBadCallback, http.StatusBadRequest)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("it does not say why: %v", err)
	}
	if s.exchanges.Load() != 0 {
		t.Error("something was exchanged")
	}
}

// Nobody calls back: that is told when the time is over, and another
// authorization may begin.
func TestNoCallback(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	asked := make(chan struct{}, 2)
	s.then(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	failed := make(chan error)
	go func() {
		_, err := n.Token(t.Context(), jd)
		failed <- err
	}()
	<-asked
	eventually(t, "the claim waits for the callback", func() bool {
		st, err := n.pool.store.Peek(t.Context(), jd)
		return err == nil && st.Claim.Deadline.Sub(st.Now) == callbackWait
	})
	n.clock.advance(callbackWait + time.Second)
	wantError(t, <-failed, realm.CodeTokenUnavailable, http.StatusGatewayTimeout)
	n.clock.advance(time.Minute)
	s.then(nil)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
}

// A person authorizes; the callback comes to the other node.
func TestAuthorizedByAPerson(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, false)
	core, logs := observer.New(zap.ErrorLevel)
	a.pool.log = zap.New(core)
	_, err := a.Token(t.Context(), jd)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	if told := logs.All(); len(told) != 1 || told[0].Message != "there is no refresh token: somebody has to authorize first" {
		t.Errorf("the log: %v", told)
	}
	asked := begun(t, a)
	if asked.Get("redirect_uri") != callbackURL || len(asked.Get("state")) != 43 {
		t.Fatalf("asked for %v", asked)
	}
	if err := visit(t.Context(), t, b, s.callback(asked)); err != nil {
		t.Fatal(err)
	}
	want(t, b.View, jd, "T-1-app", realm.FromMemory)
	eventually(t, "the first node hears of it", func() bool {
		lease, err := a.Token(t.Context(), jd)
		return err == nil && lease.Access == "T-1-app"
	})
	_, err = a.Authorize(t.Context(), jd)
	wantError(t, err, realm.CodeNotAuthorizable, http.StatusConflict)
}

// A link that there cannot be: the error says why, and nothing else.
func TestNoLink(t *testing.T) {
	s := newCodeServer(t)
	_, err := s.account(t, true).AuthorizeURL(t.Context(), jd)
	wantError(t, err, realm.CodeNotAuthorizable, http.StatusConflict)
	if e := new(realm.Error); !errors.As(err, &e) || e.Detail != "the realm is authorized by the server itself" {
		t.Errorf("%v", err)
	}
}

// What a person does who fails leaves the token that there is as it was, and
// what a person does who succeeds takes its place.
func TestPersonFailsAndSucceeds(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	for status, code := range map[int]string{http.StatusBadRequest: `{"error":"invalid_grant"}`, http.StatusInternalServerError: "", http.StatusOK: "<html>"} {
		s.thenToken(func(w http.ResponseWriter, _ url.Values) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(code))
		})
		err := visit(t.Context(), t, n, s.callback(begun(t, n)))
		wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
		want(t, n.View, jd, "T-1-app", realm.FromMemory)
		if st, err := n.pool.store.Peek(t.Context(), jd); err != nil || st.Token.Lineage != 1 || st.Token.Refresh != "R-1" || claim.IsPaused(st.Claim.Failure, st.Now) {
			t.Fatalf("after %d the state is %+v, %v", status, st.Claim, err)
		}
	}
	// The new consent brings no refresh token: the old one is another consent's.
	s.thenToken(func(w http.ResponseWriter, _ url.Values) {
		_, _ = w.Write([]byte(`{"access_token":"other","expires_in":60}`))
	})
	if err := visit(t.Context(), t, n, s.callback(begun(t, n))); err != nil {
		t.Fatal(err)
	}
	want(t, n.View, jd, "other", realm.FromMemory)
	n.clock.advance(2 * time.Minute)
	_, err := n.Token(t.Context(), jd)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	s.wantSpentOnce(t)
}

// States that bring nothing: of each, nothing is exchanged.
func TestBadCallbacks(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	n.saveRealm(t, "other", s.config(false))
	foreign := func(callback string) error {
		_, query, _ := strings.Cut(callback, "?")
		cb, err := grant.ParseCallback(query)
		if err != nil {
			t.Fatal(err)
		}
		return bringCallback(t.Context(), n, "other", cb)
	}
	used := s.callback(begun(t, n))
	if err := visit(t.Context(), t, n, used); err != nil {
		t.Fatal(err)
	}
	late := s.callback(begun(t, n))
	n.clock.advance(stateLife + time.Second)
	mixed := s.callback(begun(t, n))
	for name, do := range map[string]func() error{
		"replayed":      func() error { return visit(t.Context(), t, n, used) },
		"unknown":       func() error { return visit(t.Context(), t, n, callbackURL+"?code=x&state=nobody") },
		"without state": func() error { return visit(t.Context(), t, n, callbackURL+"?code=x") },
		"ended":         func() error { return visit(t.Context(), t, n, late) },
		"without code":  func() error { return visit(t.Context(), t, n, callbackURL+"?state="+begun(t, n).Get("state")) },
		"denied": func() error {
			return visit(t.Context(), t, n, callbackURL+"?error=access_denied&state="+begun(t, n).Get("state"))
		},
		"foreign": func() error { return foreign(mixed) },
	} {
		wantError(t, do(), realm.CodeBadCallback, http.StatusBadRequest)
		if s.exchanges.Load() != 1 {
			t.Fatalf("%s: exchanged", name)
		}
	}
	// What was mixed up is spent: the right callback does not get it any more.
	wantError(t, visit(t.Context(), t, n, mixed), realm.CodeBadCallback, http.StatusBadRequest)
}

// The code that is exchanged is the one under the realm's code_name.
func TestCallbackWithACodeName(t *testing.T) {
	s := newCodeServer(t)
	n, config := s.account(t, false), s.config(false)
	config.CodeName = "auth_code"
	n.saveRealm(t, jd.Realm, config)
	wantError(t, visit(t.Context(), t, n, s.callback(begun(t, n))), realm.CodeBadCallback, http.StatusBadRequest)
	if s.exchanges.Load() != 0 {
		t.Fatal("the code of the standard name was exchanged")
	}
	named := strings.Replace(s.callback(begun(t, n)), "code=", "auth_code=", 1)
	if err := visit(t.Context(), t, n, named+"&code=other"); err != nil {
		t.Fatal(err)
	}
	s.wantSpentOnce(t)
}

// A state is bound to the redirect URI that was sent with it.
func TestCallbackURLChanges(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	callback := s.callback(begun(t, n))
	config := s.config(false)
	config.CallbackURL += "?from=elsewhere"
	n.saveRealm(t, jd.Realm, config)
	wantError(t, visit(t.Context(), t, n, callback), realm.CodeBadCallback, http.StatusBadRequest)
	if s.exchanges.Load() != 0 {
		t.Error("exchanged")
	}
}

// Fifty callbacks with one state on two nodes: one exchange.
func TestStateIsTakenOnce(t *testing.T) {
	s := newCodeServer(t)
	a, b := s.accounts(t, false)
	callback := s.callback(begun(t, a))
	var worked atomic.Int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if visit(t.Context(), t, []*node{a, b}[i%2], callback) == nil {
				worked.Add(1)
			}
		})
	}
	all.Wait()
	if worked.Load() != 1 || s.exchanges.Load() != 1 {
		t.Errorf("%d worked, %d exchanges", worked.Load(), s.exchanges.Load())
	}
}

// A code whose exchange has no answer is not sent again; the next attempt asks
// for another.
func TestCodeIsSpentOnce(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	s.thenToken(func(http.ResponseWriter, url.Values) { panic(http.ErrAbortHandler) })
	for range 3 {
		_, err := n.Token(t.Context(), jd)
		wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
		n.clock.advance(2 * time.Minute)
	}
	s.thenToken(nil)
	want(t, n.View, jd, "T-4-app", realm.FromUpstream)
	s.wantSpentOnce(t)
}

// A refresh token that is refused, or has ended, is followed by a new
// authorization, for the same callers.
func TestAuthorizedAnewWhenRefused(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		if form.Get("code") == "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		s.gives(w, form)
	})
	n.clock.advance(2 * time.Hour)
	want(t, n.View, jd, "T-3-app", realm.FromUpstream)
	if a, r := s.authorizations(), s.refreshes.Load(); a != 2 || r != 1 {
		t.Errorf("%d authorizations, %d refreshes", a, r)
	}
	if lease, err := n.Authorize(t.Context(), jd); err != nil || lease.Access != "T-3-app" {
		t.Fatalf("a moment later: %v %v", lease, err)
	}
	n.clock.advance(recently)
	if lease, err := n.Authorize(t.Context(), jd); err != nil || lease.Access != "T-4-app" {
		t.Fatalf("%v %v", lease, err)
	}
	s.wantSpentOnce(t)
}

// A person cannot authorize where the server does, and is told so plainly: it
// said that the feature is not built.
func TestNoLinkForAnUnattendedAccount(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	_, err := n.AuthorizeURL(t.Context(), jd)
	wantError(t, err, realm.CodeNotAuthorizable, http.StatusConflict)
	if err.Error() != "not_authorizable: the realm is authorized by the server itself" {
		t.Error(err)
	}
}

// A wrong password is told, stops the server from trying again and again, and
// is tried again when somebody asks for it.
func TestWrongPassword(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	s.then(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><form>wrong password: hunter2</form></html>"))
	})
	_, err := n.Token(t.Context(), jd)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the page is quoted: %v", err)
	}
	for range 20 {
		if _, err := n.Token(t.Context(), jd); err == nil {
			t.Fatal("a token")
		}
	}
	if asked := s.authorizations(); asked != 1 {
		t.Fatalf("asked %d times with a wrong password", asked)
	}
	s.then(nil)
	n.clock.advance(2 * claim.RetryFloor)
	lease, err := n.Authorize(t.Context(), jd)
	if err != nil || lease.Access != "T-1-app" {
		t.Fatalf("%v %v", lease, err)
	}
}

// A refusal in words that nobody knows may be about the password, too: it is
// tried once more, and then left alone for an hour. Each cost a login within
// the back-off, of which a few lock an account. A provider that speaks of itself
// is asked again.
func TestLoginRefusedInOtherWords(t *testing.T) {
	says := func(text string) func(*codeServer, http.ResponseWriter, *http.Request) {
		return func(_ *codeServer, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	returns := func(query string) func(*codeServer, http.ResponseWriter, *http.Request) {
		return func(_ *codeServer, w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			http.Redirect(w, r, q.Get("redirect_uri")+"?"+query+"&state="+url.QueryEscape(q.Get("state")), http.StatusFound)
		}
	}
	for name, c := range map[string]struct {
		answer func(*codeServer, http.ResponseWriter, *http.Request)
		most   int
	}{
		"an unknown code":     {says(`{"code":8011,"msg":"x"}`), 2},
		"an unknown error":    {returns("error=login_failed"), 2},
		"names of its own":    {returns("errno=5"), 2},
		"a fault of its own":  {returns("error=server_error"), 1000},
		"that it is too busy": {says(`{"errcode":-1,"errmsg":"system busy"}`), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCodeServer(t)
			n := s.account(t, true)
			s.then(func(w http.ResponseWriter, r *http.Request) { c.answer(s, w, r) })
			for range 50 {
				if _, err := n.Token(t.Context(), jd); err == nil {
					t.Fatal("a token")
				}
				n.clock.advance(time.Minute)
			}
			switch asked := s.authorizations(); {
			case asked < 2, asked > c.most:
				t.Errorf("asked %d times", asked)
			case c.most > 2 && asked < 10:
				t.Errorf("asked only %d times", asked)
			}
			s.then(nil)
			if lease, err := n.Authorize(t.Context(), jd); c.most == 2 && err != nil {
				t.Errorf("by name: %v %v", lease, err)
			}
		})
	}
}

// Accounts that are refused keep the provider from nobody else's.
func TestRefusedLoginsHoldNobodyUp(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	s.then(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"code":8011,"msg":"x"}`)) })
	for i := range 4 {
		ref := realm.Ref{Realm: jd.Realm, Key: fmt.Sprint("k", i)}
		n.saveSecret(t, ref, "client_id", fmt.Sprint("app", i))
		_, err := n.Token(t.Context(), ref)
		wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
		n.clock.advance(shortWait) // what a caller waits
	}
	s.then(nil)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
}

// A login that fails, which somebody asked for, does not keep a good refresh
// token from its work.
func TestRefreshedAfterARefusedLogin(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
	s.then(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>wrong password</html>")) })
	n.clock.advance(50 * time.Minute)
	_, err := n.Authorize(t.Context(), jd)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	n.clock.advance(15 * time.Minute)
	want(t, n.View, jd, "T-2-app", realm.FromUpstream)
	if r := s.refreshes.Load(); r != 1 {
		t.Errorf("%d refreshes", r)
	}
}

// The caller of the callback may leave: the code is spent all the same, and its
// token saved.
func TestCallbackGoesOn(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	reached, gate := make(chan struct{}), make(chan struct{})
	s.thenToken(func(w http.ResponseWriter, form url.Values) {
		close(reached)
		<-gate
		s.gives(w, form)
	})
	_, query, _ := strings.Cut(s.callback(begun(t, n)), "?")
	cb, err := grant.ParseCallback(query)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- bringCallback(ctx, n, jd.Realm, cb) }()
	<-reached
	leave()
	if err := <-left; err == nil {
		t.Fatal("it waited")
	}
	close(gate)
	eventually(t, "the token is saved", func() bool {
		lease, err := n.Token(t.Context(), jd)
		return err == nil && lease.Access == "T-1-app"
	})
}

// Accounts that wait for their callback take no places of the realm's others.
func TestWaitingForACallbackHoldsNobodyUp(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, true)
	want(t, n.View, jd, "T-1-app", realm.FromUpstream)
	s.then(func(http.ResponseWriter, *http.Request) {}) // and never calls
	leave, ctx := make(chan struct{}), t.Context()
	began := n.clock.now()
	for i := range 6 { // more than there are places
		ref := realm.Ref{Realm: jd.Realm, Key: fmt.Sprint("k", i)}
		n.saveSecret(t, ref, "client_id", fmt.Sprint("app", i))
		go func() {
			_, _ = n.Token(ctx, ref)
			leave <- struct{}{}
		}()
	}
	for i := range 6 {
		eventually(t, "it waits for its callback", func() bool {
			st, err := n.pool.store.Peek(ctx, realm.Ref{Realm: jd.Realm, Key: fmt.Sprint("k", i)})
			return err == nil && st.Claim.Phase == tokenstore.PhaseAwaiting
		})
	}
	if lease, err := n.Flush(t.Context(), jd); err != nil || lease.Access != "T-2-app" {
		t.Errorf("%v %v", lease, err)
	}
	if waited := n.clock.now().Sub(began); waited > 0 {
		t.Errorf("somebody waited, %v in all", waited)
	}
	for range 6 {
		n.clock.advance(2 * time.Minute) // until no callback is awaited any more
		<-leave
	}
}

// Calls for a code count towards the realm's quotas, as the exchange does; and
// none is asked for without room for its exchange: it would be lost.
func TestRoomForTheExchange(t *testing.T) {
	for _, calls := range []int{2, 3} {
		s := newCodeServer(t)
		n := s.account(t, true)
		config := s.config(true)
		config.Limits.Windows = []realm.Window{{Calls: calls, Per: realm.Duration(time.Hour)}}
		n.saveRealm(t, jd.Realm, config)
		want(t, n.View, jd, "T-1-app", realm.FromUpstream)
		n.clock.advance(recently)
		_, err := n.Authorize(t.Context(), jd)
		wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
		if asked := s.authorizations(); asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		// With one call left there is room for a refresh.
		if lease, err := n.Flush(t.Context(), jd); (err == nil) != (calls == 3) || err == nil && lease.Access != "T-2-app" {
			t.Errorf("of %d calls: %v %v", calls, lease, err)
		}
	}
}

// BeginAuthorization fails where the store cannot take anything.
type fullStore struct{ tokenstore.Store }

func (fullStore) BeginAuthorization(context.Context, tokenstore.Authorization, time.Duration) error {
	return tokenstore.ErrUnavailable
}

// A link whose state could not be stored leads nowhere, and is not given out.
func TestNoLinkWithoutAState(t *testing.T) {
	s, c := newCodeServer(t), newClock()
	n := nodeOn(t, fullStore{newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}, nil, c)
	n.saveRealm(t, jd.Realm, s.config(false))
	n.saveSecret(t, jd, "client_id", "app")
	link, err := n.AuthorizeURL(t.Context(), jd)
	wantError(t, err, realm.CodeUnavailable, http.StatusServiceUnavailable)
	if link != "" {
		t.Errorf("link %s", link)
	}
}

// TestNoLinkForAnotherHost: the code of an account, and the secret with it, are
// sent to no host that the secret was not entered for.
func TestNoLinkForAnotherHost(t *testing.T) {
	s := newCodeServer(t)
	n := s.account(t, false)
	if _, err := n.AuthorizeURL(t.Context(), jd); err != nil {
		t.Fatal(err)
	}
	moved := s.config(false)
	moved.Exchange.URL = "https://evil.example/token"
	n.saveRealm(t, jd.Realm, moved)
	_, err := n.AuthorizeURL(t.Context(), jd)
	wantError(t, err, realm.CodeHostNotAllowed, http.StatusConflict)
}
