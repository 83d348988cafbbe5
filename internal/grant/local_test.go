package grant

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// zhipuRealm signs with the two halves of Zhipu's API key; its times are
// milliseconds.
const zhipuRealm = `{"api":"https://open.bigmodel.cn","lifetime":"30m","inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],
	"grant":{"name":"computed","expr":"jwt('HS256', secret.secret, {'api_key': secret.id, 'exp': epoch_ms() + 1800000, 'timestamp': epoch_ms()}, {'sign_type': 'SIGN'})"}}`

// zhipuToken is what zhipuRealm computes at noon:
//
//	h=$(printf '{"alg":"HS256","sign_type":"SIGN","typ":"JWT"}' | b64u)
//	c=$(printf '{"api_key":"zid","exp":1795350600000,"timestamp":1795348800000}' | b64u)
//	printf %s "$h.$c" | openssl dgst -sha256 -hmac zsecret -binary | b64u
const zhipuToken = "eyJhbGciOiJIUzI1NiIsInNpZ25fdHlwZSI6IlNJR04iLCJ0eXAiOiJKV1QifQ.eyJhcGlfa2V5IjoiemlkIiwiZXhwIjoxNzk1MzUwNjAwMDAwLCJ0aW1lc3RhbXAiOjE3OTUzNDg4MDAwMDB9.7p-iYoYwOAMq1C3J5_by6qNwW2PXqAd-JlPc-Q6VNgc"

var zhipuFields = map[string]string{"id": "zid", "secret": "zsecret"}

// offline is a client that can ask nobody.
func offline(t *testing.T) *Client {
	t.Helper()
	refuse := roundTripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL.Host)
		return nil, errors.New("there is no network")
	})
	return &Client{guarded: refuse, trusted: refuse, now: func() time.Time { return noon.Add(700 * time.Millisecond) }}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestComputedToken: the token is made of the secret alone. Its life counts from
// the whole second, because the times in it do, too.
func TestComputedToken(t *testing.T) {
	for _, c := range []struct {
		name, config, token string
		ends                time.Time
	}{
		{
			"Zhipu", strings.ReplaceAll(strings.ReplaceAll(zhipuRealm, "epoch_ms() + 1800000", "(epoch_s() + 1800) * 1000"), "epoch_ms()", "epoch_s() * 1000"),
			zhipuToken, noon.Add(30 * time.Minute),
		},
		{"without an end", `{"lifetime":"unlimited","grant":{"name":"computed","expr":"upper(md5(secret.id)) + string(force)"}}`, "642A09C4EB7F61896BE610D4079F1C80false", time.Time{}},
	} {
		var report Report
		got, err := bind(t, realmOf(t, c.config, ""), zhipuFields).Fetch(t.Context(), offline(t), Request{Report: &report})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if token := got.Token.Access.Reveal(); token != c.token || !got.Token.ExpiresAt.Equal(c.ends) || got.Once || len(got.Warnings) > 0 {
			t.Errorf("%s: %s until %v, %v", c.name, token, got.Token.ExpiresAt, got.Warnings)
		}
		if r := report.Request; r.Method+r.URL+r.Body != "" || len(r.Header) > 0 || report.Token.Length != len(got.Token.Access) || report.Response != nil {
			t.Errorf("%s: report %+v", c.name, report)
		}
	}
}

// TestComputedTokenRefuses: what has no effect, and what is missing.
func TestComputedTokenRefuses(t *testing.T) {
	const useless = "has no meaning for the grant computed, which makes no request"
	for with, want := range map[string]string{
		`"arguments":[{"name":"a","place":"url","value":"b"}]`: "config.arguments: " + useless,
		`"content_type":"form"`:                                "config.content_type: " + useless,
		`"token_path":"t"`:                                     "config.token_path: " + useless,
		`"expires_in_path":"t"`:                                "config.expires_in_path: " + useless,
		`"expires_in_unit":"ms"`:                               "config.expires_in_unit: " + useless,
		`"success":[{"status":[200]}]`:                         "config.success: " + useless,
		`"refresh_token_path":"r"`:                             "config.refresh_token_path: " + useless,
		`"refresh":{"url":"https://x.example"}`:                "config.refresh: " + useless,
		`"authorize":{"url":"https://x.example"}`:              "config.authorize: " + useless,
		`"exchange":{"url":"https://x.example"}`:               "config.exchange: " + useless,
		`"limits":{"windows":[{"calls":1,"per":"1h"}]}`:        "config.limits.windows: " + useless,
		`"limits":{"min_interval":"1s"}`:                       "config.limits.min_interval: " + useless,
		`"url":"https://x.example"`:                            "config.url: cannot stand beside a grant, which has its own token_url",
		`"grant":{"name":"computed","expr":"md5(secret.x"}`:    "config.grant.expr: line 1, column 13: Syntax error",
		`"grant":{"name":"computed","expr":"args.x"}`:          `config.grant.expr: args["x"] is no other argument of the query or the body, or is itself computed from args`,
		`"grant":{"name":"computed","expr":"[secret.x]"}`:      "config.grant.expr: gives a list or a map",
		`"grant":{"name":"computed","expr":"refresh_token"}`:   "config.grant.expr: refresh_token is not known here",
		`"grant":null,"grant":{"name":"computed"}`:             "config.grant.expr: is required: it computes the token",
		``:                     "config.lifetime: is required: nothing else says when a computed token ends",
		`"volatile":["nonce"]`: "config.volatile[0]: no recipe reads {secret.nonce}",
	} {
		config := `{"grant":{"name":"computed","expr":"md5(secret.x)"},"lifetime":"1h",` + with + `}`
		if with == "" {
			config = `{"grant":{"name":"computed","expr":"md5(secret.x)"}}`
		}
		if _, err := Compile(realmOf(t, config, ""), false); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", with, err, want)
		}
	}
}

