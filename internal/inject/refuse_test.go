package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// watchBody gives the request a body, and reports whether it was closed.
func watchBody(req *http.Request) (closed func() bool) {
	b := &watched{Reader: strings.NewReader("body")}
	req.Body, req.ContentLength = b, 4
	return b.done.Load
}

type watched struct {
	io.Reader
	done atomic.Bool
}

func (w *watched) Close() error {
	w.done.Store(true)
	return nil
}

// problemOf reads a problem document.
func problemOf(t tester, a answer) (doc struct {
	Status int
	Code   realm.Code
	Detail string
},
) {
	t.Helper()
	equal(t, "application/problem+json", a.header.Get("Content-Type"), "content type")
	noError(t, json.Unmarshal([]byte(a.body), &doc))
	equal(t, a.status, doc.Status, "status")
	return doc
}

// A source's error is answered; no request leaves without its token.
func TestRefuseWithoutToken(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   realm.Code
		after  string
	}{
		{&realm.Error{Code: realm.CodeRealmNotFound, Status: 404, Detail: "no realm"}, 404, realm.CodeRealmNotFound, ""},
		{&realm.Error{Code: realm.CodeReauthRequired, Status: 502, Detail: "again"}, 502, realm.CodeReauthRequired, ""},
		{fmt.Errorf("deep: %w", &realm.Error{
			Code: realm.CodeTokenUnavailable, Status: 503, Detail: "down", RetryAfter: 1500 * time.Millisecond,
			Err: context.Canceled,
		}), 503, realm.CodeTokenUnavailable, "2"},
		{context.DeadlineExceeded, 504, realm.CodeTokenUnavailable, ""},
		{context.Canceled, 500, realm.CodeInternal, ""}, // somebody else's
		{errors.New("boom " + token), 500, realm.CodeInternal, ""},
	} {
		what := tt.err.Error()
		req := get("/")
		closed := watchBody(req)
		resp, err := withoutLease(Job{}, tt.err).RoundTrip(req)
		noError(t, err)
		got := read(t, resp)
		doc := problemOf(t, got)
		equal(t, tt.status, doc.Status, what)
		equal(t, tt.code, doc.Code, what)
		equal(t, tt.after, got.header.Get("Retry-After"), what)
		equal(t, true, closed(), "body closed")
	}
}

// withoutLease makes a transport whose job fails.
func withoutLease(job Job, err error) *Transport {
	transport := over(nil, job)
	transport.Job = func(*http.Request) (Job, error) { return job, err }
	return transport
}

func TestRefuseCallerIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	transport := withoutLease(Job{}, fmt.Errorf("waiting: %w", context.Canceled))
	resp, err := transport.RoundTrip(getWith(ctx, "/")) //nolint:bodyclose // there is none
	if resp != nil || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, %v", resp, err)
	}
}

// TRACE would be answered with the token in it.
func TestRefuseMethods(t *testing.T) {
	for method, ok := range map[string]bool{
		"TRACE": false, "trace": false, "TRACK": false, "CONNECT": false, "connect": false,
		"GET": true, "OPTIONS": true, "PROPFIND": true, "": true,
	} {
		req := get("/")
		req.Method = method
		out, got := send(t, apiLease(inHeader), req)
		equal(t, ok, out != nil, method)
		if !ok {
			equal(t, http.StatusMethodNotAllowed, got.status, method)
			equal(t, allowedMethods, got.header.Get("Allow"), "Allow")
			equal(t, realm.CodeMethod, problemOf(t, got).Code, method)
		}
	}
}

// A realm may allow some methods only. Their names are case-sensitive, since an
// upstream that folds them would take "get" for a method that was not judged.
func TestRefuseMethodsOfTheRealm(t *testing.T) {
	for method, ok := range map[string]bool{
		"GET": true, "": true, "PURGE": true,
		"POST": false, "get": false, "HEAD": false, "TRACE": false, "CONNECT": false,
	} {
		l := apiLease(inHeader)
		l.Target.Methods = []string{"GET", "PURGE"}
		req := get("/")
		req.Method = method
		out, got := send(t, l, req)
		equal(t, ok, out != nil, method)
		if !ok {
			equal(t, http.StatusMethodNotAllowed, got.status, method)
			equal(t, "GET, PURGE", got.header.Get("Allow"), "Allow")
			equal(t, realm.CodeMethod, problemOf(t, got).Code, method)
		}
	}
}

