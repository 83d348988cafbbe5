package grant

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func injecting(t testing.TB, inject ...realm.Injection) *Bound {
	t.Helper()
	var r realm.Realm
	r.Config.API = "https://api.example.com"
	r.Config.Inject = inject
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bind(secretOf(map[string]string{"token": "unused", "sid": "AC1", "colon": "a:b"}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func basic(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }

// TestSomethingCarriesTheToken: a realm whose injections were all constant,
// by a slip such as "{{token}}", sent requests on without a token.
func TestSomethingCarriesTheToken(t *testing.T) {
	constant := realm.Injection{Place: "header", Name: "X-Version", Value: "2"}
	for _, c := range []struct {
		inject []realm.Injection
		ok     bool
	}{
		{nil, true},
		{[]realm.Injection{constant}, false},
		{[]realm.Injection{{Place: "url", Name: "t", Value: "{{token}"}}, false},
		{[]realm.Injection{{Place: "header", Name: "X-Key", Value: "{secret.token}"}}, false},
		{[]realm.Injection{{Place: "basic", Name: "user", Value: "password"}}, false},
		{[]realm.Injection{constant, {Place: "url", Name: "t"}}, true},
		{[]realm.Injection{constant, {Place: "body", Name: "t"}}, true},
		{[]realm.Injection{{Place: "basic", Name: "{token}", Value: "x-oauth-basic"}}, true},
	} {
		var r realm.Realm
		r.Config.Inject = c.inject
		_, err := Compile(r, false)
		var field *realm.FieldError
		if c.ok != (err == nil) || err != nil && (!errors.As(err, &field) || field.Field != "config.inject") {
			t.Errorf("%+v: %v", c.inject, err)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		in    realm.Injection
		token string
		place realm.Place
		value string
	}{
		{realm.Injection{Place: "url", Name: "access_token"}, "T-._~1", realm.Place{In: "url", Name: "access_token", Pair: "access_token="}, "T-._~1"},
		{realm.Injection{Place: "url", Name: "a b&"}, "a+b/c= &é", realm.Place{In: "url", Name: "a b&", Pair: "a%20b%26="}, "a%2Bb%2Fc%3D%20%26%C3%A9"},
		{realm.Injection{Place: "url", Name: "t", Value: "x {token}"}, "T", realm.Place{In: "url", Name: "t", Pair: "t="}, "x%20T"},
		{realm.Injection{Place: "header", Name: "authorization", Value: "Bearer {token}"}, "T", realm.Place{In: "header", Name: "Authorization"}, "Bearer T"},
		{realm.Injection{Place: "header", Name: "x-acs-dingtalk-access-token"}, "T", realm.Place{In: "header", Name: "X-Acs-Dingtalk-Access-Token"}, "T"},
		{realm.Injection{Place: "header", Name: "Authorization", Value: "key={token}; sid={secret.sid}"}, "T", realm.Place{In: "header", Name: "Authorization"}, "key=T; sid=AC1"},
		{realm.Injection{Place: "basic", Name: "user"}, "T:x", realm.Place{In: "header", Name: "Authorization"}, basic("user:T:x")},
		{realm.Injection{Place: "basic", Name: "{secret.sid}"}, "T", realm.Place{In: "header", Name: "Authorization"}, basic("AC1:T")},
		{realm.Injection{Place: "basic", Value: "{secret.sid}:{token}"}, "T", realm.Place{In: "header", Name: "Authorization"}, basic("AC1:T")},
		{realm.Injection{Place: "basic", Name: "ignored", Value: "{token}:"}, "T", realm.Place{In: "header", Name: "Authorization"}, basic("T:")},
		{realm.Injection{Place: "basic"}, "T", realm.Place{In: "header", Name: "Authorization"}, basic(":T")},
		{realm.Injection{Place: "body", Name: "auth.token", Value: "{secret.sid} {token}"}, `T"&é`, realm.Place{In: "body", Name: "auth.token"}, `AC1 T"&é`},
		{realm.Injection{Place: "path", Name: "bot"}, "110:AA-b_c", realm.Place{In: "path", Name: "bot", Pair: "/bot"}, "110:AA-b_c"},
		{realm.Injection{Place: "path", Name: "file/bot"}, "a/b%?#; é", realm.Place{In: "path", Name: "file/bot", Pair: "/file/bot"}, "a%2Fb%25%3F%23%3B%20%C3%A9"},
		{realm.Injection{Place: "path", Name: "/", Value: "{secret.sid}.{token}"}, "T", realm.Place{In: "path", Name: "/", Pair: "/"}, "AC1.T"},
		{realm.Injection{Place: "cookie", Name: "B1SESSION"}, "T+/=", realm.Place{In: "cookie", Name: "B1SESSION", Pair: "B1SESSION="}, "T+/="},
		{realm.Injection{Place: "cookie", Name: "s", Value: `"{token}"`}, "T", realm.Place{In: "cookie", Name: "s", Pair: "s="}, `"T"`},
	} {
		b := injecting(t, c.in)
		target := b.Target()
		values, access, err := b.Place(realm.Hidden(c.token))
		if err != nil || access.Reveal() != c.token {
			t.Errorf("%+v: %q, %v", c.in, access.Reveal(), err)
		}
		if diff := cmp.Diff([]string{c.value}, values); diff != "" {
			t.Errorf("%+v: %s", c.in, diff)
		}
		if diff := cmp.Diff([]realm.Place{c.place}, target.Inject); diff != "" {
			t.Errorf("%+v: %s", c.in, diff)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	b := injecting(t, realm.Injection{Place: "header", Name: "Authorization", Value: "Bearer {token}"})
	for _, token := range []string{"", "a\r\nX: y", "a\x00", "a\x7f", "a\u0085", "\xff", strings.Repeat("a", maxToken+1)} {
		if values, _, err := b.Place(realm.Hidden(token)); err == nil {
			t.Errorf("%q was placed: %q", token, values)
		}
	}
}

// A cookie ends at what its value must not hold.
func TestPlaceRefusesCookies(t *testing.T) {
	b := injecting(t, realm.Injection{Place: "cookie", Name: "s"})
	for _, token := range []string{"a b", "a;b", "a,b", `a"b`, `"`, `a\b`, "é"} {
		if values, _, err := b.Place(realm.Hidden(token)); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q was placed: %q, %v", token, values, err)
		}
	}
}

// A dot segment is gone before the API sees it, escaped or not.
func TestPlaceRefusesDots(t *testing.T) {
	for name, tokens := range map[string][]string{"/": {".", ".."}, "a/.": nil, "a.": nil} {
		r := realm.Realm{ID: "x", Config: realm.Config{API: "https://api.example.com", Inject: []realm.Injection{{Place: "path", Name: name}}}}
		if err := r.Validate(); (err == nil) != (name != "a/.") {
			t.Errorf("%s: %v", name, err)
		}
		for _, token := range tokens {
			if values, _, err := injecting(t, r.Config.Inject[0]).Place(realm.Hidden(token)); err == nil {
				t.Errorf("%q was placed: %q", token, values)
			}
		}
	}
}

// A field of the secret must not split a header either.
func TestPlaceRefusesFields(t *testing.T) {
	var r realm.Realm
	r.Config.Inject = []realm.Injection{{Place: "header", Name: "A", Value: "{token}{secret.bad}"}}
	p, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bind(secretOf(map[string]string{"token": "x", "bad": "CANARY\r\nX: y"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = b.Place("T"); err == nil || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("error %v", err)
	}
}

// TestPlaceShares: the token of a lease lies in memory once.
func TestPlaceShares(t *testing.T) {
	token := strings.Repeat("t", 512)
	for _, in := range []realm.Injection{
		{Place: "url", Name: "access_token"},
		{Place: "header", Name: "Authorization", Value: "Bearer {token}"},
	} {
		values, access, err := injecting(t, in).Place(realm.Hidden(token))
		if err != nil {
			t.Fatal(err)
		}
		start := uintptr(unsafe.Pointer(unsafe.StringData(values[0])))
		at := uintptr(unsafe.Pointer(unsafe.StringData(access.Reveal())))
		if at < start || at >= start+uintptr(len(values[0])) {
			t.Errorf("%+v: the token is a second copy", in)
		}
	}
	_, access, err := injecting(t, realm.Injection{Place: "url", Name: "t"}).Place("a+b")
	if err != nil || access.Reveal() != "a+b" {
		t.Errorf("an escaped token: %q, %v", access.Reveal(), err)
	}
}

func BenchmarkPlace(b *testing.B) {
	bound := injecting(b, realm.Injection{Place: "header", Name: "Authorization", Value: "Bearer {token}"}, realm.Injection{Place: "url", Name: "access_token"})
	token := realm.Hidden(strings.Repeat("t", 512))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := bound.Place(token); err != nil {
			b.Fatal(err)
		}
	}
}
