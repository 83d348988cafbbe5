package grant

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// assertionFields are those of a client that signs.
func assertionFields(t *testing.T, key string) map[string]string {
	t.Helper()
	return map[string]string{
		"client_id": "id:1", "client_secret": "a secret of the client, of 32 bytes", "tenant": "t-1",
		"private_key": testKey(t, key), "certificate": testKey(t, "rsa2048.crt"), "subject_token": "ST", "actor_token": "AT",
	}
}

// verified are the header and the claims of an assertion, whose signature is
// checked as a server does it.
func verified(t *testing.T, token string, algorithm jose.SignatureAlgorithm, key any) (header, claims map[string]any) {
	t.Helper()
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	head, err := base64.RawURLEncoding.DecodeString(token[:strings.Index(token, ".")])
	if err != nil {
		t.Fatal(err)
	}
	for text, to := range map[string]*map[string]any{string(payload): &claims, string(head): &header} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// TestClientAssertion reads what a client sends that authenticates itself by a
// JWT, in every grant that has a token endpoint.
func TestClientAssertion(t *testing.T) {
	for _, c := range []struct {
		name, config, key string
		algorithm         jose.SignatureAlgorithm
		header            map[string]any
		clientID, path    string
		form              url.Values // without the client's credentials
	}{
		{
			name: "private_key_jwt", key: "rsa2048.pem", algorithm: jose.RS256, clientID: "id:1", path: "/token",
			config: `{"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"private_key_jwt"}}`,
			header: map[string]any{"alg": "RS256", "typ": "JWT"},
			form:   url.Values{"grant_type": {"client_credentials"}},
		},
		{
			name: "Entra", key: "rsa2048.pem", algorithm: jose.PS256, clientID: "id:1", path: "/t-1/oauth2/v2.0/token",
			config: `{"grant":{"name":"client_credentials","token_url":"@/{secret.tenant}/oauth2/v2.0/token","scopes":["https://graph.microsoft.com/.default"],
				"token_endpoint_auth_method":"private_key_jwt","algorithm":"PS256","certificate":"{secret.certificate}"}}`,
			header: map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": "22j0hHmDt6KrpF1oBEQ5ci90wyUmOIoUOc8akC1V47Y"},
			form:   url.Values{"grant_type": {"client_credentials"}, "scope": {"https://graph.microsoft.com/.default"}},
		},
		{
			name: "Okta, ES256", key: "p256.pem", algorithm: jose.ES256, clientID: "fixed", path: "/token",
			config: `{"grant":{"name":"client_credentials","token_url":"@/token","client_id":"fixed","key_id":"k-{secret.tenant}","token_endpoint_auth_method":"private_key_jwt","algorithm":"ES256"}}`,
			header: map[string]any{"alg": "ES256", "typ": "JWT", "kid": "k-t-1"},
			form:   url.Values{"grant_type": {"client_credentials"}},
		},
		{
			name: "client_secret_jwt", algorithm: jose.HS256, key: "rsa2048.pem", clientID: "id:1", path: "/token",
			config: `{"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"client_secret_jwt","key_id":"k"}}`,
			header: map[string]any{"alg": "HS256", "typ": "JWT", "kid": "k"},
			form:   url.Values{"grant_type": {"client_credentials"}},
		},
		{
			name: "token_exchange", key: "rsa2048.pem", algorithm: jose.RS256, clientID: "id:1", path: "/token",
			config: `{"grant":{"name":"token_exchange","token_url":"@/token","token_endpoint_auth_method":"private_key_jwt"}}`,
			header: map[string]any{"alg": "RS256", "typ": "JWT"},
			form: url.Values{
				"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
				"subject_token": {"ST"}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			},
		},
		{
			name: "refresh_token", key: "rsa2048.pem", algorithm: jose.RS256, clientID: "id:1", path: "/token",
			config: `{"grant":{"name":"refresh_token","token_url":"@/token","token_endpoint_auth_method":"private_key_jwt"}}`,
			header: map[string]any{"alg": "RS256", "typ": "JWT"},
			form:   url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}},
		},
		{
			name: "authorization_code", key: "rsa2048.pem", algorithm: jose.RS256, clientID: "id:1", path: "/token",
			config: `{"callback_url":"https://me.example/","grant":{"name":"authorization_code","authorize_url":"@/auth","token_url":"@/token","token_endpoint_auth_method":"private_key_jwt"}}`,
			header: map[string]any{"alg": "RS256", "typ": "JWT"},
			form:   url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"R"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(200, "", goodAnswer))
			fields := assertionFields(t, c.key)
			b := bind(t, realmOf(t, c.config, p.URL), fields)
			seen := make(map[string]bool)
			for range 2 {
				var err error
				if b.program.refresh != nil {
					_, err = b.Refresh(t.Context(), testClient(t), Request{RefreshToken: "R"})
				} else {
					_, err = b.Fetch(t.Context(), testClient(t), Request{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range p.requests {
				form, err := url.ParseQuery(r.body)
				if err != nil {
					t.Fatal(err)
				}
				header, claims := verified(t, form.Get("client_assertion"), c.algorithm, publicKeyOf(t, fields, c.algorithm))
				jti, _ := claims["jti"].(string)
				if seen[jti] || len(jti) != 36 {
					t.Errorf("jti %q", jti)
				}
				seen[jti] = true
				wantClaims := map[string]any{
					"iss": c.clientID, "sub": c.clientID, "aud": p.URL + c.path, "jti": jti, "iat": float64(noonSeconds - 10), "exp": float64(noonSeconds + 290),
				}
				if diff := cmp.Diff(wantClaims, claims) + cmp.Diff(c.header, header); diff != "" {
					t.Error(diff)
				}
				wantForm := url.Values{"client_id": {c.clientID}, "client_assertion_type": {assertionType}, "client_assertion": form["client_assertion"]}
				for name, values := range c.form {
					wantForm[name] = values
				}
				if diff := cmp.Diff(wantForm, form); diff != "" || r.path != c.path || r.header.Get("Authorization") != "" {
					t.Errorf("%s %q %s", r.path, r.header.Get("Authorization"), diff)
				}
			}
		})
	}
}

// testPublicKey is the public part of a key in PEM.
func testPublicKey(t *testing.T, text string) any {
	t.Helper()
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatal("no key")
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			return key.(crypto.Signer).Public()
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key.Public()
		}
	}
}

