package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The chain of these tests: a token of crm needs one of suite, which needs one of
// wx.
var (
	suite = realm.Ref{Realm: "suite", Key: "main"}
	crm   = realm.Ref{Realm: "crm", Key: "main"}
)

// deadOn is a rule for the error codes of WeChat and WeCom.
func deadOn(codes ...string) []realm.Rule {
	rule := realm.Rule{JSON: "errcode"}
	for _, code := range codes {
		rule.Values = append(rule.Values, realm.ScalarOf(code))
	}
	return []realm.Rule{rule}
}

// chainRealms are the realms of a chain.
func chainRealms(c *fakeprovider.Chain) map[string]realm.Config {
	query := func(name, value string) realm.Argument {
		return realm.Argument{Name: name, Place: realm.PlaceURL, Value: value}
	}
	form := func(name, value string) realm.Argument {
		return realm.Argument{Name: name, Place: realm.PlaceBody, Value: value}
	}
	client := []realm.Argument{form("client_id", "$key_1"), form("client_secret", "$key_2")}
	return map[string]realm.Config{
		"wx": {
			Recipe: realm.Recipe{
				URL: c.FirstURL + "/cgi-bin/token", TokenPath: "access_token", ExpiresInPath: "expires_in",
				Arguments: []realm.Argument{query("appid", "$key_1"), query("secret", "$key_2"), query("grant_type", "client_credential")},
			},
			API: c.FirstURL, AllowHTTP: realm.On, RenewOn: deadOn("40001", "40014", "42001"), DefaultKey: "main",
		},
		"suite": {
			Recipe: realm.Recipe{
				URL: c.FirstURL + "/cgi-bin/gettoken?access_token={token_of.wx}", TokenPath: "access_token", ExpiresInPath: "expires_in",
				Arguments: []realm.Argument{query("corpid", "$key_1"), query("corpsecret", "$key_2")},
			},
			API: c.SecondURL, AllowHTTP: realm.On, RenewOn: deadOn("40014", "42001"),
		},
		"crm": {
			Recipe: realm.Recipe{
				URL: c.SecondURL + "/oauth2/token?access_token={token_of.suite.main}", Method: http.MethodPost, ContentType: realm.ContentForm,
				TokenPath: "access_token", ExpiresInPath: "expires_in", RefreshTokenPath: "refresh_token",
				Arguments: append([]realm.Argument{form("grant_type", "client_credentials")}, client...),
			},
			Refresh: &realm.Recipe{
				URL: c.SecondURL + "/oauth2/token?access_token={token_of.suite.main}", Method: http.MethodPost, ContentType: realm.ContentForm,
				Arguments: append([]realm.Argument{form("grant_type", "refresh_token"), form("refresh_token", "{refresh_token}")}, client...),
			},
			RefreshSemantics: realm.RefreshFamily,
			API:              "https://crm.example.com", AllowHTTP: realm.On,
		},
	}
}

// chained is two nodes on one store, with a chain of three.
type chained struct {
	a, b  *node
	chain *fakeprovider.Chain
	clock *clock
}

func newChained(t *testing.T, refresh fakeprovider.RefreshRule, change func(map[string]realm.Config)) *chained {
	t.Helper()
	c := newClock()
	x := &chained{chain: fakeprovider.StartChain(t, refresh, c.now), clock: c}
	path := filepath.Join(t.TempDir(), "tokens.db")
	x.a, x.b = nodeOn(t, newStore(t, path, c), nil, c), nodeOn(t, newStore(t, path, c), nil, c)
	realms := chainRealms(x.chain)
	if change != nil {
		change(realms)
	}
	for _, id := range []string{"wx", "suite", "crm"} {
		x.a.saveRealm(t, id, realms[id])
		x.a.saveSecret(t, realm.Ref{Realm: id, Key: "main"}, "key_1", "app", "key_2", fakeprovider.ChainSecret)
	}
	return x
}

