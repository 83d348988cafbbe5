package doctor_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/doctor"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/outbound"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// noon is the clock of the tests, and of the answers without another Date.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// shape is an answer as a provider gives it, and what the doctor has to say.
type shape struct {
	name   string
	realm  string            // "" for plain
	fields map[string]string // of the secret, beside id and secret
	preset bool              // the errors of the preset wechat are known
	status int               // 200
	typ    string            // application/json
	header map[string]string
	answer string
	// codes is the advice that must be there, in that order, and no other; says
	// are texts that it must hold.
	codes []string
	says  []string
}

const (
	plain = `{"url":"@/token","token_path":"access_token","expires_in_path":"expires_in","arguments":[{"name":"appid","place":"url","value":"$id"},{"name":"secret","place":"url","value":"$secret"}]}`
	post  = `{"url":"@/token","method":"POST","token_path":"access_token","expires_in_path":"expires_in","content_type":"TYPE","arguments":[{"name":"app_id","place":"body","value":"$id"},{"name":"app_secret","place":"body","value":"$secret"}]}`
)

var (
	asJSON = strings.Replace(post, "TYPE", "json", 1)
	asForm = strings.Replace(post, "TYPE", "form", 1)
)

// The usual mistakes, as the providers answer them.
var shapes = []shape{
	{name: "a good answer", answer: `{"access_token":"TOKEN-0123456789","expires_in":7200}`},
	{name: "a good answer, and an odd field that the provider wants", fields: map[string]string{"secret": "CANARY-secret\n"}, answer: `{"access_token":"TOKEN-0123456789","expires_in":7200}`},

	{name: "milliseconds", answer: `{"access_token":"TOKEN-0123456789","expires_in":7200000}`, codes: []string{"unit"}, says: []string{"83 days", "says 2 h", "expires_in_unit ms"}},
	{name: "sixty days are no milliseconds", answer: `{"access_token":"TOKEN-0123456789","expires_in":5184000}`},
	{
		name: "seconds read as milliseconds", realm: strings.Replace(plain, `"arguments"`, `"expires_in_unit":"ms","arguments"`, 1),
		answer: `{"access_token":"TOKEN-0123456789","expires_in":7200}`, codes: []string{"unit"}, says: []string{"7.2s", "says 2 h", "expires_in_unit s"},
	},
	{name: "seconds since 1970", answer: `{"access_token":"TOKEN-0123456789","expires_in":1795356000}`, codes: []string{"unit"}, says: []string{"seconds since 1970", "expires_in_unit epoch_s"}},
	{name: "milliseconds since 1970", answer: `{"access_token":"TOKEN-0123456789","expires_in":1795356000000}`, codes: []string{"unit"}, says: []string{"expires_in_unit epoch_ms"}},
	{name: "no expires_in", answer: `{"access_token":"TOKEN-0123456789","expire":7200}`, codes: []string{"no_expiry"}, says: []string{"no expires_in", "expires_in_path expire"}},
	{name: "no expiry anywhere", answer: `{"access_token":"TOKEN-0123456789"}`, codes: []string{"no_expiry"}, says: []string{"lifetime 2h"}},

	{
		name: "WeChat: the address is not on the list", status: 200, preset: true,
		answer: `{"errcode":40164,"errmsg":"invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 65f0"}`,
		codes:  []string{"preset", "address_not_listed"}, says: []string{"203.0.113.7", "IP whitelist"},
	},
	{
		name: "WeCom: the address is not trusted", answer: `{"errcode":60020,"errmsg":"not allow to access from your ip, hint: [1700000000_1], from ip: 198.51.100.9, more info at https://open.work.weixin.qq.com/devtool/query?e=60020"}`,
		codes: []string{"address_not_listed"}, says: []string{"198.51.100.9", "trusted"},
	},
	{
		name: "Feishu: the address is not allowed", status: 400, answer: `{"code":99991401,"msg":"ip 2001:db8::7 is denied by app setting"}`,
		codes: []string{"address_not_listed"}, says: []string{"2001:db8::7", "Security settings"},
	},
	{
		name: "an unknown provider's address list", status: 403, answer: `{"code":"IpNotInWhiteList","message":"Access denied"}`,
		codes: []string{"address_not_listed"}, says: []string{"does not say which address"},
	},

	{name: "RFC 6749: invalid_client", status: 401, answer: `{"error":"invalid_client","error_description":"Client authentication failed"}`, codes: []string{"wrong_secret", "other_app"}},
	{name: "WeChat: the secret is wrong", preset: true, answer: `{"errcode":40125,"errmsg":"invalid appsecret rid: 65f0"}`, codes: []string{"preset", "other_app"}, says: []string{"AppSecret is wrong"}},
	{name: "WeCom: the secret is wrong", answer: `{"errcode":40001,"errmsg":"invalid credential, hint: [1700000000_1], from ip: 198.51.100.9"}`, codes: []string{"wrong_secret", "other_app"}},
	{name: "Douyin: the secret is wrong", answer: `{"data":{"error_code":10013,"description":"client_key or client_secret is wrong"},"message":"error"}`, codes: []string{"wrong_secret", "other_app"}},
	{name: "in words alone", status: 400, answer: `{"code":9999,"message":"app_secret is invalid"}`, codes: []string{"wrong_secret", "other_app"}},
	{name: "WeChat: the id is wrong", answer: `{"errcode":40013,"errmsg":"invalid appid rid: 65f0"}`, codes: []string{"wrong_id"}},
	{name: "a trailing line break", fields: map[string]string{"secret": "CANARY-secret\n"}, answer: `{"errcode":40125,"errmsg":"invalid appsecret"}`, codes: []string{"line_break_in_field", "wrong_secret"}, says: []string{"field secret "}},
	{name: "a leading blank", fields: map[string]string{"secret": " CANARY-secret"}, answer: `{"errcode":40125,"errmsg":"invalid appsecret"}`, codes: []string{"blank_in_field", "wrong_secret"}, says: []string{"field secret "}},
	{name: "a PEM on one line", fields: map[string]string{"key": "-----BEGIN PRIVATE KEY----- CANARY -----END PRIVATE KEY-----"}, status: 401, answer: `{"code":7,"msg":"sign check failed"}`, codes: []string{"pem_flat"}, says: []string{"field key "}},
	{name: "a PEM with escaped line breaks", fields: map[string]string{"key": `-----BEGIN PRIVATE KEY-----\nCANARY\n-----END PRIVATE KEY-----`}, status: 401, answer: `{"code":7,"msg":"sign check failed"}`, codes: []string{"pem_escaped"}},
	{name: "id and secret are the same", fields: map[string]string{"secret": "wx0123456789abcdef"}, answer: `{"errcode":40125,"errmsg":"invalid appsecret"}`, codes: []string{"id_in_secret", "same_value", "wrong_secret"}, says: []string{"id and secret have the same value"}},

	{name: "a page of a web site", typ: "text/html", answer: "<!DOCTYPE html><html><title>Welcome</title></html>", codes: []string{"not_json"}, says: []string{"wrong URL", "proxy"}},
	{name: "a page for a path that is not there", status: 404, typ: "text/html", answer: "<html>404</html>", codes: []string{"not_json"}, says: []string{"not this path"}},
	{name: "a page of a gateway", status: 502, typ: "text/html", answer: "<html>Bad Gateway</html>", codes: []string{"not_json"}, says: []string{"may be down"}},
	{name: "a sentence", typ: "text/plain", answer: "hello there", codes: []string{"not_json"}, says: []string{"content_type text"}},
	{name: "XML", typ: "text/xml", answer: "<?xml version='1.0'?><token>x</token>", codes: []string{"not_json"}, says: []string{"XML"}},
	{name: "nothing", answer: "", codes: []string{"not_json"}, says: []string{"empty"}},
	{name: "a redirect", status: 302, header: map[string]string{"Location": "https://login.example/x?CANARY"}, codes: []string{"redirect"}, says: []string{"to login.example."}},

	{name: "a clock that is behind", header: map[string]string{"Date": noon.Add(3 * time.Minute).Format(http.TimeFormat)}, answer: `{"access_token":"TOKEN-0123456789","expires_in":7200}`, codes: []string{"clock_skew"}, says: []string{"3m0s ahead of"}},
	{name: "a clock that is ahead", header: map[string]string{"Date": noon.Add(-3*time.Minute - time.Second).Format(http.TimeFormat)}, status: 401, answer: `{"error":"invalid_grant","error_description":"Invalid JWT: iat is in the future"}`, codes: []string{"clock_skew"}, says: []string{"3m0s behind"}},
	{name: "a JWT whose times are refused", status: 400, answer: `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`, codes: []string{"time_refused"}},

	{name: "a form is expected", realm: asJSON, status: 400, answer: `{"error":"invalid_request","error_description":"Missing required parameter: grant_type"}`, codes: []string{"form_expected"}},
	{name: "a form is expected, in Chinese", realm: asJSON, answer: `{"code":1001,"msg":"缺少参数 app_id"}`, codes: []string{"form_expected"}},
	{name: "JSON is expected", realm: asForm, status: 400, answer: `{"code":10003,"msg":"app_id is required"}`, codes: []string{"json_expected"}},
	{name: "JSON is expected, by the status", realm: asForm, status: 415, typ: "text/plain", answer: "no", codes: []string{"json_expected"}},

	{name: "the token is deeper", answer: `{"code":0,"data":{"access_token":"TOKEN-0123456789","expires_in":7200}}`, codes: []string{"token_path"}, says: []string{"data.access_token"}},
	{name: "the token has another name", answer: `{"ok":true,"value":"CANARY-0123456789"}`, codes: []string{"token_path"}, says: []string{"ok, value"}},
	{
		name: "a success rule that does not match", realm: strings.Replace(plain, `"arguments"`, `"success":[{"json":"ret","values":[1]}],"arguments"`, 1),
		answer: `{"access_token":"TOKEN-0123456789","expires_in":7200,"ret":0}`, codes: []string{"success_rule"}, says: []string{"rule for ret"},
	},

	{name: "a scope that is missing", status: 400, answer: `{"error":"invalid_scope","error_description":"The requested scope is invalid"}`, codes: []string{"missing_scope"}},
	{name: "the day's quota", preset: true, answer: `{"errcode":45009,"errmsg":"reach max api daily quota limit rid: 65f0"}`, codes: []string{"preset"}, says: []string{"quota"}},
	{name: "too often, by the status", status: 429, typ: "application/json", answer: `{"message":"slow down"}`, codes: []string{"quota_spent"}},
	{name: "a sandbox", realm: strings.Replace(plain, `"arguments"`, `"api":"https://api.sandbox.example","arguments"`, 1), answer: `{"access_token":"TOKEN-0123456789","expires_in":7200}`, codes: []string{"sandbox_host"}},
	{name: "a sandbox, in words", status: 400, answer: `{"code":77,"message":"this app exists in sandbox only"}`, codes: []string{"sandbox_host"}},
}

