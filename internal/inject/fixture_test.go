package inject

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The token has bytes that a query escapes, so that every test meets both of
// its forms.
const (
	token        = "canary/T0ken+4f9c2e71=="
	tokenEscaped = "canary%2FT0ken%2B4f9c2e71%3D%3D"
)

var (
	inQuery  = realm.Place{In: realm.PlaceURL, Name: "access_token", Pair: "access_token="}
	inHeader = realm.Place{In: realm.PlaceHeader, Name: "Authorization"}
	inCustom = realm.Place{In: realm.PlaceHeader, Name: "X-Access-Token"}
)

// tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

func noError(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// equal fails the test, and lets it go on, where got is not want.
func equal[T any](t tester, want, got T, what string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// lease makes a lease of the token for the given places and hosts.
func lease(hosts []string, places ...realm.Place) *realm.Lease {
	l := &realm.Lease{Access: token, Source: realm.FromMemory, Target: &realm.Target{Inject: places}}
	for _, h := range hosts {
		p, err := realm.ParseHostPattern(h)
		if err != nil {
			panic(err)
		}
		l.Target.Hosts = append(l.Target.Hosts, p)
	}
	for _, p := range places {
		switch {
		case p.In == realm.PlaceURL:
			l.Values = append(l.Values, tokenEscaped)
		case p.Name == "Authorization":
			l.Values = append(l.Values, "Bearer "+token)
		default:
			l.Values = append(l.Values, token)
		}
	}
	return l
}

// apiLease is a lease for api.example.com.
func apiLease(places ...realm.Place) *realm.Lease {
	return lease([]string{"api.example.com"}, places...)
}

// roundTripper is a function as a base transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// recorder is a base transport that answers 200 and keeps what it was given.
type recorder struct {
	got    *http.Request
	header http.Header // of the answer
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.got = req
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.header.Clone(), Body: http.NoBody, Request: req,
	}, nil
}

// noSource is a Source that must not be asked for a token.
type noSource struct{}

func (noSource) Heal(context.Context, realm.Ref, realm.Hidden, realm.Blame) (*realm.Lease, bool, error) {
	panic("asked for another token")
}

func (noSource) Helped(realm.Ref, *realm.Lease) { panic("told of a heal") }

func (noSource) Worked(realm.Ref, *realm.Lease) {}

// over makes a transport over one base, for one job.
func over(base http.RoundTripper, job Job) *Transport {
	return &Transport{
		Base: base, Guarded: base, Log: zap.NewNop(),
		Source: noSource{}, History: new(History),
		Job: func(*http.Request) (Job, error) { return job, nil },
	}
}

// answer is an answer that was read to its end.
type answer struct {
	status          int
	header, trailer http.Header
	body            string
}

func read(t tester, resp *http.Response) answer {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	noError(t, err)
	noError(t, resp.Body.Close())
	return answer{resp.StatusCode, resp.Header, resp.Trailer, string(b)}
}

// send sends req through a transport whose job is l to api.example.com, and
// returns what left (nil: nothing did) and what was answered.
func send(t tester, l *realm.Lease, req *http.Request) (*http.Request, answer) {
	t.Helper()
	return sendJob(t, Job{Lease: l, Dial: "api.example.com:443"}, req)
}

func sendJob(t tester, job Job, req *http.Request) (*http.Request, answer) {
	t.Helper()
	rec := &recorder{header: http.Header{}}
	resp, err := over(rec, job).RoundTrip(req)
	noError(t, err)
	return rec.got, read(t, resp)
}

// get is a request as the proxy in front hands it over.
func get(target string) *http.Request { return getWith(context.Background(), target) }

func getWith(ctx context.Context, target string) *http.Request {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	req.URL.Scheme, req.URL.Host = "https", "api.example.com"
	req.RequestURI = ""
	return req
}

// proxied is a reverse proxy with our transport in front of a real upstream.
type proxied struct {
	front, upstream *httptest.Server
	lease           *realm.Lease
	job             Job
	transport       *Transport
}

// serve starts an upstream with the handler and a proxy in front of it, both
// speaking HTTP/1.1, or both HTTP/2 where h2 is set.
func serve(t *testing.T, h2 bool, upstream http.HandlerFunc, places ...realm.Place) *proxied {
	t.Helper()
	p := &proxied{upstream: start(t, h2, upstream)}
	p.lease = lease([]string{p.upstream.Listener.Addr().String()}, places...)
	p.lease.Target.AllowHTTP = true
	p.job = Job{Lease: p.lease, Dial: p.upstream.Listener.Addr().String()}
	transport := over(p.upstream.Client().Transport, Job{})
	transport.Job = func(*http.Request) (Job, error) { return p.job, nil }
	p.transport = transport
	to, err := url.Parse(p.upstream.URL)
	noError(t, err)
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Trailer = r.In.Trailer
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	p.front = start(t, h2, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 is, and does not know the call
		proxy.ServeHTTP(w, r)
	})
	return p
}

func start(t *testing.T, h2 bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	if h2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

// request is a request to the proxy.
func (p *proxied) request(t *testing.T, method, target string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.front.URL+target, body)
	noError(t, err)
	return req
}

// do sends a request to the proxy and reads the answer to its end.
func (p *proxied) do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := p.front.Client().Do(req)
	noError(t, err)
	return read(t, resp)
}

// echo answers with the request line and header fields that arrived.
func echo(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.RequestURI + "\n" + "Host: " + r.Host + "\n")
	_ = r.Header.Write(&b)
	_, _ = io.WriteString(w, b.String())
}
