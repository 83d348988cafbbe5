package fakeprovider_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

const (
	callback = "https://app.example/callback?tenant=1"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
)

var anna = fakeprovider.Person{User: "anna", Password: "p@ss"}

func newCodeBench(t *testing.T, opts fakeprovider.Options) *bench {
	t.Helper()
	opts.Users, opts.Redirects = map[string]string{"anna": "p@ss"}, map[string]string{"app": callback}
	if opts.Refresh.Semantics == "" {
		opts.Refresh.Semantics = fakeprovider.Strict
	}
	return newBench(t, opts)
}

// authorizeURL is an authorization request; pairs replace arguments, or remove
// them where the value is empty.
func (b *bench) authorizeURL(pairs ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"st+te/="}, "scope": {"read"},
	}
	for pair := range slices.Chunk(pairs, 2) {
		if q.Set(pair[0], pair[1]); pair[1] == "" {
			q.Del(pair[0])
		}
	}
	return b.url + "/oauth2/authorize?" + q.Encode()
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// open walks through the provider's page to the redirect URI.
func (b *bench) open(who fakeprovider.Person, authorizeURL string) url.Values {
	b.t.Helper()
	to, err := who.Open(b.t.Context(), authorizeURL)
	if err != nil {
		b.t.Fatal(err)
	}
	if !strings.HasPrefix(to.String(), callback+"&") {
		b.t.Fatalf("sent to %s", to)
	}
	return to.Query()
}

func (b *bench) exchange(code string, pairs ...string) answer {
	b.t.Helper()
	all := map[string]string{
		"grant_type": "authorization_code", "code": code, "redirect_uri": callback, "client_id": "app", "client_secret": "s3cret",
	}
	for pair := range slices.Chunk(pairs, 2) {
		all[pair[0]] = pair[1]
	}
	var flat []string
	for name, value := range all {
		if value != "" {
			flat = append(flat, name, value)
		}
	}
	return b.form(flat...)
}

func (b *bench) story(refs ...string) string {
	var kinds []string
	for _, e := range b.Events(refs...) {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

func TestACodeGivesTokensOnce(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{Codes: fakeprovider.CodeRule{Issuer: "https://login.example"}})
	q := b.open(anna, b.authorizeURL())
	if q.Get("state") != "st+te/=" || q.Get("iss") != "https://login.example" || q.Get("tenant") != "1" {
		t.Errorf("the redirect says %v", q)
	}
	access, refresh := b.wantSpent(b.exchange(q.Get("code")))
	if want := "opened code_issued asked code_spent issued"; b.story("app") != want || b.story("anna") != "code_issued asked code_spent issued" {
		t.Errorf("got %s, want %s", b.story("app"), want)
	}
	if codes := b.Codes("anna"); len(codes) != 1 || codes[0] != q.Get("code") || b.Authorizations("app") != 1 {
		t.Errorf("codes %v", codes)
	}
	access2, refresh2 := b.wantSpent(b.spend(refresh))
	b.wantInvalidGrant(b.exchange(q.Get("code"))) // RFC 6749 section 4.1.2: what it gave ends
	for _, token := range []string{access, access2} {
		b.wantLive(token, false)
	}
	if b.LiveRefresh(refresh2) || len(b.CodeReuses("anna")) != 1 {
		t.Error("the reuse of a code has no consequences")
	}
}

func TestReuseOfACodeEndsItsTokenAlone(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{})
	first, second := b.open(anna, b.authorizeURL()).Get("code"), b.open(anna, b.authorizeURL()).Get("code")
	gone, _ := b.wantSpent(b.exchange(first))
	kept, _ := b.wantSpent(b.exchange(second))
	b.wantInvalidGrant(b.exchange(first))
	b.wantLive(gone, false)
	b.wantLive(kept, true)
}

func TestReuseOfACodeEndsATokenWithoutRefresh(t *testing.T) {
	b := newBench(t, fakeprovider.Options{Users: map[string]string{"anna": "p@ss"}, Redirects: map[string]string{"app": callback}})
	code := b.open(anna, b.authorizeURL()).Get("code")
	access := b.exchange(code).text("access_token")
	b.wantLive(access, true)
	b.wantInvalidGrant(b.exchange(code))
	b.wantLive(access, false)
}

func TestACodeIsBound(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{})
	b.SetSecret("other", "s3cret")
	with := []string{"code_challenge", challenge(verifier), "code_challenge_method", "S256"}
	code := b.open(anna, b.authorizeURL(with...)).Get("code")
	for name, pairs := range map[string][]string{
		"another client":   {"code_verifier", verifier, "client_id", "other"},
		"another redirect": {"code_verifier", verifier, "redirect_uri", "https://app.example/callback"},
		"no redirect":      {"code_verifier", verifier, "redirect_uri", ""},
		"another verifier": {"code_verifier", verifier[1:] + "x"},
		"no verifier":      {},
	} {
		if a := b.exchange(code, pairs...); a.text("error") != "invalid_grant" {
			t.Errorf("%s: HTTP %d %s", name, a.status, a.raw)
		}
	}
	b.wantSpent(b.exchange(code, "code_verifier", verifier))
	plain := b.open(anna, b.authorizeURL()).Get("code")
	b.wantInvalidGrant(b.exchange(plain, "code_verifier", verifier)) // RFC 9700 section 2.1.1
	b.wantInvalidGrant(b.exchange("c-never"))
	if a := b.exchange(""); a.text("error") != "invalid_request" {
		t.Errorf("no code: %s", a.raw)
	}
}

