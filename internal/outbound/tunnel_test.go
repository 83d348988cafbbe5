package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/testproxy"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const canary = "the-token-of-the-test"

// provider is an https server that echoes nothing of what it gets.
func provider(t *testing.T) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != canary {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, pool
}

// certificate is what httptest's servers show.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}
}

func policy(t *testing.T, entries ...string) netguard.Policy {
	t.Helper()
	p, err := netguard.Parse(entries)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// resolving is a dialer for which all names have these addresses.
func resolving(t *testing.T, addresses ...string) *net.Dialer {
	t.Helper()
	return &net.Dialer{Resolver: testproxy.Resolver(t, addresses)}
}

func way(t *testing.T, url string, trusted bool) *realm.Way {
	t.Helper()
	parts, err := realm.ProxyURL(url).Parse()
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := parts.With(parts.Userinfo, trusted)
	if err != nil {
		t.Fatal(err)
	}
	return realm.Way{Proxy: proxy}.Identify()
}

// call sends a request with the token to the provider, and returns the error of the
// dialer, or of TLS.
func call(t *testing.T, n *Network, w *realm.Way, trusted bool, address string, roots *x509.CertPool) error {
	t.Helper()
	rt := &http.Transport{DialContext: n.Dial(w, trusted), TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer rt.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", canary)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the token did not arrive: %s", resp.Status)
	}
	return nil
}

