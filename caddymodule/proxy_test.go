package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const proxyMain = `
	handle_path /p/* {
		token_proxy {
			realm p
			key main
		}
	}
	handle_path /any/* {
		token_gateway
	}`

// problemOf reads a problem document.
func problemOf(t *testing.T, a answer) (code, detail string) {
	t.Helper()
	var doc struct {
		Status       int
		Code, Detail string
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatalf("%s: %v\n%s", a.Status, err, a.body)
	}
	if a.Header.Get("Content-Type") != "application/problem+json" || doc.Status != a.StatusCode {
		t.Errorf("not a problem document: %v %s", a.Header, a.body)
	}
	return doc.Code, doc.Detail
}

func TestProxyInjects(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+p.realm("h", `inject header Authorization "Bearer {token}"`), `
		handle_path /h/* {
			token_proxy {
				realm h
				key main
				header_down X-Token {http.token.realm}/{http.token.key}/{http.token.source}/{http.token.expires_in}
			}
		}`+proxyMain)
	a := i.get("/p/a/b%2Fc?x=1;y=%zz&&access_token=evil")
	line, _, _ := strings.Cut(a.body, "\r\n")
	if want := "GET /a/b%2Fc?x=1;y=%zz&&access_token=" + canary + "-token-1 HTTP/1.1"; line != want {
		t.Errorf("got %q, want %q", line, want)
	}
	host := strings.TrimPrefix(p.URL, "http://")
	if !strings.Contains(a.body, "Host: "+host+"\r\n") {
		t.Errorf("the Host is not the api's:\n%s", a.body)
	}
	for _, name := range []string{"X-Forwarded", "Via", "Authorization"} {
		if strings.Contains(a.body, "\r\n"+name) {
			t.Errorf("%s was sent:\n%s", name, a.body)
		}
	}
	a = i.get("/h/a", "Authorization", "Bearer evil")
	if got := strings.Count(a.body, "\r\nAuthorization: Bearer "+canary+"-token-"); got != 1 || strings.Contains(a.body, "evil") {
		t.Errorf("the header:\n%s", a.body)
	}
	parts := strings.Split(a.Header.Get("X-Token"), "/")
	if len(parts) != 4 || parts[0] != "h" || parts[1] != "main" || parts[2] == "" || !strings.HasPrefix(parts[3], "71") {
		t.Errorf("placeholders: %q", parts)
	}
}

