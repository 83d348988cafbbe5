package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The vector of RFC 7636 appendix B.
func TestChallenge(t *testing.T) {
	a := Authorization{Verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}
	if got := a.challenge(); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("challenge %s", got)
	}
}

func TestNewAuthorization(t *testing.T) {
	a, b := NewAuthorization(), NewAuthorization()
	seen := map[realm.Hidden]bool{a.State: true, a.Verifier: true, b.State: true, b.Verifier: true}
	if len(seen) != 4 {
		t.Error("a value came twice")
	}
	for text := range seen {
		if len(text) != 43 || strings.Trim(text.Reveal(), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%d characters, or others than those of base64url", len(text))
		}
	}
	if shown := fmt.Sprintf("%v %+v %#v", a, a, a); strings.Contains(shown, a.State.Reveal()) || strings.Contains(shown, a.Verifier.Reveal()) {
		t.Error("printing it shows it")
	}
}

// TestCallbackParameters: a realm may read everything of a callback but what is
// good for one exchange.
func TestCallbackParameters(t *testing.T) {
	cb, err := ParseCallback("code=C&realmId=91%2F2&state=S&iss=I&empty=")
	want := realm.KeptOf(map[string]string{"realmId": "91/2", "iss": "I", "empty": ""})
	if err != nil || cb.Parameters != want {
		t.Errorf("%q, %v", cb.Parameters.Reveal(), err)
	}
}

func TestParseCallback(t *testing.T) {
	for query, want := range map[string]Callback{
		"":                   {},
		"code=a%2Fb+c&state": {Code: "a/b c"},
		"&state=S&&x=1&code=C&iss=https%3A%2F%2Fx.example": {Code: "C", State: "S", Issuer: "https://x.example"},
		"error=access_denied&error_description=a%0D%0Ab":   {Error: "access_denied", Description: "a\r\nb"},
		"code=" + strings.Repeat("c", maxCode):             {Code: realm.Hidden(strings.Repeat("c", maxCode))},
		"state=" + strings.Repeat("s", maxState):           {State: realm.Hidden(strings.Repeat("s", maxState))},
	} {
		got, err := ParseCallback(query)
		got.Parameters = "" // see TestCallbackParameters
		if err != nil || got != want {
			t.Errorf("%.40q: %+v, %v", query, got, err)
		}
	}
	for query, want := range map[string]error{
		"code=" + strings.Repeat("c", maxCode+1):   errCallbackLong,
		"state=" + strings.Repeat("s", maxState+1): errCallbackLong,
		"x=" + strings.Repeat("x", maxCallback):    errCallbackLong,
		"code=a&code=a":                            errCallbackDoubled,
		"state=a&c=1&st%61te":                      errCallbackDoubled,
		"x=1&x=2":                                  errCallbackDoubled,
		"code=%":                                   errCallbackEncoded,
		"%zz=1":                                    errCallbackEncoded,
		"code=a%00b":                               errCallbackEncoded,
		"code=a%0Ab":                               errCallbackEncoded,
		"state=%ff":                                errCallbackEncoded,
	} {
		if got, err := ParseCallback(query); err != want || got != (Callback{}) { //nolint:errorlint // the very error, and nothing around it
			t.Errorf("%.40q: %+v, %v", query, got, err)
		}
	}
}

// FuzzParseCallback: whatever anybody sends to the callback, what comes out is
// bounded, and an error shows nothing of it.
func FuzzParseCallback(f *testing.F) {
	f.Add("code=CANARY-0123456789&state=x")
	f.Add("error=access_denied&error_description=a+b&iss=https://x")
	f.Add("code=a&code=b&%zz&;")
	var r realm.Realm
	if err := json.Unmarshal([]byte(strings.ReplaceAll(ownRealm, "@", "https://x.example")), &r.Config); err != nil {
		f.Fatal(err)
	}
	p, err := Compile(r, true)
	if err != nil {
		f.Fatal(err)
	}
	b, err := p.Bind(secretOf(account))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		cb, err := ParseCallback(query)
		if err != nil {
			if cb != (Callback{}) || err != errCallbackLong && err != errCallbackEncoded && err != errCallbackDoubled { //nolint:errorlint // no other text
				t.Errorf("%+v, %v", cb, err)
			}
			return
		}
		for _, text := range []string{cb.Code.Reveal(), cb.State.Reveal()} {
			if len(text) > maxCode || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%q", text)
			}
		}
		if len(cb.State) > maxState || len(cb.Error)+len(cb.Description)+len(cb.Issuer) > maxCallback {
			t.Errorf("%+v", cb)
		}
		if failed := b.Judge(cb); failed != nil {
			checkJudged(t, failed)
		}
	})
}