// wantFetches asserts how many token requests reached each level.
func (x *chained) wantFetches(t *testing.T, want ...int) {
	t.Helper()
	if got := x.chain.Fetches(); got != [3]int(want) {
		t.Errorf("token requests %v, want %v", got, want)
	}
}

// take is a token of a node.
func (x *chained) take(t *testing.T, n *node, ref realm.Ref) realm.Hidden {
	t.Helper()
	lease, err := n.Token(t.Context(), ref)
	if err != nil {
		t.Fatalf("%v: %v", ref, err)
	}
	return lease.Access
}

// storm has fifty callers of each node ask at once, and returns the one token that
// all of them get.
func (x *chained) storm(t *testing.T, ref realm.Ref) (token realm.Hidden) {
	t.Helper()
	var group sync.WaitGroup
	got := make(chan realm.Hidden, 100)
	for i := range cap(got) {
		n := []*node{x.a, x.b}[i%2]
		group.Go(func() {
			lease, err := n.Token(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			got <- lease.Access
		})
	}
	group.Wait()
	close(got)
	for one := range got {
		if token != "" && one != token {
			t.Error("the callers got different tokens")
		}
		token = one
	}
	return token
}

// Cold callers of a chain of three, on two nodes: each level is asked once. When
// each level dies, each is asked once more for what it is needed for.
func TestChainOfThree(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	token := x.storm(t, crm)
	x.wantFetches(t, 1, 1, 1)
	if token.Reveal() != x.chain.Third.Newest() || !x.chain.Third.Live(token.Reveal()) {
		t.Error("that is not the provider's token")
	}
	// The token of the child is live, and nobody asks for its parents.
	x.chain.First.Revoke(x.chain.First.Newest())
	x.chain.Second.Revoke(x.chain.Second.Newest())
	x.storm(t, crm)
	x.wantFetches(t, 1, 1, 1)

	// It ends. Both parents are dead, which their own clocks do not show: the middle
	// one is refused at the third, then the first one at the second.
	x.clock.advance(time.Hour + time.Second)
	token = x.storm(t, crm)
	if token.Reveal() != x.chain.Third.Newest() {
		t.Error("that is not the newest token")
	}
	x.wantFetches(t, 2, 2, 2)
	// A node may send what it does not know to be dead: the clock of this test moves
	// with each wait, so that the other node does not really wait.
	for level, p := range []*fakeprovider.Provider{x.chain.First, x.chain.Second} {
		if refused := len(p.DeadCalls()); refused < 1 || refused > 2 {
			t.Errorf("level %d: %d requests with a dead token on two nodes", level, refused)
		}
	}
	for _, ref := range []realm.Ref{wx, suite, crm} {
		if s, err := x.a.pool.store.Peek(t.Context(), ref); err != nil || s.Claim.Phase != tokenstore.PhaseNone || s.Claim.Failure.Cause != "" || s.Budget.Failure.Count > 0 {
			t.Errorf("%v: %+v %v", ref, s.Claim, err)
		}
	}
}

// A token with which a child was obtained works: should it be refused later, that is
// no failure of the call that brought it. One that was refused has not shown that.
func TestParentHasWorked(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	accepted := func() bool {
		e, ok := x.a.pool.entries.Load(wx)
		return ok && e.accepted.Load()
	}
	x.take(t, x.a, wx)
	x.chain.First.Set(fakeprovider.Faults{RefuseTokens: true})
	if _, err := x.a.Token(t.Context(), suite); err == nil || accepted() {
		t.Errorf("a refused token counts as accepted: %v", err)
	}
	x.chain.First.Set(fakeprovider.Faults{})
	x.clock.advance(2 * time.Minute)
	if x.take(t, x.a, suite); !accepted() {
		t.Error("the child was obtained, and the parent's token does not count as accepted")
	}
}

// A refresh token of one use that was refused together with a dead parent is not
// spent: it is sent again, and serves.
func TestRefreshWithDeadParent(t *testing.T) {
	for _, semantics := range []fakeprovider.RefreshSemantics{fakeprovider.Family, fakeprovider.Strict} {
		x := newChained(t, fakeprovider.RefreshRule{Semantics: semantics}, func(c map[string]realm.Config) {
			own := c["crm"]
			own.RefreshSemantics = string(semantics)
			c["crm"] = own
		})
		x.take(t, x.a, crm)
		x.chain.Second.Revoke(x.chain.Second.Newest())
		x.clock.advance(time.Hour + time.Second)
		x.storm(t, crm)
		x.wantFetches(t, 1, 2, 2)
		if spent, reused := len(x.chain.Third.Spends()), len(x.chain.Third.Reuses()); spent != 1 || reused != 0 {
			t.Errorf("%s: %d spent, %d reused", semantics, spent, reused)
		}
	}
}

// TestDeadRefreshTokenUnderAParent: a provider may refuse a dead refresh token with
// the very status that tells a dead parent. It is believed once a fresh parent has not
// helped: otherwise nobody is asked to authorize again, and each attempt renews the
// parent.
func TestDeadRefreshTokenUnderAParent(t *testing.T) {
	n := newNode(t)
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
	}))
	t.Cleanup(server.Close)
	parent := n.wechat()
	parent.API, parent.RenewOn, parent.DefaultKey = server.URL, []realm.Rule{{Status: []int{http.StatusUnauthorized}}}, "main"
	n.saveRealm(t, "parent", parent)
	n.saveSecret(t, realm.Ref{Realm: "parent", Key: "main"}, "key_1", "app", "key_2", "s3cret-value")
	config := n.wechat()
	config.Recipe = realm.Recipe{TokenPath: "access_token", ExpiresInPath: "expires_in", RefreshTokenPath: "refresh_token"}
	config.Refresh = &realm.Recipe{URL: server.URL + "/r?t={token_of.parent}&r={refresh_token}"}
	config.RefreshSemantics = realm.RefreshStrict
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "x", "1")
	junk := realm.Hidden("no-such-refresh-token")
	if _, err := n.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, RefreshToken: &junk}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, err := n.Token(t.Context(), wx)
		wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
		n.clock.advance(10 * time.Minute)
	}
	if sent.Load() != 2 || n.provider.of("app") != 2 {
		t.Errorf("%d refreshes, %d tokens of the parent, want 2 of each", sent.Load(), n.provider.of("app"))
	}
}

