package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// TestConsole: the page is at the root of its site, also below a path, and
// everything else goes to the API and to the next handler.
func TestConsole(t *testing.T) {
	i := newInstance(t)
	next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprint(w, r.Method, " next ", r.Header["Cookie"])
	}))
	t.Cleanup(next.Close)
	site := "route {\ntoken_admin\ntoken_console\nreverse_proxy " + strings.TrimPrefix(next.URL, "http://") + "\n}"
	i.load("", site+"\nhandle_path /below/* {\n"+site+"\n}")
	for _, at := range []string{"/", "/below/"} {
		a := i.get(at)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "./assets/") || a.Header.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%s: %s %s", at, a.Status, a.body)
		}
		_, asset, _ := strings.Cut(a.body, `"./assets/`)
		asset, _, _ = strings.Cut(asset, `"`)
		if a := i.get(at + "assets/" + asset); a.StatusCode != http.StatusOK || !strings.HasSuffix(a.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %s %v", asset, a.Status, a.Header)
		}
		if a := i.get(at + "api/status"); a.StatusCode != http.StatusForbidden {
			t.Errorf("the API: %s", a.Status)
		}
		for _, path := range []string{"index.html", "realms"} {
			if a := i.get(at + path); a.StatusCode != http.StatusTeapot {
				t.Errorf("%s: %s", path, a.Status)
			}
		}
		if a := i.get(at + "assets/none.js"); a.StatusCode != http.StatusNotFound || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("an asset that is not there: %s %v", a.Status, a.Header)
		}
		a = i.do(http.MethodPost, "http://"+i.host+at, "", "Cookie", "a=1; tokens_session=mine; b=2")
		if a.StatusCode != http.StatusTeapot || a.body != "POST next [a=1; b=2]" {
			t.Errorf("what is not for us: %s %q", a.Status, a.body)
		}
	}
}

// TestAdminWithoutConsole: token_admin alone serves no page.
func TestAdminWithoutConsole(t *testing.T) {
	i := newInstance(t)
	i.load("", "route {\ntoken_admin\nrespond next 418\n}")
	for _, path := range []string{"/", "/assets/index.js"} {
		if a := i.get(path); a.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
}

// TestConsoleAlone: a console without an API in its site is an error when the
// configuration is loaded, wherever both stand in the site.
func TestConsoleAlone(t *testing.T) {
	const site = "http://%s:1 {\n%s\n}\n"
	validate := func(config []byte) error {
		cfg := new(caddy.Config)
		if err := caddy.StrictUnmarshalJSON(config, cfg); err != nil {
			t.Fatal(err)
		}
		return caddy.Validate(cfg)
	}
	newInstance(t)
	for name, c := range map[string]struct {
		caddyfile string
		isAlone   bool
	}{
		"alone":                      {fmt.Sprintf(site, "", "token_console"), true},
		"beside it":                  {fmt.Sprintf(site, "", "token_console\ntoken_admin"), false},
		"in a route":                 {fmt.Sprintf(site, "", "route {\ntoken_admin\ntoken_console\n}"), false},
		"in a route, first":          {fmt.Sprintf(site, "", "route {\ntoken_console\ntoken_admin\n}"), false},
		"in a block of its own":      {fmt.Sprintf(site, "", "handle /api/* {\ntoken_admin\n}\nhandle {\ntoken_console\n}"), false},
		"in a block, alone":          {fmt.Sprintf(site, "", "handle {\ntoken_console\n}"), true},
		"in another site":            {fmt.Sprintf(site, "a.example", "token_console") + fmt.Sprintf(site, "b.example", "token_admin"), true},
		"in another site, first":     {fmt.Sprintf(site, "a.example", "token_admin") + fmt.Sprintf(site, "b.example", "token_console"), true},
		"in both sites":              {fmt.Sprintf(site, "a.example", "token_admin\ntoken_console") + fmt.Sprintf(site, "b.example", "token_admin\ntoken_console"), false},
		"at another port":            {fmt.Sprintf(site, "", "token_console") + "http://:2 {\ntoken_admin\n}\n", true},
		"beside a block with a host": {fmt.Sprintf(site, "", "token_admin\n@h host a.example\nhandle @h {\ntoken_console\n}"), false},
	} {
		out, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\nadmin off\n}\n"+c.caddyfile), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = validate(out)
		if isAlone := err != nil && strings.Contains(err.Error(), errConsoleAlone.Error()); isAlone != c.isAlone || err != nil && !isAlone {
			t.Errorf("%s: %v", name, err)
		}
	}
	const config = `{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:1"],"routes":[{"handle":[%s]}]}}}}}`
	if err := validate(fmt.Appendf(nil, config, `{"handler":"token_console"}`)); err == nil || !strings.Contains(err.Error(), errConsoleAlone.Error()) {
		t.Errorf("JSON, alone: %v", err)
	}
	if err := validate(fmt.Appendf(nil, config, `{"handler":"token_console"},{"handler":"token_admin"}`)); err != nil {
		t.Errorf("JSON, beside it: %v", err)
	}
}
