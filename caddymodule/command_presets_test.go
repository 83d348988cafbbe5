package caddymodule

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// The catalogue is there without an instance.
func TestPresetsCommandLists(t *testing.T) {
	out, _, err := onTerminal(t, "presets")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 1+len(presets.Names()) || !strings.HasPrefix(lines[0], "NAME ") {
		t.Errorf("got\n%s", out)
	}
	for i, p := range presets.List() {
		if !strings.HasPrefix(lines[i+1], p.Name+" ") || !strings.Contains(lines[i+1], p.Title.En) || !strings.HasSuffix(lines[i+1], p.Category) {
			t.Errorf("%s: %q", p.Name, lines[i+1])
		}
	}
	out, _, err = onTerminal(t, "presets", "--json")
	var list []presets.Preset
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != len(presets.Names()) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPresetsCommandShowsOne(t *testing.T) {
	out, _, err := onTerminal(t, "presets", "jd_vop")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"JD VOP for business buyers (unattended authorization)\npreset jd_vop, category commerce\n",
		"  app_secret    App Secret of the app (confidential, may stand in shared)\n",
		"  realm jd_vop {\n  \tpreset jd_vop\n  \tshared {\n  \t\tapp_key {env.JD_VOP_APP_KEY}\n",
		"  curl 'localhost:8081/api/token?realm=jd_vop&key=main'\n",
		"Not verified:\n  - Whether a refresh token can be used again",
		"The provider's pages:\n  - https://vop.jd.com/",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "authorizes the account") {
		t.Error("the server authorizes by itself, and no person")
	}
	if out, _, err = onTerminal(t, "presets", "jd"); err != nil || !strings.Contains(out, "  curl localhost:8081/api/secret/jd/main/authorize\n") {
		t.Errorf("%v: a person authorizes, and is not told how:\n%s", err, out)
	}
	for name, want := range map[string]string{
		"wecom_suite":  "sends suite_ticket again and again. For a public site, at the URL that you register with the provider:\n\n  token_push /wecom_suite/ticket wecom_suite main\n",
		"wecom_corp":   "  token_push /wecom_suite/ticket wecom_suite main\n", // of its parent
		"dingtalk_isv": "sends suite_ticket again and again. Whoever receives it brings it each time:\n\n  curl -H 'Content-Type: application/json' localhost:8081/api/secret/dingtalk_isv/main/push ",
	} {
		if out, _, err = onTerminal(t, "presets", name); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v: nobody learns how the ticket arrives:\n%s", name, err, out)
		}
	}
	var one presets.Preset
	if out, _, err = onTerminal(t, "presets", "jd", "--json"); err != nil || json.Unmarshal([]byte(out), &one) != nil || one.Name != "jd" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPresetsCommandKnowsNoOther(t *testing.T) {
	if _, _, err := onTerminal(t, "presets", "nobody"); err == nil || !strings.Contains(err.Error(), `"nobody": no preset has this name; caddy tokens presets lists them`) {
		t.Errorf("got %v", err)
	}
	for _, near := range []string{"wecaht", "WeChat"} {
		if _, _, err := onTerminal(t, "presets", near); err == nil || !strings.Contains(err.Error(), "no preset has this name; did you mean 'wechat'?; caddy tokens presets lists them") {
			t.Errorf("%s: got %v", near, err)
		}
	}
	if _, _, err := onTerminal(t, "presets", "jd", "suning"); err == nil {
		t.Error("two names are taken")
	}
}