// The proxy is asked for the address that was looked up and checked here, with
// the credentials, and sees nothing of the request. TLS is made with the name.
func TestTunnel(t *testing.T) {
	secure := certificate(t)
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(secure.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	api, apiRoots := provider(t)
	port := api.URL[strings.LastIndexByte(api.URL, ':'):]
	for name, c := range map[string]struct {
		scheme string
		o      testproxy.Options
	}{
		"http":                       {"http", testproxy.Options{}},
		"http, credentials":          {"http", testproxy.Options{User: "us er", Password: "p:/@ss"}},
		"https, credentials":         {"https", testproxy.Options{TLS: secure, User: "us er", Password: "p:/@ss"}},
		"socks5":                     {"socks5", testproxy.Options{SOCKS: true}},
		"socks5, user and password":  {"socks5", testproxy.Options{SOCKS: true, User: "us er", Password: "p:/@ss"}},
		"http, credentials in vain":  {"http+", testproxy.Options{}},
		"socks5, nobody wants these": {"socks5+", testproxy.Options{SOCKS: true}},
	} {
		t.Run(name, func(t *testing.T) {
			p := testproxy.Start(t, c.o)
			scheme, always := strings.CutSuffix(c.scheme, "+")
			userinfo := ""
			if c.o.User != "" || always {
				userinfo = "us%20er:p%3A%2F%40ss@"
			}
			n := &Network{Dialer: resolving(t, "127.0.0.1"), Guard: policy(t, "127.0.0.1"), Roots: roots}
			w := way(t, scheme+"://"+userinfo+p.Addr, false)
			if err := call(t, n, w, false, "example.com"+port, apiRoots); err != nil {
				t.Fatal(err)
			}
			if got := p.Asked(); !slices.Equal(got, []string{"127.0.0.1" + port}) {
				t.Errorf("the proxy was asked for %v", got)
			}
			if p.Saw(canary) {
				t.Error("the proxy saw the token")
			}
		})
	}
}

// With resolve the proxy gets the name, and only an address that is written is
// checked here.
func TestResolve(t *testing.T) {
	api, apiRoots := provider(t)
	host := strings.TrimPrefix(api.URL, "https://")
	port := host[strings.LastIndexByte(host, ':'):]
	for _, socks := range []bool{false, true} {
		scheme := map[bool]string{false: "http", true: "socks5"}[socks]
		p := testproxy.Start(t, testproxy.Options{SOCKS: socks, Names: map[string]string{"example.com" + port: host}})
		n := &Network{Dialer: &net.Dialer{Resolver: testproxy.Resolver(t)}, Proxy: way(t, scheme+"://"+p.Addr+" resolve", true).Proxy}
		if err := call(t, n, nil, false, "example.com"+port, apiRoots); err != nil {
			t.Fatal(err)
		}
		if got := p.Asked(); !slices.Equal(got, []string{"example.com" + port}) {
			t.Errorf("%s: the proxy was asked for %v", scheme, got)
		}
		if err := call(t, n, nil, false, host, apiRoots); !errors.Is(err, netguard.ErrForbidden) {
			t.Errorf("%s: %v", scheme, err)
		}
		if err := call(t, n, nil, true, host, apiRoots); err != nil {
			t.Errorf("%s: an address that the operator wrote: %v", scheme, err)
		}
	}
}

// What must not be dialled is not asked of a proxy, and a proxy that the operator
// did not name is itself guarded. A name that means another address the next time
// gains nothing: the proxy gets the address that was checked.
func TestGuardBehindProxy(t *testing.T) {
	_, apiRoots := provider(t)
	p := testproxy.Start(t, testproxy.Options{Refuse: http.StatusForbidden})
	own := func(trusted bool) *realm.Way { return way(t, "http://"+p.Addr, trusted) }
	public := &Network{Dialer: resolving(t, "127.0.0.1")}
	if err := call(t, public, own(true), false, "example.com:443", apiRoots); !errors.Is(err, netguard.ErrForbidden) {
		t.Errorf("a private provider: %v", err)
	}
	if err := call(t, public, own(true), false, "169.254.169.254:443", apiRoots); !errors.Is(err, netguard.ErrForbidden) {
		t.Errorf("a private address: %v", err)
	}
	other := &Network{Dialer: resolving(t, "192.0.2.1", "93.184.216.34")}
	var failed *Error
	if err := call(t, other, own(false), false, "example.com:443", apiRoots); !errors.As(err, &failed) || failed.Fault != ProxyPrivate {
		t.Errorf("a private proxy: %v", err)
	}
	if got := p.Asked(); len(got) > 0 {
		t.Errorf("the proxy was asked for %v", got)
	}
	refusing := testproxy.Start(t, testproxy.Options{Refuse: http.StatusForbidden})
	rebound := &Network{Dialer: &net.Dialer{Resolver: testproxy.Resolver(t, []string{"93.184.216.34"}, []string{"127.0.0.1"})}}
	_ = call(t, rebound, way(t, "http://"+refusing.Addr, true), false, "example.com:443", apiRoots)
	if got := refusing.Asked(); !slices.Equal(got, []string{"93.184.216.34:443"}) {
		t.Errorf("the proxy was asked for %v", got)
	}
}

// Of several addresses the next one is tried where the proxy does not reach one, and
// not where it refuses.
func TestNextAddress(t *testing.T) {
	addresses := []string{"93.184.216.34", "93.184.216.35", "93.184.216.36", "93.184.216.37"}
	for _, c := range []struct {
		socks bool
		code  int
		tries int
		fault Fault
	}{
		{false, http.StatusBadGateway, maxTries, NotReached},
		{false, http.StatusForbidden, 1, Refused},
		{true, 4, maxTries, NotReached},
		{true, 2, 1, Refused},
		{true, 8, maxTries, NotReached}, // an IPv6 address, mostly
	} {
		p := testproxy.Start(t, testproxy.Options{SOCKS: c.socks, Refuse: c.code})
		n := &Network{Dialer: resolving(t, addresses...)}
		err := call(t, n, way(t, map[bool]string{false: "http://", true: "socks5://"}[c.socks]+p.Addr, true), false, "example.com:443", nil)
		var failed *Error
		if !errors.As(err, &failed) || failed.Fault != c.fault || len(p.Asked()) != c.tries {
			t.Errorf("%+v: %v, asked for %v", c, err, p.Asked())
		}
	}
}

// Why a proxy gives no connection is told, with its host and no credential.
func TestProxyErrors(t *testing.T) {
	secure := certificate(t)
	gone := testproxy.Start(t, testproxy.Options{})
	gone.Stop()
	silent := silentServer(t)
	for name, c := range map[string]struct {
		url   string
		fault Fault
		text  string
	}{
		"credentials": {"http://u:canary-pw@" + testproxy.Start(t, testproxy.Options{User: "u", Password: "x"}).Addr, WantsCredentials, "does not accept the user and the password (407)"},
		"none":        {"http://" + testproxy.Start(t, testproxy.Options{User: "u", Password: "x"}).Addr, WantsCredentials, "asks for a user and a password (407)"},
		"socks":       {"socks5://u:canary-pw@" + testproxy.Start(t, testproxy.Options{SOCKS: true, User: "u", Password: "x"}).Addr, WantsCredentials, "does not accept the user and the password"},
		"socks, none": {"socks5://" + testproxy.Start(t, testproxy.Options{SOCKS: true, User: "u", Password: "x"}).Addr, WantsCredentials, "asks for a user and a password"},
		"gone":        {"http://u:canary-pw@" + gone.Addr, ProxyUnreachable, "cannot be used: connection refused"},
		"no TLS":      {"https://u:canary-pw@" + testproxy.Start(t, testproxy.Options{}).Addr, ProxyUnreachable, "cannot be used: "},
		"not trusted": {"https://u:canary-pw@" + testproxy.Start(t, testproxy.Options{TLS: secure}).Addr, ProxyUnreachable, "cannot be used: the certificate is not trusted: its issuer is unknown"},
		"no HTTP":     {"http://u:canary-pw@" + silent, ProxyUnreachable, "cannot be used: "},
		"no SOCKS":    {"socks5://u:canary-pw@" + silent, ProxyUnreachable, "cannot be used: "},
	} {
		n := &Network{Dialer: resolving(t, "93.184.216.34")}
		w := way(t, c.url, true)
		err := call(t, n, w, false, "example.com:443", nil)
		var failed *Error
		if !errors.As(err, &failed) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if failed.Fault != c.fault || !strings.HasPrefix(failed.Error(), "the proxy "+w.Proxy.Host+" "+c.text) {
			t.Errorf("%s: %s: %s", name, failed.Fault, failed)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the password is in %q", name, err)
		}
	}
}

// A caller who leaves ends the waiting for a proxy that says nothing, and is not told
// that the proxy is at fault.
func TestCallerLeaves(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Read(make([]byte, 1)) // the request has begun
		leave()
		_, _ = conn.Read(make([]byte, 1<<10))
		_, _ = conn.Read(make([]byte, 1))
	}()
	n := &Network{Dialer: resolving(t, "93.184.216.34")}
	if _, err := n.Dial(way(t, "http://"+l.Addr().String(), true), false)(ctx, "tcp", "example.com:443"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// silentServer ends every connection at once.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// A proxy that claims a length of what it answers, or does not send what it claims, is
// not waited for (RFC 9110 section 9.3.6).
func TestLengthOfAnswer(t *testing.T) {
	for status, want := range map[string]string{"200 OK": "", "403 Forbidden": "(403)", "407 Proxy Authentication Required": "(407)"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Read(make([]byte, 1<<10))
			_, _ = conn.Write([]byte("HTTP/1.1 " + status + "\r\nContent-Length: 5\r\n\r\n"))
			_, _ = conn.Read(make([]byte, 1))
		}()
		n := &Network{Dialer: resolving(t, "93.184.216.34")}
		conn, err := n.Dial(way(t, "http://"+l.Addr().String(), true), false)(t.Context(), "tcp", "example.com:443")
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", status, err)
		}
	}
}
