package grant

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const clientCredentialsRealm = `{"grant":{"name":"client_credentials","token_url":"@/token"}}`

func TestClientCredentials(t *testing.T) {
	for _, c := range []struct {
		name, config        string
		body, authorization string
	}{
		{
			// RFC 6749 section 2.3.1: both are form-encoded before they are
			// joined, so that a colon in the id does no harm.
			name: "client_secret_basic", config: clientCredentialsRealm,
			body:          "grant_type=client_credentials",
			authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape("id:1")+":"+url.QueryEscape("s %&=ü"))),
		},
		{
			name:          "scopes",
			config:        `{"grant":{"name":"client_credentials","token_url":"@/token","scopes":["read","write:all"],"token_endpoint_auth_method":"client_secret_basic","client_id":"$id","client_secret":"fixed"}}`,
			body:          "grant_type=client_credentials&scope=read+write%3Aall",
			authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte("42:fixed")),
		},
		{
			name:   "client_secret_post",
			config: `{"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"client_secret_post"}}`,
			body:   "grant_type=client_credentials&client_id=id%3A1&client_secret=s+%25%26%3D%C3%BC",
		},
		{
			name: "more arguments",
			config: `{"arguments":[{"name":"audience","place":"body","value":"https://api"},{"name":"X-Tenant","place":"header","value":"$id"},{"name":"v","place":"url","value":"2"}],
				"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"client_secret_post","client_id":"a","client_secret":"b"}}`,
			body: "audience=https%3A%2F%2Fapi&grant_type=client_credentials&client_id=a&client_secret=b",
		},
		{
			name: "in JSON (Auth0)",
			config: `{"content_type":"json","arguments":[{"name":"audience","place":"body","value":"x"}],
				"grant":{"name":"client_credentials","token_url":"@/token","token_endpoint_auth_method":"client_secret_post","client_id":"a","client_secret":"b"}}`,
			body: `{"audience":"x","grant_type":"client_credentials","client_id":"a","client_secret":"b"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(200, "application/json", `{"access_token":"T","token_type":"bearer","expires_in":3600}`))
			b := bind(t, realmOf(t, c.config, p.URL), fields)
			got, err := b.Fetch(t.Context(), testClient(t), Request{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Token.Access.Reveal() != "T" || !got.Token.ExpiresAt.Equal(noon.Add(time.Hour)) {
				t.Errorf("token %+v", got.Token)
			}
			r := p.requests[0]
			if r.method != http.MethodPost || r.path != "/token" || r.body != c.body || r.header.Get("Authorization") != c.authorization {
				t.Errorf("request %+v", r)
			}
		})
	}
}

func TestClientCredentialsAnswers(t *testing.T) {
	for _, c := range []struct {
		name, body string
		status     int
		kind       Kind
		class      Class
		code       string
	}{
		{"an error of section 5.2", `{"error":"invalid_client","error_description":"x"}`, 401, KindRefused, Hopeless, "invalid_client"},
		{"an error in a 200", `{"error":"invalid_scope","access_token":"T"}`, 200, KindRefused, Hopeless, "invalid_scope"},
		{"unauthorized_client", `{"error":"unauthorized_client"}`, 400, KindRefused, Hopeless, "unauthorized_client"},
		{"an empty error", `{"error":"","access_token":"T"}`, 200, "", 0, ""},
		{"a null error", `{"error":null,"access_token":"T"}`, 200, "", 0, ""},
		{"a form", `access_token=T&expires_in=60`, 200, "", 0, ""},
		{"a form without a token", `error=invalid_scope`, 200, KindRefused, Hopeless, "invalid_scope"},
		{"a page", `<form>`, 200, KindBadResponse, Retryable, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, answering(c.status, "", c.body))
			b := bind(t, realmOf(t, clientCredentialsRealm, p.URL), fields)
			_, err := b.Fetch(t.Context(), testClient(t), Request{})
			if c.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if failed := failure(t, err); failed.Kind != c.kind || failed.Class != c.class || failed.ProviderCode != c.code {
				t.Errorf("error %+v", failed)
			}
		})
	}
}

// Paths of the realm win over those of the RFC, and the warning says what is
// assumed where there is no expiry.
func TestClientCredentialsPaths(t *testing.T) {
	p := newProvider(t, answering(200, "", `{"data":{"t":"T"}}`))
	b := bind(t, realmOf(t, `{"token_path":"data.t","grant":{"name":"client_credentials","token_url":"@/token"}}`, p.URL), fields)
	got, err := b.Fetch(t.Context(), testClient(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Token.Access.Reveal() != "T" || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "5m") {
		t.Errorf("result %+v", got)
	}
}
