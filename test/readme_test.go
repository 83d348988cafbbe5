package test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// mask is what stands in place of a credential, in the earlier service's
// README and in its answers.
const mask = "******************"

// readmeRequest sends a document of the earlier service's README with the
// README's own curl command. The documents in testdata/readme are the bytes
// between the command's quotes.
func readmeRequest(t *testing.T, n *node, document, path string) map[string]any {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "readme", document)) // #nosec G304 -- our own files
	if err != nil {
		t.Fatal(err)
	}
	return curlPost(t, n, string(body), path)
}

func curlPost(t *testing.T, n *node, body, path string) map[string]any {
	t.Helper()
	status, answer := curl(t, "-H", "Content-Type: application/json", "--data-binary", body, n.admin+path)
	if status != http.StatusOK {
		t.Fatalf("POST %s: %d %s", path, status, answer)
	}
	return decode[map[string]any](t, answer)
}

// The earlier service's README, word for word, in its order.
func TestEarlierServicesReadme(t *testing.T) {
	n := launch(t, config{}.caddyfile)
	for document, id := range map[string]string{"qywx_qynbkf.json": "qywx_qynbkf", "wxgzh.json": "wxgzh"} {
		if answer := readmeRequest(t, n, document, "/api/realm"); answer["id"] != id {
			t.Errorf("%s: got %v", document, answer)
		}
	}
	_, list := curl(t, n.admin+"/api/realm")
	answer := decode[struct {
		Data struct {
			List  []map[string]any `json:"list"`
			Total int              `json:"total"`
		} `json:"data"`
		Success string `json:"success"`
	}](t, list)
	if answer.Success != "ok" || answer.Data.Total != 2 || len(answer.Data.List) != 2 {
		t.Errorf("got %s", list)
	}
	secret := readmeRequest(t, n, "secret.json", "/api/secret")
	for field, want := range map[string]string{
		"realm": "wxgzh", "key": "wxgzh_secret", "key_1": mask, "key_2": mask, "key_3": mask,
	} {
		if secret[field] != want {
			t.Errorf("%s = %v, want %s", field, secret[field], want)
		}
	}
}

// The README's token request. The realm is the README's but for the host, and
// for the two fields that let it be on loopback: a test must not reach the
// real one.
func TestEarlierServicesTokenRequest(t *testing.T) {
	p := fakeprovider.New(fakeprovider.Options{
		Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"},
	})
	base := p.Start(t)
	n := launch(t, config{tokens: "allow_private 127.0.0.1"}.caddyfile)
	body, err := os.ReadFile(filepath.Join("testdata", "readme", "wxgzh.json"))
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(string(body), `"url": "https://api.weixin.qq.com`, `"allow_http": true, "url": "`+base, 1)
	if moved == string(body) {
		t.Fatal("the README's document names another host")
	}
	curlPost(t, n, moved, "/api/realm")
	curlPost(t, n, `{"realm": "wxgzh", "key": "wxgzh_secret", "key_1": "wx-app", "key_2": "wx-secret-01", "key_3": "client_credential"}`, "/api/secret")

	byQuery := []string{n.admin + "/api/token?realm=wxgzh&key=wxgzh_secret&flush=false"}
	byData := []string{
		"-X", "GET", "-H", "Content-Type: application/json",
		"--data", `{"realm": "wxgzh", "key": "wxgzh_secret", "flush": false}`, n.admin + "/api/token",
	}
	for i, args := range [][]string{byQuery, byData, byQuery} {
		status, answer := curl(t, args...)
		got := decode[tokenAnswer](t, answer)
		if status != http.StatusOK || got.Token != p.Newest() || got.ExpiresIn <= 7_000_000 || got.ExpiresIn > 7_200_000 {
			t.Fatalf("request %d: %d %s", i, status, answer)
		}
		if want := map[bool]string{true: "upstream", false: "memory"}[i == 0]; got.Source != want {
			t.Errorf("request %d: source %s, want %s", i, got.Source, want)
		}
	}
	if p.Fetches() != 1 {
		t.Errorf("%d fetches, want 1", p.Fetches())
	}
	flushed := decode[tokenAnswer](t, n.get(n.admin+"/api/token?realm=wxgzh&key=wxgzh_secret&flush=true", http.StatusOK))
	if flushed.Token != p.Newest() || p.Fetches() != 2 || flushed.Source != "upstream" {
		t.Errorf("after a flush: %+v, %d fetches", flushed.Source, p.Fetches())
	}
}

// The earlier service's refusals, in its words.
func TestEarlierServicesRefusals(t *testing.T) {
	p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat})
	n := launch(t, config{tokens: "allow_private 127.0.0.1"}.caddyfile)
	n.post("/api/realm", wechatRealm("wx", p.Start(t)))
	n.post("/api/secret", map[string]any{"realm": "wx", "key": "k", "key_1": "nobody", "key_2": "wx-secret-01"})
	for name, c := range map[string]struct {
		args   []string
		status int
		text   string
	}{
		"unknown realm":         {[]string{n.admin + "/api/realm/nix"}, 404, "realm 不存在"},
		"secret without realm":  {[]string{"-H", "Content-Type: application/json", "-d", `{"realm":"nix","key":"k"}`, n.admin + "/api/secret"}, 400, "realm 不存在"},
		"unknown secret":        {[]string{n.admin + "/api/secret/wx/nix"}, 404, "secret 不存在"},
		"token without secret":  {[]string{n.admin + "/api/token?realm=wx&key=nix"}, 400, "该 key 指定的 secret 不存在"},
		"provider says no":      {[]string{n.admin + "/api/token?realm=wx&key=k"}, 503, "无法从上游服务获取 token"},
		"unknown realm's token": {[]string{n.admin + "/api/token?realm=" + url.QueryEscape("没有") + "&key=k"}, 400, "该 key 指定的 secret 不存在"},
	} {
		status, answer := curl(t, c.args...)
		problem := decode[map[string]any](t, answer)
		if status != c.status || problem["detail"] != c.text || problem["message"] != c.text {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		if name == "provider says no" && fmt.Sprint(problem["provider_code"]) != "40013" {
			t.Errorf("the provider's code is not told: %s", answer)
		}
	}
}
