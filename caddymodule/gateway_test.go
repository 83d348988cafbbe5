package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	pathpkg "path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestGatewayServesNewRealms: what the API made a moment ago is served, without
// a reload.
func TestGatewayServesNewRealms(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load("allow_private 127.0.0.1", "token_gateway")
	for _, id := range []string{"a", "a b", "中文 名", "a+b"} {
		i.must(http.MethodPost, "/api/realm", p.post(id, inQuery))
		i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": %q, "key": "k.1", "key_1": "%s-secret"}`, id, canary))
		a := i.get("/" + url.PathEscape(id) + "/k%2E1/x%2Fy//z?q")
		if want := "GET /x%2Fy//z?q&access_token=" + canary; !strings.HasPrefix(a.body, want) {
			t.Errorf("realm %q: %s\n%s", id, a.Status, a.body)
		}
	}
	i.must(http.MethodDelete, "/api/secret/a/k.1", "")
	if code, _ := problemOf(t, i.get("/a/k.1/x")); code != "secret_not_found" {
		t.Errorf("a deleted secret: %s", code)
	}
}

// TestOddNames: Caddy's matchers in front of the gateway see a decoded path, in
// which the name a/b is two segments and a%b may be anything. New names cannot
// be so; the gateway serves no old ones, and token_proxy does.
func TestOddNames(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("a/b", "inject query access_token")+p.realm("p", "inject query access_token"), `
		handle_path /odd/* {
			token_proxy {
				realm a/b
				key main
			}
		}
		token_gateway`)
	for _, name := range []string{"c/d", `c\d`, "c%2Fd", "c?d", "/", "%"} {
		quoted := strconv.Quote(name)
		for path, body := range map[string]string{
			"/api/realm":  strings.Replace(p.post("NAME", inQuery), `"NAME"`, quoted, 1),
			"/api/secret": fmt.Sprintf(`{"realm": "p", "key": %s, "key_1": "x"}`, quoted),
		} {
			a := i.call(http.MethodPost, path, body)
			if code, _ := problemOf(t, a); a.StatusCode != http.StatusBadRequest || code != "invalid_field" {
				t.Errorf("%s of %s: %s %s", path, name, a.Status, a.body)
			}
		}
	}
	if a := i.get("/a%2Fb/main/x"); a.StatusCode != http.StatusNotFound {
		t.Errorf("the gateway: %s %s", a.Status, a.body)
	}
	if a := i.get("/odd/x"); a.StatusCode != http.StatusOK {
		t.Errorf("token_proxy: %s %s", a.Status, a.body)
	}
}

