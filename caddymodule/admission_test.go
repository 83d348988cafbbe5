package caddymodule

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// openSites are sites without a name, each with one way in; they listen on
// loopback, where every name can be pointed at.
func openSites(t *testing.T, i *instance, ways map[string]string) (address map[string]string, sites string) {
	t.Helper()
	address = make(map[string]string)
	for name, directives := range ways {
		at := freeAddress(t)
		_, port, _ := net.SplitHostPort(at)
		address[name] = at
		sites += fmt.Sprintf("\nhttp://:%s {\n\tbind 127.0.0.1\n\t%s\n}\n", port, directives)
	}
	// The frame closes the site of the proxy with a brace of its own.
	return address, "}\n" + strings.TrimSuffix(sites, "}\n")
}

const basicAuth = `basic_auth {
	alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
}
`

// TestForeignPages: a page of another site has its visitor's browser send
// requests here, and the browser adds the password that it knows, or calls by a
// name of the page's own that was pointed at this machine.
func TestForeignPages(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	proxy := "token_proxy {\nrealm p\nkey main\n%s\n}"
	long := "reverse_proxy " + p.URL + " {\ntransport token {\nrealm p\nkey main\n%s\n}\n}"
	address, sites := openSites(t, i, map[string]string{
		"local":          fmt.Sprintf(proxy, ""),
		"local, long":    fmt.Sprintf(long, ""),
		"none":           fmt.Sprintf(proxy, "auth none"),
		"none, long":     fmt.Sprintf(long, "auth none"),
		"named":          fmt.Sprintf(proxy, "auth none tokens.corp.example"),
		"named, long":    fmt.Sprintf(long, "auth none tokens.corp.example"),
		"basic":          basicAuth + fmt.Sprintf(proxy, ""),
		"basic, long":    basicAuth + fmt.Sprintf(long, ""),
		"header":         fmt.Sprintf(proxy, "auth {header.X-User}"),
		"header, long":   fmt.Sprintf(long, "auth {header.X-User}"),
		"gateway":        "token_gateway {\nauth none\n}",
		"admin":          "token_admin {\nauth local\n}",
		"admin, none":    "token_admin {\nauth none\n}",
		"admin, named":   "token_admin {\nauth none tokens.corp.example\n}",
		"admin, basic":   basicAuth + "token_admin",
		"admin, header":  "token_admin {\nauth {header.X-User}\n}",
		"gateway, local": "token_gateway",
	})
	i.load(p.realm("p", "inject query access_token"), sites)
	credentials := []string{"Authorization", "Basic YWxpY2U6cHJhY3RpY2U=", "X-User", "alice"}
	for way, at := range address {
		_, port, _ := net.SplitHostPort(at)
		target := "http://" + at + "/p/main/x"
		if strings.HasPrefix(way, "admin") {
			target = "http://" + at + "/api/status"
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(way, "admin, "), "gateway, "), ",")
		switch way {
		case "admin":
			kind = "local"
		case "gateway":
			kind = "none"
		}
		withCredential := kind == "basic" || kind == "header"
		send := func(header ...string) int {
			if withCredential {
				header = append(header, credentials...)
			}
			return i.do(http.MethodGet, target, "", header...).StatusCode
		}
		if got := send(); got != http.StatusOK {
			t.Errorf("%s: no browser: %d", way, got)
		}
		if got := send("Sec-Fetch-Site", "cross-site"); got != http.StatusForbidden {
			t.Errorf("%s: a page of another site: %d", way, got)
		}
		if got := send("Origin", "https://evil.example"); got != http.StatusForbidden {
			t.Errorf("%s: a page of another site, by Origin: %d", way, got)
		}
		if got := send("Host", "tokens.corp.example", "Origin", "http://localhost:3000"); got != http.StatusForbidden {
			t.Errorf("%s: a page of the visitor's own machine: %d", way, got)
		}
		for host, admitted := range map[string]string{
			"evil.example:" + port: "basic header", "tokens.corp.example": "basic header named", "TOKENS.corp.example.:80": "basic header named",
			"x.tokens.corp.example": "basic header", "192.0.2.1:8080": "basic header none named", "tokens": "basic header none named",
			"[2001:db8::1]:8080": "basic header none named", "localhost:" + port: "basic header none named local", "[::1]": "basic header none named local",
		} {
			want := http.StatusForbidden
			if strings.Contains(" "+admitted+" ", " "+kind+" ") {
				want = http.StatusOK
			}
			if got := send("Host", host); got != want {
				t.Errorf("%s: Host %s: %d, want %d", way, host, got, want)
			}
		}
	}
	for way, want := range map[string]int{"basic": http.StatusUnauthorized, "header": http.StatusForbidden, "admin, header": http.StatusForbidden} {
		if a := i.do(http.MethodGet, "http://"+address[way]+"/api/status", "", "Host", "a.example"); a.StatusCode != want {
			t.Errorf("%s: without a credential: %s", way, a.Status)
		}
	}
}

