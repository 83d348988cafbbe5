package caddymodule

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestExample runs Caddyfile.example, on other ports.
func TestExample(t *testing.T) {
	content, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if formatted := caddyfile.Format(content); string(formatted) != string(content) {
		t.Error("Caddyfile.example is not as caddy fmt writes it")
	}
	// What stands in its comments is right, too.
	all := regexp.MustCompile(`(?m)^\t*#(\t+.*[^.])$`).ReplaceAllStringFunc(string(content), func(line string) string {
		if strings.Contains(line, "curl") || strings.Contains(line, "go run") {
			return line
		}
		return strings.Replace(line, "#", "", 1)
	})
	all = strings.Replace(all, "\t\tstorage sqlite tokens.db\n", "", 1)
	adapted := adapt(t, string(caddyfile.Format([]byte(all))))
	for _, want := range []string{`"preset":"wechat"`, `"cron":"0 3 * * *"`, `"type":"mysql"`, `"key":"main"`} {
		if !strings.Contains(strings.ReplaceAll(adapted, ": ", ":"), want) {
			t.Errorf("with its comments it has no %s:\n%s", want, adapted)
		}
	}
	i := newInstance(t)
	port := func(address string) string { return address[strings.LastIndexByte(address, ':'):] }
	practice := freeAddress(t)
	text := strings.NewReplacer(
		":8080", port(i.host), ":8081", port(i.api), ":8082", port(practice), " ::1", "",
	).Replace(string(content))
	cfg, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	var with map[string]any
	if err := json.Unmarshal(cfg, &with); err != nil {
		t.Fatal(err)
	}
	with["admin"] = map[string]any{"disabled": true} // another Caddy may use the port
	with["storage"] = map[string]any{"module": "file_system", "root": i.dir}
	if cfg, err = json.Marshal(with); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(cfg, true); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/practice/hello":         `^GET /hello\?access_token=practice-[0-9a-f-]+\n$`,
		"/practice/hello?a=1":     `^GET /hello\?a=1&access_token=practice-[0-9a-f-]+\n$`,
		"/any/practice/main/a/b":  `^GET /a/b\?access_token=practice-[0-9a-f-]+\n$`,
		"/any/practice/nobody/":   `"code":"secret_not_found"`,
		"/any/elsewhere/main/a/b": `"code":"realm_not_found"`,
	} {
		if a := i.get(path); !regexp.MustCompile(want).MatchString(a.body) {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
	// A path that nobody serves says so, and what there is.
	for _, site := range []struct{ address, path, want string }{
		{i.host, "/practise/hello", "/practice/"},
		{i.host, "/practice", "/practice/"},
		{i.host, "/", "/any/<realm>/<key>/"},
		{i.api, "/index.html", "/api/openapi.json"},
		{i.api, "/realm", "/api/realm"},
		{i.api, "/shop/get-access-token", "/<realm>-account/get-access-token"},
	} {
		a := i.do("GET", "http://"+site.address+site.path, "")
		if a.StatusCode != http.StatusNotFound || !strings.Contains(a.body, site.want) {
			t.Errorf("%s%s: %s\n%s", site.address, site.path, a.Status, a.body)
		}
	}
	for _, address := range []string{i.host, i.api} {
		got := rawTo(t, address, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 404 ") || !strings.Contains(got, "Nothing is served") {
			t.Errorf("CONNECT to %s:\n%s", address, got)
		}
	}
	// The practice provider answers by whatever name it is called.
	if got := rawTo(t, practice, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); !strings.Contains(got, "GET /hello") {
		t.Errorf("the practice provider as localhost:\n%s", got)
	}
	if got := i.must("GET", "/api/status", ""); !strings.Contains(got, `"realm":"practice"`) {
		t.Errorf("the status: %s", got)
	}
	if _, err := os.Stat(filepath.Join(i.dir, "caddy", "tokens.db")); err != nil {
		t.Error(err)
	}
}
