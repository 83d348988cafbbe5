package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestAPIBesideAConsole: a page of a proxied API has no origin where the console has
// the same one, so that its script is not the console's. The API's own policy stays,
// and other sites of the server are left alone.
func TestAPIBesideAConsole(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set(policyHeader, "img-src 'self'")
		_, _ = fmt.Fprint(w, "<script>fetch('/console/api/client')</script>")
	}))
	t.Cleanup(api.Close)
	p, i := newProvider(t), newInstance(t)
	_, port, _ := strings.Cut(i.host, ":")
	at := strings.TrimPrefix(api.URL, "http://")
	proxies := fmt.Sprintf(`
	handle /proxy/* {
		token_proxy {
			realm p
			key main
		}
	}
	handle /transport/* {
		reverse_proxy %[1]s {
			health_uri /health
			health_interval 5ms
			transport token {
				realm p
				key main
			}
		}
	}
	handle {
		token_gateway
	}`, at)
	const console = "handle_path /console/* {\ntoken_admin\ntoken_console\n}\n"
	realm := "allow_private 127.0.0.1\n" + strings.Replace(p.realm("p", "inject header X-Token {token}\nallow_http\nhosts "+at), "api "+p.URL, "api "+api.URL, 1)
	check := func(host string, want ...string) {
		t.Helper()
		want = append(want, "img-src 'self'")
		for _, path := range []string{"/proxy/x", "/transport/x", "/p/main/x"} {
			a := i.do(http.MethodGet, "http://"+i.host+path, "", "Host", host)
			got := a.Header.Values(policyHeader)
			slices.Sort(got)
			slices.Sort(want)
			if a.StatusCode != http.StatusOK || !slices.Equal(got, want) {
				t.Errorf("%s%s: %s, %s is %q, want %q: %s", host, path, a.Status, policyHeader, got, want, a.body)
			}
		}
	}
	other := "\n}\nhttp://localhost:" + port + " {\n"
	i.load(realm, console+proxies+other+proxies)
	check(i.host, sandboxed)
	check("localhost:" + port) // its own address, without a console
	i.load(realm, proxies+other+console+proxies)
	check("localhost:"+port, sandboxed)
	i.load(realm, proxies)
	check(i.host)
}
