package grant

import (
	"encoding/json"
	"net/url"
	"os"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

func testKey(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../expression/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestJWTBearer reads the assertion as a server does.
func TestJWTBearer(t *testing.T) {
	const issued, ends = noonSeconds - 10, noonSeconds + 3590
	for _, c := range []struct {
		name, config, key string
		algorithm         jose.SignatureAlgorithm
		kid               string
		claims            map[string]any // without aud
		form              url.Values     // without the assertion
		authorization     bool
	}{
		{
			name: "Google", key: "rsa2048.pem", algorithm: jose.RS256, kid: "key-1",
			config: `{"grant":{"name":"jwt_bearer","token_url":"@/token","issuer":"{secret.client_email}","key_id":"$private_key_id","scopes":["a","b"]}}`,
			claims: map[string]any{"iss": "robot@p.example", "scope": "a b"},
			form:   url.Values{"scope": {"a b"}},
		},
		{
			name: "Salesforce", key: "rsa2048.pem", algorithm: jose.RS256,
			config: `{"grant":{"name":"jwt_bearer","token_url":"@/token","subject":"{secret.user}/x","audience":"https://login.example/\"{{x}"}}`,
			claims: map[string]any{"iss": "id-1", "sub": "me/x", "aud": `https://login.example/"{x}`},
			form:   url.Values{},
		},
		{
			name: "ES256, and a client that authenticates itself", key: "p256.pem", algorithm: jose.ES256,
			config: `{"grant":{"name":"jwt_bearer","token_url":"@/token","algorithm":"ES256","client_id":"fixed","client_secret":"$client_secret"}}`,
			claims: map[string]any{"iss": "fixed"},
			form:   url.Values{}, authorization: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(200, "", goodAnswer))
			b := bind(t, realmOf(t, c.config, p.URL), map[string]string{
				"client_email": "robot@p.example", "private_key_id": "key-1", "private_key": testKey(t, c.key),
				"client_id": "id-1", "client_secret": "s", "user": "me",
			})
			if _, err := b.Fetch(t.Context(), testClient(t), Request{}); err != nil {
				t.Fatal(err)
			}
			r := p.requests[0]
			form, err := url.ParseQuery(r.body)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := jose.ParseSigned(form.Get("assertion"), []jose.SignatureAlgorithm{c.algorithm})
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims); err != nil { // verified in internal/expression
				t.Fatal(err)
			}
			want := map[string]any{"aud": p.URL + "/token", "iat": float64(issued), "exp": float64(ends)}
			for name, value := range c.claims {
				want[name] = value
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
			if kid := signed.Signatures[0].Protected.KeyID; kid != c.kid {
				t.Errorf("kid %q", kid)
			}
			form.Del("assertion")
			c.form.Set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
			if diff := cmp.Diff(c.form, form); diff != "" || (r.header.Get("Authorization") != "") != c.authorization {
				t.Errorf("%s\nauthorization %q", diff, r.header.Get("Authorization"))
			}
		})
	}
}

const noonSeconds = 1795348800

// A key that is none is told when the secret is saved, without its value.
func TestJWTBearerKey(t *testing.T) {
	p, err := Compile(realmOf(t, `{"grant":{"name":"jwt_bearer","token_url":"https://x.example/t"}}`, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Bind(realm.Secret{Fields: map[string]realm.Hidden{"client_id": "a"}})
	if err == nil || err.Error() != "private_key: the secret has no such field" {
		t.Errorf("without a key: %v", err)
	}
	_, err = p.Bind(realm.Secret{Fields: map[string]realm.Hidden{"client_id": "a", "private_key": "CANARY-0123456789"}})
	const want = "config.grant.private_key: cannot be computed with the fields of this secret: the key is not a private key in PEM or base64 (PKCS#8, PKCS#1 or SEC 1)"
	if err == nil || err.Error() != want {
		t.Errorf("with a wrong key: %v", err)
	}
}
