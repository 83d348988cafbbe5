package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// wayOf tells what becomes of a path on one way through the proxy: the path
// that arrived at the API or, where the request was refused, the status and
// the code.
func (i *instance) wayOf(t *testing.T, target string) string {
	t.Helper()
	got := i.raw("GET " + target + " HTTP/1.1\r\nHost: " + i.host + "\r\nConnection: close\r\n\r\n")
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		_, code, _ := strings.Cut(body, `"code":"`)
		code, _, _ = strings.Cut(code, `"`)
		return head[len("HTTP/1.1 "):][:3] + " " + code
	}
	line, _, _ := strings.Cut(body[strings.Index(body, "GET "):], "\r\n")
	path, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, " HTTP/1.1"), "GET "), "?")
	return path
}

// TestPathsArriveAsSent: handle_path, uri and rewrite clean the path, decode
// it and encode it anew. What the caller sent arrives all the same, on every
// way to a token: with its empty segments, its dot segments and its escapes.
func TestPathsArriveAsSent(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	proxy := func(frame, more string) string {
		return strings.Replace(frame, "PROXY", "token_proxy {\nrealm p\nkey main\n"+more+"\n}", 1) + "\n"
	}
	i.load(p.realm("p", "inject query access_token"),
		proxy("handle_path /path/* {\nPROXY\n}", "")+
			proxy("handle /strip/* {\nuri strip_prefix /strip\nPROXY\n}", "")+
			proxy("handle /plain/* {\nPROXY\n}", "")+
			proxy("handle_path /long/* {\nreverse_proxy "+p.URL+" {\ntransport token {\nrealm p\nkey main\n}\n}\n}", "")+
			proxy("handle_path /add/* {\nrewrite * /v2{uri}\nPROXY\n}", "")+
			proxy("handle_path /inner/* {\nPROXY\n}", "rewrite /v2{uri}")+
			`handle_path /any/* {
				token_gateway
			}
			token_gateway`)
	for _, rest := range []string{
		"/", "/a", "/a/", "/a/b.json", "/~a/-._b",
		"//", "//a", "/a//b", "/a//", "/a///b//c/", "//a//b",
		"/a/./b", "/./a", "/a/.", "/a/../b", "/a/b/..", "/a/b/../", "/a/.././b//c",
		"/a%2Fb", "/a%2fb", "/a%2F", "/%2Fa", "/a%2F%2Fb", "/a%2F/b", "/a%252Fb//c%2Fd",
		"/a/%2e%2e/b", "/a/%2E%2e/b%2Fc", "/a/%2e/b", "/a%2F..%2Fb", "/a/.%2e/b",
		"/a%20b", "/a%20//b%20c", "/a;v=1/b;w", "/a//b;v=1,2", "/a+b", "/a%2Bb//c+d", "/a%3Fb%23c//d", "/a:b@c/$d&e=f",
		"/a!b'(c)*d", "/a!b//c", "/%61%62c", "/%61//b", "/%E4%B8%AD", "/%e4%b8%ad//x", "/%E4%B8%AD/../x%2Fy", "/%00/a", "/a%7Bb%7D//c",
		"/path/a", "/path//a", "/p/main//a", "/v2//a", "/a//list/a//list", "/a/a//a/a",
	} {
		for way, want := range map[string]string{
			"/path": rest, "/strip": rest, "/plain": "/plain" + rest, "/long": rest,
			"/add": "/v2" + rest, "/inner": "/v2" + rest, "/any/p/main": rest, "/p/main": rest,
		} {
			if got := i.wayOf(t, way+rest); got != want {
				t.Errorf("%s%s: %s arrived, want %s", way, rest, got, want)
			}
		}
	}
	// What may not stand in a URI is encoded, and nothing but that.
	for _, way := range []string{"/path", "/strip", "/long", "/any/p/main", "/p/main"} {
		if got, want := i.wayOf(t, way+"/中//%2f{a}|%7e"), "/%E4%B8%AD//%2f%7Ba%7D%7C%7e"; got != want {
			t.Errorf("%s with bytes that no URI has: %s arrived, want %s", way, got, want)
		}
	}
	for target, want := range map[string]string{
		// A caller who joins a base and a path with a slash each means one.
		"//path/a": "/a", "//path//a": "//a", "//path/a/../b": "/a/../b",
		"/PATH//a": "//a", "/%70ath//a": "//a",
		"http://" + i.host + "/path//a": "//a",
		// Which part is the site's and which the API's cannot be told.
		"/path/a/../../path/b": "400 invalid_field", "/x/../path/b": "400 invalid_field",
		// What leads out of the gateway's own segments is no credential's path.
		"/any/p/main/../x": "404 realm_not_found", "/p/main/../../x": "404 realm_not_found",
		"/any//p/main/x": "404 realm_not_found",
	} {
		if got := i.wayOf(t, target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// TestRestorePath: what the directives were meant to do is done, and what is
// lost is refused.
func TestRestorePath(t *testing.T) {
	parse := func(path string) *url.URL {
		u, err := url.ParseRequestURI(path + "?q=%zz")
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct{ sent, now, want string }{
		// The operator sets a path of his own.
		{"/a//b", "/fixed/path", "/fixed/path"},
		{"/a%2Fb", "/fixed/path", "/fixed/path"},
		{"/users/a!b", "/users/list", "/users/list"},
		// He replaces a part: uri replace cleans, uri path_regexp does not.
		{"/x/a/y", "/x/b/y", "/x/b/y"},
		{"/x/a%2Fz/y", "/x/b%2Fz/y", "/x/b%2Fz/y"},
		{"/x//a/y", "/x/b/y", ""},
		{"/a/x//y", "/b/x/y", "/b/x//y"},
		{"/a/./x/y/z", "/b/x/yy", ""},
		// A part of the path, decoded: {path.1} and the like.
		{"/x/a%2Fb/c", "/v2/a/b", ""},
		{"/x/ab/c", "/v2/ab", "/v2/ab"},
		// A suffix is taken away.
		{"/a%2Fb.json", "/a%2Fb", "/a%2Fb"},
		{"/a//b.json", "/a/b", ""},
		// A prefix without its slash: handle_path /v*.
		{"/v1/a//b", "/1/a/b", "/1/a//b"},
		// Encoded dots are resolved only where a prefix was removed.
		{"/strip/%2e%2e/b", "/b", "/%2e%2e/b"},
		{"/strip/../b", "/b", "/strip/../b"},
		{"/a/%2e%2e/b", "/c/%2e%2e/b", "/c/%2e%2e/b"},
		{"/%2e/a/%2e%2e/b", "/b", ""},
		{"/p/../p/b", "/b", ""},
		{"//p/b", "/v2/b", "/v2/b"},
		{"/..//pp////", "/p/", ""},
		// One API resolves dots first, another one decodes first.
		{"/p//a/%2f./..", "/a", ""},
		{"/" + strings.Repeat("/", 40) + "p/b", "/b", ""},
	} {
		sent, now := parse(c.sent), parse(c.now)
		got, err := restorePath(sent, now)
		switch {
		case c.want == "":
			if !errors.Is(err, errPath) {
				t.Errorf("%s, now %s: %v, want a refusal", c.sent, c.now, got)
			}
		case err != nil:
			t.Errorf("%s, now %s: %v", c.sent, c.now, err)
		case got.RequestURI() != c.want+"?q=%zz":
			t.Errorf("%s, now %s: %s, want %s", c.sent, c.now, got.RequestURI(), c.want)
		case now.String() != parse(c.now).String():
			t.Errorf("%s, now %s: the URL that was given is changed", c.sent, c.now)
		}
	}
}

// TestRestorePathAllocatesNothing where nothing was changed, and for plain
// paths behind handle_path.
func TestRestorePathAllocatesNothing(t *testing.T) {
	sent, now := &url.URL{Path: "/wechat/cgi-bin/menu/get.json"}, &url.URL{Path: "/cgi-bin/menu/get.json"}
	if n := testing.AllocsPerRun(100, func() {
		for _, u := range []*url.URL{sent, now} {
			if got, err := restorePath(sent, u); err != nil || got != u {
				t.Errorf("%v %v", got, err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRestorePath: whatever is put back reads, once cleaned, like the path that
// the matchers saw.
func FuzzRestorePath(f *testing.F) {
	f.Add("/p/a/../b//c", "/p")
	f.Add("/p/%2e%2e/a%2F..%2f/b", "/p")
	f.Add("/P//a/./\xff{%2f", "/p")
	f.Fuzz(func(t *testing.T, path, prefix string) {
		sent, err := url.ParseRequestURI("/" + path)
		if err != nil {
			return
		}
		r := &http.Request{Method: http.MethodGet, URL: new(url.URL)}
		*r.URL = *sent
		rewrite.Rewrite{StripPathPrefix: prefix}.Rewrite(r, caddy.NewReplacer())
		seen := caddyhttp.CleanPath(r.URL.Path, true)
		got, err := restorePath(sent, r.URL)
		if err != nil {
			return
		}
		if again := caddyhttp.CleanPath(got.Path, true); again != seen {
			t.Errorf("%q without %q: the matchers saw %q, the API gets %q", sent, prefix, seen, got)
		}
		if decoded, err := url.PathUnescape(got.EscapedPath()); err != nil || decoded != got.Path {
			t.Errorf("%q without %q: %q is not %q", sent, prefix, got.EscapedPath(), got.Path)
		}
	})
}
