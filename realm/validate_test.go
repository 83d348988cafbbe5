package realm

import (
	"fmt"
	"strings"
	"testing"
)

// Each of these is the inside of a config, or of a realm where it begins with
// an id.
var validRealms = []string{
	``,
	`"api": "https://api.example.com"`,
	`"api": "http://127.0.0.1:8080/v1/"`,
	`"api": "https://{secret.shop}.myshopify.com:{secret.port}/admin/{{x}"`,
	`"api": "https://{secret.host}"`,
	`"api": "https://[::1]:8443/x"`,
	`"api": "https://bücher.example"`,
	`"hosts": ["api.example.com", "*.example.com:8443", "[::1]:80", "{secret.shop}.myshopify.com", "{secret.host}:{secret.port}"]`,
	`"url": "https://x.example/token?a=b&c={secret.d}", "arguments": []`,
	`"url": "https://x.example", "method": "POST", "content_type": "form", "arguments": [{"name": "a", "place": "body", "value": ""}]`,
	`"url": "https://x.example", "method": "PUT", "arguments": [{"name": "a.b", "place": "body", "value": "1", "type": "number"}, {"name": "a.c", "place": "body", "value": "true", "type": "boolean"}, {"name": "ab", "place": "body", "type": "string"}]`,
	`"url": "https://x.example", "method": "POST", "content_type": "text", "arguments": [{"name": "", "place": "body", "value": "<xml/>"}]`,
	`"url": "https://x.example/{id}", "arguments": [{"name": "id", "place": "path", "value": "1"}, {"name": "a", "place": "url"}, {"name": "A", "place": "url"}, {"name": "a", "place": "header", "expr": "now('s')"}, {"name": "", "place": "basic", "value": "x"}]`,
	`"url": "https://x.example", "expires_in_unit": "epoch_ms", "refresh_expires_in_unit": "rfc3339", "lifetime": "400d"`,
	`"lifetime": "unlimited"`,
	`"success": [{"status": [201]}, {"json": "errcode", "values": [0, "0", null, true], "absent": true}, {"json": "data.token"}], "renew_on": [{"status": [100, 599], "json": "a", "values": [1]}]`,
	`"renew_on": [{"text": "a"}, {"text": "a", "header": "X-A", "values": ["b"], "status": [403], "types": ["image/jpeg", "application/vnd.x+y"]}, {"header": "grpc-status", "values": [16]}, {"json": "a.*.b", "text": "c"}]`,
	`"inject": [{"place": "url", "name": "access_token"}, {"place": "header", "name": "X-Token", "value": "Bearer {token}"}, {"place": "basic"}, {"place": "body", "name": "token"}, {"place": "path", "name": "token"}]`,
	`"inject": [{"place": "path", "name": "bot"}, {"place": "path", "name": "file/bot"}]`,
	`"inject": [{"place": "path", "name": "/"}]`,
	`"inject": [{"place": "header", "name": "X-Sign", "expr": "token + method + path"}, {"place": "basic", "name": "u", "expr": "token"}]`,
	`"inject": [{"place": "cookie", "name": "B1SESSION"}, {"place": "cookie", "name": "ROUTEID"}], "pass": ["Cookie"]`,
	`"grant": {"name": "static"}`,
	`"grant": {"name": "static", "token": "{secret.api_key}"}`,
	`"grant": {"name": "delegate", "token_url": "http://tokens.internal/x"}`,
	`"grant": {"name": "client_credentials", "token_url": "https://login.example.com/{secret.tenant}/token", "client_id": "{secret.id}", "scopes": ["read", "https://graph.microsoft.com/.default"], "token_endpoint_auth_method": "client_secret_post"}`,
	`"grant": {"name": "client_credentials", "token_url": "https://x.example"}, "arguments": [{"name": "audience", "place": "body", "value": "x"}]`,
	`"grant": {"name": "client_credentials", "token_url": "https://x.example"}, "content_type": "json", "arguments": [{"name": "n", "place": "body", "value": "1", "type": "number"}]`,
	`"grant": {"name": "refresh_token", "token_url": "https://x.example"}`,
	`"preset": "wechat", "arguments": [{"name": "a", "place": "body", "value": "1", "type": "number"}], "grant": {"name": "jwt_bearer"}, "refresh": {"arguments": [{"name": "b", "place": "body"}]}`,
	`"refresh": {}, "authorize": {"content_type": "form"}, "exchange": {"url": "https://x.example", "method": "POST", "arguments": [{"name": "code", "place": "body", "value": "{code}"}]}`,
	`"refresh_semantics": "grace", "refresh_grace": "60s", "semantics": "parallel", "overlap": "400d", "default_key": "主 账号/1", "callback_url": "http://localhost/cb?x=1"`,
	`"callback_url": "{secret.redirect_uri}"`,
	`"grant": {"name": "authorization_code", "authorize_url": "https://x.example/a?x=1", "token_url": "https://x.example/t", "pkce": "S256", "issuer": "https://x.example"}, "callback_url": "https://y.example/cb", "unattended": true, "authorize": {"arguments": [{"name": "prompt", "place": "url", "value": "consent"}]}, "exchange": {"arguments": [{"name": "audience", "place": "body", "value": "x"}]}, "refresh": {"arguments": [{"name": "audience", "place": "body", "value": "x"}]}`,
	`"grant": {"name": "authorization_code", "token_url": "https://x.example/t", "pkce": "off"}, "callback_url": "https://y.example/cb", "authorize": {"url": "https://x.example/a?s={state}"}`,
	`"grant": {"name": "authorization_code", "authorize_url": "https://x.example/a", "token_url": "https://x.example/t", "token_endpoint_auth_method": "none"}, "callback_url": "https://y.example/cb"`,
	`"grant": {"name": "authorization_code", "authorize_url": "https://x.example/a", "token_url": "https://x.example/t"}, "content_type": "json", "exchange": {"arguments": [{"name": "n", "place": "body", "value": "1", "type": "number"}]}, "callback_url": "https://y.example/cb"`,
	`"grant": {"name": "refresh_token", "token_url": "https://x.example/t", "token_endpoint_auth_method": "none"}`,
	`"grant": {"name": "computed", "expr": "md5(secret.x)"}, "lifetime": "1h"`,
	`"grant": {"name": "computed", "expr": "md5(secret.x)"}, "lifetime": "unlimited"`,
	`"preset": "zhipu", "grant": {"name": "computed"}`,
	client(`"token_endpoint_auth_method": "private_key_jwt", "private_key": "$k", "key_id": "1", "algorithm": "PS256", "certificate": "$c", "audience": "a", "resource": ["https://x.example/", "urn:x", "{secret.r}", "$r"]`),
	client(`"token_endpoint_auth_method": "client_secret_jwt", "client_secret": "$s", "key_id": "1", "algorithm": "HS256"`),
	client(`"token_endpoint_auth_method": "client_secret_basic_raw"`),
	client(`"token_endpoint_auth_method": "tls_client_auth"`) + `, "client_certificate": "c", "client_key": "k"`,
	client(`"token_endpoint_auth_method": "self_signed_tls_client_auth"`) + `, "client_certificate": "c", "client_key": "k"`,
	`"grant": {"name": "jwt_bearer", "token_url": "https://x.example/t", "token_endpoint_auth_method": "client_secret_jwt", "private_key": "$k", "algorithm": "ES256"}`,
	exchange(`"token_endpoint_auth_method": "none", "subject_token": "$s", "subject_token_type": "urn:x", "actor_token": "$a", "actor_token_type": "urn:x", "requested_token_type": "urn:x", "audience": "a", "resource": ["urn:r"]`),
	`"unattended": true, "callback_url": "https://y.example/cb", "token_path": "t", "authorize": {"url": "https://x.example/a?s={state}"}, "exchange": {"url": "https://x.example/e?c={code}"}`,
	`"preset": "jd_vop", "unattended": true`,
	`"shared": {"app_key": "", "key_1": "x", "2fa-code.x": "x", "_a": "x", "azAZ09": "x"}, "replay_max": "64MiB"`,
	`"limits": {"timeout": "5m", "concurrency": 1000, "min_interval": "30s", "backoff_cap": "1h", "windows": [{"calls": 1, "per": "1ms"}, {"calls": 500000, "per": "1d"}]}`,
	`"limits": {"backoff_cap": "1s"}`,
	`"url": "https://x.example", "arguments": [` + many(64) + `]`,
	`"id": "x", "logic_code": "http://user:pass@10.0.0.1:9000/code?x=1#y"`,
	`"id": "x", "logic_code": "https://x.example", "config": {"arguments": [{"name": "a", "place": "url", "value": "1"}], "grant": {"name": "delegate"}}`,
	`"id": "x", "logic_code": "https://x.example", "config": {"arguments": [{"name": "a", "place": "url", "value": "1"}]}`,
	`"id": " 微信 / main\u2003", "comment": "two\nlines"`,
	`"id": "..."`,
	`"id": "` + strings.Repeat("信", 85) + `", "comment": "` + strings.Repeat("信", 5000) + `"`,
}

