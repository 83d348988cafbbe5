package caddymodule

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// ownKey is a key of the operator's own choice.
const ownKey = canary + "-0123456789abcdef0123456789abcdef"

// withKey is the header of a caller with a key.
func withKey(key string) []string { return []string{"Authorization", "Bearer " + key} }

func basicOf(password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("any:"+password))
}

// clientBlock is a client of a Caddyfile with ownKey.
func clientBlock(t *testing.T, lines string) string {
	t.Helper()
	t.Setenv("TOKENS_TEST_KEY", ownKey)
	return "\nclient app {\nkey {env.TOKENS_TEST_KEY}\n" + lines + "\n}\n"
}

// createClient makes a client by the API and returns its key.
func (i *instance) createClient(body string) (key string) {
	i.t.Helper()
	var saved struct{ Key string }
	if err := json.Unmarshal([]byte(i.must(http.MethodPost, "/api/client", body)), &saved); err != nil || saved.Key == "" {
		i.t.Fatalf("no key: %v", err)
	}
	return saved.Key
}

// based is a realm whose api has a base path.
func (p *provider) based(id string) string {
	return strings.Replace(p.realm(id, "inject query access_token"), "api "+p.URL, "api "+p.URL+"/base", 1)
}

// longMain is the long form for realm p.
func longMain(p *provider) string {
	return `
	handle_path /long/* {
		reverse_proxy ` + p.URL + ` {
			transport token {
				realm p
				key main
			}
		}
	}`
}

// TestClientRights: a client uses what its rules allow, on the path that goes to
// the API, and gets one answer for all else: before any token is asked for, and
// whether there is such a realm or not.
func TestClientRights(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+p.based("b")+p.realm("other", "inject query access_token")+clientBlock(t, `
		allow use p main {
			methods GET
			paths /ok/** /x
		}
		allow use b * {
			paths /base/ok/**
		}
		allow use gone
		deny use * * {
			paths /ok/not
		}`), proxyMain+longMain(p))
	var refusal string
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/any/other/main/ok/a", 403},
		{"GET", "/any/nope/main/ok/a", 403},
		{"GET", "/any/p/nope/ok/a", 403},
		{"GET", "/any/p/main/no", 403},
		{"GET", "/any/b/nope/ok/a", 403}, // without its base path it is not allowed
		{"POST", "/any/p/main/ok/a", 403},
		{"GET", "/any/p/main/ok/not", 403},
		{"GET", "/any/p/main/ok/n%6ft", 403},
		{"GET", "/any/p/main/ok/a%2fb", 403},
		{"GET", "/any/p/main/ok//a", 403},
		{"GET", "/any/b/main/base/ok/a", 403},
		{"GET", "/p/no", 403},
		{"GET", "/long/no", 403},
	} {
		a := i.do(c.method, "http://"+i.host+c.path, "", withKey(ownKey)...)
		if refusal == "" {
			refusal = a.body
		}
		if code, _ := problemOf(t, a); a.StatusCode != c.want || code != "forbidden" || a.body != refusal {
			t.Errorf("%s %s: %s\n%s", c.method, c.path, a.Status, a.body)
		}
	}
	if p.fetches.Load() != 0 || p.calls.Load() != 0 {
		t.Errorf("%d token requests and %d calls for what is not allowed", p.fetches.Load(), p.calls.Load())
	}
	for path, want := range map[string]string{
		"/any/p/main/ok/a?x=1": "GET /ok/a?x=1&", "/any/b/main/ok/a": "GET /base/ok/a?", "/p/x": "GET /x?", "/long/ok/a": "GET /ok/a?",
	} {
		for _, header := range [][]string{withKey(ownKey), {"Authorization", basicOf(ownKey)}, {"Authorization", "token " + ownKey}} {
			if a := i.get(path, header...); a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, want) || strings.Contains(a.body, ownKey) {
				t.Errorf("%s: %s\n%s", path, a.Status, a.body)
			}
		}
	}
	if code, _ := problemOf(t, i.get("/any/gone/main/x", withKey(ownKey)...)); code != "realm_not_found" {
		t.Errorf("a client with the right is told %s", code)
	}
	if log := i.log(); leaks(log) != nil {
		t.Errorf("the log shows a secret:\n%s", around(log))
	}
	if !strings.Contains(i.log(), `"client":"app","realm":"gone"`) {
		t.Error("nothing warns of the rule for a realm that there is not")
	}
}