// TestDeadParentIsNotTheChild: a code that means a dead parent here means a wrong
// secret elsewhere (WeChat's 40001). A parent that is refused again and again makes
// the child wait, and neither hopeless nor a matter for a person.
func TestDeadParentIsNotTheChild(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Family}, nil)
	x.take(t, x.a, suite)
	x.chain.First.Set(fakeprovider.Faults{RefuseTokens: true})
	x.clock.advance(2*time.Hour + time.Second)
	asked := func() int { return len(x.chain.First.DeadCalls()) }
	before := asked()
	_, err := x.a.Token(t.Context(), suite)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if !strings.Contains(err.Error(), "wx/main") || !strings.Contains(err.Error(), "40001") {
		t.Errorf("the error does not name the parent, or what its provider says: %v", err)
	}
	if got := asked() - before; got != 2 {
		t.Errorf("the request was made %d times, want 2", got)
	}
	s, err := x.a.pool.store.Peek(t.Context(), suite)
	if err != nil {
		t.Fatal(err)
	}
	cause := claim.CauseOf(s.Claim.Failure)
	if !claim.IsOfDeadParent(cause) || cause.Class.String() != "retryable" || s.Budget.Failure.Count > 0 || s.Claim.Failure.Until.Sub(s.Now) > 3*time.Second {
		t.Errorf("failure %+v of %v, budget %+v", s.Claim.Failure, cause, s.Budget.Failure)
	}
	// Whoever comes next does not ask again at once, here or on the other node.
	for _, n := range []*node{x.a, x.b} {
		if _, err := n.Token(t.Context(), suite); err == nil {
			t.Error("there is no token")
		}
	}
	if got := asked() - before; got > 4 { // the clock of the test moves with each wait
		t.Errorf("the request was made %d times", got)
	}
	x.chain.First.Set(fakeprovider.Faults{})
	x.clock.advance(2 * time.Minute)
	x.take(t, x.a, suite)
}