func TestValidateAccepts(t *testing.T) {
	for _, text := range validRealms {
		if r := decoded(t, text); r.Validate() != nil {
			t.Errorf("%s: %v", text, r.Validate())
		}
	}
}

func decoded(t *testing.T, text string) Realm {
	t.Helper()
	var r Realm
	if !strings.HasPrefix(text, `"id"`) {
		text = `"id": "x", "config": {` + text + `}`
	}
	if err := Decode([]byte("{"+text+"}"), "", &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// refusals are texts like validRealms, the path and words of the reason.
var refusals = []struct{ text, path, words string }{
	{`"id": ""`, "id", "is required"},
	{`"id": ".."`, "id", "cannot stand in a URL's path"},
	{`"id": "."`, "id", "cannot stand in a URL's path"},
	{`"id": "a\tb"`, "id", "control character"},
	{`"id": "a\u0085b"`, "id", "control character"},
	{`"id": "` + strings.Repeat("信", 86) + `"`, "id", "258 bytes; 255 is the limit"},
	{`"id": "x", "comment": "` + strings.Repeat("信", 5001) + `"`, "comment", "5001 characters"},
	{`"id": "x", "logic_code": "return 1"`, "logic_code", "absolute http or https URL"},
	{`"id": "x", "logic_code": "https://x.example/` + strings.Repeat("a", 5000) + `"`, "logic_code", "characters"},

	{`"api": "api.example.com"`, "config.api", "absolute"},
	{`"api": "//api.example.com"`, "config.api", "absolute"},
	{`"api": "ftp://api.example.com"`, "config.api", "absolute"},
	{`"api": "https:api.example.com"`, "config.api", "absolute"},
	{`"api": "https:///x"`, "config.api", "absolute"},
	{`"api": "{secret.scheme}://x.example"`, "config.api", "absolute"},
	{`"api": "https://a b.example"`, "config.api", "absolute"},
	{`"api": "https://x.example/\u0000"`, "config.api", "absolute"},
	{`"api": "https://u:p@x.example"`, "config.api", "user or password"},
	{`"api": "https://{secret.u}@x.example"`, "config.api", "user or password"},
	{`"api": "https://x.example?a=1"`, "config.api", "query"},
	{`"api": "https://x.example?"`, "config.api", "query"},
	{`"api": "https://x.example/#"`, "config.api", "fragment"},
	{`"api": "https://x.example:0"`, "config.api", "port"},
	{`"api": "https://x.example:99999/"`, "config.api", "port"},
	{`"api": "https://-x.example"`, "config.api", "host"},
	{`"api": "https://*.example.com"`, "config.api", "host"},
	{`"api": "https://x..example"`, "config.api", "host"},
	{`"callback_url": "/cb"`, "config.callback_url", "absolute"},
	{`"callback_url": "https://x.example/cb#x"`, "config.callback_url", "fragment"},
	{`"ca": "-----BEGIN PRIVATE KEY-----"`, "config.ca", "certificates only"},
	{`"pass": [""]`, "config.pass[0]", "is required"},
	{`"pass": ["Cookie", "a b"]`, "config.pass[1]", "not a name of a header"},
	{`"pass": ["connection"]`, "config.pass[0]", "Connection, which is the connection's own"},
	{`"pass": ["Upgrade"]`, "config.pass[0]", "the connection's own"},
	{`"pass": ["proxy-authorization"]`, "config.pass[0]", "Proxy-Authorization, which is the connection's own"},
	{`"pass": ["Alt-Svc"]`, "config.pass[0]", "the connection's own"},
	{`"pass": ["x-access-token"], "inject": [{"place": "header", "name": "X-Access-Token"}]`, "config.pass[0]", "the token is put there"},
	{`"pass": ["authorization"], "inject": [{"place": "basic", "name": "x"}]`, "config.pass[0]", "the token is put there"},
	{`"pass": ["X-HTTP-Method-Override"]`, "config.pass[0]", "changes what a request does"},
	{`"pass": ["x-forwarded-for"]`, "config.pass[0]", "forwarded decides"},
	{`"pass": ["Cookie", "cookie"]`, "config.pass[1]", "same as pass[0]"},
	{`"methods": ["get"]`, "config.methods[0]", "in capitals"},
	{`"methods": ["GET", ""]`, "config.methods[1]", "in capitals"},
	{`"methods": ["GET /"]`, "config.methods[0]", "in capitals"},
	{`"methods": ["TRACE"]`, "config.methods[0]", "show the token"},
	{`"methods": ["GET", "CONNECT"]`, "config.methods[1]", "tunnel"},
	{`"methods": ["GET", "POST", "GET"]`, "config.methods[2]", "same as methods[0]"},
	{`"hosts": ["a.example", "https://b.example"]`, "config.hosts[1]", "without scheme"},
	{`"hosts": ["a.example", "b.example", "a.example"]`, "config.hosts[2]", "same as hosts[0]"},
	{`"hosts": [""]`, "config.hosts[0]", "not a valid host name"},
	{`"hosts": ["{secret.a}/x"]`, "config.hosts[0]", "host or host:port"},
	{`"hosts": ["{secret.a"]`, "config.hosts[0]", "not a valid host name"},
	{`"hosts": ["*"]`, "config.hosts[0]", "not a valid host name"},

	{`"url": "x"`, "config.url", "absolute"},
	{`"url": "https://u@x.example"`, "config.url", "user or password"},
	{`"url": "https://x.example#a"`, "config.url", "fragment"},
	{`"arguments": [{"name": "a", "place": "url"}]`, "config.url", "is required"},
	{`"url": "https://x.example", "method": "get"`, "config.method", "GET, POST or PUT, not \"get\""},
	{`"url": "https://x.example", "method": "DELETE"`, "config.method", "GET, POST or PUT"},
	{`"content_type": "xml"`, "config.content_type", "json, form or text"},
	{`"expires_in_unit": "min"`, "config.expires_in_unit", "s, ms, epoch_s, epoch_ms, rfc3339 or jwt"},
	{`"refresh_expires_in_unit": "S"`, "config.refresh_expires_in_unit", "s, ms"},
	{`"refresh": {"expires_in_unit": "S"}`, "config.refresh.expires_in_unit", "s, ms"},
	{`"exchange": {"arguments": [{"name": "a", "place": "url"}]}`, "config.exchange.url", "is required"},
	{`"grant": {"name": "static"}, "authorize": {"arguments": [{"name": "a", "place": "url"}]}`, "config.authorize.url", "is required"},

	{argument(`"name": "a"`), "config.arguments[0].place", "is required"},
	{argument(`"name": "a", "place": "query"`), "config.arguments[0].place", "url, header, body, basic or path"},
	{argument(`"place": "url"`), "config.arguments[0].name", "is required"},
	{argument(`"place": "body"`), "config.arguments[0].name", "is required"},
	{`"url": "https://x.example", "method": "POST", "content_type": "text", "arguments": [{"place": "url"}]`, "config.arguments[0].name", "is required"},
	{argument(`"place": "header"`), "config.arguments[0].name", "is required"},
	{argument(`"name": "a b", "place": "header"`), "config.arguments[0].name", "not a name of a header"},
	{argument(`"name": "host", "place": "header"`), "config.arguments[0].name", "connection's own"},
	{argument(`"name": "a", "place": "url", "value": "x", "expr": "y"`), "config.arguments[0].expr", "one of the two"},
	{argument(`"name": "a", "place": "url", "type": "number"`), "config.arguments[0].type", "JSON body"},
	{argument(`"name": "a", "place": "body", "type": "float"`), "config.arguments[0].type", "string, number or boolean"},
	{argument(`"name": "a.", "place": "body"`), "config.arguments[0].name", "empty part"},
	{argument(`"name": ".a", "place": "body"`), "config.arguments[0].name", "empty part"},
	{argument(`"name": "a..b", "place": "body"`), "config.arguments[0].name", "empty part"},
	{argument(`"name": "a.b.c", "place": "body"}, {"name": "a.b", "place": "body"`), "config.arguments[0].name", `goes into "a.b"`},
	{argument(`"name": "a", "place": "body"}, {"name": "a.b", "place": "body"`), "config.arguments[1].name", `goes into "a"`},
	{argument(`"name": "a", "place": "body"}, {"name": "a", "place": "body"`), "config.arguments[1].name", "same as that of arguments[0]"},
	{argument(`"name": "a", "place": "path"}, {"name": "a", "place": "path"`), "config.arguments[1].name", "same as that of arguments[0]"},
	{argument(`"name": "x-a", "place": "header"}, {"name": "X-A", "place": "header"`), "config.arguments[1].name", "same as that"},
	{argument(`"name": "u", "place": "basic"}, {"name": "authorization", "place": "header"`), "config.arguments[1].name", "same as that"},
	{argument(`"name": "a", "place": "url", "value": "` + strings.Repeat("a", 64<<10+1) + `"`), "config.arguments[0].value", "64 KiB"},
	{`"url": "https://x.example", "arguments": [{"name": "a", "place": "body"}]`, "config.arguments[0].place", "set the method to POST"},
	{`"url": "https://x.example", "method": "GET", "arguments": [{"name": "a", "place": "body"}]`, "config.arguments[0].place", "a GET request has none"},
	{`"preset": "x", "method": "GET", "arguments": [{"name": "a", "place": "body"}]`, "config.arguments[0].place", "a GET request has none"},
	{`"url": "https://x.example", "method": "POST", "content_type": "text", "arguments": [{"name": "a", "place": "body"}, {"name": "b", "place": "body"}]`, "config.arguments[1].name", "same as that"},
	{`"url": "https://x.example", "method": "POST", "content_type": "form", "arguments": [{"name": "a", "place": "body", "type": "number"}]`, "config.arguments[0].type", "JSON body"},
	{`"grant": {"name": "client_credentials", "token_url": "https://x.example"}, "arguments": [{"name": "a", "place": "body", "type": "number"}]`, "config.arguments[0].type", "JSON body"},

	{`"grant": {}`, "config.grant.name", "is required"},
	{`"grant": {"name": "password"}`, "config.grant.name", "client_credentials, refresh_token"},
	{`"grant": {"name": "client_credentials"}`, "config.grant.token_url", "is required"},
	{`"grant": {"name": "jwt_bearer"}`, "config.grant.token_url", "is required"},
	{`"grant": {"name": "delegate"}`, "config.grant.token_url", "logic_code"},
	{`"grant": {"name": "client_credentials", "token_url": "x"}`, "config.grant.token_url", "absolute"},
	{`"grant": {"name": "client_credentials", "token_url": "https://x.example", "token": "x"}`, "config.grant.token", "no meaning for the grant client_credentials"},
	{`"grant": {"name": "static", "token_url": "https://x.example"}`, "config.grant.token_url", "no meaning"},
	{`"grant": {"name": "static", "scopes": ["a"]}`, "config.grant.scopes", "no meaning"},
	{`"grant": {"name": "delegate", "token_url": "https://x.example", "client_id": "a"}`, "config.grant.client_id", "no meaning"},
	{client(`"issuer": "x"`), "config.grant.issuer", "has no meaning for the grant client_credentials"},
	{`"grant": {"name": "static", "private_key": "x"}`, "config.grant.private_key", "has no meaning for the grant static"},
	{`"grant": {"name": "jwt_bearer", "token_url": "https://x.example/t", "algorithm": "none"}`, "config.grant.algorithm", "RS256, PS256, ES256 or HS256"},
	{client(`"token_endpoint_auth_method": "mtls"`), "config.grant.token_endpoint_auth_method", "client_secret_basic, client_secret_basic_raw, client_secret_post, client_secret_jwt, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none"},
	{client(`"token_endpoint_auth_method": "tls_client_auth"`), "config.client_certificate", "is required: a client with token_endpoint_auth_method tls_client_auth has nothing else"},
	{`"grant": {"name": "client_credentials", "token_url": "http://x.example", "token_endpoint_auth_method": "tls_client_auth"}, "allow_http": true, "client_certificate": "c", "client_key": "k"`, "config.grant.token_url", "must be https"},
	{client(`"token_endpoint_auth_method": "self_signed_tls_client_auth"`), "config.client_certificate", "is required"},
	{client(`"token_endpoint_auth_method": "tls_client_auth", "client_secret": "x"`) + `, "client_certificate": "c", "client_key": "k"`, "config.grant.client_secret", "no meaning for a client with token_endpoint_auth_method tls_client_auth"},
	{client(`"private_key": "$k"`), "config.grant.private_key", "is for the assertion of a client with token_endpoint_auth_method private_key_jwt"},
	{client(`"certificate": "$c"`), "config.grant.certificate", "is for the assertion of"},
	{client(`"token_endpoint_auth_method": "client_secret_jwt", "certificate": "$c"`), "config.grant.certificate", "is for the assertion of"},
	{client(`"token_endpoint_auth_method": "client_secret_jwt", "private_key": "$c"`), "config.grant.private_key", "signs with the client_secret"},
	{client(`"token_endpoint_auth_method": "client_secret_jwt", "algorithm": "RS256"`), "config.grant.algorithm", "must be HS256"},
	{client(`"token_endpoint_auth_method": "private_key_jwt", "algorithm": "HS256"`), "config.grant.algorithm", "must not be HS256"},
	{client(`"token_endpoint_auth_method": "private_key_jwt", "client_secret": "x"`), "config.grant.client_secret", "no meaning for a client with token_endpoint_auth_method private_key_jwt"},
	{client(`"subject_token": "x"`), "config.grant.subject_token", "no meaning for the grant client_credentials"},
	{client(`"resource": ["https://x.example/#a"]`), "config.grant.resource[0]", "fragment"},
	{client(`"resource": ["urn:a", "api"]`), "config.grant.resource[1]", "absolute URI"},
	{client(`"resource": [""]`), "config.grant.resource[0]", "is empty"},
	{client(`"resource": ["urn:a", "urn:a"]`), "config.grant.resource[1]", "same as resource[0]"},
	{client(`"resource": ["urn:a"` + strings.Repeat(`, "urn:b"`, 16) + `]`), "config.grant.resource", "at most 16"},
	{exchange(`"actor_token_type": "urn:x"`), "config.grant.actor_token_type", "without an actor_token"},
	{exchange(`"issuer": "x"`), "config.grant.issuer", "no meaning for the grant token_exchange"},
	{exchange(`"expr": "x"`), "config.grant.expr", "no meaning for the grant token_exchange"},
	{`"grant": {"name": "refresh_token", "token_url": "https://x.example/t", "resource": ["urn:a"]}`, "config.grant.resource", "no meaning for the grant refresh_token"},
	{`"grant": {"name": "computed", "expr": "x"}`, "config.lifetime", "is required"},
	{`"grant": {"name": "computed"}, "lifetime": "1h"`, "config.grant.expr", "is required"},
	{`"grant": {"name": "computed", "expr": "x", "client_id": "x"}, "lifetime": "1h"`, "config.grant.client_id", "no meaning for the grant computed"},
	{client(`"token_endpoint_auth_method": "none"`), "config.grant.token_endpoint_auth_method", "clients with a secret"},
	{client(`"authorize_url": "https://x.example"`), "config.grant.authorize_url", "no meaning for the grant client_credentials"},
	{client(`"pkce": "S256"`), "config.grant.pkce", "no meaning for the grant client_credentials"},
	{`"grant": {"name": "authorization_code", "token_url": "https://x.example"}`, "config.grant.authorize_url", "is required"},
	{code(`"pkce": "plain"`, ``), "config.grant.pkce", "S256 or off"},
	{code(`"authorize_url": "/a"`, ``), "config.grant.authorize_url", "absolute"},
	{code(`"audience": "x"`, ``), "config.grant.audience", "no meaning for the grant authorization_code"},
	{code(`"token_endpoint_auth_method": "none", "client_secret": "x"`, ``), "config.grant.client_secret", "no meaning"},
	{code(`"token_endpoint_auth_method": "none", "pkce": "off"`, ``), "config.grant.pkce", "must not be off"},
	{code(`"authorize_url": "https://x.example"`, ``), "config.callback_url", "is required"},
	{code(`"authorize_url": "https://x.example"`, `, "arguments": [{"name": "a", "place": "body"}]`), "config.arguments", "have their own"},
	{code(`"authorize_url": "https://x.example"`, `, "authorize": {"arguments": [{"name": "a", "place": "body"}]}`), "config.authorize.arguments[0].place", "a GET request has none"},
	{code(`"authorize_url": "https://x.example"`, `, "exchange": {"arguments": [{"name": "a", "place": "body", "type": "number"}]}`), "config.exchange.arguments[0].type", "JSON body"},
	{`"unattended": true`, "config.unattended", "without an authorize recipe"},
	{`"unattended": true, "callback_url": "https://y.example/cb", "limits": {"windows": [{"calls": 9, "per": "24h"}, {"calls": 1, "per": "1m"}]}, "authorize": {"url": "https://x.example/a?s={state}"}, "exchange": {"url": "https://x.example/e?c={code}"}`, "config.limits.windows", "two calls at least"},
	{`"unattended": true, "grant": {"name": "client_credentials", "token_url": "https://x.example"}, ` + ownCode, "config.unattended", "beside a recipe that fetches"},
	{`"unattended": true, "url": "https://x.example", ` + ownCode, "config.unattended", "beside a recipe that fetches"},
	{`"grant": {"name": "static"}, ` + ownCode, "config.authorize", "no meaning for the grant static"},
	{`"authorize": {"url": "https://x.example"}`, "config.exchange", "is required"},
	{ownCode, "config.callback_url", "is required"},
	{client(`"scopes": ["a", ""]`), "config.grant.scopes[1]", "is empty"},
	{client(`"scopes": ["read write"]`), "config.grant.scopes[0]", "each entry is one scope"},
	{client(`"scopes": ["a", "b", "a"]`), "config.grant.scopes[2]", "same as scopes[0]"},

	{`"inject": [{"name": "a"}]`, "config.inject[0].place", "is required"},
	{`"inject": [{"place": "query", "name": "a"}]`, "config.inject[0].place", "url, header, body, basic, path or cookie"},
	{`"inject": [{"place": "url"}]`, "config.inject[0].name", "is required"},
	{`"inject": [{"place": "header"}]`, "config.inject[0].name", "is required"},
	{`"inject": [{"place": "header", "name": "a:"}]`, "config.inject[0].name", "not a name of a header"},
	{`"inject": [{"place": "header", "name": "transfer-encoding"}]`, "config.inject[0].name", "Transfer-Encoding"},
	{`"inject": [{"place": "url", "name": "a"}, {"place": "url", "name": "a"}]`, "config.inject[1]", "inject[0]"},
	{`"inject": [{"place": "header", "name": "AUTHORIZATION"}, {"place": "basic"}]`, "config.inject[1]", "inject[0]"},
	{`"inject": [{"place": "path", "name": "/bot"}]`, "config.inject[0].name", "bot, file/bot"},
	{`"inject": [{"place": "path", "name": "bot/"}]`, "config.inject[0].name", "bot, file/bot"},
	{`"inject": [{"place": "path", "name": "../bot"}]`, "config.inject[0].name", "bot, file/bot"},
	{`"inject": [{"place": "path", "name": "bot%41"}]`, "config.inject[0].name", "bot, file/bot"},
	{`"inject": [{"place": "path", "name": "bot"}, {"place": "path", "name": "bot"}]`, "config.inject[1]", "inject[0]"},
	{`"inject": [{"place": "body", "name": "a"}, {"place": "url", "name": "a.b"}, {"place": "body", "name": "a.b"}]`, "config.inject[2].name", "has a value itself"},
	{`"inject": [{"place": "body", "name": "a..b"}]`, "config.inject[0].name", "empty part"},
	{`"inject": [{"place": "body", "name": "a"}, {"place": "body", "name": "a"}]`, "config.inject[1]", "inject[0]"},
	{`"inject": [{"place": "url", "name": "a", "value": "{token}", "expr": "token"}]`, "config.inject[0].expr", "one of the two"},
	{`"inject": [{"place": "cookie"}]`, "config.inject[0].name", "is required"},
	{`"inject": [{"place": "cookie", "name": "a=b"}]`, "config.inject[0].name", "not a name of a cookie"},
	{`"inject": [{"place": "cookie", "name": "a"}, {"place": "cookie", "name": "b"}, {"place": "cookie", "name": "a"}]`, "config.inject[2]", "inject[0]"},
	{`"inject": [{"place": "header", "name": "cookie"}, {"place": "cookie", "name": "a"}]`, "config.inject[1]", "inject[0]"},

	{`"renew_on": [{}]`, "config.renew_on[0]", "says nothing"},
	{`"renew_on": [{"status": [401]}, {"status": [401, 600]}]`, "config.renew_on[1].status[1]", "100 to 599"},
	{`"renew_on": [{"values": [1]}]`, "config.renew_on[0].json", "is required"},
	{`"renew_on": [{"header": "X-A", "absent": true}]`, "config.renew_on[0].json", "is required"},
	{`"renew_on": [{"header": "a b"}]`, "config.renew_on[0].header", "is not a name"},
	{`"renew_on": [{"header": "Connection"}]`, "config.renew_on[0].header", "Connection"},
	{`"renew_on": [{"header": "X-A", "json": "a"}]`, "config.renew_on[0].header", "beside json"},
	{`"renew_on": [{"text": "a", "values": [1]}]`, "config.renew_on[0].json", "is required"},
	{`"renew_on": [{"text": "` + strings.Repeat("x", 5001) + `"}]`, "config.renew_on[0].text", "5000"},
	{`"renew_on": [{"status": [401], "types": ["text/html"]}]`, "config.renew_on[0].types", "needs json or text"},
	{`"renew_on": [{"text": "a", "types": ["text/html", ""]}]`, "config.renew_on[0].types[1]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["html"]}]`, "config.renew_on[0].types[0]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["text/"]}]`, "config.renew_on[0].types[0]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["a/b/c"]}]`, "config.renew_on[0].types[0]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["image/*"]}]`, "config.renew_on[0].types[0]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["text/html; charset=utf-8"]}]`, "config.renew_on[0].types[0]", "media type"},
	{`"renew_on": [{"text": "a", "types": ["Text/Event-Stream"]}]`, "config.renew_on[0].types[0]", "held back"},
	{`"renew_on": [{"text": "a", "types": ["image/jpeg", "Image/JPEG"]}]`, "config.renew_on[0].types[1]", "types[0]"},
	{`"success": [{"absent": true}]`, "config.success[0].json", "is required"},
	{`"success": [{"json": "a", "absent": true}]`, "config.success[0].values", "match every answer"},
	{`"refresh": {"success": [{}]}`, "config.refresh.success[0]", "says nothing"},

	{`"url": "https://x.example", "arguments": [` + many(65) + `]`, "config.arguments", "at most 64"},
	{`"refresh": {"url": "https://x.example", "arguments": [` + many(65) + `]}`, "config.refresh.arguments", "at most 64"},
	{`"preset": ".."`, "config.preset", "cannot stand"},
	{`"default_key": "a\u0000"`, "config.default_key", "control character"},
	{`"volatile": ["a", "b c"]`, "config.volatile[1]", "not a name of a field"},
	{`"volatile": ["a", ""]`, "config.volatile[1]", "not a name of a field"},
	{`"push": "line"`, "config.push", "must be wechat, wecom or feishu"},
	{`"volatile": ["a", "b", "a"]`, "config.volatile[2]", "the same as volatile[0]"},
	{`"refresh_semantics": "strickt"`, "config.refresh_semantics", "stable, grace, strict or family"},
	{`"semantics": "other"`, "config.semantics", "same, rotate or parallel"},
	{`"lifetime": "401d"`, "config.lifetime", "400 days"},
	{`"overlap": "401d"`, "config.overlap", "0s to 9600h"},
	{`"refresh_grace": "401d"`, "config.refresh_grace", "0s to 9600h"},
	{`"replay_max": "65MiB"`, "config.replay_max", "64MiB"},
	{`"limits": {"timeout": "301s"}`, "config.limits.timeout", "0s to 5m"},
	{`"limits": {"concurrency": 1001}`, "config.limits.concurrency", "0 to 1000"},
	{`"limits": {"concurrency": -1}`, "config.limits.concurrency", "0 to 1000"},
	{`"limits": {"min_interval": "401d"}`, "config.limits.min_interval", "9600h"},
	{`"limits": {"backoff_cap": "999ms"}`, "config.limits.backoff_cap", "1s to 1h"},
	{`"limits": {"backoff_cap": "61m"}`, "config.limits.backoff_cap", "1s to 1h"},
	{`"limits": {"windows": [{"calls": 1, "per": "1h"}, {"calls": 0, "per": "1h"}]}`, "config.limits.windows[1].calls", "more than 0"},
	{`"limits": {"windows": [{"calls": 1}]}`, "config.limits.windows[0].per", "more than 0"},
	{`"limits": {"windows": [{"calls": 1, "per": "401d"}]}`, "config.limits.windows[0].per", "9600h"},
	{`"limits": {"windows": [` + strings.Repeat(`{"calls": 1, "per": "1h"},`, 16) + `{"calls": 1, "per": "1h"}]}`, "config.limits.windows", "at most 16"},
	{`"shared": {"a b": "x"}`, `config.shared."a b"`, "not a name of a field"},
	{`"shared": {"": "x"}`, `config.shared.""`, "not a name of a field"},
	{`"shared": {"a@[{/:": "x"}`, `config.shared."a@[{/:"`, "not a name of a field"},
	{`"shared": {"-a": "x"}`, `config.shared."-a"`, "not a name of a field"},
	{`"shared": {"a": "` + strings.Repeat("x", 64<<10+1) + `"}`, "config.shared.a", "64 KiB"},
}

func argument(inside string) string {
	return `"url": "https://x.example", "method": "POST", "arguments": [{` + inside + `}]`
}

// many are so many arguments of a query.
func many(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"name": "a%d", "place": "url"}`, i)
	}
	return strings.Join(list, ",")
}

func client(inside string) string {
	return `"grant": {"name": "client_credentials", "token_url": "https://x.example", ` + inside + `}`
}

// exchange is a realm with the grant token_exchange.
func exchange(inside string) string {
	return `"grant": {"name": "token_exchange", "token_url": "https://x.example", ` + inside + `}`
}

// code is a realm with the grant authorization_code and no callback_url.
func code(inside, beside string) string {
	return `"grant": {"name": "authorization_code", "token_url": "https://x.example", ` + inside + `}` + beside
}

// ownCode are recipes of a realm's own, without a callback_url.
const ownCode = `"authorize": {"url": "https://x.example/a?s={state}"}, "exchange": {"url": "https://x.example/e?c={code}"}`

func TestValidateRefuses(t *testing.T) {
	for _, c := range refusals {
		r := decoded(t, c.text)
		wantField(t, c.text, r.Validate(), c.path, c.words)
	}
}

// What the Caddyfile gives has not been through Decode.
func TestValidateRefusesWhatIsNotUTF8(t *testing.T) {
	const bad = "a\xff"
	for path, r := range map[string]Realm{
		"id":                        {ID: bad},
		"comment":                   {ID: "x", Comment: bad},
		"config.api":                {ID: "x", Config: Config{API: "https://x.example/" + bad}},
		"config.inject[0].value":    {ID: "x", Config: Config{Inject: []Injection{{Place: PlaceURL, Name: "a", Value: bad}}}},
		"config.shared.a":           {ID: "x", Config: Config{Shared: map[string]Hidden{"a": bad}}},
		"config.arguments[0].value": {ID: "x", Config: Config{Recipe: Recipe{URL: "https://x.example", Arguments: []Argument{{Place: PlaceURL, Name: "a", Value: bad}}}}},
		"config.lifetime":           {ID: "x", Config: Config{Lifetime: Lifetime{Duration: 1, Unlimited: true}}},
	} {
		wantField(t, path, r.Validate(), path, "")
	}
}

func TestSecretValidate(t *testing.T) {
	good := Secret{Ref: Ref{"jd", "账号/1"}, Fields: map[string]Hidden{"key_1": "x", "private_key": Hidden(strings.Repeat("x", 64<<10))}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for path, s := range map[string]Secret{
		"realm":         {Ref: Ref{"", "k"}},
		"key":           {Ref: Ref{"r", ".."}},
		`fields."a$"`:   {Ref: Ref{"r", "k"}, Fields: map[string]Hidden{"a$": "x"}},
		"fields.key_1":  {Ref: Ref{"r", "k"}, Fields: map[string]Hidden{"key_1": Hidden(strings.Repeat("x", 64<<10+1))}},
		"fields.binary": {Ref: Ref{"r", "k"}, Fields: map[string]Hidden{"binary": "\xff"}},
	} {
		wantField(t, path, s.Validate(), path, "")
	}
	long := strings.Repeat("a", 64)
	if err := ValidateFields("fields", map[string]Hidden{long: canary}); err != nil {
		t.Error(err)
	}
	long += "a"
	err := ValidateFields("fields", map[string]Hidden{long: canary})
	wantField(t, "long name", err, "fields."+long, "1 to 64")
	wantNoCanary(t, "a refused field", err.Error())
}