// TestNoRightNoLookUp: the time of an answer would tell what there is. There is no
// app here that anything could be looked up in.
func TestNoRightNoLookUp(t *testing.T) {
	digest, err := access.ParseWrittenKey(ownKey)
	if err != nil {
		t.Fatal(err)
	}
	view, err := access.NewRegistry(access.RegistryConfig{}).View(access.ViewConfig{Clients: []tokenstore.Client{{
		ID: "app", Keys: []tokenstore.ClientKey{{Digest: digest}},
		Rules: []tokenstore.Rule{{Effect: "allow", Rights: []string{"use"}, Realms: []string{"p"}, Paths: []string{"/ok"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := view.Identify(access.Caller{Key: ownKey})
	if err != nil {
		t.Fatal(err)
	}
	p, refused := beginPassage(t.Context(), caller{client: client, key: ownKey})
	if refused != nil {
		t.Fatal(refused)
	}
	defer p.end()
	r := request("192.0.2.1:1", "a.example", caddy.NewReplacer())
	for _, ref := range []realm.Ref{{Realm: "other", Key: "main"}, {Realm: "other", Key: "x"}, {Realm: "P", Key: "main"}} {
		if err := p.mayUse(nil, ref, r, r.URL, true); !errors.Is(err, errNoRight) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestKeyInProxyAuthorization: it works where the proxy is ours. reverse_proxy
// removes this header before its transport sees it.
func TestKeyInProxyAuthorization(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token\npass Authorization")+clientBlock(t, "allow use p"), proxyMain+longMain(p))
	for path, want := range map[string]int{"/p/x": 200, "/any/p/main/x": 200, "/long/x": 403} {
		if a := i.get(path, "Proxy-Authorization", "Bearer "+ownKey, "Authorization", "Bearer for-the-api"); a.StatusCode != want ||
			strings.Contains(a.body, ownKey) || (want == 200) != strings.Contains(a.body, "Authorization: Bearer for-the-api") {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
		// A key in Authorization is for us alone, although the realm passes it on.
		if a := i.get(path, withKey(ownKey)...); a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization") {
			t.Errorf("%s with the key in Authorization: %s\n%s", path, a.Status, a.body)
		}
		// So is a second value, and another key of ours in the other header.
		if a := i.get(path, "Authorization", "Bearer "+ownKey, "Authorization", basicOf(ownKey)); a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization") {
			t.Errorf("%s with the key twice: %s\n%s", path, a.Status, a.body)
		}
	}
}

// TestAdminTokenStaysHere: the proxy is no place for the admin token, so that who
// sends it there by mistake does not tell the provider.
func TestAdminTokenStaysHere(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token\npass Authorization"), proxyMain+longMain(p))
	for _, path := range []string{"/p/x", "/any/p/main/x", "/long/x"} {
		for sent, passes := range map[string]bool{
			"Bearer " + i.adminToken(): false, "token " + i.adminToken(): false, basicOf(i.adminToken()): false,
			"Bearer for-the-api": true, "token for-the-api": true,
		} {
			if a := i.get(path, "Authorization", sent); a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization: ") != passes {
				t.Errorf("%s: %s\n%s", path, a.Status, a.body)
			}
		}
	}
}

// TestRewrittenPaths: what decides is the path that goes to the API, also where
// the proxy itself rewrites it.
func TestRewrittenPaths(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	site := ""
	for at, directives := range map[string]string{
		"/a/*": "token_proxy {\nrealm p\nkey main\nrewrite /no\n}", "/b/*": "token_proxy {\nrealm p\nkey main\nrewrite /ok\n}",
		"/c/*": "rewrite * /no\ntoken_proxy {\nrealm p\nkey main\n}", "/d/*": "uri replace no ok\ntoken_proxy {\nrealm p\nkey main\n}",
	} {
		site += "\nhandle_path " + at + " {\n" + directives + "\n}"
	}
	i.load(p.realm("p", "inject query access_token")+clientBlock(t, "allow use p * {\npaths /ok\n}"), site)
	for path, want := range map[string]int{"/a/ok": 403, "/b/no": 200, "/c/ok": 403, "/d/no": 200, "/d/other": 403} {
		a := i.get(path, withKey(ownKey)...)
		if a.StatusCode != want || want == 200 && !strings.HasPrefix(a.body, "GET /ok?") {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
	if n := p.calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

// TestWrongKeys: a key of ours that is wrong lets nobody in who would have been
// let in without; what is no key is as if it were not there.
func TestWrongKeys(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain+longMain(p)+"\n"+guarded)
	mistyped := "ctk_" + strings.Repeat("a", 49)
	for _, path := range []string{"/p/x", "/any/p/main/x", "/long/x"} {
		for _, dummy := range []string{"Bearer sk-dummy", "token ghp_dummy", basicOf("password"), "Bearer " + ownKey, "Digest x"} {
			if a := i.get(path, "Authorization", dummy); a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization") {
				t.Errorf("%s with %s: %s\n%s", path, dummy, a.Status, a.body)
			}
		}
	}
	for n, path := range []string{"/p/x", "/any/p/main/x", "/long/x", "/admin/api/status", "/p/x", "/p/x", "/p/x", "/p/x", "/p/x", "/p/x"} {
		header := "Authorization"
		if n%2 == 1 && path != "/long/x" {
			header = "Proxy-Authorization"
		}
		a := i.get(path, header, "Bearer "+mistyped)
		if code, _ := problemOf(t, a); a.StatusCode != http.StatusForbidden || code != "forbidden" || strings.Contains(a.body, mistyped) {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
	a := i.get("/p/x", withKey(mistyped)...)
	if code, _ := problemOf(t, a); a.StatusCode != http.StatusTooManyRequests || code != "rate_limited" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the eleventh wrong key: %s %v", a.Status, a.Header)
	}
	// Who shares the address with a guesser is served nevertheless.
	key := i.createClient(`{"id": "good", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["p"]}]}`)
	if a := i.get("/p/x", withKey(key)...); a.StatusCode != http.StatusOK {
		t.Errorf("a right key: %s\n%s", a.Status, a.body)
	}
	// And so is the operator of the machine.
	token, err := os.ReadFile(filepath.Join(i.dir, "caddy", "tokens.admin"))
	if err != nil {
		t.Fatal(err)
	}
	if a := i.get("/admin/api/status", "Authorization", "Bearer "+strings.TrimSpace(string(token))); a.StatusCode != http.StatusOK {
		t.Errorf("the admin token: %s\n%s", a.Status, a.body)
	}
	if log := i.log(); strings.Contains(log, mistyped) || strings.Contains(log, key) || !strings.Contains(log, "a wrong API key was sent") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestMisplacedKeys: a key of ours that a program sends where no key may stand
// went to the API, and into the access log.
func TestMisplacedKeys(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token\npass Authorization"), proxyMain+longMain(p)+"\n"+guarded)
	key := i.createClient(`{"id": "good", "rules": [{"effect": "allow", "rights": ["use", "admin_read"], "realms": ["*"]}]}`)
	user := base64.StdEncoding.EncodeToString([]byte(key + ":"))
	for _, path := range []string{"/p/x", "/any/p/main/x", "/long/x", "/admin/api/status"} {
		for _, c := range []struct {
			path   string
			header []string
		}{
			{path, []string{"X-Api-Key", key}},
			{path, []string{"Referer", "https://example.com/?key=" + key}},
			{path, []string{"Authorization", key}},
			{path, []string{"Authorization", "ApiKey " + key}},
			{path, []string{"Authorization", "Basic " + user}},
			{path, []string{"Authorization", "Basic " + strings.TrimRight(user, "=")}},
			{path + "?api_key=" + key, nil},
			{path + "/" + key, nil},
		} {
			a := i.get(c.path, append(withKey(key), c.header...)...)
			if code, _ := problemOf(t, a); a.StatusCode != http.StatusForbidden || code != "forbidden" || strings.Contains(a.body, key) {
				t.Errorf("%s %v: %s\n%s", c.path, c.header, a.Status, a.body)
			}
		}
		if a := i.get(path, withKey(key)...); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s\n%s", path, a.Status, a.body)
		}
	}
	if n := p.calls.Load(); n != 3 {
		t.Errorf("%d calls reached the API", n)
	}
	handled := 0
	for line := range strings.Lines(i.log()) {
		if !strings.Contains(line, "handled request") {
			continue
		}
		if handled++; strings.Contains(line, key) || strings.Contains(line, user) {
			t.Errorf("the access log: %s", line)
		}
	}
	if handled < 4 {
		t.Errorf("%d lines in the access log", handled)
	}
}

// TestKeyStaysHere: the admin API lets requests pass that are not for it, and let
// the caller's key pass with them.
func TestKeyStaysHere(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+clientBlock(t, "allow use p"), `
		route /behind {
			token_admin
			reverse_proxy `+p.URL+`
		}`)
	key := i.createClient(`{"id": "good", "rules": []}`)
	for _, of := range []string{key, ownKey} {
		if a := i.get("/behind", "Authorization", basicOf(of), "Proxy-Authorization", "Bearer "+of); a.StatusCode != http.StatusOK || strings.Contains(a.body, "Authorization") {
			t.Errorf("behind the admin API: %s", a.body)
		}
	}
	if a := i.get("/behind", "Authorization", "Bearer another", "Proxy-Authorization", "Bearer "+key); !strings.Contains(a.body, "Bearer another") {
		t.Errorf("a credential of another: %s", a.body)
	}
}

// TestNoTriesBesideAKey: whoever sent a key in one header could try admin tokens
// in the other, as fast as he liked and unnoticed.
func TestNoTriesBesideAKey(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+clientBlock(t, "allow use p"), guarded)
	key := i.createClient(`{"id": "good", "rules": []}`)
	token := i.adminToken()
	for _, beside := range []string{key, ownKey, "ctk_" + strings.Repeat("a", 49)} {
		for n, name := range credentialHeaders {
			a := i.get("/admin/api/client", name, "Bearer "+token, credentialHeaders[1-n], "Bearer "+beside)
			if code, _ := problemOf(t, a); a.StatusCode != http.StatusForbidden || code != "forbidden" {
				t.Errorf("beside %.6s: %s\n%s", beside, a.Status, a.body)
			}
		}
	}
	if a := i.get("/admin/api/client", "Authorization", "Bearer "+token, "Proxy-Authorization", "Bearer dummy"); a.StatusCode != http.StatusOK {
		t.Errorf("beside what is no key: %s\n%s", a.Status, a.body)
	}
}

// TestFirstClientCloses: from the first client on, clients alone are served, also
// when it is gone; a block that says auth none stays open, but a key decides.
func TestFirstClientCloses(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	site := proxyMain + longMain(p) + "\n" + guarded + `
		handle_path /open/* {
			token_proxy {
				realm p
				key main
				auth none
			}
		}
		handle_path /user/* {
			` + basicAuth + `
			token_proxy {
				realm p
				key main
			}
		}`
	tokens := p.realm("p", "inject query access_token")
	i.load(tokens, site)
	expect := func(when string, want map[string]int, header ...string) {
		t.Helper()
		for path, status := range want {
			if a := i.get(path, header...); a.StatusCode != status {
				t.Errorf("%s: %s: %s, want %d\n%s", when, path, a.Status, status, a.body)
			}
		}
	}
	const alice = "Basic YWxpY2U6cHJhY3RpY2U="
	expect("at first", map[string]int{"/p/x": 200, "/any/p/main/x": 200, "/long/x": 200, "/open/x": 200})
	expect("at first, a user", map[string]int{"/user/x": 200}, "Authorization", alice)
	saved := i.must(http.MethodPost, "/api/client", `{"id": "narrow", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["p"], "paths": ["/x"]}]}`)
	if !strings.Contains(saved, `"closes_loopback":true`) {
		t.Errorf("%s", saved)
	}
	var narrow struct{ Key string }
	if err := json.Unmarshal([]byte(saved), &narrow); err != nil {
		t.Fatal(err)
	}
	closed := map[string]int{"/p/x": 403, "/any/p/main/x": 403, "/any/nope/main/x": 403, "/long/x": 403, "/open/x": 200, "/open/y": 200}
	expect("with a client", closed)
	expect("a dummy", closed, "Authorization", "Bearer sk-dummy")
	expect("its key", map[string]int{"/p/x": 200, "/p/y": 403, "/long/x": 200, "/long/y": 403, "/open/x": 200, "/open/y": 403}, withKey(narrow.Key)...)
	expect("a user without a client", map[string]int{"/user/x": 403}, "Authorization", alice)
	i.must(http.MethodPost, "/api/client", `{"id": "alice", "users": ["alice"], "rules": [{"effect": "allow", "rights": ["use"], "realms": ["p"]}]}`)
	expect("a user with a client", map[string]int{"/user/x": 200}, "Authorization", alice)
	expect("the admin token", map[string]int{"/p/x": 403, "/admin/api/status": 200}, withKey(i.adminToken())...)
	for _, id := range []string{"narrow", "alice"} {
		i.must(http.MethodDelete, "/api/client/"+id, "")
	}
	expect("without clients", closed)
	expect("a deleted key", map[string]int{"/p/x": 403, "/open/x": 403}, withKey(narrow.Key)...)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	i.load(tokens, site)
	expect("after a restart", closed)
}

// TestRequireClient: nobody has to be there yet.
func TestRequireClient(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+"\nrequire client", proxyMain)
	a := i.get("/p/x")
	if _, detail := problemOf(t, a); a.StatusCode != http.StatusForbidden || !strings.Contains(detail, "API key") || !strings.Contains(detail, "auth none") {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
}

// TestClientsOfTheAdminAPI: the admin API knows who calls, and lets each do what
// he may.
func TestClientsOfTheAdminAPI(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+p.realm("q", "inject query access_token")+clientBlock(t, "allow read p\nlimit requests 1000/s"), guarded)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/api/token?realm=p&key=main", 200},
		{"GET", "/api/token?realm=q&key=main", 403},
		{"GET", "/api/token?realm=nope&key=main", 403},
		{"GET", "/api/token?realm=p&key=main&flush=true", 403},
		{"GET", "/api/openapi.json", 200},
		{"DELETE", "/api/client/app", 403},
	} {
		for _, header := range [][]string{withKey(ownKey), {"Proxy-Authorization", basicOf(ownKey)}} {
			if a := i.do(c.method, "http://"+i.host+"/admin"+c.path, "", header...); a.StatusCode != c.want {
				t.Errorf("%s %s: %s\n%s", c.method, c.path, a.Status, a.body)
			}
		}
		if a := i.do(c.method, "http://"+i.host+"/admin"+c.path, ""); a.StatusCode != http.StatusForbidden {
			t.Errorf("%s %s without a key: %s", c.method, c.path, a.Status)
		}
	}
}

// TestClientsByAddress: an address is no credential, so that a name which
// somebody pointed here does not count.
func TestClientsByAddress(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	address, sites := openSites(t, i, map[string]string{"": proxyMain})
	i.load(p.realm("p", "inject query access_token")+"\nclient host {\nsource 127.0.0.0/8\nallow use p\n}", sites)
	for host, want := range map[string]int{"": 200, "tokens": 200, "evil.example": 403} {
		var header []string
		if host != "" {
			header = []string{"Host", host}
		}
		if a := i.do(http.MethodGet, "http://"+address[""]+"/p/x", "", header...); a.StatusCode != want {
			t.Errorf("%q: %s\n%s", host, a.Status, a.body)
		}
	}
}

// TestSubject: a certificate counts if Caddy verified it.
func TestSubject(t *testing.T) {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "billing"}}
	for name, c := range map[string]struct {
		state *tls.ConnectionState
		want  string
	}{
		"no TLS":         {},
		"no certificate": {state: &tls.ConnectionState{}},
		"not verified":   {state: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}},
		"verified":       {state: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}, want: "CN=billing"},
	} {
		r := request("192.0.2.1:1", "a.example", caddy.NewReplacer())
		r.TLS = c.state
		if got := subjectOf(r); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	i := newInstance(t)
	i.load("client billing {\nsubject CN=billing\nallow use *\n}", "")
	a := admission{isProxy: true, local: true, clients: newestApp.Load().clients, failures: newFailures("API key", zap.NewNop(), time.Now)}
	r := request("192.0.2.1:1", "a.example", caddy.NewReplacer())
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	if who, refused := a.admit(r, caddy.NewReplacer()); refused != nil || who.id() != "billing" {
		t.Errorf("%+v %v", who, refused)
	}
}

// TestClientLimits: what is over a limit waits, and what is under way counts
// until its end.
func TestClientLimits(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	release := make(chan struct{})
	p.api = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			echo(w, r)
			return
		}
		_, _ = io.WriteString(w, "begin\n")
		_ = http.NewResponseController(w).Flush()
		<-release
	}
	t.Setenv("TOKENS_TEST_KEY", ownKey)
	t.Setenv("TOKENS_TEST_RARE", ownKey+"-rare")
	i.load(p.realm("p", "inject query access_token")+p.realm("q", "inject query access_token")+`
		client app {
			key {env.TOKENS_TEST_KEY}
			allow use,flush *
			limit concurrency 1
			limit fetches 1/h
		}
		client rare {
			key {env.TOKENS_TEST_RARE}
			allow use *
			limit requests 2/h
		}`, proxyMain+longMain(p)+"\n"+guarded)
	for n, path := range []string{"/p/x", "/any/p/main/x", "/long/x"} {
		a := i.get(path, withKey(ownKey+"-rare")...)
		if want := map[bool]int{true: 200, false: 429}[n < 2]; a.StatusCode != want || (want == 429) != (a.Header.Get("Retry-After") != "") {
			t.Errorf("request %d: %s %v", n, a.Status, a.Header)
		}
	}
	for _, path := range []string{"/p/stream", "/long/stream"} {
		resp := i.open(path, withKey(ownKey)...)
		for _, other := range []string{"/p/x", "/long/x", "/admin/api/openapi.json"} {
			if a := i.get(other, withKey(ownKey)...); a.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s beside %s: %s", other, path, a.Status)
			}
		}
		release <- struct{}{}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		waitFor(t, "the end of "+path, func() bool { return i.get("/p/x", withKey(ownKey)...).StatusCode == http.StatusOK })
	}
	// The other client's request has fetched the token of p. This one may cause
	// one token request.
	flush := func() answer {
		return i.do(http.MethodGet, "http://"+i.host+"/admin/api/token?realm=p&key=main&flush=true", "", withKey(ownKey)...)
	}
	if a := i.get("/any/q/main/x", withKey(ownKey)...); a.StatusCode != http.StatusOK {
		t.Errorf("the first token request: %s\n%s", a.Status, a.body)
	}
	if a := flush(); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the second token request: %s\n%s", a.Status, a.body)
	}
	if a := i.get("/any/q/main/x", withKey(ownKey)...); a.StatusCode != http.StatusOK {
		t.Errorf("a token that is there: %s\n%s", a.Status, a.body)
	}
}

