package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	mathbig "math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testproxy"
)

// farProvider is a provider with an authority of its own, by https alone. Its token
// endpoint and its API want the client's certificate, where it has an authority for
// these.
type farProvider struct {
	*httptest.Server
	host, ca string // host:port; the certificates, in PEM
	fetches  atomic.Int32
	// shown are the subjects of the client certificates, by path.
	shown chan string
	asked atomic.Value // the last token request: its Authorization, a space, its body
}

const farToken = "far-token-0123456789abcdef"

func newFarProvider(t *testing.T, clients *x509.Certificate) *farProvider {
	t.Helper()
	p := &farProvider{shown: make(chan string, 1000)}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			p.shown <- r.URL.Path + " " + r.TLS.PeerCertificates[0].Subject.CommonName
		}
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/token":
			p.fetches.Add(1)
			body, _ := io.ReadAll(r.Body)
			p.asked.Store(r.Header.Get("Authorization") + " " + string(body))
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":7200}`, farToken)
		case r.Header.Get("Authorization") == "Bearer "+farToken:
			_, _ = fmt.Fprintf(w, `{"served":%q}`, r.Proto)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	p.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if clients != nil {
		p.TLS.ClientAuth, p.TLS.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		p.TLS.ClientCAs.AddCert(clients)
	}
	p.Config.ErrorLog = nil
	p.EnableHTTP2 = true
	p.StartTLS()
	t.Cleanup(p.Close)
	p.host = strings.TrimPrefix(p.URL, "https://")
	p.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
	return p
}

// selfSigned is a certificate and its key, in PEM.
func selfSigned(t *testing.T, name string) (parsed *x509.Certificate, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: mathbig.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return parsed, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}))
}

// farRealm is a realm of a Caddyfile for the provider.
func farRealm(id string, p *farProvider, more string) string {
	return `
	realm ` + id + ` {
		api https://` + p.host + `/v1
		fetch GET https://` + p.host + `/token
		token_path access_token
		expires_in_path expires_in
		inject header Authorization "Bearer {token}"
		` + more + `
	}`
}

const farSite = `
	handle_path /one/* {
		token_proxy {
			realm far
			key main
		}
	}
	handle_path /any/* {
		token_gateway
	}`

// Token requests and API calls go through the proxy, to the address that was looked
// up here, with TLS to the provider inside: the proxy sees neither the token nor the
// key of the certificate that the provider asks for. Its password is nowhere.
func TestThroughProxy(t *testing.T) {
	const password = "proxy-canary-7Qx"
	authority, certificate, key := selfSigned(t, "billing")
	t.Setenv("FAR_CERTIFICATE", certificate)
	t.Setenv("FAR_KEY", key)
	t.Setenv("PROXY_PASSWORD", password)
	for name, o := range map[string]testproxy.Options{
		"http": {User: "u", Password: password}, "socks5": {SOCKS: true, User: "u", Password: password},
	} {
		for _, inTokens := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", for all realms: ", inTokens), func(t *testing.T) {
				far, proxy := newFarProvider(t, authority), testproxy.Start(t, o)
				ca := filepath.Join(t.TempDir(), "ca.pem")
				writeFile(t, ca, far.ca)
				i := newInstance(t)
				line := "proxy " + name + "://u:{env.PROXY_PASSWORD}@" + proxy.Addr
				tokens, own := "", line
				if inTokens {
					tokens, own = line, ""
				}
				i.load(tokens+farRealm("far", far, own+`
		ca `+ca+`
		client_certificate tls_cert
		client_key tls_key
		secret main {
			tls_cert {env.FAR_CERTIFICATE}
			tls_key {env.FAR_KEY}
		}`), farSite)
				for _, path := range []string{"/one/menu", "/any/far/main/menu"} {
					if a := i.get(path); a.StatusCode != http.StatusOK || a.body != `{"served":"HTTP/2.0"}` {
						t.Fatalf("%s: %s %s", path, a.Status, a.body)
					}
				}
				if got := far.fetches.Load(); got != 1 {
					t.Errorf("%d token requests", got)
				}
				asked := proxy.Asked()
				if len(asked) < 2 || slices.ContainsFunc(asked, func(target string) bool { return target != far.host }) {
					t.Errorf("the proxy was asked for %v", asked)
				}
				for range 3 {
					if shown := <-far.shown; !strings.HasSuffix(shown, " billing") {
						t.Errorf("shown: %s", shown)
					}
				}
				if proxy.Saw(farToken) || proxy.Saw(key) {
					t.Error("the proxy saw the token or the key")
				}
				told := i.must(http.MethodGet, "/api/realm/far", "") + i.must(http.MethodGet, "/api/status", "") + i.log()
				if strings.Contains(told, password) {
					t.Error("the password of the proxy is told")
				}
			})
		}
	}
}