// An extended CONNECT opens a WebSocket, as a GET does with HTTP/1.1.
func TestRefuseMethodsOfUpgrades(t *testing.T) {
	for method, ok := range map[string]bool{"GET": true, "POST": false} {
		req := get("/")
		req.Method, req.Header = http.MethodConnect, http.Header{":protocol": {"websocket"}}
		l := apiLease(inHeader)
		l.Target.Upgrade, l.Target.Methods = true, []string{method}
		out, _ := send(t, l, req)
		equal(t, ok, out != nil, method)
	}
}

func TestRefuseUpgrades(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		for _, kind := range []http.Header{{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}, {":protocol": {"websocket"}}} {
			req := get("/")
			req.Header = kind
			if kind.Get("Upgrade") == "" {
				req.Method = http.MethodConnect
			}
			l := apiLease(inHeader)
			l.Target.Upgrade = allowed
			out, got := send(t, l, req)
			equal(t, allowed, out != nil, "sent")
			if !allowed {
				equal(t, http.StatusForbidden, got.status, "status")
				equal(t, realm.CodeForbidden, problemOf(t, got).Code, "code")
			}
		}
	}
}

// An upstream that switches protocols unasked would turn the hop into a raw
// tunnel.
func TestRefuseUnaskedSwitch(t *testing.T) {
	tunnel := &watched{Reader: strings.NewReader("")}
	base := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: tunnel}, nil
	})
	resp, err := over(base, Job{Lease: apiLease(inHeader), Dial: "api.example.com:443"}).RoundTrip(get("/"))
	noError(t, err)
	equal(t, http.StatusBadGateway, resp.StatusCode, "status")
	noError(t, resp.Body.Close())
	equal(t, true, tunnel.done.Load(), "tunnel closed")
}

// The last look: what cannot carry the token does not leave.
func TestRefuseWithoutPlace(t *testing.T) {
	for what, l := range map[string]*realm.Lease{
		"no place":         apiLease(),
		"an unknown place": apiLease(realm.Place{In: "nowhere", Name: "access_token"}),
		"no values":        {Access: token, Target: apiLease(inQuery).Target},
		"an empty value":   {Access: token, Target: apiLease(inHeader).Target, Values: []string{""}},
		"an empty pair":    apiLease(realm.Place{In: realm.PlaceURL, Name: "access_token"}),
		"Host":             apiLease(realm.Place{In: realm.PlaceHeader, Name: "Host"}),
		"Connection":       apiLease(realm.Place{In: realm.PlaceHeader, Name: "Connection"}),
		"one place twice":  apiLease(inCustom, inHeader, realm.Place{In: realm.PlaceHeader, Name: "Authorization"}, inHeader),
	} {
		if what == "one place twice" {
			l.Values[1] = "other"
		}
		out, got := send(t, l, get("/"))
		equal(t, true, out == nil, what)
		equal(t, http.StatusBadGateway, got.status, what)
		equal(t, realm.CodeTokenUnavailable, problemOf(t, got).Code, what)
	}
}

// Refusals are logged without the token.
func TestRefuseLogs(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	for _, job := range []Job{
		{Ref: realm.Ref{Realm: "r", Key: "k"}, Lease: apiLease(inHeader), Dial: "evil.com:443"},
		{Ref: realm.Ref{Realm: "r", Key: "k"}, Lease: apiLease(), Dial: "api.example.com:443"},
		{Ref: realm.Ref{Realm: "r", Key: "k"}},
	} {
		transport := over(nil, job)
		if job.Lease == nil {
			transport = withoutLease(job, errors.New("boom "+token))
		}
		transport.Log = zap.New(core)
		resp, err := transport.RoundTrip(get("/"))
		noError(t, err)
		noError(t, resp.Body.Close())
	}
	equal(t, 3, logs.Len(), "entries")
	for _, entry := range logs.All() {
		text := fmt.Sprint(entry.Message, entry.ContextMap())
		equal(t, "r", entry.ContextMap()["realm"], "realm")
		if strings.Contains(text, token) {
			t.Errorf("the token is in %q", text)
		}
	}
}