// TestParentOfAChildThatIsRefused: the child's own refusals stay its own.
func TestParentOfAChildThatIsRefused(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	x.a.saveSecret(t, suite, "key_1", "nobody", "key_2", "any")
	_, err := x.a.Token(t.Context(), suite)
	var e *realm.Error
	if !errors.As(err, &e) || e.Class != "hopeless" {
		t.Errorf("%v", err)
	}
	x.wantFetches(t, 1, 1, 0)
}

// The failure of a parent is that of its child, with its name; the child has no
// failure of its own, and goes on at once when its parent does.
func TestParentFails(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	x.chain.First.SetSecret("app", "another")
	_, err := x.a.Token(t.Context(), crm)
	var e *realm.Error
	if !errors.As(err, &e) || e.Code != realm.CodeTokenUnavailable || e.Class != "" || !strings.Contains(e.Detail, "wx/main") {
		t.Fatalf("%v", err)
	}
	x.wantFetches(t, 1, 0, 0)
	for _, ref := range []realm.Ref{suite, crm} {
		x.a.wantNoClaim(t, ref)
	}
	x.a.saveSecret(t, wx, "key_1", "app", "key_2", "another")
	x.take(t, x.a, crm)
	x.wantFetches(t, 2, 1, 1)
}

// A parent that needs a person makes its child say so, and the child needs none.
func TestParentNeedsAPerson(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, func(c map[string]realm.Config) {
		own := c["wx"]
		own.Refresh = &realm.Recipe{URL: own.URL, Arguments: append(own.Arguments, realm.Argument{Name: "r", Place: realm.PlaceURL, Value: "{refresh_token}"})}
		own.Recipe = realm.Recipe{TokenPath: "access_token"}
		c["wx"] = own
	})
	_, err := x.a.Token(t.Context(), wx)
	wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	_, err = x.a.Token(t.Context(), crm)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if !strings.Contains(err.Error(), "wx/main") || !strings.Contains(err.Error(), "authorize") {
		t.Errorf("%v", err)
	}
	if s, _ := x.a.StatusOf(crm); s.State != StateIdle {
		t.Errorf("the child is %s", s.State)
	}
}

// Which parent: the key in the recipe, else the secret's field, else the default.
func TestKeyOfTheParent(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	other := realm.Ref{Realm: "wx", Key: "other"}
	x.a.saveSecret(t, other, "key_1", "app", "key_2", fakeprovider.ChainSecret)
	own := realm.Ref{Realm: "suite", Key: "own"}
	x.a.saveSecret(t, own, "key_1", "app", "key_2", fakeprovider.ChainSecret, "parent", "other")
	x.take(t, x.a, own)
	if s, ok := x.a.StatusOf(other); !ok || s.State != StateLive {
		t.Errorf("the parent that the secret names is %+v", s)
	}
	if _, ok := x.a.StatusOf(wx); ok {
		t.Error("the default was asked, too")
	}
	realms := chainRealms(x.chain)
	without := realms["wx"]
	without.DefaultKey = ""
	x.a.saveRealm(t, "wx", without)
	_, err := x.a.Token(t.Context(), suite)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if !strings.Contains(err.Error(), "default_key") {
		t.Error(err)
	}
	x.a.saveSecret(t, own, "key_1", "app", "key_2", fakeprovider.ChainSecret, "parent", "nobody")
	_, err = x.a.Token(t.Context(), own)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
}