// TestTLSClientAuth: the certificate is all that a client has (RFC 8705 section 2).
func TestTLSClientAuth(t *testing.T) {
	authority, certificate, key := selfSigned(t, "billing")
	t.Setenv("FAR_CERTIFICATE", certificate)
	t.Setenv("FAR_KEY", key)
	for _, method := range []string{"tls_client_auth", "self_signed_tls_client_auth"} {
		far, i := newFarProvider(t, authority), newInstance(t)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		writeFile(t, ca, far.ca)
		i.load(`
	realm far {
		api https://`+far.host+`
		grant client_credentials {
			token_url https://`+far.host+`/token
			token_endpoint_auth_method `+method+`
		}
		inject header Authorization "Bearer {token}"
		ca `+ca+`
		client_certificate tls_cert
		client_key tls_key
		secret main {
			client_id shop
			tls_cert {env.FAR_CERTIFICATE}
			tls_key {env.FAR_KEY}
		}
	}`, farSite)
		if a := i.get("/one/menu"); a.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", method, a.Status, a.body)
		}
		if asked := far.asked.Load(); asked != " grant_type=client_credentials&client_id=shop" {
			t.Errorf("%s: the token request says %q", method, asked)
		}
		if shown := <-far.shown; shown != "/token billing" {
			t.Errorf("%s: it shows %q", method, shown)
		}
	}
}

// A realm of the API: its proxy is guarded like its API, and a change counts with the
// next request, on connections of its own.
func TestProxyOfTheAPI(t *testing.T) {
	far, first, second := newFarProvider(t, nil), testproxy.Start(t, testproxy.Options{User: "u", Password: "pw-canary"}), testproxy.Start(t, testproxy.Options{SOCKS: true})
	i := newInstance(t)
	save := func(proxy string) {
		t.Helper()
		i.must(http.MethodPost, "/api/realm?keep_values=true", fmt.Sprintf(`{"id":"far","config":{"api":"https://%[1]s","url":"https://%[1]s/token","token_path":"access_token",
			"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],"ca":%[2]q,"proxy":%[3]q,"shared":{"proxy_password":"pw-canary"}}}`, far.host, far.ca, proxy))
	}
	withPassword := "http://u:{secret.proxy_password}@" + first.Addr
	i.load("", farSite)
	save(withPassword)
	i.must(http.MethodPost, "/api/secret", `{"realm":"far","key":"main","fields":{"x":"y"}}`)
	if a := i.get("/any/far/main/menu"); a.StatusCode != http.StatusBadGateway || len(first.Asked()) > 0 {
		t.Errorf("a private address: %s %s, asked for %v", a.Status, a.body, first.Asked())
	}
	i.load("allow_private 127.0.0.1", farSite)
	i.must(http.MethodGet, "/api/token?realm=far&key=main&flush=true", "")
	n := len(first.Asked())
	for range 2 {
		if a := i.get("/any/far/main/menu"); a.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", a.Status, a.body)
		}
	}
	if got := len(first.Asked()); got != n+1 {
		t.Errorf("two requests had %d connections", got-n)
	}
	save("socks5://" + second.Addr)
	if a := i.get("/any/far/main/menu"); a.StatusCode != http.StatusOK || len(second.Asked()) == 0 {
		t.Errorf("after the change: %s %s, asked for %v", a.Status, a.body, second.Asked())
	}
	before := len(second.Asked()) + len(first.Asked())
	save("off")
	if a := i.get("/any/far/main/menu"); a.StatusCode != http.StatusOK || len(second.Asked())+len(first.Asked()) != before {
		t.Errorf("without a proxy: %s %s", a.Status, a.body)
	}
	if a := i.call(http.MethodPost, "/api/realm", `{"id":"n","config":{"proxy":"http://127.0.0.1:1 resolve"}}`); a.StatusCode != http.StatusBadRequest {
		t.Errorf("resolve: %s %s", a.Status, a.body)
	}
	if strings.Contains(i.log()+i.must(http.MethodGet, "/api/realm", ""), "pw-canary") {
		t.Error("the password of the proxy is told")
	}
}