func TestACodeEnds(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{Codes: fakeprovider.CodeRule{Life: time.Minute}})
	code := b.open(anna, b.authorizeURL()).Get("code")
	b.clock.advance(time.Minute)
	b.wantInvalidGrant(b.exchange(code))
	last := b.Events()[len(b.Events())-1]
	if last.Kind != fakeprovider.Refused || last.Reason != string(fakeprovider.BadCode) || last.Code != code || last.User != "anna" {
		t.Errorf("the ledger ends with %+v", last)
	}
}

func TestAuthorizationErrorsGoBackToTheApp(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{Codes: fakeprovider.CodeRule{NeedsPKCE: true}})
	with := []string{"code_challenge", challenge(verifier), "code_challenge_method", "S256"}
	for name, c := range map[string]struct {
		pairs []string
		want  string
	}{
		"response type": {append([]string{"response_type", "token"}, with...), "unsupported_response_type"},
		"no challenge":  {nil, "invalid_request"},
		"plain":         {[]string{"code_challenge", verifier, "code_challenge_method", "plain"}, "invalid_request"},
	} {
		if q := b.open(anna, b.authorizeURL(c.pairs...)); q.Get("error") != c.want || q.Get("state") != "st+te/=" || q.Has("code") {
			t.Errorf("%s: %v", name, q)
		}
	}
	if q := b.open(anna, b.authorizeURL(with...)+"&scope=write"); q.Get("error") != "invalid_request" {
		t.Errorf("twice: %v", q)
	}
	no := anna
	no.Denies = true
	if q := b.open(no, b.authorizeURL(with...)); q.Get("error") != "access_denied" {
		t.Errorf("denied: %v", q)
	}
	if len(b.Codes()) != 0 {
		t.Error("a code was issued")
	}
}

// An app or a redirect URI that the provider does not know must not be
// redirected to (RFC 6749 section 4.1.2.1).
func TestAuthorizationOfStrangersEndsOnAPage(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{})
	for name, pairs := range map[string][]string{
		"unknown app":    {"client_id", "x"},
		"longer":         {"redirect_uri", callback + "&x=1"},
		"other host":     {"redirect_uri", "https://evil.example/callback?tenant=1"},
		"no redirect":    {"redirect_uri", ""},
		"only a pattern": {"redirect_uri", "https://app.example/callback"},
	} {
		if to, err := anna.Open(t.Context(), b.authorizeURL(pairs...)); !errors.Is(err, fakeprovider.ErrNotAdmitted) {
			t.Errorf("%s: sent to %v, %v", name, to, err)
		}
	}
}

func TestAWrongPasswordShowsTheFormAgain(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{})
	for _, who := range []fakeprovider.Person{{User: "anna", Password: "x"}, {User: "nobody"}} {
		if to, err := who.Open(t.Context(), b.authorizeURL()); !errors.Is(err, fakeprovider.ErrNotAdmitted) {
			t.Errorf("sent to %v, %v", to, err)
		}
	}
	b.SetUser("anna", "x")
	if q := b.open(fakeprovider.Person{User: "anna", Password: "x"}, b.authorizeURL()); q.Get("code") == "" {
		t.Errorf("got %v", q)
	}
	if want := "opened denied opened denied opened code_issued"; b.story() != want {
		t.Errorf("got %s, want %s", b.story(), want)
	}
}

func TestTheDoorCanFail(t *testing.T) {
	b := newCodeBench(t, fakeprovider.Options{})
	b.Set(fakeprovider.Faults{AuthorizeStatus: http.StatusBadGateway})
	if a := b.get(strings.TrimPrefix(b.authorizeURL(), b.url)); a.status != http.StatusBadGateway {
		t.Errorf("HTTP %d", a.status)
	}
}

func TestARefreshMayExtendTheSameToken(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Stable, Extends: true})
	b.clock.advance(30 * time.Minute)
	access, refresh := b.wantSpent(b.spend(pair.Refresh))
	if access != pair.Access || refresh != pair.Refresh {
		t.Error("the values changed")
	}
	b.clock.advance(45 * time.Minute) // its first hour is over
	b.wantLive(access, true)
	b.clock.advance(15 * time.Minute)
	if access, _ := b.wantSpent(b.spend(pair.Refresh)); access == pair.Access {
		t.Error("a dead token was given again")
	}
}

// A stable refresh token's life was told as the whole of it at every use.
func TestTheEndOfAStableRefreshTokenStays(t *testing.T) {
	b, pair := newRefreshBench(t, fakeprovider.RefreshRule{Semantics: fakeprovider.Stable, Life: time.Hour})
	b.clock.advance(15 * time.Minute)
	if a := b.spend(pair.Refresh); a.number("refresh_expires_in") != 45*60 {
		t.Errorf("got %s", a.raw)
	}
}