// TestParentIsChangedLater: what was allowed when the child was saved is judged
// again when the token is about to be sent.
func TestParentIsChangedLater(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	for what, c := range map[string]struct {
		change func(*realm.Config)
		code   realm.Code
		status int
	}{
		"inject_only": {func(c *realm.Config) { c.InjectOnly = realm.On }, realm.CodeTokenUnavailable, http.StatusBadGateway},
		"hosts":       {func(c *realm.Config) { c.Hosts = []string{"elsewhere.example.com"} }, realm.CodeHostNotAllowed, http.StatusConflict},
		"allow_http": {func(c *realm.Config) {
			c.AllowHTTP, c.URL, c.API, c.Hosts = realm.Off, strings.Replace(c.URL, "http", "https", 1), strings.Replace(c.API, "http", "https", 1), nil
		}, realm.CodeHostNotAllowed, http.StatusConflict},
	} {
		config := chainRealms(x.chain)["wx"]
		c.change(&config)
		if _, err := x.a.Catalog().SaveRealmKeepingValues(t.Context(), "wx", func(r realm.Realm, _ bool) (realm.Realm, error) {
			r.Config = config
			return r, nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := x.a.Token(t.Context(), suite)
		if wantError(t, err, c.code, c.status); !strings.Contains(err.Error(), "wx/main") {
			t.Errorf("%s: %v", what, err)
		}
	}
	x.wantFetches(t, 0, 0, 0)
	x.a.saveRealm(t, "wx", chainRealms(x.chain)["wx"])
	yes := true
	if _, err := x.a.Catalog().SaveSecret(t.Context(), catalog.SecretUpdate{Ref: wx, InjectOnly: &yes}); err != nil {
		t.Fatal(err)
	}
	_, err := x.a.Token(t.Context(), suite)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if err := x.a.Catalog().DeleteSecret(t.Context(), wx); err != nil {
		t.Fatal(err)
	}
	_, err = x.a.Token(t.Context(), suite)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	x.wantFetches(t, 0, 0, 0)
	if _, ok := x.a.StatusOf(suite); !ok {
		t.Error("the child was forgotten because its parent is not there")
	}
}

// TestCircleOfTwoNodes: two nodes save one half of a circle each, at the same time.
// Whoever asks gets a clear error at once.
func TestCircleOfTwoNodes(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	closing := chainRealms(x.chain)["wx"]
	closing.URL += "?x={token_of.crm.main}"
	closing.Hosts = nil
	// The store of the other node takes it: that node had not read the rest.
	if err := x.b.pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := x.b.pool.store.UpdateRealm(t.Context(), "wx", func(r realm.Realm, _ bool) (realm.Realm, error) {
		r.Config = closing
		return r, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{x.a, x.b} {
		n.pool.cache.Clear()
		for _, ref := range []realm.Ref{wx, suite, crm} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := n.Token(ctx, ref)
			cancel()
			if wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway); !strings.Contains(err.Error(), "circle") {
				t.Errorf("%v: %v", ref, err)
			}
		}
	}
	x.wantFetches(t, 0, 0, 0)
}

// Whoever asks for the child pays for its parents, too.
func TestParentsArePaid(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	poor := &allowance{limit: 2}
	_, err := x.a.Token(poor.context(t), crm)
	wantRefused(t, err)
	poor.owes(t, 2)
	x.wantFetches(t, 1, 1, 0)
	rich := &allowance{limit: 10}
	if _, err := x.a.Token(rich.context(t), crm); err != nil {
		t.Fatal(err)
	}
	rich.owes(t, 1)
}

// TestJoinersOfAPoorCaller: callers who join a flight that comes to nothing because
// its payer may not pay for a parent begin one of their own.
func TestJoinersOfAPoorCaller(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	poor, rich := &allowance{hold: make(chan struct{}), reached: make(chan struct{}, 1)}, &allowance{limit: 10}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := x.a.Token(poor.context(t), crm)
		first <- err
	}()
	<-poor.reached
	c, err := x.a.Catalog().Realm(t.Context(), crm.Realm)
	if err != nil {
		t.Fatal(err)
	}
	waits := joining{rich.context(t), make(chan struct{}, 1)}
	go func() {
		_, err := x.a.join(waits, c, crm, goal{purpose: claim.Load})
		second <- err
	}()
	<-waits.joined
	close(poor.hold)
	wantRefused(t, <-first)
	if err := <-second; err != nil {
		t.Errorf("who may pay is refused with who may not: %v", err)
	}
	rich.owes(t, 3)
}

// What a flight may take grows with its parents, each once, however often they are
// needed: realms that all need each other's are many paths and few realms.
func TestTimeOfManyParents(t *testing.T) {
	n := newNode(t)
	own := n.wechat()
	own.API, own.DefaultKey = n.provider.URL, "main"
	ids := []string{"r0a", "r0b", "r0c"}
	for _, id := range ids {
		n.saveRealm(t, id, own)
	}
	for level := 1; level < 7; level++ {
		config := own
		config.URL += "?x="
		for _, id := range ids {
			config.URL += "{token_of." + id + "}"
		}
		ids = []string{fmt.Sprint("r", level, "a"), fmt.Sprint("r", level, "b"), fmt.Sprint("r", level, "c")}
		for _, id := range ids {
			n.saveRealm(t, id, config)
		}
	}
	c, err := n.Catalog().Realm(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Token(t.Context(), realm.Ref{Realm: ids[0], Key: "nobody"}); err == nil { // the realms are in memory now
		t.Error("there is no such secret")
	}
	if got, own := n.flightTimeout(c), n.ownFlightTimeout(c); got != own+2*18*own {
		t.Errorf("%v, want %v of 18 parents, each twice", got, own+2*18*own)
	}
}

// A slow parent uses up nothing of the child's claim: the child asks for one only
// when the parent's token is there.
func TestSlowParent(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	release := x.chain.First.Hold()
	done := make(chan error, 1)
	go func() {
		_, err := x.a.Token(t.Context(), suite)
		done <- err
	}()
	eventually(t, "the parent is asked", func() bool { return x.chain.First.Fetches() == 1 })
	x.a.wantNoClaim(t, suite)
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	x.wantFetches(t, 1, 1, 0)
}

// A dry run finds out with the parents' tokens, and renews a dead one.
func TestDryRunOfAChild(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	x.take(t, x.a, suite)
	x.chain.First.Revoke(x.chain.First.Newest())
	report, err := x.a.Test(t.Context(), suite, nil)
	if err != nil || report.Token == nil || report.Error != "" {
		t.Fatalf("%+v %v", report, err)
	}
	x.wantFetches(t, 2, 2, 0)
	if strings.Contains(fmt.Sprintf("%+v", report), x.chain.First.Newest()) {
		t.Error("the report shows the parent's token")
	}
	x.chain.First.Set(fakeprovider.Faults{RefuseTokens: true})
	if report, err = x.a.Test(t.Context(), suite, nil); err != nil || !strings.Contains(report.Error, "wx/main") {
		t.Errorf("%+v %v", report, err)
	}
	poor := &allowance{}
	_, err = x.a.Test(poor.context(t), suite, nil)
	wantRefused(t, err)
}

// TestRenewalWithDeadParent: the token is withheld while it is renewed, and handed
// out again when that fails. A renewal of two calls forgot it.
func TestRenewalWithDeadParent(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, func(c map[string]realm.Config) {
		own := c["suite"]
		own.Semantics = realm.SemanticsRotate
		c["suite"] = own
	})
	token := x.take(t, x.a, suite)
	x.chain.First.Set(fakeprovider.Faults{RefuseTokens: true})
	c, err := x.a.Catalog().Realm(t.Context(), "suite")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.a.join(t.Context(), c, suite, goal{purpose: claim.Renew, isAwaited: true}); err == nil {
		t.Fatal("the renewal did not fail")
	}
	if n := len(x.chain.First.DeadCalls()); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	want(t, x.a.View, suite, token.Reveal(), realm.FromMemory)
}

// TestTokenServesWhileAParentIsRenewed: while the parent of a renewal is replaced,
// callers have the token that lives.
func TestTokenServesWhileAParentIsRenewed(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, func(c map[string]realm.Config) {
		own := c["suite"]
		own.Semantics = realm.SemanticsRotate
		c["suite"] = own
	})
	token := x.take(t, x.a, suite)
	x.chain.First.Revoke(x.chain.First.Newest())
	release := x.chain.First.Hold()
	defer release()
	c, err := x.a.Catalog().Realm(t.Context(), "suite")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := x.a.join(t.Context(), c, suite, goal{purpose: claim.Renew, isAwaited: true})
		done <- err
	}()
	eventually(t, "the parent is asked for another token", func() bool { return x.chain.First.Fetches() == 2 })
	want(t, x.a.View, suite, token.Reveal(), realm.FromMemory)
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestRenewalsWaitForTheirParent: a parent that is left alone for a while has
// thousands of children, whose renewals asked the store once a second each.
func TestRenewalsWaitForTheirParent(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	x.take(t, x.a, suite)
	x.chain.First.Set(fakeprovider.Faults{Refuse: fakeprovider.QuotaSpent, RetryAfter: 40 * time.Second})
	x.clock.advance(2 * time.Hour)
	c, err := x.a.Catalog().Realm(t.Context(), "suite")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.a.join(t.Context(), c, suite, goal{purpose: claim.Renew, isAwaited: true}); err == nil {
		t.Fatal("the parent has no token")
	}
	e, _ := x.a.pool.entries.Load(suite)
	now := realm.InstantOf(x.clock.now())
	if f, _ := e.state(); !f.isActive(now) || f.isTold() || f.left(now) < 30*time.Second {
		t.Errorf("the renewal waits as %+v", f)
	}
	x.chain.First.Set(fakeprovider.Faults{})
	x.clock.advance(41 * time.Second)
	x.take(t, x.a, suite)
}

