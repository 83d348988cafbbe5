package test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

var (
	readmes    = []string{"../README.md", "../README.zh-CN.md"}
	accounts   = "../docs/accounts.md"
	part       = regexp.MustCompile("(?s)```caddyfile\n(.*?)```")
	fenced     = regexp.MustCompile("(?s)```caddyfile\n(\\{\n.*?)```")
	apiRequest = regexp.MustCompile(`(?s)curl -H 'Content-Type: application/json' localhost:8081(/api/\w+) --data-binary '(.*?)'`)
)

func readDoc(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path) // #nosec G304 -- our own files
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every whole Caddyfile of the READMEs is valid.
func TestReadmeCaddyfiles(t *testing.T) {
	for name, value := range map[string]string{
		"WX_APPID": "a", "WX_APPSECRET": "b", "REDIS_URL": "redis://127.0.0.1:1/0",
		"TOKENS_KEY":     "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
		"MYSQL_HOST":     "127.0.0.1",
		"MYSQL_PORT":     "1",
		"MYSQL_USERNAME": "tokens",
		"MYSQL_PASSWORD": "c",
		"MYSQL_DATABASE": "tokens",
	} {
		t.Setenv(name, value)
	}
	for _, readme := range readmes {
		blocks := fenced.FindAllStringSubmatch(readDoc(t, readme), -1)
		if len(blocks) < 2 {
			t.Errorf("%s has %d Caddyfiles", readme, len(blocks))
		}
		for _, block := range blocks {
			path := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(path, []byte(block[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"validate", "--config", path}, {"fmt", "--diff", path}} {
				if out, err := command(t, args...); err != nil {
					t.Errorf("%s: %s: %v\n%s\n%s", readme, args[0], err, out, block[1])
				}
			}
		}
	}
}

// The Caddyfile that docs/accounts.md builds up is valid: a realm, what may be
// added to it, a site, and what may be added to that.
func TestAccountsCaddyfile(t *testing.T) {
	blocks := part.FindAllStringSubmatch(readDoc(t, accounts), -1)
	if len(blocks) != 4 {
		t.Fatalf("%d blocks", len(blocks))
	}
	within := func(outer, inner int) string {
		return strings.TrimSuffix(blocks[outer][1], "}\n") + blocks[inner][1] + "}\n"
	}
	path := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte("{\n\ttokens {\n"+within(0, 1)+"\t}\n}\n"+within(2, 3)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CRM_CLIENT_ID", "a")
	t.Setenv("CRM_CLIENT_SECRET", "b")
	if out, err := command(t, "validate", "--config", path); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Every request to the admin API in the READMEs and in docs/accounts.md is
// accepted, in their order.
func TestReadmeRequests(t *testing.T) {
	for _, readme := range append([]string{accounts}, readmes...) {
		n := launch(t, config{}.caddyfile)
		requests := apiRequest.FindAllStringSubmatch(readDoc(t, readme), -1)
		if len(requests) < 2 {
			t.Errorf("%s has %d requests", readme, len(requests))
		}
		for _, r := range requests {
			curlPost(t, n, r[2], r[1])
		}
	}
}

// The READMEs' realm for WeChat works on a WeChat that is as strict as the real
// one: force_refresh is a boolean, and true when a new token is wanted.
func TestReadmeWeChatRealm(t *testing.T) {
	for _, readme := range readmes {
		var passed atomic.Int64
		p := fakeprovider.New(fakeprovider.Options{
			Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"},
			Now: func() time.Time { return time.Now().Add(time.Duration(passed.Load())) },
		})
		base := p.Start(t)
		n := launch(t, func(proxyPort, adminPort int) string {
			for _, block := range fenced.FindAllStringSubmatch(readDoc(t, readme), -1) {
				if strings.Contains(block[1], "stable_token") {
					return strings.NewReplacer(
						"api https://api.weixin.qq.com", "allow_http\n\t\t\tapi "+base,
						"https://api.weixin.qq.com", base,
						":8080", ":"+strconv.Itoa(proxyPort), ":8081", ":"+strconv.Itoa(adminPort),
						"{\n\ttokens {", "{\n\tadmin off\n\tdebug\n\ttokens {",
					).Replace(block[1])
				}
			}
			t.Fatalf("%s has no realm for WeChat", readme)
			return ""
		}, "WX_APPID=wx-app", "WX_APPSECRET=wx-secret-01")
		n.keepsSecret(p, "wx-secret-01")
		n.get(n.proxy+"/wechat/cgi-bin/get_api_domain_ip", http.StatusOK)
		passed.Store(int64(time.Minute)) // a forced token within 30 s of the last one would be the same
		n.get(n.admin+"/api/token?realm=wechat&key=main&flush=true", http.StatusOK)
		n.get(n.proxy+"/wechat/cgi-bin/get_api_domain_ip", http.StatusOK)
		if len(p.Issued()) != 2 || p.Fetches() != 2 || p.CallsWith(p.Newest()) != 1 || len(p.DeadCalls()) != 0 {
			t.Errorf("%s: %d issued, %d fetches, dead calls %+v", readme, len(p.Issued()), p.Fetches(), p.DeadCalls())
		}
	}
}
