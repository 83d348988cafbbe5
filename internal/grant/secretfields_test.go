package grant

import (
	"slices"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A form asks for the fields that a secret has, those of a grant as well.
func TestSecretFields(t *testing.T) {
	const endpoint = `"token_url":"https://x.example/t"`
	for config, want := range map[string][]string{
		`{"grant":{"name":"client_credentials",` + endpoint + `}}`:                                                                                          {"client_id", "client_secret"},
		`{"grant":{"name":"client_credentials",` + endpoint + `},"shared":{"client_id":"a"}}`:                                                               {"client_secret"},
		`{"grant":{"name":"client_credentials",` + endpoint + `,"token_endpoint_auth_method":"private_key_jwt"}}`:                                           {"client_id", "private_key"},
		`{"grant":{"name":"client_credentials",` + endpoint + `,"token_endpoint_auth_method":"tls_client_auth"},"client_certificate":"c","client_key":"k"}`: {"c", "client_id", "k"},
		`{"grant":{"name":"refresh_token",` + endpoint + `}}`:                                                                                               {"client_id", "client_secret", "refresh_token"},
		`{"grant":{"name":"authorization_code",` + endpoint + `,"authorize_url":"https://x.example/a"},"callback_url":"{secret.redirect_uri}"}`:             {"client_id", "client_secret", "redirect_uri"},
		`{"grant":{"name":"static"}}`: {"token"},
		`{"url":"https://x.example/?a={secret.a}&t={secret.t}","token_path":"t","volatile":["t"]}`: {"a", "t"},
	} {
		r := realm.Realm{ID: "r"}
		if err := realm.Decode([]byte(config), "config", &r.Config); err != nil {
			t.Fatalf("%s: %v", config, err)
		}
		p, err := Compile(r, false)
		if err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if got := p.SecretFields(); !slices.Equal(got, want) {
			t.Errorf("%s\nreads %q, want %q", config, got, want)
		}
	}
}