// open requests a path of the proxy whose answer streams.
func (i *instance) open(path string, header ...string) *http.Response {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, "http://"+i.host+path, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	return resp
}

// TestRevocationEndsStreams: what a client has under way ends within two seconds
// when its key is deleted or replaced, and kept connections are no way around it.
func TestRevocationEndsStreams(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbegin\n")
			_ = rw.Flush()
			_, _ = io.Copy(io.Discard, rw)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "begin\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			echo(w, r)
		}
	}
	i.load(p.realm("p", "inject query access_token\nupgrade"), proxyMain+longMain(p))
	for _, end := range []func(){
		func() { i.must(http.MethodPost, "/api/client/app/rotate", `{}`) },
		func() { i.must(http.MethodDelete, "/api/client/app", "") },
	} {
		key := i.createClient(`{"id": "app", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["*"]}]}`)
		var streams []io.ReadCloser
		for _, path := range []string{"/p/events", "/any/p/main/events", "/long/events"} {
			streams = append(streams, i.open(path, withKey(key)...).Body) //nolint:bodyclose // it is one of the streams
		}
		for _, path := range []string{"/p/ws", "/any/p/main/ws", "/long/ws"} {
			streams = append(streams, i.upgrade(path, key))
		}
		kept := i.dial()
		ask := func() string {
			t.Helper()
			if _, err := fmt.Fprintf(kept, "GET /p/x HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", i.host, key); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(kept), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			_, _ = io.Copy(io.Discard, resp.Body)
			return resp.Status
		}
		if got := ask(); !strings.HasPrefix(got, "200") {
			t.Errorf("before the end: %s", got)
		}
		for n, s := range streams {
			if line, err := bufio.NewReader(s).ReadString('\n'); line != "begin\n" {
				t.Fatalf("stream %d: %q %v", n, line, err)
			}
		}
		end()
		began := time.Now()
		if got := ask(); !strings.HasPrefix(got, "403") {
			t.Errorf("on a kept connection: %s", got)
		}
		for n, s := range streams {
			_, _ = io.Copy(io.Discard, s)
			_ = s.Close()
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("stream %d ended after %s", n, took)
			}
		}
		_ = kept.Close()
		i.call(http.MethodDelete, "/api/client/app", "")
	}
}

