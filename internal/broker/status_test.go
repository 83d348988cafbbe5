package broker

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// authorized is a realm whose only way to a token is the refresh token that
// its secret holds.
func (n *node) authorized(t *testing.T) realm.Ref {
	t.Helper()
	ref := realm.Ref{Realm: "rt", Key: "main"}
	config := n.wechat()
	config.Recipe, config.Grant = realm.Recipe{}, &realm.Grant{
		Name: "refresh_token", TokenURL: n.provider.URL + "/token", ClientID: "app", ClientSecret: "{secret.key_1}",
	}
	n.saveRealm(t, ref.Realm, config)
	n.saveSecret(t, ref, "key_1", "s3cret-value", "refresh_token", "RT-0")
	return ref
}

// status is what the status tells of a reference.
func (n *node) status(t *testing.T, ref realm.Ref) TokenStatus {
	t.Helper()
	for _, s := range n.Status(t.Context()).Tokens {
		if s.Realm == ref.Realm && s.Key == ref.Key {
			return s
		}
	}
	t.Fatalf("no status of %v", ref)
	return TokenStatus{}
}

func invalidGrant(w http.ResponseWriter, _ *http.Request, _ int64) {
	w.WriteHeader(http.StatusBadRequest)
	_, _ = fmt.Fprint(w, `{"error":"invalid_grant"}`)
}

// sum is what the metrics tell of a realm's tokens: the states that there are.
func (n *node) sum(t *testing.T, id string) string {
	t.Helper()
	r := n.Stats().Realms[id]
	if r == nil {
		t.Fatalf("no sums of %s", id)
	}
	var words []string
	for word, count := range r.Tokens {
		if count > 0 {
			words = append(words, fmt.Sprintf("%d %s", count, word))
		}
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// The life of a token as the status tells it; the metrics count the same.
func TestStatusOfALife(t *testing.T) {
	n := newNode(t)
	config := n.wechat()
	config.Limits.Windows = []realm.Window{{Calls: 3, Per: realm.Duration(24 * time.Hour)}}
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	began := n.clock.now()
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)

	s := n.status(t, wx)
	if s.State != "live" || s.Lineage != 1 || s.Fetches != 1 || s.LastError != "" || s.Failure != "" || s.Code != "" || s.Note != "" || *s.BudgetLeft != 2 ||
		!s.LastFetch.Equal(began) || !s.ExpiresAt.Equal(began.Add(2*time.Hour)) || !s.NextRefresh.Before(*s.ExpiresAt) {
		t.Errorf("after a fetch: %+v", s)
	}
	n.clock.advance(30 * time.Minute)
	if r := n.Stats().Realms["wx"]; n.sum(t, "wx") != "1 live" || r.ExpiresIn != 90*time.Minute || r.Age != 30*time.Minute || r.BudgetLeft != 2 {
		t.Errorf("%s %+v", n.sum(t, "wx"), r)
	}

	n.clock.advance(2 * time.Hour)
	if s := n.status(t, wx); s.State != "expired" || n.sum(t, "wx") != "1 expired" {
		t.Errorf("after its end: %+v, %s", s, n.sum(t, "wx"))
	}
	n.provider.then(fails(http.StatusInternalServerError))
	_, err := n.Token(t.Context(), wx)
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	if s := n.status(t, wx); s.State != "failing" || s.LastError == "" || s.Failure != "refused" || s.LastErrorAt == nil || !s.NextRefresh.After(n.clock.now()) || *s.BudgetLeft != 1 {
		t.Errorf("after a failure: %+v", s)
	}
	if r := n.Stats().Realms["wx"]; n.sum(t, "wx") != "1 failing" || r.ExpiresIn != -1 || r.Age != -1 {
		t.Errorf("%s %+v", n.sum(t, "wx"), r)
	}

	n.provider.then(gives(7200))
	n.clock.advance(time.Minute)
	want(t, n.View, wx, "T-3-app", realm.FromUpstream)
	_, err = n.Flush(t.Context(), wx)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	if s := n.status(t, wx); s.State != "live" || *s.BudgetLeft != 0 || s.Fetches != 3 || !strings.Contains(s.LastError, "limits") || s.Failure != "budget_spent" || s.Code != "" {
		t.Errorf("after a flush that the budget refused: %+v", s)
	}
	if n.sum(t, "wx") != "1 live" {
		t.Errorf("%s", n.sum(t, "wx"))
	}
}

func TestStatusOfALapse(t *testing.T) {
	n := newNode(t)
	ref := n.authorized(t)
	n.provider.then(invalidGrant)
	for range 2 { // the second time it is remembered
		_, err := n.Token(t.Context(), ref)
		wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
	}
	s := n.status(t, ref)
	if s.State != "reauth_required" || s.NextRefresh != nil || !strings.Contains(s.LastError, "invalid_grant") || s.Failure != "reauth_required" || s.Code != "invalid_grant" || s.BudgetLeft != nil {
		t.Errorf("%+v", s)
	}
	if n.sum(t, "rt") != "1 reauth_required" || n.Stats().Realms["rt"].BudgetLeft != -1 {
		t.Errorf("%s", n.sum(t, "rt"))
	}
	n.provider.then(gives(7200))
	n.saveSecret(t, ref, "refresh_token", "RT-1") // a person has authorized
	if s := n.status(t, ref); s.State != "idle" || n.sum(t, "rt") != "1 idle" {
		t.Errorf("%+v, %s", s, n.sum(t, "rt"))
	}
	if _, err := n.Token(t.Context(), ref); err != nil || n.status(t, ref).State != "live" {
		t.Errorf("%v %+v", err, n.status(t, ref))
	}
}

// What is served without a claim is told.
func TestStatusWithoutClaims(t *testing.T) {
	n, store := readyWithFaults(t)
	store.unwritable.Store(true)
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	if s, st := n.Status(t.Context()), n.Stats(); s.WithoutClaims != 1 || st.WithoutClaims != 1 {
		t.Errorf("%+v %+v", s, st)
	}
	n.clock.advance(outageInterval + time.Second)
	if st := n.Stats(); st.WithoutClaims != 0 {
		t.Errorf("still: %+v", st)
	}
}

// Of many tokens the first end and the greatest age are told; a realm of
// another configuration is not.
func TestStatsOfMany(t *testing.T) {
	n := ready(t)
	n.provider.then(gives(7200))
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	n.clock.advance(10 * time.Minute)
	n.provider.then(gives(600))
	second := realm.Ref{Realm: "wx", Key: "second"}
	n.saveSecret(t, second, "key_1", "b", "key_2", "s3cret-value")
	want(t, n.View, second, "T-2-b", realm.FromUpstream)
	config := n.wechat()
	config.Lifetime.Unlimited, config.ExpiresInPath = true, ""
	v := n.configure(t, catalog.Definition{
		Realm:   realm.Realm{ID: "own", Config: config},
		Secrets: []realm.Secret{{Ref: realm.Ref{Key: "k"}, Fields: map[string]realm.Hidden{"key_1": "c", "key_2": "s"}}},
	})
	want(t, v, realm.Ref{Realm: "own", Key: "k"}, "T-3-c", realm.FromUpstream)

	r := n.Stats().Realms["wx"]
	if n.sum(t, "wx") != "2 live" || r.ExpiresIn != 10*time.Minute || r.Age != 10*time.Minute {
		t.Errorf("%+v", r)
	}
	if own := v.Stats().Realms["own"]; own == nil || own.Tokens["live"] != 1 || own.ExpiresIn != -1 || own.Age != -1 {
		t.Errorf("%+v", own)
	}
	if own := n.Stats().Realms["own"]; own != nil {
		t.Errorf("of a configuration that does not have it: %+v", own)
	}
	few := testing.AllocsPerRun(10, func() { n.Stats() })
	for i := range 500 {
		n.pool.entry(realm.Ref{Realm: "wx", Key: fmt.Sprint(i)})
	}
	if many := testing.AllocsPerRun(10, func() { n.Stats() }); many > few+50 {
		t.Errorf("%v allocations for 502 entries, %v for two", many, few)
	}
}

// diary is an Observer that writes down what it is told.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(words ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, strings.TrimSpace(fmt.Sprintln(words...)))
}

