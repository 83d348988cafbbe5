package adminapi

import (
	"net/http"
	"strings"
	"testing"
)

// writtenBlock is what a realm with most of a recipe becomes.
const writtenBlock = `realm wechat {
	comment <<EOF
		one
		two
		EOF
	api https://api.example.com
	fetch GET https://api.example.com/token {
		query appid {secret.appid}
		header X-Sign expr "sha256(secret.appid + 'x')"
	}
	token_path access_token
	inject header Authorization "Bearer {token}"
	renew_on status 401 json errcode 40001 absent
	shared {
		app_key {env.WECHAT_APP_KEY}
	}
	secret main {
		appid {env.WECHAT_MAIN_APPID}
		private_key {file./run/secrets/wechat-main-private_key}
		inject_only
	}
}
`

func TestWriteCaddyfile(t *testing.T) {
	_, c := newPuppet(t)
	got := c.json(http.MethodPost, "/api/caddyfile", `{"realm": {"id": "wechat", "comment": "one\ntwo", "config": {
		"api": "https://api.example.com", "url": "https://api.example.com/token", "token_path": "access_token",
		"arguments": [{"name": "appid", "place": "url", "value": "{secret.appid}"}, {"name": "X-Sign", "place": "header", "expr": "sha256(secret.appid + 'x')"}],
		"inject": [{"place": "header", "name": "Authorization", "value": "Bearer {token}"}],
		"renew_on": [{"status": [401], "json": "errcode", "values": [40001], "absent": true}],
		"shared": {"app_key": "******************"}}},
		"secrets": [{"key": "main", "fields": ["appid", "private_key"], "inject_only": true}]}`)
	if got.status != http.StatusOK || got.document()["caddyfile"] != writtenBlock {
		t.Errorf("%d %s", got.status, got.document()["caddyfile"])
	}
}

// TestWriteCaddyfileRefused: what is wrong has the name that it has in the body.
func TestWriteCaddyfileRefused(t *testing.T) {
	_, c := newPuppet(t)
	long := `"f` + strings.Repeat(`","f`, 10000) + `"`
	for body, field := range map[string]string{
		`{}`:                            "realm",
		`{"realm": null}`:               "realm",
		`{"realm": {"config": {}}}`:     "realm.id",
		`{"realm": {"id": "r", "x":1}}`: "realm.x",
		`{"realm": {"id": "r", "config": {"api": "/x"}}}`: "realm.config.api",
		`{"realm": {"id": "r", "config": {"url": "https://a.b/", "token_path": "t", "arguments": [{"place": "url", "name": "a", "value": "{nobody}"}]}}}`: "realm.config.arguments[0].value",
		`{"realm": {"id": "r", "config": {"preset": "nobody"}}}`:                                       "realm.config.preset",
		`{"realm": {"id": "r", "config": {"url": "https://a.b/", "token_path": "t", "ca": "x"}}}`:      "realm.config.ca",
		`{"realm": {"id": "r", "comment": "{$HOME}"}}`:                                                 "realm.comment",
		`{"realm": {"id": "r", "config": {"renew_on": [{"json": "a", "values": ["true"]}]}}}`:          "realm.config.renew_on[0].values[0]",
		`{"realm": {"id": "r", "config": {"renew_on": [{"text": "{env.HOME}"}]}}}`:                     "realm.config.renew_on[0].text",
		`{"realm": {"id": "r"}, "secrets": [{"fields": ["a"]}]}`:                                       "secrets[0].key",
		`{"realm": {"id": "r"}, "secrets": [{"key": "k"}, {"key": "k"}]}`:                              "secrets[1].key",
		`{"realm": {"id": "r"}, "secrets": [{"key": "k", "fields": ["a", "a"]}]}`:                      "secrets[0].fields",
		`{"realm": {"id": "r"}, "secrets": [{"key": "k", "fields": ["a b"]}]}`:                         `secrets[0].fields."a b"`,
		`{"realm": {"id": "r"}, "secrets": [{"key": "k", "fields": ["import"]}]}`:                      "secrets[0].fields.import",
		`{"realm": {"id": "r"}, "secrets": [{"key": "k", "fields": [` + long + `]}]}`:                  "secrets[0].fields",
		`{"realm": {"id": "r"}, "secrets": [` + strings.Repeat(`{"key":"k"},`, 1000) + `{"key":"k"}]}`: "secrets",
		`{"realm": {"id": "r"}, "more": 1}`:                                                            "more",
	} {
		a := c.json(http.MethodPost, "/api/caddyfile", body)
		if a.status != http.StatusBadRequest || a.document()["field"] != field {
			t.Errorf("%.200s: %d %s; want field %s", body, a.status, a.body, field)
		}
	}
	// Values are refused, and not quoted.
	a := c.json(http.MethodPost, "/api/caddyfile", `{"realm": {"id": "r"}, "secrets": [{"key": "k", "fields": {"a": "canary-value"}}]}`)
	if a.status != http.StatusBadRequest || strings.Contains(a.body, "canary-value") {
		t.Errorf("values: %d %s", a.status, a.body)
	}
}