// TestComputedTokenOfWrongFields: what gives no token is found when the secret is
// bound, and a key that is none names its field, also before the secret is whole.
func TestComputedTokenOfWrongFields(t *testing.T) {
	const canary = "CANARY-0123456789"
	for _, c := range []struct {
		expr  string
		bound string
		saved string
	}{
		{"jwt('RS256', secret.k, {'iss': secret.a})", "config.grant.expr: cannot be computed with the fields of this secret: the key is not a private key", "fields.k: does not fit config.grant.expr: the key is not a private key"},
		{"jwt('HS256', secret.empty, {'iss': secret.k})", "config.grant.expr: cannot be computed with the fields of this secret: the key is empty", "fields.empty: does not fit config.grant.expr: the key is empty"},
		{"hex(aes('cbc', secret.a, secret.k, 'x'))", "config.grant.expr: cannot be computed with the fields of this secret: the key of aes must have", "fields.a: does not fit config.grant.expr: the key of aes must have"},
		{"jwt('HS256', secret.k, {'x': int(secret.a)})", "config.grant.expr: cannot be computed with the fields of this secret: an operator or a function does not take", ""},
		{"jwt('RS256', secret.k, {'iss': secret.absent})", "absent: the secret has no such field", "fields.k: does not fit config.grant.expr: the key is not a private key"},
		{"secret.empty + ' '", "config.grant.expr: gives an empty token with the fields of this secret", ""},
		{"secret.k + '\\r\\nX: y'", "config.grant.expr: gives no token with the fields of this secret: ", ""},
	} {
		config := realmOf(t, `{"lifetime":"1h","grant":{"name":"computed","expr":"`+strings.ReplaceAll(c.expr, `\`, `\\`)+`"}}`, "")
		p, err := Compile(config, false)
		if err != nil {
			t.Fatal(err)
		}
		secret := secretOf(map[string]string{"k": canary, "a": "other", "empty": ""})
		if _, err := p.Bind(secret); err == nil || !strings.HasPrefix(err.Error(), c.bound) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: bound: %v", c.expr, err)
		}
		err = p.CheckSecret(secret)
		if (err == nil) != (c.saved == "") || err != nil && !strings.HasPrefix(err.Error(), c.saved) {
			t.Errorf("%s: saved: %v", c.expr, err)
		}
	}
}

// TestComputedTokenIsShown: a value that may stand in the token is shown to
// whoever reads it, and a key is not. No other host gets either.
func TestComputedTokenIsShown(t *testing.T) {
	for expr, want := range map[string][]string{
		"jwt('HS256', secret.secret, {'iss': secret.id})": {"a.example", "token:id"},
		"secret.secret":      {"a.example", "token:secret"},
		"md5(secret.secret)": {"a.example", "token:secret"},
	} {
		p, err := Compile(realmOf(t, `{"api":"https://a.example","lifetime":"1h","grant":{"name":"computed","expr":"`+expr+`"}}`, ""), false)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range p.Hosts(secretOf(zhipuFields)) {
			got = append(got, h.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestComputedTokenCounts: the expression, the lifetime and the fields decide
// about the token.
func TestComputedTokenCounts(t *testing.T) {
	print := func(config string, fields map[string]string) realm.Fingerprint {
		return bind(t, realmOf(t, config, ""), fields).Fingerprint()
	}
	one := print(zhipuRealm, zhipuFields)
	for name, other := range map[string]realm.Fingerprint{
		"a key":          print(zhipuRealm, map[string]string{"id": "zid", "secret": "other"}),
		"the expression": print(strings.Replace(zhipuRealm, "1800000", "1800001", 1), zhipuFields),
		"the lifetime":   print(strings.Replace(zhipuRealm, "30m", "29m", 1), zhipuFields),
	} {
		if other == one {
			t.Errorf("%s does not decide", name)
		}
	}
}
