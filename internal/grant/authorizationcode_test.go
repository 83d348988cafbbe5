package grant

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// codeRealmOf is a realm of the grant with more of its fields, and more of the
// realm. "@" stands for the provider's URL.
func codeRealmOf(grant, config string) string {
	return `{"grant":{"name":"authorization_code","authorize_url":"@/authorize","token_url":"@/token"` + grant + `},"callback_url":"https://tokens.example/cb?x=1"` + config + `}`
}

// TestAuthorizationCode compares all three requests of the grant with those of
// RFC 6749 sections 4.1.1, 4.1.3 and 6, and RFC 7636 section 4.
func TestAuthorizationCode(t *testing.T) {
	const (
		redirect = "redirect_uri=https%3A%2F%2Ftokens.example%2Fcb%3Fx%3D1"
		state    = "state=CANARY-STATE-0123456789"
		code     = "grant_type=authorization_code&code=CANARY-CODE%2F1%2B2&" + redirect
		pkce     = "&code_challenge=" + challengeOfAttempt + "&code_challenge_method=S256"
		verifier = "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
		refresh  = "grant_type=refresh_token&refresh_token=REFRESH-1%2Fa%2Bb"
		basic    = "Basic aWQtMTpTRUNSRVQlMkYx"
	)
	for _, c := range []struct {
		name, config                 string
		authorize, exchange, refresh string
		authorization                string
	}{
		{
			name: "as it is", config: codeRealmOf(``, ``), authorization: basic,
			authorize: "response_type=code&client_id=id-1&" + redirect + "&" + state + pkce,
			exchange:  code + verifier, refresh: refresh,
		},
		{
			name: "scopes are for the first request", config: codeRealmOf(`,"scopes":["read","write:all"],"pkce":"S256"`, ``), authorization: basic,
			authorize: "response_type=code&client_id=id-1&" + redirect + "&scope=read%20write%3Aall&" + state + pkce,
			exchange:  code + verifier, refresh: refresh,
		},
		{
			name: "without PKCE, secret in the body", config: codeRealmOf(`,"pkce":"off","token_endpoint_auth_method":"client_secret_post"`, ``),
			authorize: "response_type=code&client_id=id-1&" + redirect + "&" + state,
			exchange:  code + "&client_id=id-1&client_secret=SECRET%2F1",
			refresh:   refresh + "&client_id=id-1&client_secret=SECRET%2F1",
		},
		{
			name: "a public client", config: codeRealmOf(`,"token_endpoint_auth_method":"none","client_id":"$tenant"`, ``),
			authorize: "response_type=code&client_id=acme&" + redirect + "&" + state + pkce,
			exchange:  code + verifier + "&client_id=acme", refresh: refresh + "&client_id=acme",
		},
		{
			name: "more arguments", authorization: basic,
			config: codeRealmOf(``, `,"authorize":{"arguments":[{"name":"prompt","place":"url","value":"consent"}]},"exchange":{"arguments":[{"name":"audience","place":"body","value":"$tenant"}]},
				"refresh":{"arguments":[{"name":"scope","place":"body","value":"a b"}]}`),
			authorize: "response_type=code&client_id=id-1&" + redirect + "&" + state + pkce + "&prompt=consent",
			exchange:  code + verifier + "&audience=acme", refresh: refresh + "&scope=a+b",
		},
		{
			name:      "recipes in the place of the grant's",
			config:    codeRealmOf(`,"pkce":"off"`, `,"authorize":{"url":"@/authorize?s={state}"},"exchange":{"url":"@/token","method":"POST","arguments":[{"name":"c","place":"body","value":"{code}"}]},"refresh":{"url":"@/token","method":"POST","arguments":[{"name":"r","place":"body","value":"{refresh_token}"}]}`),
			authorize: "s=CANARY-STATE-0123456789", exchange: "c=CANARY-CODE%2F1%2B2", refresh: "r=REFRESH-1%2Fa%2Bb",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(200, "", `{"access_token":"T","expires_in":"3600","refresh_token":"R"}`))
			b := bind(t, realmOf(t, c.config, p.URL), account)
			if got, err := b.AuthorizeURL(attempt, nil); err != nil || got != p.URL+"/authorize?"+c.authorize {
				t.Errorf("authorize URL %s, %v", got, err)
			}
			got, err := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
			if err != nil {
				t.Fatal(err)
			}
			if token := got.Token; token.Access != "T" || token.Refresh != "R" || !token.ExpiresAt.Equal(noon.Add(time.Hour)) || len(got.Warnings) > 0 {
				t.Errorf("token %+v, %v", token, got.Warnings)
			}
			renewed, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh})
			if err != nil || renewed.Token.Access != "T" || renewed.Token.Refresh != "R" {
				t.Errorf("refresh %+v, %v", renewed, err)
			}
			for i, body := range []string{c.exchange, c.refresh} {
				if r := p.requests[i]; r.method != "POST" || r.path != "/token" || r.body != body || r.header.Get("Authorization") != c.authorization {
					t.Errorf("request %d: %+v", i, r)
				}
			}
		})
	}
}