func TestGatewayRefuses(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	i.must(http.MethodPost, "/api/realm", p.post("private", inQuery))
	i.must(http.MethodPost, "/api/secret", fmt.Sprintf(`{"realm": "private", "key": "k", "key_1": "x", "token": "%s-imported", "expires_at": %d}`,
		canary, time.Now().Add(time.Hour).UnixMilli()))
	i.must(http.MethodPost, "/api/realm", p.post("bare", ""))
	i.must(http.MethodPost, "/api/secret", `{"realm": "bare", "key": "k", "key_1": "x"}`)
	for path, want := range map[string]string{
		"/any":               "404 ",
		"/any/":              "404 realm_not_found",
		"/any/p":             "404 realm_not_found",
		"/any/p/":            "404 realm_not_found",
		"/any/./main/x":      "404 realm_not_found",
		"/any/p/%2e%2e/x":    "404 realm_not_found",
		"/any/%2E/main/x":    "404 realm_not_found",
		"/any/P/main/x":      "404 realm_not_found",
		"/any/p/Main/x":      "404 secret_not_found",
		"/any/p/main%20/x":   "404 secret_not_found",
		"/any/p%2Fmain/x":    "404 realm_not_found",
		"/any/p/%7Bkey%7D/x": "404 secret_not_found",
		"/any/bare/k/x":      "409 not_proxyable",
		"/any/private/k/x":   "502 host_not_allowed",
	} {
		a := i.do(http.MethodGet, "http://"+i.host+path, "")
		got := fmt.Sprintf("%d ", a.StatusCode)
		if path != "/any" { // matches no directive
			code, _ := problemOf(t, a)
			got += code
		} else if a.StatusCode == http.StatusOK && a.body == "" {
			got = want // Caddy's empty answer
		}
		if got != want {
			t.Errorf("%s: %s, want %s\n%s", path, got, want, a.body)
		}
		if strings.Contains(a.body, canary) {
			t.Errorf("%s: the answer shows a secret:\n%s", path, a.body)
		}
	}
	if n := p.calls.Load(); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// TestSplitPath: the rest of a path stays byte for byte.
func TestSplitPath(t *testing.T) {
	for _, c := range []struct{ path, realm, key, rest string }{
		{"/r/k", "r", "k", "/"},
		{"/r/k/", "r", "k", "/"},
		{"/r/k//", "r", "k", "//"},
		{"/r/k/a%2fb/%e4%B8%AD", "r", "k", "/a%2fb/%e4%B8%AD"},
		{"/%E4%B8%AD/%20/a/..", "中", " ", "/a/.."},
		{"/r/k/a/%2e%2e/b..%2f", "r", "k", "/a/%2e%2e/b..%2f"},
		{"/r/k;v=1/x;y", "r", "k;v=1", "/x;y"},
		{"/r+s/k/a+b", "r+s", "k", "/a+b"},
		{"/.../..k", "...", "..k", "/"},
	} {
		u, err := url.ParseRequestURI(c.path + "?q=%zz")
		if err != nil {
			t.Fatal(err)
		}
		ref, rest, ok := splitPath(u)
		if want := (realm.Ref{Realm: c.realm, Key: c.key}); !ok || ref != want {
			t.Errorf("%s: %+v %v", c.path, ref, ok)
			continue
		}
		if got := rest.RequestURI(); got != c.rest+"?q=%zz" {
			t.Errorf("%s: the rest is %q, want %q", c.path, got, c.rest)
		}
	}
	for _, path := range []string{
		"", "*", "/", "//", "//k", "/r", "/r/", "/r//", "/./k", "/r/..", "/%2e/k", "/r/.%2E/", "/r/%2e%2E/x",
		// A matcher in front cleans the path, and would see another credential.
		"/r/k/..", "/r/k/%2e%2e/%2e%2e/x/y/z", "/r/k/../../x/y", "/r/k/a/..%2f..%2fx", "/r/k//..", "/r/k/./%2e%2e",
		"/r%2Fs/k/x", "/r/k%252F/x", "/r%5Cs/k/x", "/r/k%3Fx/x", "/r%00/k", "/r/k%0A",
		"/x%2F..%2Fr/k", "/r/x%2F%2e%2e%2Fk", "/r%2F./k",
	} {
		u := &url.URL{}
		if path != "" {
			var err error
			if u, err = url.ParseRequestURI(path); err != nil {
				t.Fatal(err)
			}
		}
		if ref, _, ok := splitPath(u); ok {
			t.Errorf("%q: %+v", path, ref)
		}
	}
}

// FuzzSplitPath: names and rest always make the path that came, and are never
// what a path cleaner would read otherwise.
func FuzzSplitPath(f *testing.F) {
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI("/" + path)
		if err != nil {
			return
		}
		ref, rest, ok := splitPath(u)
		if !ok {
			return
		}
		for _, name := range []string{ref.Realm, ref.Key} {
			if name == "" || name == "." || name == ".." {
				t.Errorf("%q: %+v", path, ref)
			}
		}
		if seen, ours := pathpkg.Clean(u.Path), pathpkg.Clean("/"+ref.Realm+"/"+ref.Key); seen != ours && !strings.HasPrefix(seen, ours+"/") {
			t.Errorf("%q: a matcher sees %q, we %q", path, seen, ours)
		}
		first, after, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
		second, tail, more := strings.Cut(after, "/")
		if more {
			tail = "/" + tail
		}
		a, errA := url.PathUnescape(first)
		b, errB := url.PathUnescape(second)
		if errA != nil || errB != nil || a != ref.Realm || b != ref.Key {
			t.Errorf("%q: %+v", path, ref)
		}
		if got := rest.EscapedPath(); got != tail && (tail != "" || got != "/") {
			t.Errorf("%q: the rest is %q, want %q", path, got, tail)
		}
		if rest.RawQuery != u.RawQuery {
			t.Errorf("%q: the query changed", path)
		}
	})
}