func checkJudged(t *testing.T, failed *Error) {
	t.Helper()
	text := failed.Error()
	if strings.Contains(text, account["password"]) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 3000 || failed.Kind == "" {
		t.Errorf("error %+v", failed)
	}
}

// The words of a callback are anybody's, and may quote what it holds.
func TestCallbackIsNotPrinted(t *testing.T) {
	cb := Callback{Code: "C", Error: "CANARY", Description: "CANARY", Issuer: "CANARY"}
	if text := fmt.Sprintf("%v %+v %#v %s %q %v", cb, cb, cb, cb, cb, &cb); strings.Contains(text, "CANARY") {
		t.Errorf("printed: %s", text)
	}
}

// What was computed of a password is hidden, too, in the words that come with a
// callback: it may be all that a login takes.
func TestComputedIsHiddenInADenial(t *testing.T) {
	b := bind(t, realmOf(t, ownRealm, "https://x.example"), account)
	sent := md5Of(t, account["password"])
	failed := b.Judge(Callback{State: attempt.State, Error: "access_denied", Description: "wrong password " + sent})
	if failed == nil || failed.ProviderMessage != "wrong password "+realm.Mask {
		t.Errorf("error %+v", failed)
	}
}

// Who reads that an iss is wrong can do something about it.
func TestForeignIssuer(t *testing.T) {
	for grant, want := range map[string]string{
		``: "another origin than the authorize URL", `,"issuer":"https://x.example/a"`: "not config.grant.issuer",
	} {
		failed := bind(t, realmOf(t, codeGrant(grant, `"lifetime":"1h"`), ""), account).Judge(Callback{Code: "C", Issuer: "https://CANARY.example"})
		if failed == nil || !strings.Contains(failed.Detail, want) || !strings.Contains(failed.Detail, "config.grant.issuer") || strings.Contains(failed.Detail, "CANARY") {
			t.Errorf("%s: %+v", grant, failed)
		}
	}
}

func TestJudge(t *testing.T) {
	const issuer = `,"issuer":"https://{secret.tenant}.example/x"`
	for _, c := range []struct {
		name, grant string
		cb          Callback
		kind        Kind
		class       Class
		code        string
	}{
		{"a code", ``, Callback{Code: "C"}, "", 0, ""},
		{"no code", ``, Callback{}, KindRefused, Retryable, ""},
		{"denied", ``, Callback{Error: "access_denied"}, KindDenied, Hopeless, "access_denied"},
		{"denied with a code", ``, Callback{Error: "access_denied", Code: "C"}, KindDenied, Hopeless, "access_denied"},
		{"invalid_scope", ``, Callback{Error: "invalid_scope"}, KindRefused, Hopeless, "invalid_scope"},
		{"unauthorized_client", ``, Callback{Error: "unauthorized_client"}, KindRefused, Hopeless, "unauthorized_client"},
		{"server_error", ``, Callback{Error: "server_error"}, KindRefused, Retryable, "server_error"},
		{"temporarily_unavailable", ``, Callback{Error: "temporarily_unavailable"}, KindRefused, Throttled, "temporarily_unavailable"},

		{"iss of the authorize URL", ``, Callback{Code: "C", Issuer: "https://X.example:443/realms/a"}, "", 0, ""},
		{"iss of another host", ``, Callback{Code: "C", Issuer: "https://y.example"}, KindRefused, Hopeless, ""},
		{"iss of another port", ``, Callback{Code: "C", Issuer: "https://x.example:444"}, KindRefused, Hopeless, ""},
		{"iss of another scheme", ``, Callback{Code: "C", Issuer: "http://x.example"}, KindRefused, Hopeless, ""},
		{"iss that is no URL", ``, Callback{Code: "C", Issuer: "x.example"}, KindRefused, Hopeless, ""},
		{"an error of another issuer", ``, Callback{Error: "access_denied", Issuer: "https://y.example"}, KindRefused, Hopeless, ""},
		{"the issuer", issuer, Callback{Code: "C", Issuer: "https://acme.example/x"}, "", 0, ""},
		{"the issuer in other letters", issuer, Callback{Code: "C", Issuer: "https://ACME.example/x"}, KindRefused, Hopeless, ""},
		{"the issuer with a slash more", issuer, Callback{Code: "C", Issuer: "https://acme.example/x/"}, KindRefused, Hopeless, ""},
		{"the authorize URL's origin beside an issuer", issuer, Callback{Code: "C", Issuer: "https://x.example"}, KindRefused, Hopeless, ""},
		{"no iss beside an issuer", issuer, Callback{Code: "C"}, KindRefused, Hopeless, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			failed := bind(t, realmOf(t, codeGrant(c.grant, `"lifetime":"1h"`), ""), account).Judge(c.cb)
			switch {
			case failed == nil && c.kind == "":
			case failed == nil, failed.Kind != c.kind, failed.Class != c.class, failed.ProviderCode != c.code, failed.NotSent:
				t.Errorf("error %+v", failed)
			}
		})
	}
}

