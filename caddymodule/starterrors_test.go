package caddymodule

import (
	"fmt"
	"strings"
	"testing"
)

// TestStartErrorsHideValues: an error of a start goes into logs, and into the
// answers of Caddy's own API. It named the value that {env.X} stood for, which
// may be a password in the wrong place. It names the option and the variable.
func TestStartErrorsHideValues(t *testing.T) {
	i := newInstance(t)
	const recipe = "fetch POST https://a.example/token {\nform a {secret.a}\n}\ntoken_path t\nexpires_in_path e\ninject query t\n"
	in := func(line string) string { return "realm p {\n" + recipe + line + "\nsecret main {\na b\n}\n}" }
	grant := func(line string) string {
		return "realm p {\ninject header A\ngrant client_credentials {\ntoken_url https://a.example\n" + line + "\n}\nsecret main {\nclient_id a\nclient_secret b\n}\n}"
	}
	for _, c := range []struct{ tokens, value, option string }{
		{in("api {env.BAD}"), "5f1c-canary value", "api"},
		{in("api {env.BAD}"), "ftp://5f1c-canary.example", "api"},
		{in("api {env.BAD}"), "https://5f1c-canary:pass@a.example", "api"},
		{in("api https://{env.BAD}/x"), "5f1c canary", "api"},
		{in("hosts {env.BAD}"), "5f1c/canary", "hosts"},
		{in("hosts {env.BAD}"), "5F1C/CANARY\x01", "hosts"},
		{in("inject header {env.BAD}"), "5f1c canary:", "inject"},
		{in("callback_url {env.BAD}"), "5f1c-canary", "callback_url"},
		{in("default_key {env.BAD}"), "5f1c\x01canary", "default_key"},
		{in("refresh POST {env.BAD} {\nform r {refresh_token}\n}\nrefresh_token_path r"), "5f1c canary", "refresh"},
		{in("arguments {\nheader {env.BAD} x\n}"), "5f1c canary", "arguments"},
		{in("arguments {\nquery a expr \"{env.BAD}\"\n}"), "5f1c canary(", "arguments"},
		{in("arguments {\nquery a expr \"upper('x') + {env.BAD}\"\n}"), "unknown5f1ccanary", "arguments"},
		{in("volatile {env.BAD}"), "5f1c canary", "volatile"},
		{grant("authorize_url {env.BAD}"), "5f1c canary", "authorize_url"},
		{strings.Replace(grant(""), "https://a.example", "{env.BAD}", 1), "5f1c canary", "token_url"},
		{grant("token_endpoint_auth_method {env.BAD}"), "5f1c-canary", "token_endpoint_auth_method"},
		{"allow_private {env.BAD}", "5f1c/canary", "allow_private"},
		{"allow_private {env.BAD}", "5F1C-Canary.example/8", "allow_private"},
		{"cache redis {env.BAD}", "5f1c-canary://x", "cache"},
		{"cache redis redis://a {env.BAD}", "redis://5f1c-canary:x@b/%zz", "cache"},
		{"encryption_key {env.BAD}", "5f1c-canary", "encryption"},
		{"storage mysql {env.BAD}\nencryption_key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "5f1c-canary", "storage"},
		{"storage mysql {env.BAD}\nencryption_key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "user:5f1c-canary@tcp(h:1)", "storage"},
	} {
		t.Setenv("BAD", c.value)
		err := i.tryLoad(c.tokens, "respond hello")
		if err == nil {
			t.Errorf("%s is taken for %s", c.value, c.tokens)
			continue
		}
		text := strings.ToLower(fmt.Sprint(err))
		if strings.Contains(text, "5f1c") || strings.Contains(text, "canary") {
			t.Errorf("%s: %v", c.option, err)
		}
		if !strings.Contains(text, c.option) {
			t.Errorf("the option %s is not in: %v", c.option, err)
		}
	}
}

// TestUnsetVariableIsNamed: a short value of another variable, which any text may
// hold, was taken for the fault.
func TestUnsetVariableIsNamed(t *testing.T) {
	i := newInstance(t)
	t.Setenv("SHORT", "a")
	err := i.tryLoad("realm p {\napi https://{env.SHORT}.example\ninject query t\nsecret main {\ntoken {env.TOKENS_TEST_UNSET}\n}\n}", "respond hello")
	if err == nil || !strings.Contains(err.Error(), "the environment variable TOKENS_TEST_UNSET is not set") {
		t.Errorf("got %v", err)
	}
}