func (d *diary) Fetched(id, outcome string, took time.Duration) {
	d.note("fetched", id, outcome, took > 0)
}

func (d *diary) Refreshed(ref realm.Ref, why string, end time.Time) {
	d.note("refreshed", ref, why, end.IsZero())
}
func (d *diary) Died(ref realm.Ref)           { d.note("died", ref) }
func (d *diary) Healed(id string, ok bool)    { d.note("healed", id, ok) }
func (d *diary) ReauthRequired(ref realm.Ref) { d.note("reauth", ref) }
func (d *diary) BudgetSpent(ref realm.Ref)    { d.note("spent", ref) }

func (d *diary) want(t *testing.T, lines ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.lines, lines) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(d.lines, "\n"), strings.Join(lines, "\n"))
	}
	d.lines = nil
}

func TestObserver(t *testing.T) {
	n := newNode(t)
	d := &diary{}
	n.pool.Observe(d)
	config := n.wechat()
	config.Limits.Windows = []realm.Window{{Calls: 3, Per: realm.Duration(24 * time.Hour)}}
	n.saveRealm(t, "wx", config)
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	want(t, n.View, wx, "T-1-app", realm.FromUpstream)
	want(t, n.View, wx, "T-1-app", realm.FromMemory)
	d.want(t, "fetched wx ok true", "refreshed wx/main load false")

	n.works(t)
	for range 20 { // who reports it later gets the other one, and that is no news
		if _, err := n.heal(t.Context(), wx, "T-1-app"); err != nil {
			t.Fatal(err)
		}
	}
	d.want(t, "died wx/main", "fetched wx ok true", "refreshed wx/main heal false", "healed wx true")

	n.works(t)
	n.helped(t)
	n.provider.then(fails(http.StatusInternalServerError))
	_, err := n.heal(t.Context(), wx, "T-2-app")
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusBadGateway)
	d.want(t, "died wx/main", "fetched wx refused true", "healed wx false")
	_, err = n.heal(t.Context(), wx, "T-2-app") // a token dies once, though it is refused again
	wantError(t, err, realm.CodeTokenUnavailable, http.StatusServiceUnavailable)
	d.want(t, "healed wx false")

	n.clock.advance(time.Hour)
	_, err = n.Flush(t.Context(), wx)
	wantError(t, err, realm.CodeBudgetSpent, http.StatusServiceUnavailable)
	d.want(t, "spent wx/main")

	ref := n.authorized(t)
	n.provider.then(invalidGrant)
	for range 3 {
		_, err = n.Token(t.Context(), ref)
		wantError(t, err, realm.CodeReauthRequired, http.StatusBadGateway)
		n.clock.advance(reauthRetry + time.Second)
	}
	d.want(t, "fetched rt invalid_grant true", "reauth rt/main")

	_, _ = n.Token(t.Context(), realm.Ref{Realm: "nobody", Key: "x"})
	_, _ = n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "nobody"})
	d.want(t)
	n.pool.Observe(nil)
	n.clock.advance(48 * time.Hour)
	_, _ = n.Token(t.Context(), wx)
	d.want(t)
}