// TestWayToANamedUpstream: whoever may change a realm of the API does not lead
// elsewhere what goes to an upstream that the Caddyfile names, and does not say who
// vouches for it. A realm of the Caddyfile does.
func TestWayToANamedUpstream(t *testing.T) {
	far, proxy := newFarProvider(t, nil), testproxy.Start(t, testproxy.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, far.ca)
	const site = `
	handle_path /named/* {
		token_proxy https://%s {
			realm far
			key main
			%s
		}
	}`
	i := newInstance(t)
	i.load("allow_private 127.0.0.1", fmt.Sprintf(site, far.host, ""))
	i.must(http.MethodPost, "/api/realm", fmt.Sprintf(`{"id":"far","config":{"api":"https://%[1]s","url":"https://%[1]s/token","token_path":"access_token",
		"inject":[{"place":"header","name":"Authorization","value":"Bearer {token}"}],"ca":%[2]q,"proxy":%[3]q}}`, far.host, far.ca, "http://"+proxy.Addr))
	i.must(http.MethodPost, "/api/secret", `{"realm":"far","key":"main","fields":{"x":"y"}}`)
	if a := i.get("/named/menu"); a.StatusCode != http.StatusBadGateway || !strings.Contains(a.body, "certificate") {
		t.Errorf("the realm says who vouches for the upstream: %s %s", a.Status, a.body)
	}
	i.load("allow_private 127.0.0.1", fmt.Sprintf(site, far.host, "transport token {\ntls_trust_pool file "+ca+"\n}"))
	before := len(proxy.Asked())
	if a := i.get("/named/menu"); a.StatusCode != http.StatusOK || len(proxy.Asked()) != before {
		t.Errorf("%s %s, and the proxy was asked for %v", a.Status, a.body, proxy.Asked()[before:])
	}
	i = newInstance(t)
	i.load(farRealm("far", far, "ca "+ca+"\nproxy http://"+proxy.Addr+"\nsecret main {\nx y\n}"), fmt.Sprintf(site, far.host, ""))
	before = len(proxy.Asked())
	if a := i.get("/named/menu"); a.StatusCode != http.StatusOK || len(proxy.Asked()) == before {
		t.Errorf("a realm of the Caddyfile: %s %s, and the proxy was asked for %v", a.Status, a.body, proxy.Asked()[before:])
	}
}

// TestResolvingProxyIsLogged: a proxy that resolves names decides what is reached.
func TestResolvingProxyIsLogged(t *testing.T) {
	far, i := newFarProvider(t, nil), newInstance(t)
	i.load("", farSite)
	for where, lines := range map[string][2]string{
		"in the tokens block": {"proxy http://127.0.0.1:1 resolve", ""}, "in a realm": {"", "proxy http://127.0.0.1:1 resolve"},
	} {
		before := len(i.log())
		i.load(lines[0]+farRealm("far", far, lines[1]), farSite)
		if !strings.Contains(i.log()[before:], "which addresses it reaches is not checked here") {
			t.Errorf("resolve %s is not in the log", where)
		}
	}
}

// The token goes to no proxy in clear: the configuration, the API and the transport
// refuse it, each as soon as it knows.
func TestNothingInClear(t *testing.T) {
	proxy := testproxy.Start(t, testproxy.Options{})
	i := newInstance(t)
	const plain = `
	realm plain {
		api http://127.0.0.1:1
		grant static
		inject query access_token
		%s
		secret main {
			token clear-canary
		}
	}`
	line := "proxy http://" + proxy.Addr
	for name, tokens := range map[string]string{
		"own": fmt.Sprintf(plain, line), "of all realms": line + fmt.Sprintf(plain, ""),
	} {
		if err := i.tryLoad(tokens, farSite); err == nil || !strings.Contains(err.Error(), "must be https") {
			t.Errorf("%s: %v", name, err)
		}
	}
	i.load(line+fmt.Sprintf(plain, "proxy off"), farSite)
	config := `{"id":"db","config":{"api":"http://127.0.0.1:1","allow_http":true,"grant":{"name":"static"},"inject":[{"place":"url","name":"t"}]%s}}`
	for _, own := range []string{"", `,"proxy":"http://127.0.0.1:3128"`} {
		if a := i.call(http.MethodPost, "/api/realm", fmt.Sprintf(config, own)); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "must be https") {
			t.Errorf("saved: %s %s", a.Status, a.body)
		}
	}
	i.load("allow_private 127.0.0.1", farSite)
	i.must(http.MethodPost, "/api/realm", fmt.Sprintf(config, ""))
	i.must(http.MethodPost, "/api/secret", `{"realm":"db","key":"main","fields":{"token":"clear-canary"}}`)
	i.load("allow_private 127.0.0.1\n"+line, farSite) // the realm was there before the proxy
	if a := i.get("/any/db/main/menu"); a.StatusCode != http.StatusBadGateway || !strings.Contains(a.body, "without https") {
		t.Errorf("called: %s %s", a.Status, a.body)
	}
	if proxy.Saw("clear-canary") || len(proxy.Asked()) > 0 {
		t.Errorf("the proxy was asked for %v", proxy.Asked())
	}
}

