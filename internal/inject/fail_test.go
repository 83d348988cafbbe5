package inject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// failing sends a request over a base that fails with err.
func failing(ctx context.Context, t tester, err error) (answer, error) {
	t.Helper()
	base := roundTripper(func(*http.Request) (*http.Response, error) { return nil, err })
	transport := over(base, Job{Lease: apiLease(inQuery), Dial: "api.example.com:443"})
	resp, err := transport.RoundTrip(getWith(ctx, "/"))
	if err != nil {
		return answer{}, err
	}
	return read(t, resp), nil
}

func TestFailHidesTheToken(t *testing.T) {
	full := "https://api.example.com/?" + ours
	for _, err := range []error{
		&url.Error{Op: "Get", URL: full, Err: errors.New("refused")},
		fmt.Errorf("wrapped: %w", &url.Error{Op: "Get", URL: full, Err: &url.Error{Op: "Get", URL: full, Err: errors.New("refused")}}),
		&url.Error{Op: "Get", URL: full},
		errors.New("malformed HTTP response " + token),
		errors.New("malformed HTTP response " + tokenEscaped),
		errors.New("malformed HTTP response " + url.QueryEscape(full)),
	} {
		_, got := failing(t.Context(), t, err)
		var bad *url.Error
		if got == nil || errors.As(got, &bad) {
			t.Fatalf("got %v", got)
		}
		if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "canary") || strings.Contains(text, "api.example.com") {
			t.Errorf("%q says too much", text)
		}
	}
}

// Another's cancellation would be answered with 499, as if the caller had
// left.
func TestFailCancellations(t *testing.T) {
	opErr := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("operation was canceled")}
	for _, err := range []error{context.Canceled, fmt.Errorf("flight: %w", context.Canceled), opErr} {
		_, got := failing(t.Context(), t, err)
		if got == nil || errors.Is(got, context.Canceled) || strings.Contains(got.Error(), "cancel") {
			t.Errorf("%v became %v", err, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, got := failing(ctx, t, errors.New("net/http: request canceled")); !errors.Is(got, context.Canceled) {
		t.Errorf("the caller's own cancellation became %v", got)
	}
}

// What the proxy in front judges by its type comes through as it is.
func TestFailKeepsTypes(t *testing.T) {
	for _, err := range []error{
		&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")},
		context.DeadlineExceeded,
		http.ErrServerClosed,
	} {
		if _, got := failing(t.Context(), t, err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

func TestFailForbiddenAddress(t *testing.T) {
	got, err := failing(t.Context(), t, &net.OpError{Op: "dial", Err: netguard.ErrForbidden})
	noError(t, err)
	equal(t, http.StatusBadGateway, got.status, "status")
	equal(t, realm.CodeHostNotAllowed, problemOf(t, got).Code, "code")
}

// A real transport that meets a real upstream which quotes the request in an
// answer that is none.
func TestFailRealTransport(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = fmt.Fprintf(c, "you sent %s\r\n\r\n", r.RequestURI)
		_ = c.Close()
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	l := lease([]string{addr}, inQuery)
	l.Target.AllowHTTP = true
	req := get("/")
	req.URL.Scheme, req.URL.Host = "http", addr
	_, err := over(s.Client().Transport, Job{Lease: l, Dial: addr}).RoundTrip(req) //nolint:bodyclose // there is none
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

// An error in the middle of an answer is logged by the proxy in front, and
// net/http quotes the trailer line that it could not read.
func TestFailInTheBodyHidesTheToken(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		noError(t, err)
		_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nno trailer, %s\r\n\r\n", r.URL)
		noError(t, err)
		noError(t, conn.Close())
	}, inQuery)
	req := get("/x")
	req.URL.Scheme, req.URL.Host = "http", p.job.Dial
	resp, err := over(p.upstream.Client().Transport, p.job).RoundTrip(req)
	noError(t, err)
	body, err := io.ReadAll(resp.Body)
	noError(t, resp.Body.Close())
	equal(t, "x", string(body), "the body")
	if err == nil || strings.Contains(fmt.Sprintf("%v %#v", err, err), "canary") {
		t.Errorf("got %v", err)
	}
}
