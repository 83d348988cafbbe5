package caddymodule

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// tokensWith runs `caddy tokens` with text on standard input, without a terminal.
func tokensWith(t *testing.T, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := tokensCommand()
	var out, errs bytes.Buffer
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// TestRealmFromCurl: three requests as people have them in a terminal become realms
// whose tokens the provider's API takes. The dry run finds out where the token
// stands; no value is shown.
func TestRealmFromCurl(t *testing.T) {
	const secret = canary + "-secret"
	for name, c := range map[string]struct {
		style              fakeprovider.Style
		command, inject    string
		path               string
		wantPath, wantLife string
	}{
		"wechat": {
			fakeprovider.WeChat, "curl -s 'URL/cgi-bin/token?grant_type=client_credential&appid=app&secret=" + secret + "'",
			"query access_token", "/cgi-bin/x", `"token_path":"access_token"`, `"expires_in_path":"expires_in"`,
		},
		"oauth": {
			fakeprovider.OAuth, "curl -u 'app:" + secret + "' \\\n  URL/oauth2/token \\\n  -d grant_type=client_credentials",
			"header Authorization Bearer {token}", "/v1/x", `"name":"client_credentials"`, "",
		},
		"feishu": {
			fakeprovider.Feishu, `curl -X POST "URL/open-apis/auth/v3/tenant_access_token/internal" -H 'Content-Type: application/json; charset=utf-8' --data-raw $'{"app_id": "app", "app_secret": "` + secret + `"}'`,
			"header Authorization Bearer {token}", "/open-apis/x", `"token_path":"tenant_access_token"`, `"expires_in_path":"expire"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			withoutCredentials(t)
			p := fakeprovider.New(fakeprovider.Options{Style: c.style, Credentials: map[string]string{"app": secret}})
			base := p.Start(t)
			i := newInstance(t)
			i.load("allow_private 127.0.0.1", "token_gateway")
			stdout, stderr, err := tokensWith(t, strings.ReplaceAll(c.command, "URL", base),
				"realm", "new", "--curl", "-", "--id", name, "--inject", c.inject, "--test", "--api", "http://"+i.api)
			if err != nil {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			config := i.must(http.MethodGet, "/api/realm/"+name, "")
			for _, want := range []string{c.wantPath, c.wantLife} {
				if !strings.Contains(config, want) {
					t.Errorf("no %s in %s", want, config)
				}
			}
			if a := i.get("/" + name + "/main" + c.path); a.StatusCode != http.StatusOK || strings.Contains(a.body, "errcode\":4") {
				t.Errorf("a call: %s %s\n%s", a.Status, a.body, stderr)
			}
			if len(p.Issued()) == 0 {
				t.Error("no token was issued")
			}
			if all := stdout + stderr + config + i.log(); strings.Contains(all, canary) {
				t.Errorf("something confidential is shown:\n%s", all)
			}
			// It is not made twice.
			_, _, err = tokensWith(t, strings.ReplaceAll(c.command, "URL", base),
				"realm", "new", "--curl", "-", "--id", name, "--inject", c.inject, "--api", "http://"+i.api)
			if err == nil || !strings.Contains(err.Error(), "exists") {
				t.Errorf("a second time: %v", err)
			}
		})
	}
}

// TestRealmNewCaddyfile: the block has no value, needs no API, and reads back.
func TestRealmNewCaddyfile(t *testing.T) {
	withoutCredentials(t)
	for name, c := range map[string]struct {
		input string
		args  []string
		want  []string
	}{
		"preset": {"", []string{"--preset", "wechat", "--id", "mp"}, []string{"realm mp {\n\tpreset wechat\n", "appsecret {env.MP_MAIN_APPSECRET}"}},
		"curl": {
			"curl 'https://api.example.com/token?appid=wx&secret=" + canary + "'",
			[]string{"--curl", "-", "--id", "x", "--inject", "query access_token", "--token-path", "data.token"},
			[]string{"fetch GET https://api.example.com/token {\n", "query secret {secret.secret}", "token_path data.token", "renew_on status 401", "secret {env.X_MAIN_SECRET}"},
		},
		"token url": {
			"",
			[]string{"--token-url", "https://login.example.com/token", "--id", "crm", "--scope", "a,b", "--api-base", "https://crm.example.com", "--inject", "header Authorization Bearer {token}"},
			[]string{"grant client_credentials {\n\t\ttoken_url https://login.example.com/token\n\t\tscopes a b\n", `inject header Authorization "Bearer {token}"`},
		},
	} {
		stdout, stderr, err := tokensWith(t, c.input, append([]string{"realm", "new", "--caddyfile", "--api", "http://localhost:1"}, c.args...)...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%s: no %q in\n%s", name, want, stdout)
			}
		}
		if _, _, err := readBack(stdout); err != nil {
			t.Errorf("%s: %v\n%s", name, err, stdout)
		}
		if strings.Contains(stdout+stderr, canary) {
			t.Errorf("%s: a value is shown: %s%s", name, stdout, stderr)
		}
	}
}

// TestRealmNewMissing: without a terminal, the error names the flag or the field
// that is missing, and nothing is created.
func TestRealmNewMissing(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load("", "")
	for words, c := range map[string]struct {
		input string
		args  []string
	}{
		"--preset is missing":            {"", nil},
		"--id is missing":                {"", []string{"--preset", "wechat"}},
		"did you mean 'wechat'":          {"", []string{"--preset", "wecaht"}},
		"appsecret is missing":           {`{"appid": "x"}`, []string{"--preset", "wechat", "--id", "w"}},
		"no value was given":             {"", []string{"--preset", "wechat", "--id", "w"}},
		"--inject is missing":            {"curl https://x.example/t -d a=b", []string{"--curl", "-", "--id", "x"}},
		"--inject: write a place":        {"curl https://x.example/t -d a=b", []string{"--curl", "-", "--id", "x", "--inject", "nowhere x"}},
		"--curl: a realm sends no multi": {"", []string{"--curl", "x"}},
		"must not hold /":                {"", []string{"--preset", "wechat", "--id", "a/b"}},
	} {
		if strings.HasPrefix(words, "--curl: ") {
			c.args[1], words = "curl -F a="+canary+" https://x.example", "multipart"
		}
		_, _, err := tokensWith(t, c.input, append([]string{"realm", "new", "--api", "http://" + i.api}, c.args...)...)
		if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), canary) {
			t.Errorf("%v: %v; want %q", c.args, err, words)
		}
	}
	if list := i.must(http.MethodGet, "/api/realm", ""); !strings.Contains(list, `"total":0`) {
		t.Errorf("something was created: %s", list)
	}
}