// An API that is not reached is answered with the reason, and blames nobody: the
// token stays. Where the proxy reaches it the next time, a retry of the operator's
// goes through.
func TestUnreachedAPI(t *testing.T) {
	const password = "proxy-canary-3Wz"
	far := newFarProvider(t, nil)
	_, other, _ := selfSigned(t, "another authority")
	gone := testproxy.Start(t, testproxy.Options{})
	gone.Stop()
	asking := testproxy.Start(t, testproxy.Options{User: "u", Password: "x"})
	barred := testproxy.Start(t, testproxy.Options{Refuse: http.StatusForbidden})
	blind := testproxy.Start(t, testproxy.Options{SOCKS: true, Refuse: 4})
	once := testproxy.Start(t, testproxy.Options{Refuse: http.StatusBadGateway, RefuseFirst: 1})
	certificates := t.TempDir()
	right, wrong := filepath.Join(certificates, "right.pem"), filepath.Join(certificates, "wrong.pem")
	writeFile(t, right, far.ca)
	writeFile(t, wrong, other)
	nobody := freeAddress(t)
	var tokens, site strings.Builder
	add := func(id, api, line string) {
		_, _ = fmt.Fprintf(&tokens, `
	realm %s {
		api https://%s
		grant static
		inject header Authorization "Bearer {token}"
		renew_on status 401 502
		%s
		secret main {
			token %s
		}
	}`, id, api, line, farToken)
		_, _ = fmt.Fprintf(&site, `
	handle_path /one/%[1]s/* {
		token_proxy {
			realm %[1]s
			key main
		}
	}`, id)
	}
	cases := map[string]struct{ api, line, want string }{
		"authority": {far.host, "ca " + wrong, "the certificate is not trusted: its issuer is unknown"},
		"nobody":    {nobody, "ca " + right, "dial tcp " + nobody + ": connect: connection refused"},
		"gone":      {far.host, "proxy http://u:" + password + "@" + gone.Addr, "the proxy " + gone.Addr + " cannot be used: connection refused"},
		"asking":    {far.host, "proxy http://u:" + password + "@" + asking.Addr, "the proxy " + asking.Addr + " does not accept the user and the password (407)"},
		"barred":    {far.host, "proxy http://" + barred.Addr, "the proxy " + barred.Addr + " does not let the connection through (403)"},
		"blind":     {far.host, "proxy socks5://" + blind.Addr, "the proxy " + blind.Addr + " does not reach the provider"},
	}
	for id, c := range cases {
		add(id, c.api, c.line)
	}
	add("once", far.host, "ca "+right+"\nproxy http://"+once.Addr)
	i := newInstance(t)
	i.load(tokens.String(), site.String()+`
	handle_path /retried/* {
		token_proxy {
			realm once
			key main
			lb_retries 2
		}
	}
	handle_path /any/* {
		token_gateway
	}`)
	for id, c := range cases {
		for _, path := range []string{"/one/" + id + "/menu", "/any/" + id + "/main/menu"} {
			a := i.get(path)
			want := `"detail":"the API of realm ` + id + ` gave no answer: ` + c.want + `","code":"upstream_unreachable"`
			if a.StatusCode != http.StatusBadGateway || a.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(a.body, want) {
				t.Errorf("%s: %s %s", path, a.Status, a.body)
			}
		}
	}
	if a := i.get("/retried/menu"); a.StatusCode != http.StatusOK || len(once.Asked()) != 2 {
		t.Errorf("retried: %s %s, asked for %v", a.Status, a.body, once.Asked())
	}
	log := i.log()
	if strings.Contains(log, password) || strings.Contains(log, farToken) {
		t.Error("a password or a token is in the log")
	}
	if !strings.Contains(log, "the API gave no answer") || strings.Contains(log, "the API refused the token") {
		t.Error("the log does not say why, or blames the token")
	}
}

