package presets_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const redirect = "https://tokens.example/jd-account/callback-token?from=jd"

// noon is when all of this happens, by the clocks of both sides.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// stage is a preset with an account, and the provider that it is for.
type stage struct {
	*fakeprovider.Provider
	t      *testing.T
	client *grant.Client
	bound  *grant.Bound
}

var origins = regexp.MustCompile(`https://[a-z-]+\.(jd|suning)\.com`)

// newStage starts the provider, and sends a preset's requests there instead.
func newStage(t *testing.T, name string, opts fakeprovider.Options, fields map[string]realm.Hidden) *stage {
	t.Helper()
	now := func() time.Time { return noon }
	opts.Style, opts.Now = fakeprovider.Style(name), now
	opts.Credentials = map[string]string{"K": "S"}
	opts.Users = map[string]string{"买方 1": "p@ss word"}
	opts.Redirects = map[string]string{"K": redirect}
	opts.Refresh.Semantics = fakeprovider.Strict
	opts.Refresh.Life = 48 * time.Hour
	p := fakeprovider.New(opts)
	base := p.Start(t)

	merged := apply(t, realm.Config{Preset: name})
	merged.Preset = ""
	var here realm.Config
	if err := json.Unmarshal([]byte(origins.ReplaceAllString(encode(t, merged), base)), &here); err != nil {
		t.Fatal(err)
	}
	here.AllowHTTP = realm.On
	program, err := grant.Compile(realm.Realm{ID: name, Config: here}, true)
	if err != nil {
		t.Fatal(err)
	}
	bound, err := program.Bind(realm.Secret{Ref: realm.Ref{Realm: name, Key: "main"}, Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	return &stage{Provider: p, t: t, client: grant.NewClient(nil, now), bound: bound}
}

// wantToken checks a result against the ledger.
func (s *stage) wantToken(got grant.Result, err error, life time.Duration) realm.Token {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	token := got.Token
	if token.Access.Reveal() != s.Newest() || !s.Live(s.Newest()) || !s.LiveRefresh(token.Refresh.Reveal()) {
		s.t.Error("the token is not the provider's newest")
	}
	if left := token.ExpiresAt.Sub(noon); left != life {
		s.t.Errorf("it lives for %v, want %v", left, life)
	}
	if left := token.RefreshExpiresAt.Sub(noon); left != 48*time.Hour {
		s.t.Errorf("the refresh token lives for %v", left)
	}
	if len(got.Warnings) > 0 {
		s.t.Errorf("warnings: %v", got.Warnings)
	}
	return token
}

// refreshes spends a refresh token, and once more what is spent.
func (s *stage) refreshes(token realm.Token, life time.Duration) {
	s.t.Helper()
	req := grant.Request{RefreshToken: token.Refresh}
	got, err := s.bound.Refresh(s.t.Context(), s.client, req)
	s.wantToken(got, err, life)
	_, err = s.bound.Refresh(s.t.Context(), s.client, req)
	s.wantRefused(err)
	if len(s.Reuses()) != 1 {
		s.t.Error("the ledger has no reuse")
	}
}

func (s *stage) wantRefused(err error) {
	s.t.Helper()
	var failed *grant.Error
	if !errors.As(err, &failed) || failed.Kind != grant.KindRefused && failed.Kind != grant.KindInvalidGrant {
		s.t.Errorf("not refused: %v", err)
	}
}

// exchanges makes a token of a code, and tries it once more.
func (s *stage) exchanges(a grant.Authorization, cb grant.Callback, life time.Duration) realm.Token {
	s.t.Helper()
	if failed := s.bound.Judge(cb); failed != nil {
		s.t.Fatal(failed)
	}
	if cb.State != a.State {
		s.t.Error("another state came back")
	}
	got, err := s.bound.Exchange(s.t.Context(), s.client, a, cb.Code, grant.Request{})
	return s.wantToken(got, err, life)
}

func (s *stage) wantSpentOnce(a grant.Authorization, cb grant.Callback) {
	s.t.Helper()
	_, err := s.bound.Exchange(s.t.Context(), s.client, a, cb.Code, grant.Request{})
	s.wantRefused(err)
	if len(s.CodeReuses()) != 1 {
		s.t.Error("the ledger has no reuse of the code")
	}
}

// person lets somebody open the URL, and reads what the browser brings back.
func (s *stage) person(who fakeprovider.Person, a grant.Authorization) grant.Callback {
	s.t.Helper()
	open, err := s.bound.AuthorizeURL(a, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	to, err := who.Open(s.t.Context(), open)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.HasPrefix(to.String(), redirect) {
		s.t.Fatalf("the browser is sent to %s", to)
	}
	cb, err := grant.ParseCallback(to.RawQuery)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.bound.ReadCode(cb)
}

func TestPresetsThatAPersonAuthorizes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, fields := range map[string]map[string]realm.Hidden{
		"jd":     {"app_key": "K", "app_secret": "S", "redirect_uri": redirect},
		"suning": {"app_key": "K", "app_secret": "S", "redirect_uri": redirect, "itemcode": "1001"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, name, fakeprovider.Options{}, fields)
			buyer := fakeprovider.Person{User: "买方 1", Password: "p@ss word"}
			a := grant.NewAuthorization()
			cb := s.person(buyer, a)
			s.refreshes(s.exchanges(a, cb, year), year)
			s.wantSpentOnce(a, cb)

			buyer.Denies = true
			if failed := s.bound.Judge(s.person(buyer, grant.NewAuthorization())); failed == nil || failed.Kind != grant.KindDenied {
				t.Errorf("denied: %v", failed)
			}
		})
	}
}

