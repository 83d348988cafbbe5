package inject

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestProxyInjects(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, echo, inQuery, inHeader, inCustom)
		got := p.do(t, p.request(t, http.MethodGet, "/a%2Fb?z=%20+&ACCESS%5fTOKEN=evil&a=%zz", nil)).body
		line, fields, _ := strings.Cut(got, "\n")
		equal(t, "GET /a%2Fb?z=%20+&a=%zz&"+ours, line, "request line")
		equal(t, true, strings.Contains(fields, "Authorization: Bearer "+token+"\r\n"), fields)
		equal(t, true, strings.Contains(fields, "X-Access-Token: "+token+"\r\n"), fields)
		equal(t, true, strings.Contains(fields, "Host: "+p.upstream.Listener.Addr().String()+"\n"), fields)
		for _, name := range []string{"X-Forwarded", "Via", "Connection"} {
			equal(t, false, strings.Contains(fields, name), name)
		}
	})
}

// Over a raw socket: no Connection list, duplicate or other spelling
// makes the token vanish or come twice.
func TestProxyRawClients(t *testing.T) {
	p := serve(t, false, echo, inHeader, inCustom)
	for _, lines := range [][]string{
		{"Connection: close, Authorization"},
		{"Connection: authorization", "Connection: X-Access-Token", "Connection: close"},
		{"CONNECTION: AUTHORIZATION,x-access-token,,", "connection: close"},
		{"Connection: keep-alive,\tAuthorization , X-ACCESS-TOKEN"},
		{"Proxy-Connection: Authorization", "Keep-Alive: Authorization", "TE: trailers, Authorization"},
		{"Authorization: evil", "AUTHORIZATION: evil", "authorization: evil"},
		{"X-Access-Token: evil", "X_Access_Token: evil", "x.access.token: evil", "X~Access~Token: evil"},
		{"Trailer: Authorization", "Connection: Trailer, Authorization"},
		{"Connection: X-Access_Token", "X-Access_Token: evil"},
	} {
		c, answers := p.dial(t)
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: proxy\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
		noError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		noError(t, err)
		got := read(t, resp).body
		equal(t, 1, strings.Count(got, "Authorization: Bearer "+token), fmt.Sprint(lines))
		equal(t, 2, strings.Count(got, token), fmt.Sprint(lines))
		equal(t, false, strings.Contains(got, "evil"), got)
	}
}

// Absolute-form targets and foreign Host fields do not move the request.
func TestProxyAbsoluteForm(t *testing.T) {
	var strangers atomic.Int64
	evil := start(t, false, func(http.ResponseWriter, *http.Request) { strangers.Add(1) })
	p := serve(t, false, echo, inQuery)
	for _, request := range []string{
		"GET " + evil.URL + "/x HTTP/1.1\r\nHost: " + evil.Listener.Addr().String(),
		"GET http://user:pass@" + evil.Listener.Addr().String() + "/x HTTP/1.1\r\nHost: proxy",
		"GET /x HTTP/1.1\r\nHost: " + evil.Listener.Addr().String(),
		"GET //" + evil.Listener.Addr().String() + "/x HTTP/1.1\r\nHost: proxy",
	} {
		c, answers := p.dial(t)
		_, err := io.WriteString(c, request+"\r\n\r\n")
		noError(t, err)
		resp, err := http.ReadResponse(answers, nil)
		noError(t, err)
		got := read(t, resp)
		equal(t, http.StatusOK, got.status, request)
		equal(t, true, strings.Contains(got.body, "Host: "+p.upstream.Listener.Addr().String()), request)
	}
	c, answers := p.dial(t)
	_, err := io.WriteString(c, "GET http:evil HTTP/1.1\r\nHost: proxy\r\n\r\n")
	noError(t, err)
	resp, err := http.ReadResponse(answers, nil)
	noError(t, err)
	equal(t, http.StatusBadRequest, resp.StatusCode, "an opaque target")
	noError(t, resp.Body.Close())
	equal(t, 0, strangers.Load(), "requests elsewhere")
}

// Redirects are the caller's to follow, whatever their status and goal.
func TestProxyDoesNotFollow(t *testing.T) {
	var canaries atomic.Int64
	sink := start(t, false, func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI+fmt.Sprint(r.Header), "canary") {
			canaries.Add(1)
		}
	})
	both(t, func(t *testing.T, h2 bool) {
		var calls atomic.Int64
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			w.Header().Set("Location", r.Header.Get("X-To"))
			w.WriteHeader(int(r.ContentLength))
		}, inQuery, inHeader)
		goals := []string{sink.URL + "/", "//" + sink.Listener.Addr().String() + "/", "/same", p.upstream.URL + "/x", "http://sub.localhost/"}
		for status := http.StatusMovedPermanently; status <= http.StatusPermanentRedirect; status++ {
			if slices.Contains([]int{304, 305, 306}, status) {
				continue
			}
			for _, to := range goals {
				req := p.request(t, http.MethodPost, "/", strings.NewReader(strings.Repeat("x", status)))
				req.Header.Set("X-To", to)
				before := calls.Load()
				got := p.do(t, req)
				equal(t, status, got.status, to)
				equal(t, to, got.header.Get("Location"), "Location")
				equal(t, before+1, calls.Load(), "calls")
			}
		}
	})
	equal(t, 0, canaries.Load(), "tokens elsewhere")
}

// Requests share the lease, and nothing else.
func TestProxyConcurrently(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, echo, inQuery, inHeader, inCustom)
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for j := range 20 {
					own := fmt.Sprintf("/%d/%d?access_token=evil&own=%d", i, j, j)
					got := p.do(t, p.request(t, http.MethodGet, own, nil)).body
					want := fmt.Sprintf("GET /%d/%d?own=%d&%s\n", i, j, j, ours)
					equal(t, true, strings.HasPrefix(got, want), got)
					equal(t, 2, strings.Count(got, token), got)
				}
			})
		}
	})
}

// What leaves is a copy: a retry or a log sees the caller's request.
func TestProxyRetrySendsTheSame(t *testing.T) {
	var seen []string
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.URL.String()+fmt.Sprint(r.Header))
		return nil, io.ErrUnexpectedEOF
	})
	transport := over(base, Job{Lease: apiLease(inQuery, inHeader), Dial: "api.example.com:443"})
	req := get("/?access_token=evil&a=1")
	req.Header.Set("X-Forwarded-For", "10.0.0.1")
	for range 3 {
		_, err := transport.RoundTrip(req) //nolint:bodyclose // there is none
		equal(t, true, err != nil, "an error")
		if text := fmt.Sprint(req.URL, req.Header); strings.Contains(text, "canary") {
			t.Fatalf("the caller's request became %s", text)
		}
	}
	equal(t, []string{seen[0], seen[0], seen[0]}, seen, "attempts")
}
