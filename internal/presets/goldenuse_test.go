package presets_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// checkUse sends the requests of apps, and has the API's answers judged.
func (s *trial) checkUse(t *testing.T) {
	t.Helper()
	if len(s.config.Inject) == 0 {
		if n := len(s.golden.Injected) + len(s.golden.Dead) + len(s.golden.Alive); n > 0 {
			t.Error("injected, dead and alive are for a realm with inject")
		}
		return
	}
	token := s.useToken(t)
	for _, in := range s.golden.Injected {
		sent, _ := s.proxied(t, token, in.Request, goldenAnswer{Status: http.StatusOK})
		checkLines(t, "injected", in.Sent, sent)
	}
	for _, v := range s.golden.Dead {
		if _, dead := s.proxied(t, token, s.request(), v.Answer); !dead {
			t.Errorf("dead: HTTP %d %s is not taken for the answer to a dead token", v.Answer.Status, v.Answer.Body)
		}
	}
	for _, v := range s.golden.Alive {
		if _, dead := s.proxied(t, token, s.request(), v.Answer); dead {
			t.Errorf("alive: HTTP %d %s is taken for the answer to a dead token", v.Answer.Status, v.Answer.Body)
		}
	}
}

// request is one that the golden file has.
func (s *trial) request() []string {
	if len(s.golden.Injected) == 0 {
		return []string{"GET /"}
	}
	return s.golden.Injected[0].Request
}

// proxied sends an app's request through the real transport to an API that
// answers as told. It returns what arrived there, and whether another token was
// asked for.
func (s *trial) proxied(t *testing.T, token realm.Token, request []string, answer goldenAnswer) (sent []string, dead bool) {
	t.Helper()
	bound := s.bound.With(token.Kept)
	values, access, err := bound.Place(token.Access)
	if err != nil {
		t.Fatal(err)
	}
	lease := &realm.Lease{
		Access: access, Values: values, Target: bound.Target(), Source: realm.FromMemory, Expires: realm.InstantOf(token.ExpiresAt),
	}
	api := lease.Target.API
	job := inject.Job{
		Ref: realm.Ref{Realm: s.preset.Name, Key: "main"}, Lease: lease, Dial: net.JoinHostPort(api.Hostname(), "443"), UseAPI: true,
	}
	content := answer.content(t)
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		sent = renderRequest(t, req, req.URL.String())
		return response(req, answer, content), nil
	})
	transport := &inject.Transport{
		Source: healer{&dead}, Base: base, Guarded: base, History: new(inject.History),
		Job: func(*http.Request) (inject.Job, error) { return job, nil },
	}
	resp, err := transport.RoundTrip(parseRequest(t, request))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if sent == nil {
		t.Fatalf("%s is refused with status %d", request[0], resp.StatusCode)
	}
	return sent, dead
}

// parseRequest makes the request of an app, as the proxy hands it over.
func parseRequest(t *testing.T, lines []string) *http.Request {
	t.Helper()
	method, target, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.HasPrefix(target, "/") {
		t.Fatalf("%q is not like %q", lines[0], "GET /path?query")
	}
	header, body := lines[1:], ""
	for i, line := range header {
		if line == "" {
			header, body = header[:i], strings.Join(header[i+1:], "\n")
			break
		}
	}
	req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	req.URL.Scheme, req.URL.Host, req.RequestURI = "https", req.Host, ""
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// response makes the answer of an API.
func response(req *http.Request, a goldenAnswer, content string) *http.Response {
	resp := &http.Response{
		StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(content)), ContentLength: int64(len(content)), Request: req,
	}
	for name, value := range a.Header {
		resp.Header.Set(name, value)
	}
	return resp
}

// roundTripper is a function as a base transport.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// healer notes that another token is asked for, and has none.
type healer struct{ asked *bool }

var errNoOther = errors.New("there is no other token")

func (h healer) Heal(context.Context, realm.Ref, realm.Hidden, realm.Blame) (*realm.Lease, bool, error) {
	*h.asked = true
	return nil, false, errNoOther
}

func (healer) Helped(realm.Ref, *realm.Lease) {}

func (healer) Worked(realm.Ref, *realm.Lease) {}