// dial is a connection to the proxy, on which nothing waits for ever.
func (i *instance) dial() net.Conn {
	i.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(i.t.Context(), "tcp", i.host)
	if err != nil {
		i.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		i.t.Fatal(err)
	}
	return conn
}

// upgrade leaves HTTP with a key, and returns what comes after the header.
func (i *instance) upgrade(path, key string) io.ReadCloser {
	i.t.Helper()
	conn := i.dial()
	_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", path, i.host, key)
	if err != nil {
		i.t.Fatal(err)
	}
	buffered := bufio.NewReader(conn)
	resp, err := http.ReadResponse(buffered, nil) //nolint:bodyclose // what follows is no body any more
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		i.t.Fatalf("%s: %v %+v", path, err, resp)
	}
	return struct {
		io.Reader
		io.Closer
	}{buffered, conn}
}

// TestRequestMetrics: requests are counted by client, realm and result; nobody
// can make a series for a realm that there is not.
func TestRequestMetrics(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.config = freeAddress(t)
	p.api = func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
	}
	own := renaming()
	t.Setenv("TOKENS_TEST_KEY", ownKey)
	site := proxyMain + strings.Replace(longMain(p), "realm p", "realm met-p", 1)
	i.load(own(p.realm("met-p", "inject query access_token")+"\nclient met-app {\nkey {env.TOKENS_TEST_KEY}\nallow use *\ndeny use met-secret\n}"), own(site+`
		handle_path /open/* {
			token_gateway {
				auth none
			}
		}`))
	for _, path := range []string{"/any/met-p/main/200", "/long/200", "/any/met-p/main/404", "/any/met-p/main/503", "/any/met-nope/main/x", "/any/met-secret/main/x", "/any/met-p/nope/x"} {
		i.get(own(path), withKey(ownKey)...)
	}
	i.get(own("/open/met-p/main/200"))
	i.get(own("/open/met-nope/main/200"))
	metrics := i.metrics()
	for series, value := range map[string]string{
		`requests_total{client="met-app",realm="met-p",result="ok"}`: "2", `requests_total{client="met-app",realm="met-p",result="refused"}`: "2",
		`requests_total{client="met-app",realm="met-p",result="failed"}`: "1", `requests_total{client="met-app",realm="",result="refused"}`: "2",
		`requests_total{client="",realm="met-p",result="ok"}`: "1",
	} {
		if !gauged(metrics, own(series), value) {
			t.Errorf("no %s %s in\n%s", own(series), value, metrics)
		}
	}
	if strings.Contains(metrics, own("met-nope")) || strings.Contains(metrics, own("met-secret")) {
		t.Errorf("a realm that there is not has a series:\n%s", metrics)
	}
}