// TestCodeName: the code of some providers has a name of its own. Then that of
// the standard does not count; errors are told as always.
func TestCodeName(t *testing.T) {
	b := bind(t, realmOf(t, codeGrant(``, `"code_name":"auth_code"`), ""), account)
	for query, want := range map[string]realm.Hidden{
		"auth_code=CANARY%2F1&state=s":                "CANARY/1",
		"code=x&auth_code=C&state=s":                  "C",
		"code=x&state=s":                              "",
		"auth_code=&code=x&state=s":                   "",
		"auth_code=%20&state=s":                       " ",
		"auth_code=a%0Ab&code=x&state=s":              "",
		"auth_code=" + strings.Repeat("c", maxCode+1): "",
		"auth_code=" + strings.Repeat("c", maxCode):   realm.Hidden(strings.Repeat("c", maxCode)),
		"error=access_denied&state=s":                 "",
		"authorization_code=C&AUTH_CODE=C&state=s":    "",
	} {
		cb, err := ParseCallback(query)
		if err != nil {
			t.Fatal(err)
		}
		cb = b.ReadCode(cb)
		if cb.Code != want {
			t.Errorf("%.60s: code %.20q", query, cb.Code.Reveal())
		}
		failed := b.Judge(cb)
		switch {
		case strings.HasPrefix(query, "error="):
			if failed == nil || failed.Kind != KindDenied {
				t.Errorf("denied: %+v", failed)
			}
		case blank(want.Reveal()) != (failed != nil), failed != nil && failed.Detail != "the callback has no auth_code":
			t.Errorf("%.60s: %+v", query, failed)
		}
		if text := fmt.Sprintf("%v %+v %#v", cb, cb, cb); strings.Contains(text, "CANARY") {
			t.Errorf("it prints %s", text)
		}
	}
	cb, err := ParseCallback("code=C&auth_code=x")
	if plain := bind(t, realmOf(t, codeGrant(``, `"lifetime":"1h"`), ""), account); err != nil || plain.ReadCode(cb).Code != "C" {
		t.Errorf("a realm without code_name: %v", err)
	}
}

// The server reads the code out of the redirect by its name, too.
func TestCodeNameWithoutAPerson(t *testing.T) {
	config := strings.Replace(ownRealm, `"unattended":true`, `"unattended":true,"code_name":"auth_code"`, 1)
	const to = "https://tokens.example/cb?x=1&state=CANARY-STATE-0123456789&"
	got, failed, _ := authorizeFrom(t, config, redirecting(302, to+"auth_code=A&code=B"))
	if failed != nil || got == nil || got.Code != "A" {
		t.Errorf("callback %+v, %v", got, failed)
	}
	got, failed, _ = authorizeFrom(t, config, redirecting(302, to+"code=B"))
	if failed != nil || got == nil || got.Code != "" {
		t.Errorf("the standard name: %+v, %v", got, failed)
	}
	got, failed, _ = authorizeFrom(t, config, redirecting(302, to+"error=access_denied"))
	if failed != nil || got == nil || got.Error != "access_denied" {
		t.Errorf("denied: %+v, %v", got, failed)
	}
}

// The name belongs to the provider: it cannot be one of the standard's, nor stand
// in the callback URL, and whoever corrects it is heard at once.
func TestCodeNameIsChecked(t *testing.T) {
	for _, name := range []string{"state", "error", "iss", "error_description", "a b", "a=b", strings.Repeat("a", 65)} {
		r := realmOf(t, `{"code_name":"`+name+`"}`, "")
		var field *realm.FieldError
		if err := r.Validate(); !errors.As(err, &field) || field.Field != "config.code_name" {
			t.Errorf("%s: %v", name, err)
		}
	}
	config := strings.Replace(ownRealm, `"unattended":true`, `"code_name":"x"`, 1) // the callback URL has an x
	var field *realm.FieldError
	if _, err := Compile(realmOf(t, config, "https://x.example"), false); !errors.As(err, &field) || field.Field != "config.callback_url" {
		t.Errorf("in the callback URL: %v", err)
	}
	named := func(r *realm.Realm) { r.Config.CodeName = "auth_code" }
	if digestsOf(t, named, nil)["authorize"] == digestsOf(t, nil, nil)["authorize"] {
		t.Error("the digest stays")
	}
	if fingerprint(t, named, nil) != fingerprint(t, nil, nil) {
		t.Error("the fingerprint changes")
	}
}
