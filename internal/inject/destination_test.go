package inject

import (
	"net/http"
	"net/url"
	"testing"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// TestDestination has every way to name a host that is, or only looks like, one of
// the realm's.
func TestDestination(t *testing.T) {
	hosts := []string{"api.example.com", "*.cdn.example.com:8443", "10.0.0.7:9000", "[2001:db8::7]", "bücher.example"}
	for _, tt := range []struct {
		dial, host, scheme string
		ok                 bool
	}{
		{"api.example.com:443", "", "https", true},
		{"API.Example.COM:443", "", "https", true},
		{"api.example.com.:443", "", "https", true},
		{"api.example.com", "", "https", true},
		{"api.example.com:8443", "", "https", false},
		{"api.example.com:80", "", "https", false},
		{"api.example.com:443", "", "ftp", false},
		{"api.example.com:443", "", "", false},
		{"api.example.com:80", "", "http", false},
		{"evil.com:443", "", "https", false},
		{"api.example.com.evil.com:443", "", "https", false},
		{"evilapi.example.com:443", "", "https", false},
		{"example.com:443", "", "https", false},
		{"api.example.com@evil.com:443", "", "https", false},
		{"api.example.com\x00.evil.com:443", "", "https", false},
		{"api.example.com/evil:443", "", "https", false},
		{"a.cdn.example.com:8443", "", "https", true},
		{"a.b.cdn.example.com:8443", "", "https", false},
		{"cdn.example.com:8443", "", "https", false},
		{".cdn.example.com:8443", "", "https", false},
		{"10.0.0.7:9000", "", "https", true},
		{"[::ffff:10.0.0.7]:9000", "", "https", true},
		{"010.0.0.7:9000", "", "https", false},
		{"167772167:9000", "", "https", false},
		{"0x0a.0.0.7:9000", "", "https", false},
		{"[2001:db8::7]:443", "", "https", true},
		{"[2001:0db8:0:0::7]:443", "", "https", true},
		{"[2001:db8::8]:443", "", "https", false},
		{"[2001:db8::7%eth0]:443", "", "https", false},
		{"bücher.example:443", "", "https", true},
		{"xn--bcher-kva.example:443", "", "https", true},
		{"unix//run/api.sock", "", "https", false},
		{"", "", "https", false},
		{"api.example.com:443", "api.example.com", "https", true},
		{"api.example.com:443", "API.example.com.:443", "https", true},
		{"api.example.com:443", "a.cdn.example.com:8443", "https", true},
		{"api.example.com:443", "evil.com", "https", false},
		{"api.example.com:443", "api.example.com:8080", "https", false},
		{"api.example.com:443", "api.example.com, evil.com", "https", false},
		{"evil.com:443", "api.example.com", "https", false},
	} {
		l := lease(hosts, inHeader)
		req := get("/")
		req.URL.Scheme, req.URL.Host, req.Host = tt.scheme, tt.dial, tt.host
		closed := watchBody(req)
		out, got := sendJob(t, Job{Lease: l, Dial: tt.dial, KeepHost: tt.host != ""}, req)
		equal(t, tt.ok, out != nil, "sent to "+tt.dial+" as "+tt.host+" by "+tt.scheme)
		if !tt.ok {
			equal(t, http.StatusBadGateway, got.status, tt.dial)
			equal(t, true, closed(), "body closed")
		}
	}
}

func TestDestinationPlainHTTP(t *testing.T) {
	for _, tt := range []struct{ allow, trusted, ok bool }{
		{false, false, false}, {true, false, true}, {false, true, true},
	} {
		l := apiLease(inHeader)
		l.Target.AllowHTTP, l.Target.Trusted = tt.allow, tt.trusted
		req := get("/")
		req.URL.Scheme = "http"
		out, _ := sendJob(t, Job{Lease: l, Dial: "api.example.com:80"}, req)
		equal(t, tt.ok, out != nil, "sent")
	}
}

func TestDestinationAtAPI(t *testing.T) {
	for _, tt := range []struct{ api, path, want string }{
		{"https://api.example.com", "/a/b?x=1", "https://api.example.com/a/b?x=1"},
		{"https://api.example.com/", "/a%2Fb", "https://api.example.com/a%2Fb"},
		{"https://api.example.com/v1", "/a%2Fb//c/", "https://api.example.com/v1/a%2Fb//c/"},
		{"https://api.example.com/v1/", "/", "https://api.example.com/v1/"},
		{"https://api.example.com/a%2Fb", "/c d", "https://api.example.com/a%2Fb/c%20d"},
		{"https://api.example.com/v1", "", "https://api.example.com/v1"},
	} {
		l := apiLease(inHeader)
		l.Target.API = mustURL(t, tt.api)
		req := get("/")
		req.URL = mustURL(t, tt.path)
		req.URL.User = url.UserPassword("a", "b")
		req.Host = "proxy:8080"
		out, _ := sendJob(t, Job{Lease: l, Dial: "api.example.com:443", UseAPI: true}, req)
		equal(t, tt.want, out.URL.String(), tt.api+" "+tt.path)
		equal(t, "api.example.com", out.Host, "Host")
	}
	_, got := sendJob(t, Job{Lease: apiLease(inHeader), Dial: "api.example.com:443", UseAPI: true}, get("/"))
	equal(t, http.StatusConflict, got.status, "a realm without api")
}

// TestDestinationOfAnAnswer: where the provider says the host of the API with each
// token, a request goes where it was dialled for, or nowhere.
func TestDestinationOfAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		api, dial string
		ok        bool
	}{
		{"https://a.api.example.com/v1", "a.api.example.com:443", true},
		{"https://a.api.example.com:443/v1", "a.api.example.com:443", true},
		{"https://a.api.example.com:8443/v1", "a.api.example.com:8443", true},
		{"https://[2001:db8::7]/v1", "[2001:db8::7]:443", true},
		{"http://a.api.example.com/v1", "a.api.example.com:80", true},
		{"https://b.api.example.com/v1", "a.api.example.com:443", false}, // that of the token before this one
		{"https://a.api.example.com:8443/v1", "a.api.example.com:443", false},
		{"http://a.api.example.com/v1", "a.api.example.com:443", false},
	} {
		l := lease([]string{"*.api.example.com", "*.api.example.com:8443", "[2001:db8::7]"}, inHeader)
		l.Target.API, l.Target.Kept, l.Target.AllowHTTP = mustURL(t, tt.api), "kept", true
		out, got := sendJob(t, Job{Lease: l, Dial: tt.dial, UseAPI: true}, get("/"))
		equal(t, tt.ok, out != nil, tt.api+" at "+tt.dial)
		if !tt.ok {
			equal(t, http.StatusBadGateway, got.status, tt.api)
		}
	}
	l := apiLease(inHeader)
	l.Target.Refused = &realm.Error{Code: realm.CodeHostNotAllowed, Status: http.StatusBadGateway, Detail: "refused"}
	out, got := sendJob(t, Job{Lease: l, Dial: "api.example.com:443", UseAPI: true}, get("/"))
	equal(t, true, out == nil && got.status == http.StatusBadGateway, "a refused API")
}