// publicKeyOf is what a server has of the client's key.
func publicKeyOf(t *testing.T, fields map[string]string, algorithm jose.SignatureAlgorithm) any {
	t.Helper()
	if algorithm == jose.HS256 {
		return []byte(fields["client_secret"])
	}
	return testPublicKey(t, fields["private_key"])
}

// Beside jwt_bearer, the client signs a JWT of its own with the same key.
func TestClientAssertionBesideJWTBearer(t *testing.T) {
	p := newProvider(t, answering(200, "", goodAnswer))
	b := bind(t, realmOf(t, `{"grant":{"name":"jwt_bearer","token_url":"@/token","subject":"me","token_endpoint_auth_method":"private_key_jwt"}}`, p.URL), assertionFields(t, "rsa2048.pem"))
	if _, err := b.Fetch(t.Context(), testClient(t), Request{}); err != nil {
		t.Fatal(err)
	}
	form, err := url.ParseQuery(p.requests[0].body)
	if err != nil {
		t.Fatal(err)
	}
	key := testPublicKey(t, testKey(t, "rsa2048.pem"))
	_, grantClaims := verified(t, form.Get("assertion"), jose.RS256, key)
	_, clientClaims := verified(t, form.Get("client_assertion"), jose.RS256, key)
	if grantClaims["sub"] != "me" || clientClaims["sub"] != "id:1" || clientClaims["jti"] == nil || grantClaims["jti"] != nil {
		t.Errorf("claims %v and %v", grantClaims, clientClaims)
	}
}

