package caddymodule

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// request is one from the given peer, as it reaches a handler.
func request(peer, host string, repl *caddy.Replacer) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/api/x", nil)
	r.RemoteAddr, r.Host = peer, host
	return r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, repl))
}

func TestLocal(t *testing.T) {
	for peer, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"192.0.2.1:1": false, "10.0.0.1:1": false, "[2001:db8::1]:1": false, "0.0.0.0:1": false,
		"127.0.0.1": false, "@": false, "": false, "localhost:1": false, "127.0.0.1.evil.example:1": false,
	} {
		r := request(peer, "localhost", caddy.NewReplacer())
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		if got := local(r); got != want {
			t.Errorf("%s: %v", peer, got)
		}
	}
	socket := &net.UnixAddr{Net: "unix", Name: "/run/x.sock"}
	r := request("@", "localhost", caddy.NewReplacer())
	if !local(r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, socket))) {
		t.Error("a unix socket is not local")
	}
}

// TestLocalBehindAProxy: a proxy on this machine that Caddy trusts had every
// caller of its own taken for one on this machine, since many proxies send the
// name of this machine as Host.
func TestLocalBehindAProxy(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	address, sites := openSites(t, i, map[string]string{
		"admin": "token_admin {\nauth local\n}",
		"proxy": "token_proxy {\nrealm p\nkey main\n}",
		"long":  "reverse_proxy " + p.URL + " {\ntransport token {\nrealm p\nkey main\n}\n}",
	})
	for trusted, want := range map[string]int{"": http.StatusOK, "trusted_proxies static 127.0.0.1/32": http.StatusForbidden} {
		i.servers = trusted
		i.load(p.realm("p", "inject query access_token"), sites)
		for way, at := range address {
			for _, from := range []string{"192.0.2.1", "127.0.0.1, 192.0.2.1", "192.0.2.1, 127.0.0.1", "127.0.0.1, unknown"} {
				if a := i.do(http.MethodGet, "http://"+at+"/api/status", "", "X-Forwarded-For", from); a.StatusCode != want {
					t.Errorf("%q: %s: for %s: %s", trusted, way, from, a.Status)
				}
			}
			if a := i.do(http.MethodGet, "http://"+at+"/api/status", "", "X-Forwarded-For", "127.0.0.1"); a.StatusCode != http.StatusOK {
				t.Errorf("%q: %s: for a caller here: %s", trusted, way, a.Status)
			}
		}
	}
}

func TestLocalHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST:8081": true, "localhost.": true, "127.0.0.1:8081": true,
		"127.1.2.3": true, "[::1]:8081": true, "[::1]": true, "::1": true,
		"": false, "evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example:8081": false,
		"192.0.2.1": false, "0.0.0.0": false, "evil.example:127": false, "2130706433": false,
	} {
		if got := localHost(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestAdminAccess(t *testing.T) {
	const peer, there = "127.0.0.1:1", "192.0.2.1:1"
	accepted := caddy.NewReplacer()
	accepted.Set("http.auth.user.id", "alice")
	nobody := caddy.NewReplacer()
	nobody.Set("http.auth.user.id", "")
	placed := caddy.NewReplacer()
	placed.Set("x.user", "alice")
	token, file := newAdminToken("s3cret"), new(adminFile)
	file.token.Store(token)
	local := Admin{file: file, admission: admission{local: true}}
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+password))
	}
	for name, c := range map[string]struct {
		admin       Admin
		peer, host  string
		auth, proxy string
		repl        *caddy.Replacer
		want        bool
	}{
		"this machine":              {peer: peer, host: "localhost", want: false},
		"local":                     {admin: local, peer: peer, host: "localhost", want: true},
		"local, another name":       {admin: local, peer: peer, host: "evil.example", want: false},
		"local, remote":             {admin: local, peer: there, host: "localhost", want: false},
		"local, token":              {admin: local, peer: there, host: "a.example", auth: "Bearer s3cret", want: true},
		"local, wrong token":        {admin: local, peer: peer, host: "localhost", auth: "Bearer x", want: false},
		"local, another's password": {admin: local, peer: peer, host: "localhost", auth: basic("x"), want: true},
		"accepted":                  {peer: there, host: "a.example", repl: accepted, want: true},
		"accepted, own credential":  {admin: Admin{token: token}, peer: there, host: "a.example", repl: accepted, auth: "Bearer x", want: true},
		"an empty user":             {peer: there, host: "a.example", repl: nobody, want: false},
		"a placeholder's":           {admin: Admin{admission: admission{placeholder: "x.user"}}, peer: there, host: "a.example", repl: placed, want: true},
		"a placeholder, local":      {admin: Admin{admission: admission{placeholder: "x.user"}}, peer: peer, host: "localhost", want: false},
		"none":                      {admin: Admin{admission: admission{none: true}}, peer: there, host: "192.0.2.2", want: true},
		"none, another name":        {admin: Admin{admission: admission{none: true}}, peer: there, host: "evil.example", want: false},
		"none, wrong token":         {admin: Admin{token: token, admission: admission{none: true}}, peer: there, host: "192.0.2.2", auth: "Bearer x", want: false},
		"none, others' token":       {admin: Admin{file: file, admission: admission{none: true}}, peer: there, host: "192.0.2.2", auth: "Bearer x", want: true},
		"none, others' password":    {admin: Admin{token: token, admission: admission{none: true}}, peer: there, host: "192.0.2.2", auth: basic("x"), want: true},
		"token":                     {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Bearer s3cret", want: true},
		"token, here":               {admin: Admin{token: token}, peer: peer, host: "a.example", auth: "Bearer s3cret", want: true},
		"token, lower case":         {admin: Admin{token: token}, peer: there, host: "a.example", auth: "bearer s3cret", want: true},
		"token, as a password":      {admin: Admin{token: token}, peer: there, host: "a.example", auth: basic("s3cret"), want: true},
		"token, for a proxy":        {admin: Admin{token: token}, peer: there, host: "a.example", proxy: "Bearer s3cret", want: true},
		"token, beside a password":  {admin: Admin{token: token}, peer: there, host: "a.example", auth: basic("x"), proxy: basic("s3cret"), want: true},
		"token of the file":         {admin: Admin{file: file}, peer: there, host: "a.example", auth: "Bearer s3cret", want: true},
		"token that is replaced":    {admin: Admin{file: file, token: newAdminToken("other")}, peer: there, host: "a.example", auth: "Bearer s3cret", want: false},
		"wrong token":               {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Bearer s3cre", want: false},
		"wrong password":            {admin: Admin{token: token}, peer: there, host: "a.example", auth: basic("s3cre"), want: false},
		"a user, no password":       {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Basic czNjcmV0", want: false},
		"no base64":                 {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Basic s3cret", want: false},
		"no token":                  {admin: Admin{token: token}, peer: there, host: "a.example", want: false},
		"an empty token":            {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Bearer ", want: false},
		"another scheme":            {admin: Admin{token: token}, peer: there, host: "a.example", auth: "Digest s3cret", want: false},
		"no file, an empty token":   {admin: Admin{file: new(adminFile)}, peer: there, host: "a.example", auth: "Bearer ", want: false},
		"no file, some token":       {admin: Admin{file: new(adminFile)}, peer: peer, host: "localhost", auth: "Bearer x", want: false},
	} {
		repl := c.repl
		if repl == nil {
			repl = caddy.NewReplacer()
		}
		r := request(c.peer, c.host, repl)
		for header, value := range map[string]string{"Authorization": c.auth, "Proxy-Authorization": c.proxy} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		c.admin.failures = newFailures("admin token", zap.NewNop(), time.Now)
		if _, refused := c.admin.admit(r); (refused == nil) != c.want {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

// TestAdminForbids shows the refusal, and that it names the ways in.
func TestAdminForbids(t *testing.T) {
	w := httptest.NewRecorder()
	r := request("192.0.2.1:1", "localhost", caddy.NewReplacer())
	if err := new(Admin).ServeHTTP(w, r, nil); err != nil {
		t.Fatal(err)
	}
	code, detail := problemOf(t, answer{w.Result(), w.Body.String()})
	if w.Code != http.StatusForbidden || code != "forbidden" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, name := range []string{"Content-Security-Policy", "Cross-Origin-Resource-Policy", "X-Content-Type-Options", "Referrer-Policy"} {
		if w.Header().Get(name) == "" {
			t.Errorf("the refusal has no %s", name)
		}
	}
	for _, way := range []string{"basic_auth", "tokens.admin", "Authorization: Bearer", "auth none", "auth local", "auth {placeholder}"} {
		if !strings.Contains(detail, way) {
			t.Errorf("%q does not name %s", detail, way)
		}
	}
}

// TestAdminPassesOn: what is not the API's goes on, without the admin token.
func TestAdminPassesOn(t *testing.T) {
	a := &Admin{token: newAdminToken("s3cret")}
	const password = "Basic YWxpY2U6czNjcmV0" // alice:s3cret
	for path, sent := range map[string][2]string{
		"/": {"Bearer s3cret", ""}, "/apis": {"Bearer other", "Bearer s3cret"}, "/x/api/": {"Bearer other", "Basic eDp5"}, "/password": {password, password},
	} {
		r := request("192.0.2.1:1", "a.example", caddy.NewReplacer())
		r.URL.Path = path
		for i, name := range credentialHeaders {
			r.Header.Set(name, sent[i])
		}
		passed := false
		next := caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
			passed = true
			for i, name := range credentialHeaders {
				want := sent[i]
				if want == "Bearer s3cret" || want == password {
					want = ""
				}
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: the next handler got %s %q", path, name, got)
				}
			}
			return nil
		})
		if err := a.ServeHTTP(httptest.NewRecorder(), r, next); err != nil || !passed {
			t.Errorf("%s: %v %v", path, passed, err)
		}
		if r.Header.Get("Authorization") != sent[0] {
			t.Errorf("%s: the request itself was changed", path)
		}
	}
}

// TestGatewayForbids: the gateway and the proxy serve this machine only.
func TestGatewayForbids(t *testing.T) {
	w := httptest.NewRecorder()
	if err := (&Gateway{app: new(App)}).ServeHTTP(w, request("192.0.2.1:1", "localhost", caddy.NewReplacer()), nil); err != nil {
		t.Fatal(err)
	}
	_, detail := problemOf(t, answer{w.Result(), w.Body.String()})
	if w.Code != http.StatusForbidden || !strings.Contains(detail, "basic_auth") || !strings.Contains(detail, "auth none") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestProxyAccess: a page that somebody on this machine visits must not use
// the tokens through the browser, which is a local peer like any other.
func TestProxyAccess(t *testing.T) {
	const peer, there = "127.0.0.1:1", "192.0.2.1:1"
	accepted := caddy.NewReplacer()
	accepted.Set("http.auth.user.id", "alice")
	for name, c := range map[string]struct {
		peer, auth, site, origin string
		repl                     *caddy.Replacer
		want                     bool
	}{
		"local":                      {peer: peer, want: true},
		"remote":                     {peer: there, want: false},
		"remote, same origin":        {peer: there, site: "same-origin", want: false},
		"typed into the browser":     {peer: peer, site: "none", want: true},
		"a page of ours":             {peer: peer, site: "same-origin", origin: "http://localhost:8080", want: true},
		"a page of another port":     {peer: peer, site: "same-site", origin: "http://localhost:3000", want: true},
		"a hostile page":             {peer: peer, site: "cross-site", want: false},
		"a hostile page that posts":  {peer: peer, site: "cross-site", origin: "https://evil.example", want: false},
		"by a name that points here": {peer: peer, origin: "http://evil.example", want: false},
		"in a sandbox":               {peer: peer, origin: "null", want: false},
		"an origin that is none":     {peer: peer, origin: "http://%zz", want: false},
		"a name like ours":           {peer: peer, origin: "http://localhost.evil.example", want: false},
		"origin, ours":               {peer: peer, origin: "http://LOCALHOST:8080", want: true},
		"origin, another local one":  {peer: peer, origin: "http://127.0.0.1:3000", want: true},
		"accepted":                   {peer: there, repl: accepted, want: true},
		"hostile, accepted":          {peer: peer, site: "cross-site", repl: accepted, want: false},
		"hostile, none":              {peer: peer, auth: "none", site: "cross-site", want: false},
	} {
		repl := c.repl
		if repl == nil {
			repl = caddy.NewReplacer()
		}
		r := request(c.peer, "localhost:8080", repl)
		for header, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
			if value != "" {
				r.Header.Set(header, value)
			}
		}
		a := admission{local: c.auth == "", none: c.auth == authNone, isProxy: true}
		if _, refused := a.admit(r, repl); (refused == nil) != c.want {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

// TestTransportAccess: who called is judged by what the caller sent, whatever
// the proxy made of the Host.
func TestTransportAccess(t *testing.T) {
	for _, c := range []struct {
		peer, auth, host, origin string
		want                     bool
	}{
		{peer: "127.0.0.1:1", host: "proxy:80", want: false},
		{peer: "127.0.0.1:1", host: "localhost:80", want: true},
		{peer: "127.0.0.1:1", host: "localhost:80", origin: "http://localhost:80", want: true},
		{peer: "127.0.0.1:1", host: "localhost:80", origin: "http://api.example.com", want: false},
		{peer: "192.0.2.1:1", host: "localhost", want: false},
		{peer: "192.0.2.1:1", host: "localhost", auth: "none", want: true},
		{peer: "", host: "localhost", want: true},
	} {
		repl := caddy.NewReplacer()
		repl.Set("http.request.hostport", c.host)
		r := request(c.peer, "api.example.com", repl)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		transport := &Transport{admission: admission{local: c.auth == "", none: c.auth == authNone}}
		if _, refused := transport.admit(r, repl); (refused == nil) != c.want {
			t.Errorf("%+v: %v", c, refused)
		}
	}
}

// TestLongFormAccess: reverse_proxy with the transport serves the same callers
// as token_proxy. A health check is none, and has no peer.
func TestLongFormAccess(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	const site = `
		reverse_proxy %s {
			health_uri /health
			health_interval 10ms
			header_up Host {upstream_hostport}
			transport token {
				realm p
				key main
				%s
			}
		}`
	i.load(p.realm("p", "inject query access_token"), fmt.Sprintf(site, p.URL, ""))
	waitFor(t, "a health check with its token", func() bool { return p.calls.Load() > 0 })
	a := i.get("/x", "Sec-Fetch-Site", "cross-site")
	if code, detail := problemOf(t, a); a.StatusCode != http.StatusForbidden || code != "forbidden" || !strings.Contains(detail, "another site") {
		t.Errorf("%s %s", a.Status, a.body)
	}
	for _, header := range [][]string{nil, {"Origin", "http://" + i.host}} {
		if a := i.get("/x", header...); a.StatusCode != http.StatusOK {
			t.Errorf("%v: %s %s", header, a.Status, a.body)
		}
	}
	i.load(p.realm("p", "inject query access_token"), fmt.Sprintf(site, p.URL, "auth none"))
	if a := i.get("/x"); a.StatusCode != http.StatusOK {
		t.Errorf("auth none: %s %s", a.Status, a.body)
	}
}

// TestAuthenticatedCallers: basic_auth lets callers in, and what they said to
// it is not the provider's business.
func TestAuthenticatedCallers(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	const site = `
		basic_auth {
			alice $2a$04$u.QhWbCnUmXKrw0QH95rKu.fKCqPPdOhdNKINREJCMPJeBOjK8gRO
		}` + proxyMain
	i.load(p.realm("p", "inject query access_token"), site)
	req := func(password string) answer {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+i.host+"/p/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("alice", password)
		return i.do(http.MethodGet, r.URL.String(), "", "Authorization", r.Header.Get("Authorization"))
	}
	if a := req("wrong"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong password: %s", a.Status)
	}
	a := req("practice")
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization") {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
}

// TestUnixSocket: a peer on a unix socket is on this machine.
func TestUnixSocket(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	socket := filepath.Join(i.dir, "s")
	i.load(p.realm("p", "inject query access_token"), "bind unix/"+socket+"\n"+proxyMain)
	over := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+i.host+"/p/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := over.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s", resp.Status)
	}
}