// Every usual mistake has its advice, and a good answer has none. Nothing of a
// secret or a token is in it.
func TestAdvice(t *testing.T) {
	wechat, err := presets.Get("wechat")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			c := s.examined(t)
			if s.preset {
				c.Errors = wechat.Errors
			}
			s.check(t, doctor.Advise(c))
		})
	}
}

// examined is the case that comes of a token request which is answered so.
func (s *shape) examined(t *testing.T) doctor.Case {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", noon.Format(http.TimeFormat))
		w.Header().Set("Content-Type", s.typ)
		if s.typ == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		for name, value := range s.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(max(s.status, 200))
		_, _ = io.WriteString(w, s.answer)
	}))
	defer server.Close()
	config := s.realm
	if config == "" {
		config = plain
	}
	return examine(t, strings.ReplaceAll(config, "@", server.URL), s.fields)
}

// examine makes a token request.
func examine(t *testing.T, config string, fields map[string]string) doctor.Case {
	t.Helper()
	r := realm.Realm{ID: "r"}
	if err := json.Unmarshal([]byte(config), &r.Config); err != nil {
		t.Fatal(err)
	}
	r.Config.AllowHTTP = realm.On
	program, err := grant.Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	secret := realm.Secret{Ref: realm.Ref{Realm: "r", Key: "k"}, Fields: map[string]realm.Hidden{"id": "wx0123456789abcdef", "secret": "CANARY-secret"}}
	for name, value := range fields {
		secret.Fields[name] = realm.Hidden(value)
	}
	bound, err := program.Bind(secret)
	if err != nil {
		t.Fatal(err)
	}
	var allowed netguard.Policy
	client := grant.NewClient(allowed.Dialer(&net.Dialer{}), func() time.Time { return noon })
	if strings.Contains(config, "127.0.0.1") {
		client = grant.NewClient((&net.Dialer{}).DialContext, func() time.Time { return noon })
	}
	if strings.Contains(config, `"proxy":"`) {
		policy, err := netguard.Parse([]string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		client = grant.NewNetworkClient(&outbound.Network{Dialer: &net.Dialer{}, Guard: policy}, nil)
	}
	if strings.Contains(config, ".invalid") {
		client = grant.NewClient(noNames, nil)
	}
	c := doctor.Case{Ref: secret.Ref, Config: r.Config}
	_, _ = bound.Fetch(t.Context(), client, grant.Request{Report: &c.Report})
	c.Report.Fields = bound.FieldFaults()
	return c
}

func (s *shape) check(t *testing.T, got []doctor.Advice) {
	t.Helper()
	var codes []string
	text := ""
	for _, a := range got {
		codes = append(codes, a.Code)
		text += a.Text + "\n"
		word := a.Code
		if a.Case != "" {
			word += "." + a.Case
		}
		if !slices.Contains(doctor.Words(), word) {
			t.Errorf("%q is not one of the words", word)
		}
		// What a text says of the case, whoever translates it must be able to say.
		for name, value := range a.Values {
			if value != "" && !strings.Contains(a.Text, value) && !slices.Contains([]string{"list", "unit", "code"}, name) {
				t.Errorf("%s: %s %q is not in %q", word, name, value, a.Text)
			}
			text += value + "\n"
		}
	}
	if !slices.Equal(codes, s.codes) {
		t.Errorf("advice %q, want %q\n%s", codes, s.codes, text)
	}
	for _, says := range s.says {
		if !strings.Contains(text, says) {
			t.Errorf("%q is not in\n%s", says, text)
		}
	}
	for _, canary := range []string{"CANARY", "TOKEN-0", "wx0123456789abcdef"} {
		if strings.Contains(text, canary) {
			t.Errorf("%s is in %s", canary, text)
		}
	}
}