// TestClientSecretBasicRaw: id and secret as they are.
func TestClientSecretBasicRaw(t *testing.T) {
	p := newProvider(t, answering(200, "", goodAnswer))
	b := bind(t, realmOf(t, `{"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"client_secret_basic_raw"}}`, p.URL),
		map[string]string{"client_id": "id 1", "client_secret": "s %&=ü"})
	if _, err := b.Fetch(t.Context(), testClient(t), Request{}); err != nil {
		t.Fatal(err)
	}
	// printf %s 'id 1:s %&=ü' | base64
	if got, want := p.requests[0].header.Get("Authorization"), "Basic aWQgMTpzICUmPcO8"; got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// TestRequestTargets has the exact bytes of what a token is asked for.
func TestRequestTargets(t *testing.T) {
	const post = `"token_endpoint_auth_method":"client_secret_post","client_id":"a","client_secret":"b"`
	const exchange = `grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange`
	for _, c := range []struct{ config, body string }{
		{
			`{"content_type":"json","grant":{"name":"client_credentials","token_url":"@/token","audience":"https://api.example/",` + post + `}}`,
			`{"grant_type":"client_credentials","client_id":"a","client_secret":"b","audience":"https://api.example/"}`,
		},
		{
			`{"grant":{"name":"client_credentials","token_url":"@/token","resource":["https://one.example/","https://{secret.tenant}.example/?x=1"],` + post + `}}`,
			`grant_type=client_credentials&client_id=a&client_secret=b&resource=https%3A%2F%2Fone.example%2F&resource=https%3A%2F%2Ft-1.example%2F%3Fx%3D1`,
		},
		{
			`{"content_type":"json","grant":{"name":"client_credentials","token_url":"@/token","resource":["https://one.example/","https://{secret.tenant}.example/"],` + post + `}}`,
			`{"grant_type":"client_credentials","client_id":"a","client_secret":"b","resource":["https://one.example/","https://t-1.example/"]}`,
		},
		{
			`{"content_type":"json","grant":{"name":"client_credentials","token_url":"@/token","resource":["https://one.example/"],` + post + `}}`,
			`{"grant_type":"client_credentials","client_id":"a","client_secret":"b","resource":"https://one.example/"}`,
		},
		{
			`{"grant":{"name":"token_exchange","token_url":"@/token",` + post + `}}`,
			exchange + `&client_id=a&client_secret=b&subject_token=ST&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token`,
		},
		{
			`{"arguments":[{"name":"tenant","place":"body","value":"$tenant"}],"grant":{"name":"token_exchange","token_url":"@/token","scopes":["a","b"],
				"subject_token":"{secret.tenant}-1","subject_token_type":"urn:x:jwt","actor_token":"$actor_token","requested_token_type":"urn:x:saml2","audience":"aud","resource":["urn:r"],` + post + `}}`,
			`tenant=t-1&` + exchange + `&scope=a+b&client_id=a&client_secret=b&subject_token=t-1-1&subject_token_type=urn%3Ax%3Ajwt&actor_token=AT` +
				`&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&requested_token_type=urn%3Ax%3Asaml2&audience=aud&resource=urn%3Ar`,
		},
		{
			`{"grant":{"name":"token_exchange","token_url":"@/token","actor_token":"x","actor_token_type":"urn:y","client_id":"public","token_endpoint_auth_method":"none"}}`,
			exchange + `&client_id=public&subject_token=ST&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&actor_token=x&actor_token_type=urn%3Ay`,
		},
	} {
		p := newProvider(t, answering(200, "", `{"access_token":"T-0123456789","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}`))
		got, err := bind(t, realmOf(t, c.config, p.URL), assertionFields(t, "rsa2048.pem")).Fetch(t.Context(), testClient(t), Request{})
		if err != nil || got.Token.Access.Reveal() != "T-0123456789" || !got.Token.ExpiresAt.Equal(noon.Add(time.Minute)) {
			t.Fatalf("%s: %v, %v", c.config, got.Token.ExpiresAt, err)
		}
		if got := p.requests[0].body; got != c.body {
			t.Errorf("%s:\n got %s\nwant %s", c.config, got, c.body)
		}
	}
}

// TestGrantArguments: an argument that the grant sets cannot be set beside it;
// what it does not set, the realm may.
func TestGrantArguments(t *testing.T) {
	for _, c := range []struct{ grant, argument, refused string }{
		{`"name":"client_credentials"`, "audience", ""},
		{`"name":"client_credentials"`, "resource", ""},
		{`"name":"client_credentials","audience":"x"`, "Audience", "config.arguments[0].name: Audience is set by the grant"},
		{`"name":"client_credentials","resource":["urn:x"]`, "resource", "config.arguments[0].name: resource is set by the grant"},
		{`"name":"client_credentials"`, "client_assertion", ""},
		{`"name":"client_credentials","token_endpoint_auth_method":"private_key_jwt"`, "client_assertion", "config.arguments[0].name: client_assertion is set by the grant"},
		{`"name":"client_credentials","token_endpoint_auth_method":"client_secret_jwt"`, "client_assertion_type", "config.arguments[0].name: client_assertion_type is set by the grant"},
		{`"name":"token_exchange"`, "subject_token", "config.arguments[0].name: subject_token is set by the grant"},
		{`"name":"token_exchange"`, "actor_token", "config.arguments[0].name: actor_token is set by the grant"},
		{`"name":"token_exchange"`, "requested_token_type", "config.arguments[0].name: requested_token_type is set by the grant"},
		{`"name":"client_credentials","token_endpoint_auth_method":"private_key_jwt","private_key":"{x}"`, "a", "config.grant.private_key: {x} is not known here: {secret.x} are; write {{ for a brace"},
		{`"name":"client_credentials","token_endpoint_auth_method":"private_key_jwt","certificate":"{x}"`, "a", "config.grant.certificate: {x} is not known here: {secret.x} are; write {{ for a brace"},
		{`"name":"token_exchange","subject_token":"{x}"`, "a", "config.grant.subject_token: {x} is not known here: {secret.x}, {force}, {token_of.x} are; write {{ for a brace"},
		{`"name":"client_credentials","resource":["https://{x}"]`, "a", "config.grant.resource: {x} is not known here: {secret.x}, {force}, {token_of.x} are; write {{ for a brace"},
	} {
		_, err := Compile(realmOf(t, `{"arguments":[{"name":"`+c.argument+`","place":"body","value":"v"}],"grant":{"token_url":"https://x.example/t",`+c.grant+`}}`, ""), false)
		if err == nil && c.refused != "" || err != nil && err.Error() != c.refused {
			t.Errorf("%s beside %s: %v", c.argument, c.grant, err)
		}
	}
}

// The assertion is a credential: what quotes it does not show it, and the report
// does not, either.
func TestClientAssertionIsHidden(t *testing.T) {
	var assertion string
	var p *provider
	p = newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		form, err := url.ParseQuery(p.requests[0].body)
		if err != nil {
			t.Error(err)
		}
		assertion = form.Get("client_assertion")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"cannot take `+assertion+`"}`)
	})
	b := bind(t, realmOf(t, `{"grant":{"name":"token_exchange","token_url":"@/token","token_endpoint_auth_method":"private_key_jwt"}}`, p.URL), assertionFields(t, "rsa2048.pem"))
	var report Report
	_, err := b.Fetch(t.Context(), testClient(t), Request{Report: &report})
	failed := failure(t, err)
	shown, jsonErr := json.Marshal(report)
	if jsonErr != nil || assertion == "" {
		t.Fatalf("assertion %q, %v", assertion, jsonErr)
	}
	for _, text := range []string{failed.Error(), failed.ProviderMessage, string(shown)} {
		if strings.Contains(text, assertion[:40]) || strings.Contains(text, assertion[len(assertion)-40:]) {
			t.Errorf("shown in %s", text)
		}
	}
	if failed.ProviderCode != "invalid_client" || !strings.Contains(string(shown), realm.Mask) {
		t.Errorf("%+v %s", failed, shown)
	}
}

// A key that cannot sign is found when the secret is saved.
func TestClientAssertionKey(t *testing.T) {
	p, err := Compile(realmOf(t, `{"grant":{"name":"client_credentials","token_url":"https://x.example/t","token_endpoint_auth_method":"private_key_jwt","certificate":"$certificate"}}`, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	fields := assertionFields(t, "rsa2048.pem")
	for name, want := range map[string]string{
		"private_key": "fields.private_key: does not fit config.grant.private_key: the key is not a private key in PEM or base64 (PKCS#8, PKCS#1 or SEC 1)",
		"certificate": "fields.certificate: does not fit config.grant.private_key: the certificate is none in PEM or base64 (X.509)",
	} {
		wrong := assertionFields(t, "rsa2048.pem")
		wrong[name] = "CANARY-0123456789"
		if err := p.CheckSecret(secretOf(wrong)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.CheckSecret(secretOf(fields)); err != nil {
		t.Error(err)
	}
}