// vop is the account of the preset jd_vop, and the key that its app registered.
func vop(t *testing.T) (map[string]realm.Hidden, map[string]*rsa.PublicKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]realm.Hidden{
		"app_key": "K", "app_secret": "S", "redirect_uri": redirect, "rsa_key": realm.Hidden(base64.StdEncoding.EncodeToString(der)),
		"username": "买方 1", "password": "p@ss word",
	}, map[string]*rsa.PublicKey{"K": &key.PublicKey}
}

func TestVOPNeedsNoPerson(t *testing.T) {
	fields, keys := vop(t)
	s := newStage(t, "jd_vop", fakeprovider.Options{Keys: keys}, fields)
	a := grant.NewAuthorization()
	cb, err := s.bound.Authorize(t.Context(), s.client, a, grant.Request{})
	if err != nil || cb == nil {
		t.Fatalf("got %v, %v", cb, err)
	}
	token := s.exchanges(a, *cb, 24*time.Hour)
	s.refreshes(token, 24*time.Hour)
	s.wantSpentOnce(a, *cb)
}

func TestVOPWrongPassword(t *testing.T) {
	fields, keys := vop(t)
	fields["password"] = "x"
	s := newStage(t, "jd_vop", fakeprovider.Options{Keys: keys}, fields)
	if cb, err := s.bound.Authorize(t.Context(), s.client, grant.NewAuthorization(), grant.Request{}); err == nil {
		t.Errorf("a page: got %v", cb)
	}
	s = newStage(t, "jd_vop", fakeprovider.Options{Keys: keys, Codes: fakeprovider.CodeRule{RefusalRedirects: true}}, fields)
	cb, err := s.bound.Authorize(t.Context(), s.client, grant.NewAuthorization(), grant.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if failed := s.bound.Judge(*cb); failed == nil || failed.Kind != grant.KindDenied {
		t.Errorf("a redirect: %v", failed)
	}
}

// A provider that calls the redirect URI itself answers with nothing.
func TestVOPMayCall(t *testing.T) {
	const unheard = "http://127.0.0.1:1/callback" // nobody listens there
	fields, keys := vop(t)
	fields["redirect_uri"] = unheard
	s := newStage(t, "jd_vop", fakeprovider.Options{Keys: keys, Codes: fakeprovider.CodeRule{Delivery: fakeprovider.CallsLater}}, fields)
	s.SetRedirect("K", unheard)
	cb, err := s.bound.Authorize(t.Context(), s.client, grant.NewAuthorization(), grant.Request{})
	if err != nil || cb != nil || len(s.Codes("买方 1")) != 1 {
		t.Errorf("got %v, %v", cb, err)
	}
}

func TestVOPRefusesInJSON(t *testing.T) {
	fields, keys := vop(t)
	s := newStage(t, "jd_vop", fakeprovider.Options{Keys: keys}, fields)
	s.SetRedirect("K", "https://elsewhere.example")
	cb, err := s.bound.Authorize(t.Context(), s.client, grant.NewAuthorization(), grant.Request{})
	if err == nil {
		t.Fatalf("got %v", cb)
	}
	s.wantRefused(err)
}

func TestBillSignsItsRequest(t *testing.T) {
	fields := map[string]realm.Hidden{"client_id": "K", "client_secret": "S", "username": "买方 1", "password": "p@ss word"}
	s := newStage(t, "jd_bill", fakeprovider.Options{}, fields)
	got, err := s.bound.Fetch(t.Context(), s.client, grant.Request{})
	s.refreshes(s.wantToken(got, err, 24*time.Hour), 24*time.Hour)

	s.SetUser("买方 1", "changed")
	_, err = s.bound.Fetch(t.Context(), s.client, grant.Request{})
	s.wantRefused(err)
}