// The Host that is sent is the upstream's, in its usual form.
func TestDestinationHost(t *testing.T) {
	req := get("/")
	req.Host = "proxy.internal"
	out, _ := send(t, apiLease(inHeader), req)
	equal(t, "api.example.com", out.Host, "Host")
}

func TestDestinationRefusesOddTargets(t *testing.T) {
	for _, u := range []*url.URL{
		{Opaque: "//evil.com/x"},
		{Path: "*"},
		{Path: "evil"},
		{Path: "/", RawQuery: "a=1#b"},
		{Path: "/", RawQuery: "a b"},
		{Path: "/", RawQuery: "a\r\nb"},
		{Path: "/", RawQuery: "a\x7f"},
	} {
		u.Scheme, u.Host = "https", "api.example.com"
		req := get("/")
		req.URL = u
		_, got := send(t, apiLease(inQuery), req)
		equal(t, http.StatusBadRequest, got.status, u.String())
	}
}

// The token leaves only where both the dialled address and the Host are
// allowed, whatever the realm and the upstream are; and the guard is left out
// only where the operator named one of them.
func TestDestinationProperty(t *testing.T) {
	names := []string{"a.example", "b.example", "x.b.example", "127.0.0.1", "[::1]"}
	ports := []string{"", ":443", ":8443", ":80"}
	rapid.Check(t, func(t *rapid.T) {
		hostport := func(what string) string {
			return rapid.SampledFrom(names).Draw(t, what) + rapid.SampledFrom(ports).Draw(t, what+" port")
		}
		allowed := rapid.SliceOfN(rapid.Custom(func(*rapid.T) string { return hostport("allowed") }), 0, 3).Draw(t, "hosts")
		l := lease(allowed, inHeader)
		l.Target.Trusted = rapid.Bool().Draw(t, "trusted")
		l.Target.AllowHTTP = rapid.Bool().Draw(t, "http")
		job := Job{
			Lease: l, Dial: hostport("dial"), KeepHost: rapid.Bool().Draw(t, "keep"),
			TrustedDial: rapid.Bool().Draw(t, "trusted dial"),
		}
		req := get("/")
		req.URL.Scheme = rapid.SampledFrom([]string{"http", "https"}).Draw(t, "scheme")
		req.Host = hostport("host")
		base, guarded := &recorder{}, &recorder{}
		transport := over(base, job)
		transport.Guarded = guarded
		resp, err := transport.RoundTrip(req)
		noError(t, err)
		noError(t, resp.Body.Close())

		ok := inHosts(allowed, job.Dial, req.URL.Scheme) && (!job.KeepHost || inHosts(allowed, req.Host, req.URL.Scheme))
		ok = ok && (req.URL.Scheme == "https" || l.Target.Trusted || l.Target.AllowHTTP)
		equal(t, ok, base.got != nil || guarded.got != nil, "sent")
		if ok {
			equal(t, job.TrustedDial || l.Target.Trusted, base.got != nil, "without a guard")
		}
	})
}

// inHosts is the rule of the design for plain names: equal with the scheme's
// port filled in.
func inHosts(hosts []string, hostport, scheme string) bool {
	full := func(s string) string {
		if u := (&url.URL{Host: s}); u.Port() == "" {
			return s + map[string]string{"http": ":80", "https": ":443"}[scheme]
		}
		return s
	}
	for _, h := range hosts {
		if full(h) == full(hostport) {
			return true
		}
	}
	return false
}

func mustURL(t tester, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	noError(t, err)
	return u
}