// helped has the live token cure the refusal for which it was fetched.
func (n *node) helped(t *testing.T) {
	t.Helper()
	lease, err := n.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	n.Helped(wx, lease)
}

// works has the API accept the live token.
func (n *node) works(t *testing.T) {
	t.Helper()
	lease, err := n.Token(t.Context(), wx)
	if err != nil {
		t.Fatal(err)
	}
	n.Worked(wx, lease)
}

// What the provider says of a token that it gave before is told to nobody: not
// in a log, an answer or the status, nor in the store's note on the failure.
func TestProviderQuotesTokens(t *testing.T) {
	n := newNode(t)
	core, log := observer.New(zapcore.DebugLevel)
	n.pool.log = zap.New(core)
	ref := n.authorized(t)
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = io.WriteString(w, `{"access_token":"ACCESS-1","refresh_token":"REFRESH-1","expires_in":7200}`)
	})
	if _, err := n.Token(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"invalid_request","error_description":"ACCESS-1 lives, and so does REFRESH-1, `+
			base64.StdEncoding.EncodeToString([]byte("ACCESS-1"))+`"}`)
	})
	_, err := n.Flush(t.Context(), ref)
	var e *realm.Error
	if !errors.As(err, &e) || !strings.Contains(e.ProviderMessage, realm.Mask) {
		t.Fatalf("got %v", err)
	}
	text := fmt.Sprint(e.Detail, e.ProviderMessage, n.status(t, ref), log.All())
	state, err := n.pool.store.Peek(t.Context(), ref)
	if err != nil || state.Claim.Failure.Cause == "" {
		t.Fatal(state, err)
	}
	text += state.Claim.Failure.Cause
	for _, token := range []string{"ACCESS-1", "REFRESH-1", base64.StdEncoding.EncodeToString([]byte("ACCESS-1"))} {
		if strings.Contains(text, token) {
			t.Errorf("%s is told: %s", token, text)
		}
	}
}

// The kind of a failure is what happened, unless nobody was asked, or the provider
// asked for fewer calls; the code is the provider's own.
func TestKindOfAFailure(t *testing.T) {
	now := realm.Instant(1)
	for want, f := range map[string]*failure{
		"timeout":           newFailure(origin{}, realm.CodeTokenUnavailable, &grant.Error{Kind: grant.KindTimeout}, 1, now, 1),
		"connection":        newFailure(origin{}, realm.CodeTokenUnavailable, &grant.Error{Kind: grant.KindConnection}, 1, now, 1),
		"refused":           newFailure(origin{}, realm.CodeTokenUnavailable, &grant.Error{Kind: grant.KindRefused, Class: grant.Hopeless}, 1, now, 1),
		"throttled":         newFailure(origin{}, realm.CodeTokenUnavailable, &grant.Error{Kind: grant.KindRefused, Class: grant.Throttled}, 1, now, 1),
		"token_unavailable": newFailure(origin{}, realm.CodeTokenUnavailable, nil, 0, now, 1),
		"budget_spent":      newFailure(origin{}, realm.CodeBudgetSpent, &grant.Error{Kind: grant.KindRefused}, 1, now, 1),
		"reauth_required":   newFailure(origin{}, realm.CodeReauthRequired, &grant.Error{Kind: grant.KindInvalidGrant}, 1, now, 1),
	} {
		if got := f.kind(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
	n := newNode(t)
	n.saveRealm(t, "wx", n.wechat())
	n.saveSecret(t, wx, "key_1", "app", "key_2", "s3cret-value")
	n.provider.then(func(w http.ResponseWriter, _ *http.Request, _ int64) {
		_, _ = w.Write([]byte(`{"errcode":40164,"errmsg":"invalid ip 203.0.113.7, not in whitelist"}`))
	})
	_, _ = n.Token(t.Context(), wx)
	if s := n.status(t, wx); s.Failure != "refused" || s.Code != "40164" || s.Address != "203.0.113.7" {
		t.Errorf("%+v", s)
	}
}