// Parents of two providers: the one whose rule matches is renewed, and no other.
func TestTwoParents(t *testing.T) {
	n := newNode(t)
	var mu sync.Mutex
	dead := map[string]bool{}
	child := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		q := r.URL.Query()
		switch {
		case dead[q.Get("a")]:
			_, _ = w.Write([]byte(`{"errcode":1}`))
		case dead[q.Get("b")]:
			_, _ = w.Write([]byte(`{"errcode":2}`))
		default:
			_, _ = fmt.Fprintf(w, `{"access_token":"CHILD of %s and %s","expires_in":7200}`, q.Get("a"), q.Get("b"))
		}
	}))
	t.Cleanup(child.Close)
	for id, code := range map[string]string{"a": "1", "b": "2"} {
		config := n.wechat()
		config.API, config.RenewOn, config.DefaultKey = child.URL, deadOn(code), "main"
		n.saveRealm(t, id, config)
		n.saveSecret(t, realm.Ref{Realm: id, Key: "main"}, "key_1", id, "key_2", "s3cret-value")
	}
	config := n.wechat()
	config.Recipe = realm.Recipe{URL: child.URL + "/t?a={token_of.a}&b={token_of.b}", TokenPath: "access_token", ExpiresInPath: "expires_in"}
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app")
	want(t, n.View, wx, "CHILD of T-1-a and T-2-b", realm.FromUpstream)
	mu.Lock()
	dead["T-2-b"] = true
	mu.Unlock()
	lease, err := n.Flush(t.Context(), wx)
	if err != nil || lease.Access != "CHILD of T-1-a and T-3-b" {
		t.Errorf("%v %v", lease, err)
	}
	if a, b := n.provider.of("a"), n.provider.of("b"); a != 1 || b != 2 {
		t.Errorf("%d and %d requests to the parents, want 1 and 2", a, b)
	}
}