// A refusal of section 5.2 with status 200, and paths of the realm's own.
func TestAuthorizationCodeAnswers(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"error":"invalid_grant","access_token":"T"}`))
	_, err := bind(t, realmOf(t, codeRealmOf(``, ``), p.URL), account).Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
	if failed := failure(t, err); failed.Kind != KindRefused || failed.Class != Retryable || failed.ProviderCode != "invalid_grant" {
		t.Errorf("error %+v", failed)
	}
	p = newProvider(t, answering(200, "", `{"data":{"t":"T","e":60,"r":"R","re":120}}`))
	config := codeRealmOf(``, `,"token_path":"data.t","expires_in_path":"data.e","refresh_token_path":"data.r","exchange":{"refresh_expires_in_path":"data.re"}`)
	b := bind(t, realmOf(t, config, p.URL), account)
	first, err := b.Exchange(t.Context(), testClient(t), attempt, theCode, Request{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Refresh(t.Context(), testClient(t), Request{RefreshToken: oldRefresh})
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []realm.Token{first.Token, second.Token} {
		if got.Access != "T" || got.Refresh != "R" || !got.ExpiresAt.Equal(noon.Add(time.Minute)) || !got.RefreshExpiresAt.Equal(noon.Add(2*time.Minute)) {
			t.Errorf("token %+v", got)
		}
	}
}

// An unattended realm of the grant, as the simulated provider's own tests have
// it: the redirect is read and its code exchanged.
func TestUnattendedAuthorizationCode(t *testing.T) {
	p := newProvider(t, redirecting(302, goodCallback))
	config := codeRealmOf(``, `,"unattended":true,"authorize":{"arguments":[{"name":"username","place":"url","value":"$username"},{"name":"password","place":"url","value":"$password"}]}`)
	b := bind(t, realmOf(t, config, p.URL), account)
	got, err := b.Authorize(t.Context(), testClient(t), attempt, Request{})
	if err != nil || got == nil || got.Code != theCode || b.Judge(*got) != nil {
		t.Errorf("callback %+v, %v", got, err)
	}
	if !b.program.CanFetch() || !strings.HasSuffix(p.requests[0].query, "&username=user%40x&password=CANARY-PASSWORD%2F1") {
		t.Errorf("can fetch %v, request %+v", b.program.CanFetch(), p.requests[0])
	}
}

// A token that a person got must not be thrown away for what does not decide
// about it.
func TestFingerprintOfAnAuthorization(t *testing.T) {
	of := func(grant, config string, change ...string) realm.Fingerprint {
		fields := map[string]string{}
		for name, value := range account {
			fields[name] = value
		}
		for i := 0; i < len(change); i += 2 {
			fields[change[i]] = change[i+1]
		}
		return bind(t, realmOf(t, codeRealmOf(grant, config), "https://x.example"), fields).Fingerprint()
	}
	base := of(``, ``)
	for name, got := range map[string]realm.Fingerprint{
		"pkce":                of(`,"pkce":"off"`, ``),
		"issuer":              of(`,"issuer":"https://x.example"`, ``),
		"unattended":          of(``, `,"unattended":true`),
		"default_key":         of(``, `,"default_key":"a"`),
		"the refresh recipe":  of(``, `,"refresh":{"arguments":[{"name":"a","place":"body","value":"$tenant"}]}`),
		"a field nobody uses": of(``, ``, "password", "x"),
	} {
		if got != base {
			t.Errorf("%s changes it", name)
		}
	}
	for name, got := range map[string]realm.Fingerprint{
		"scopes":               of(`,"scopes":["a"]`, ``),
		"the client":           of(``, ``, "client_id", "id-2"),
		"an authorize request": of(``, `,"authorize":{"arguments":[{"name":"a","place":"url","value":"b"}]}`),
		"an exchange":          of(``, `,"exchange":{"arguments":[{"name":"a","place":"body","value":"b"}]}`),
	} {
		if got == base {
			t.Errorf("%s does not change it", name)
		}
	}
}

// A refresh token that somebody put into the secret spares a person the first
// authorization.
func TestSeedOfAnAttendedRealm(t *testing.T) {
	seeded := map[string]string{"refresh_token": "SEED-1"}
	for name, value := range account {
		seeded[name] = value
	}
	for config, want := range map[string]realm.Hidden{codeRealmOf(``, ``): "SEED-1", codeRealmOf(``, `,"unattended":true`): ""} {
		b := bind(t, realmOf(t, config, "https://x.example"), seeded)
		if got := b.SecretRefreshToken(); got != want || b.Reseeded(b.Fingerprint()) {
			t.Errorf("%s: %d bytes, reseeded %v", config, len(got), b.Reseeded(b.Fingerprint()))
		}
	}
}

// TestAuthorizeURLWithArgumentsOfTheGrant: of a state or a challenge method that
// stands twice, the server may take the one that was typed, which nobody else
// is to know, or that takes PKCE away. Others are welcome.
func TestAuthorizeURLWithArgumentsOfTheGrant(t *testing.T) {
	for query, wrong := range map[string]bool{
		"x=1&y":                              false,
		"x=state":                            false,
		"state=fixed":                        true,
		"x=1&code_challenge_method=plain":    true,
		"%72edirect_uri=https://e.example":   true,
		"Response_Type=token":                true,
		"x=1&client_id={secret.client_id}":   true,
		"scope=everything":                   false, // the realm has none of its own
		"prompt=consent&access_type=offline": false,
	} {
		config := strings.Replace(codeRealmOf("", ""), "@/authorize", "https://login.example/authorize?"+query, 1)
		_, err := Compile(realmOf(t, config, "https://login.example"), false)
		if (err != nil) != wrong {
			t.Errorf("%s: %v", query, err)
		}
	}
}