// TestSiteNames: a site that has names is asked by these only, so that auth none
// needs no list of them.
func TestSiteNames(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	at := freeAddress(t)
	_, port, _ := net.SplitHostPort(at)
	i.load(p.realm("p", "inject query access_token"), fmt.Sprintf(`}
http://tokens.example:%[1]s, http://*.wild.example:%[1]s {
	bind 127.0.0.1
	token_proxy {
		realm p
		key main
		auth none
	}`, port))
	for _, host := range []string{"tokens.example", "a.wild.example"} {
		if a := i.do(http.MethodGet, "http://"+at+"/x", "", "Host", host+":"+port); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "access_token") {
			t.Errorf("%s: %s %s", host, a.Status, a.body)
		}
	}
}

// TestPlaceholderAuth: the value of the placeholder is the user; one that is
// empty or unknown is nobody.
func TestPlaceholderAuth(t *testing.T) {
	for value, want := range map[string]bool{"CN=billing": true, "": false} {
		repl := caddy.NewReplacer()
		repl.Set("http.request.tls.client.subject", value)
		a, err := parseAdmission("{http.request.tls.client.subject}")
		if err != nil {
			t.Fatal(err)
		}
		r := request("192.0.2.1:1", "a.example", repl)
		if _, refused := a.admit(r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl)), repl); (refused == nil) != want {
			t.Errorf("%q: %v", value, refused)
		}
		if got := a.user(repl); got != value {
			t.Errorf("the user is %q", got)
		}
	}
	a, err := parseAdmission("{http.request.tls.client.subject}")
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := a.admit(request("192.0.2.1:1", "a.example", caddy.NewReplacer()), caddy.NewReplacer()); refused == nil {
		t.Error("a placeholder that nobody set lets callers in")
	}
	for _, text := range []string{
		"basic", "nobody", "NONE", "LOCAL", "local localhost", "local none", "none http://a.example", "none a.example:80", "none *.example", "none {host}", "{a} {b}", "{a}b", "{}", "{", "{a", "a}",
		"{env.USER}", "{file./x}", "{{a}}",
	} {
		if _, err := parseAdmission(text); err == nil {
			t.Errorf("%q is taken", text)
		}
		if _, err := parseProxyAdmission(text); err == nil {
			t.Errorf("%q is taken by a proxy", text)
		}
	}
	for text, want := range map[string]bool{"": true, "none": false, "{a}": true} {
		if a, err := parseProxyAdmission(text); err != nil || a.local != want {
			t.Errorf("a proxy with %q: %+v %v", text, a, err)
		}
	}
}

// TestProxyBehindTheAdmin: token_admin takes a client's key off what is not for it,
// so that no other handler forwards it; the proxies of the same site still know by
// it who calls. Without that, the site of a Caddyfile that has both served nobody.
func TestProxyBehindTheAdmin(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	seen := ""
	other := serveAPI(t, func(_ http.ResponseWriter, r *http.Request) { seen = r.Header.Get("Authorization") })
	i.load(p.realm("p", "inject query access_token")+clientBlock(t, "allow use p"), `route {
		token_admin
		handle /other* {
			reverse_proxy `+other+`
		}
		token_gateway /p/*
		handle_path /long/* {
			reverse_proxy `+p.URL+` {
				transport token {
					realm p
					key main
				}
			}
		}
		handle_path /short/* {
			token_proxy {
				realm p
				key main
			}
		}
	}`)
	for _, path := range []string{"/p/main/items", "/long/items", "/short/items"} {
		for name, header := range map[string]string{
			"Bearer": "Bearer " + ownKey, "Basic": basicOf(ownKey),
		} {
			if a := i.get(path, "Authorization", header); a.StatusCode != http.StatusOK {
				t.Errorf("%s, %s: %s %s", path, name, a.Status, a.body)
			}
		}
		if a := i.get(path, "Authorization", "Bearer "+ownKey+"x"); a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s, a wrong key: %s", path, a.Status)
		}
	}
	if a := i.get("/other", "Authorization", "Bearer "+ownKey); a.StatusCode != http.StatusOK || seen != "" {
		t.Errorf("another handler: %s, it gets %q", a.Status, seen)
	}
}