// An authorization takes tokens of parents in its link and in its exchange. A code is
// sent once: after a dead parent, the next link works.
func TestAuthorizationWithAParent(t *testing.T) {
	for _, unattended := range []bool{false, true} {
		n := newNode(t)
		var dead atomic.Bool
		var exchanges atomic.Int64
		server := httptest.NewServer(nil)
		t.Cleanup(server.Close)
		server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			q := r.URL.Query()
			switch {
			case r.URL.Path == "/page":
				http.Redirect(w, r, server.URL+"/callback?code=C&state="+q.Get("state"), http.StatusFound)
			case exchanges.Add(1) > 0 && dead.Load() && q.Get("t") == "T-1-app":
				_, _ = w.Write([]byte(`{"errcode":40001}`))
			default:
				_, _ = fmt.Fprintf(w, `{"access_token":"CHILD of %s","expires_in":7200}`, q.Get("t"))
			}
		})
		parent := n.wechat()
		parent.API, parent.RenewOn, parent.DefaultKey = server.URL, deadOn("40001"), "main"
		n.saveRealm(t, "parent", parent)
		n.saveSecret(t, realm.Ref{Realm: "parent", Key: "main"}, "key_1", "app", "key_2", "s3cret-value")
		config := n.wechat()
		config.Recipe = realm.Recipe{TokenPath: "access_token", ExpiresInPath: "expires_in"}
		config.CallbackURL, config.Unattended = server.URL+"/callback", realm.SwitchOf(unattended)
		config.Authorize = &realm.Recipe{URL: server.URL + "/page?pre={token_of.parent}&state={state}"}
		config.Exchange = &realm.Recipe{URL: server.URL + "/t?t={token_of.parent}&code={code}"}
		n.saveRealm(t, "wx", config)
		n.saveSecret(t, wx, "x", "1")
		dead.Store(true)
		if unattended {
			want(t, n.View, wx, "CHILD of T-2-app", realm.FromUpstream)
			continue
		}
		for _, served := range []bool{false, true} {
			link, err := n.AuthorizeURL(t.Context(), wx)
			if err != nil || !strings.Contains(link, "pre=T-") {
				t.Fatalf("%s %v", link, err)
			}
			_, state, _ := strings.Cut(link, "state=")
			if _, err := n.Callback(t.Context(), "wx", grant.Callback{State: realm.Hidden(state), Code: "C"}); (err == nil) != served {
				t.Errorf("%v", err)
			}
		}
		want(t, n.View, wx, "CHILD of T-2-app", realm.FromMemory)
		if got := exchanges.Load(); got != 2 {
			t.Errorf("%d exchanges of two codes", got)
		}
	}
}

// The status names the parents as the realm does.
func TestStatusNamesParents(t *testing.T) {
	x := newChained(t, fakeprovider.RefreshRule{}, nil)
	x.take(t, x.a, crm)
	got := map[string][]ParentStatus{}
	for _, s := range x.a.Status(t.Context()).Tokens {
		got[s.Realm] = s.Parents
	}
	if fmt.Sprint(got) != fmt.Sprint(map[string][]ParentStatus{"wx": nil, "suite": {{Realm: "wx"}}, "crm": {{Realm: "suite", Key: "main"}}}) {
		t.Errorf("%+v", got)
	}
}

// The error of a parent without a key names its realm, and no half of a path.
func TestParentErrorNamesTheParent(t *testing.T) {
	cause := &realm.Error{Code: realm.CodeTokenUnavailable, Status: http.StatusServiceUnavailable, Detail: "no key"}
	for ref, want := range map[realm.Ref]string{
		{Realm: "wechat"}:              "the token of wechat is needed first: no key",
		{Realm: "wechat", Key: "main"}: "the token of wechat/main is needed first: no key",
	} {
		var got *realm.Error
		if err := parentError(ref, cause); !errors.As(err, &got) || got.Detail != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