// TestClientLabels: a thousand clients have a name in the metrics.
func TestClientLabels(t *testing.T) {
	l := &clientLabels{known: make(map[string]bool)}
	for n := range maxClientLabels {
		if id := fmt.Sprint("c", n); l.name(id) != id {
			t.Fatalf("%s has no name", id)
		}
	}
	if l.name("c0") != "c0" || l.name("late") != otherClients || len(l.known) != maxClientLabels || l.of(nil) != "" {
		t.Errorf("%q %q, %d names", l.name("c0"), l.name("late"), len(l.known))
	}
}

// TestShadowedClient: a client of the configuration takes the place of a stored
// one, whose key is refused; the log says so.
func TestShadowedClient(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	key := i.createClient(`{"id": "app", "rules": [{"effect": "allow", "rights": ["use"], "realms": ["p"]}]}`)
	if a := i.get("/p/x", withKey(key)...); a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	t.Setenv("TOKENS_TEST_KEY", ownKey)
	i.load(p.realm("p", "inject query access_token")+"\nclient app {\nkey {env.TOKENS_TEST_KEY}\nallow use p\n}", proxyMain)
	if a := i.get("/p/x", withKey(key)...); a.StatusCode != http.StatusForbidden {
		t.Errorf("the stored client's key: %s %s", a.Status, a.body)
	}
	if a := i.get("/p/x", withKey(ownKey)...); a.StatusCode != http.StatusOK {
		t.Errorf("the configuration's key: %s %s", a.Status, a.body)
	}
	waitFor(t, "the warning", func() bool { return strings.Contains(i.log(), `takes the place of the one in the database`) })
}

// TestClientsThatCannotBe: what is wrong with a client of the configuration, and
// known only from the environment or from another client, stops the start.
func TestClientsThatCannotBe(t *testing.T) {
	i := newInstance(t)
	t.Setenv("TOKENS_TEST_SHORT", canary)
	t.Setenv("TOKENS_TEST_KEY", ownKey)
	for tokens, want := range map[string]string{
		"client a {\nkey {env.TOKENS_TEST_SHORT}\nallow use *\n}":                            "client a: key",
		"client a {\nkey {env.TOKENS_TEST_UNSET}\nallow use *\n}":                            "TOKENS_TEST_UNSET is not set",
		"client a {\nallow use *\n}":                                                         "no key, user, subject or source",
		"client a {\nkey {env.TOKENS_TEST_KEY}\n}\nclient b {\nkey {env.TOKENS_TEST_KEY}\n}": "client a has the same one",
		"client a {\nuser x\n}\nclient b {\nuser x\n}":                                       "client a has the same one",
	} {
		if err := i.tryLoad(tokens, ""); err == nil || !strings.Contains(err.Error(), want) || leaks(err.Error()) != nil {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