// A host name that cannot be resolved is answered with the reason, whichever handler
// the request goes through. No question about it leaves this machine.
func TestNameThatDoesNotResolve(t *testing.T) {
	resolvers := "resolvers udp/" + testproxy.NameServer(t)
	around := httptest.NewServer(http.NotFoundHandler())
	defer around.Close()
	i := newInstance(t)
	i.load(`
	realm far {
		api https://api.invalid
		grant static
		inject header Authorization "Bearer {token}"
		secret main {
			token `+farToken+`
		}
	}`, `
	handle_path /one/* {
		token_proxy {
			realm far
			key main
			transport token {
				`+resolvers+`
			}
		}
	}
	handle_path /any/* {
		token_gateway {
			transport token {
				`+resolvers+`
			}
		}
	}
	handle_path /own/* {
		reverse_proxy https://api.invalid {
			header_up Host {upstream_hostport}
			transport token {
				realm far
				key main
				`+resolvers+`
			}
		}
	}
	handle_path /handled/* {
		reverse_proxy https://api.invalid {
			lb_retries 1
			transport token {
				realm far
				key main
				`+resolvers+`
			}
		}
	}
	handle_path /nested/* {
		reverse_proxy `+around.URL+` {
			handle_response {
				reverse_proxy https://api.invalid {
					header_up Host {upstream_hostport}
					lb_retries 1
					transport token {
						realm far
						key main
						`+resolvers+`
					}
				}
			}
		}
	}
	handle_errors {
		respond "handled {err.status_code}" 502
	}`)
	for _, path := range []string{"/one/menu", "/any/far/main/menu", "/own/menu"} {
		a := i.get(path)
		code, detail := problemOf(t, a)
		if want := "the API of realm far gave no answer: dial tcp: lookup api.invalid"; a.StatusCode != http.StatusBadGateway ||
			code != "upstream_unreachable" || !strings.HasPrefix(detail, want) || !strings.Contains(detail, "no such host") {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	// Where the operator has it tried again, an error is what that goes by.
	// That reverse_proxy is the one of the transport, whatever is around it.
	for _, path := range []string{"/handled/menu", "/nested/menu"} {
		if a := i.get(path); a.StatusCode != http.StatusBadGateway || a.body != "handled 502" {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
	if strings.Contains(i.log(), farToken) {
		t.Error("the token is in the log")
	}
}

// The same by network_proxy, which takes precedence over the realm's proxy, resolves
// the names, and may see what is not https.
func TestNetworkProxy(t *testing.T) {
	far, named, own := newFarProvider(t, nil), testproxy.Start(t, testproxy.Options{}), testproxy.Start(t, testproxy.Options{})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, far.ca)
	i := newInstance(t)
	i.load(farRealm("far", far, "ca "+ca+"\nproxy http://"+own.Addr+`
		secret main {
			x y
		}`), `
	handle_path /any/* {
		token_gateway {
			transport token {
				network_proxy url http://`+named.Addr+`
			}
		}
	}`)
	if a := i.get("/any/far/main/menu"); a.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", a.Status, a.body)
	}
	if got, want := named.Asked(), []string{far.host}; !slices.Equal(got, want) {
		t.Errorf("network_proxy was asked for %v", got)
	}
	if got, want := own.Asked(), []string{far.host}; !slices.Equal(got, want) { // the token request
		t.Errorf("the realm's proxy was asked for %v", got)
	}
	i.must(http.MethodPost, "/api/realm", `{"id":"db","config":{"api":"https://`+far.host+`","grant":{"name":"static"},"inject":[{"place":"url","name":"t"}]}}`)
	i.must(http.MethodPost, "/api/secret", `{"realm":"db","key":"main","fields":{"token":"t"}}`)
	if a := i.get("/any/db/main/menu"); a.StatusCode != http.StatusBadGateway || len(named.Asked()) != 1 {
		t.Errorf("a private address that the API wrote: %s %s", a.Status, a.body)
	}
}
