package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestBeginnings(t *testing.T) {
	for _, c := range []struct {
		sent, now, ofSent, ofNow string
		ok                       bool
	}{
		{"/p/items", "/items", "/p", "", true},
		{"/any/r/k/items/1", "/items/1", "/any/r/k", "", true},
		{"/items", "/items", "", "", true},
		{"/p/a%2Fb", "/a%2Fb", "/p", "", true},
		{"/p/a/a", "/a", "/p/a", "", true},
		{"/p/items", "/v2/items", "/p", "/v2", true},
		{"/v2/items", "/api/v2/v2/items", "", "/api/v2", true},
		{"/p/items/", "/items/", "/p", "", true},
		{"/p/", "/", "/p", "", true},
		{"/any/r/k", "/", "/any/r/k", "", true},
		{"/p", "", "/p", "", true},
		{"/p/xitems", "/items", "", "", false},
		{"/p/items", "/other", "", "", false},
		{"/p/", "/other/", "", "", false},
	} {
		ofSent, ofNow, ok := beginnings(c.sent, c.now)
		if ok != c.ok || ok && (ofSent != c.ofSent || ofNow != c.ofNow) {
			t.Errorf("%s, %s: %q %q %v", c.sent, c.now, ofSent, ofNow, ok)
		}
	}
}

// The links that an API sends lead back to where the caller came from, whatever
// directives changed the path on the way.
func TestRewriteLinks(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		next := p.URL + r.URL.EscapedPath() + "?page=2&access_token=" + r.URL.Query().Get("access_token")
		w.Header().Set("Location", next+"#top")
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next", </base/x>; rel="first", <https://other.example/base/x>; rel="alternate"`, next))
		w.WriteHeader(http.StatusFound)
	}
	i.servers = "trusted_proxies static 127.0.0.1/32"
	i.load(strings.Replace(p.realm("p", "inject query access_token\nrewrite_links on"), "api "+p.URL, "api "+p.URL+"/base/", 1)+
		p.realm("off", "inject query access_token"), `
		handle_path /off/* {
			token_proxy {
				realm off
				key main
			}
		}
		handle_path /alone/* {
			reverse_proxy `+p.URL+` {
				transport token {
					realm p
					key main
				}
			}
		}
		handle_path /v/* {
			rewrite * /v2{uri}
			token_proxy {
				realm p
				key main
			}
		}
		handle_path /within/* {
			token_proxy {
				realm p
				key main
				rewrite /v3{uri}
			}
		}
		handle /lost/* {
			rewrite * /fixed
			token_proxy {
				realm p
				key main
			}
		}`+proxyMain)
	origin := "http://" + i.host
	for _, c := range []struct{ path, location, first string }{
		{"/p/a%2Fb", origin + "/p/a%2Fb?page=2#top", "/p/x"},
		{"/any/p/main/a/b", origin + "/any/p/main/a/b?page=2#top", "/any/p/main/x"},
		{"/any/p/main", origin + "/any/p/main/?page=2#top", "/any/p/main/x"},
		{"/v/items", origin + "/v/items?page=2#top", "/base/x"},
		{"/within/items", origin + "/within/items?page=2#top", "/base/x"},
		{"/alone/base/a", origin + "/alone/base/a?page=2#top", "/alone/base/x"},
	} {
		a := i.get(c.path + "?page=1")
		if got := a.Header.Get("Location"); got != c.location {
			t.Errorf("%s: Location %s", c.path, got)
		}
		location := strings.TrimSuffix(c.location, "#top")
		want := fmt.Sprintf(`<%s>; rel="next", <%s>; rel="first", <https://other.example/base/x>; rel="alternate"`, location, c.first)
		if got := a.Header.Get("Link"); got != want {
			t.Errorf("%s: Link\n%s, want\n%s", c.path, got, want)
		}
	}
	for _, path := range []string{"/off/items", "/lost/items"} {
		if got := i.get(path).Header.Get("Location"); !strings.HasPrefix(got, p.URL+"/") || strings.Contains(got, canary) {
			t.Errorf("%s: Location %s", path, got)
		}
	}
}

// The scheme and the host are those that the caller used. What it says about them counts
// only where Caddy trusts it.
func TestRewriteLinksForwarded(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", p.URL+"/next") }
	forwarded := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "proxy.example"}
	for _, c := range []struct {
		servers string
		fields  []string
		want    string
	}{
		{"", []string{"Host", "127.0.0.1:1234"}, "http://127.0.0.1:1234/p/next"},
		{"", forwarded, "http://" + i.host + "/p/next"},
		{"trusted_proxies static 10.0.0.0/8", forwarded, "http://" + i.host + "/p/next"},
		{"trusted_proxies static 127.0.0.1/32", forwarded, "https://proxy.example/p/next"},
		{"trusted_proxies static 127.0.0.1/32", []string{"X-Forwarded-Proto", "javascript", "X-Forwarded-Host", "a/b"}, p.URL + "/next"},
	} {
		i.servers = c.servers
		i.load(p.realm("p", "inject query access_token\nrewrite_links on"), `@any path /p/*
			handle @any {
				uri strip_prefix /p
				token_proxy {
					realm p
					key main
					auth none
				}
			}`)
		if got := i.get("/p/first", c.fields...).Header.Get("Location"); got != c.want {
			t.Errorf("%q %q: %s, want %s", c.servers, c.fields, got, c.want)
		}
	}
}