// TestProxyOfCredentials: what a caller sends about itself goes on only where
// the realm says so, although no authentication directive is there.
func TestProxyOfCredentials(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token")+p.realm("c", "inject query access_token\npass Cookie\nmethods GET"), `
		handle_path /c/* {
			token_proxy {
				realm c
				key main
			}
		}`+proxyMain)
	fields := []string{"Authorization", "Bearer own", "Cookie", "session=own", "X-HTTP-Method-Override", "DELETE"}
	if a := i.get("/p/x", fields...); strings.Contains(a.body, "own") || strings.Contains(a.body, "DELETE") {
		t.Errorf("the caller's own:\n%s", a.body)
	}
	if a := i.get("/c/x", fields...); !strings.Contains(a.body, "\r\nCookie: session=own\r\n") || strings.Contains(a.body, "Bearer own") {
		t.Errorf("with pass Cookie:\n%s", a.body)
	}
	a := i.do(http.MethodPost, "http://"+i.host+"/c/x", "")
	if code, _ := problemOf(t, a); a.StatusCode != http.StatusMethodNotAllowed || code != "method_not_allowed" || a.Header.Get("Allow") != "GET" {
		t.Errorf("%s %v %s", a.Status, a.Header, a.body)
	}
}

// TestProxyRaw sends what no well-behaved client sends.
func TestProxyRaw(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", `inject header X-Access-Token`)+p.realm("q", "inject query access_token"), `
		handle_path /q/* {
			token_proxy {
				realm q
				key main
			}
		}`+proxyMain)
	for name, lines := range map[string]string{
		"connection lists it":  "Connection: close, X-Access-Token\r\n",
		"lists it twice":       "Connection: close\r\nConnection: x-access-token, X-ACCESS-TOKEN\r\n",
		"sends its own":        "Connection: close\r\nX-Access-Token: evil\r\nx-access-token: evil2\r\n",
		"sends an alias":       "Connection: close\r\nX_Access_Token: evil\r\n",
		"absolute form":        "Connection: close\r\n",
		"authorization listed": "Connection: close, Authorization\r\nAuthorization: Bearer evil\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			target := "/p/a"
			if name == "absolute form" {
				target = "https://" + i.host + "/p/a"
			}
			got := i.raw("GET " + target + " HTTP/1.1\r\nHost: " + i.host + "\r\n" + lines + "\r\n")
			if n := strings.Count(got, canary+"-token-"); n != 1 || !strings.Contains(got, "\r\nX-Access-Token: "+canary) {
				t.Errorf("the token is there %d times:\n%s", n, got)
			}
			if strings.Contains(got, "X-Access-Token: evil") || strings.Contains(got, "X_Access_Token") || strings.Contains(got, "evil2") {
				t.Errorf("the caller's copy arrived:\n%s", got)
			}
		})
	}
	got := i.raw("GET /q/a?Access_Token=evil&%61ccess_token=evil;access_token=evil HTTP/1.1\r\nHost: " + i.host + "\r\nConnection: close\r\n\r\n")
	if strings.Contains(got, "evil") || strings.Count(got, "access_token="+canary) != 1 {
		t.Errorf("the query:\n%s", got)
	}
	got = i.raw("TRACE /q/a HTTP/1.1\r\nHost: " + i.host + "\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 405 ") || strings.Contains(got, canary) {
		t.Errorf("TRACE:\n%s", got)
	}
}

func TestProxyTemplates(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), `
		token_proxy {
			realm {header.X-Realm}
			key {header.X-Key}
		}`)
	if a := i.get("/a", "X-Realm", "p", "X-Key", "main"); !strings.Contains(a.body, "access_token="+canary) {
		t.Errorf("%s\n%s", a.Status, a.body)
	}
	for _, c := range []struct{ realm, key, code, detail string }{
		{"", "", "realm_not_found", "the request names no realm"},
		{"nope", "main", "realm_not_found", "no realm is named nope"},
		{"p", "", "secret_not_found", "the request names no key"},
		{"p", "nope", "secret_not_found", "realm p has no secret named nope"},
		{"{env.HOME}", "main", "realm_not_found", "no realm is named {env.HOME}"},
		{"p", "{header.X-Realm}", "secret_not_found", "realm p has no secret named {header.X-Realm}"},
		{strings.Repeat("r", 300), "main", "realm_not_found", "no realm is named " + strings.Repeat("r", 100)},
	} {
		a := i.get("/a", "X-Realm", c.realm, "X-Key", c.key)
		if code, detail := problemOf(t, a); a.StatusCode != http.StatusNotFound || code != c.code || detail != c.detail {
			t.Errorf("realm %q, key %q: %s %s %s", c.realm, c.key, a.Status, code, detail)
		}
	}
	if n := p.calls.Load(); n != 1 {
		t.Errorf("%d requests arrived instead of one", n)
	}
}

// TestProxyLongForm uses reverse_proxy itself, where the transport alone
// answers for everything.
func TestProxyLongForm(t *testing.T) {
	p, other, i := newProvider(t), newProvider(t), newInstance(t)
	i.load(p.realm("p", "inject query access_token"), fmt.Sprintf(`
		handle_path /ok/* {
			reverse_proxy %[1]s {
				transport token {
					realm p
					key main
				}
				header_down X-Token {http.token.realm}/{http.token.key}
			}
		}
		handle_path /nope/* {
			reverse_proxy %[1]s {
				fail_duration 1m
				transport token {
					realm {header.X-Realm}
					key main
				}
			}
		}
		handle_path /other/* {
			reverse_proxy %[2]s {
				transport token {
					realm p
					key main
				}
			}
		}
		handle_path /host/* {
			reverse_proxy %[1]s {
				header_up Host evil.example
				transport token {
					realm p
					key main
				}
			}
		}`, p.URL, other.URL))
	a := i.get("/ok/x?a=1")
	if !strings.HasPrefix(a.body, "GET /x?a=1&access_token="+canary) || a.Header.Get("X-Token") != "p/main" {
		t.Errorf("%s %v\n%s", a.Status, a.Header, a.body)
	}
	for range 3 { // a refusal does not count against the upstream's health
		a := i.get("/nope/x")
		if code, _ := problemOf(t, a); a.StatusCode != http.StatusNotFound || code != "realm_not_found" {
			t.Errorf("%s %s", a.Status, a.body)
		}
	}
	if a := i.get("/nope/x", "X-Realm", "p"); a.StatusCode != http.StatusOK {
		t.Errorf("after refusals: %s %s", a.Status, a.body)
	}
	for _, path := range []string{"/other/x", "/host/x"} {
		a := i.get(path)
		if code, _ := problemOf(t, a); a.StatusCode != http.StatusBadGateway || code != "host_not_allowed" {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	if n := other.calls.Load(); n != 0 {
		t.Errorf("the other host got %d requests", n)
	}
}

func TestProxyColdCallers(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.hold = make(chan struct{})
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	var wg sync.WaitGroup
	const callers = 300
	answers := make([]answer, callers)
	errs := make([]error, callers)
	for n := range callers {
		wg.Go(func() { answers[n], errs[n] = try(http.MethodGet, "http://"+i.host+"/p/x", "") })
	}
	waitFor(t, "the first fetch", func() bool { return p.fetches.Load() > 0 })
	close(p.hold)
	wg.Wait()
	for n := range callers {
		if errs[n] != nil || answers[n].StatusCode != http.StatusOK {
			t.Fatalf("caller %d: %v %v", n, errs[n], answers[n])
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("%d fetches instead of one", n)
	}
}

// TestProxyWithoutToken: nothing goes upstream without its token.
func TestProxyWithoutToken(t *testing.T) {
	p, i := newProvider(t), newInstance(t)
	p.down.Store(true)
	i.load(p.realm("p", "inject query access_token"), proxyMain)
	a := i.get("/p/x")
	if code, _ := problemOf(t, a); a.StatusCode != http.StatusBadGateway && a.StatusCode != http.StatusServiceUnavailable || code != "token_unavailable" {
		t.Errorf("%s %s", a.Status, a.body)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", a.Header)
	}
	if n := p.calls.Load(); n != 0 {
		t.Errorf("%d requests went upstream without a token", n)
	}
}
