package grant

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func failure(t *testing.T, err error) *Error {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("error %v", err)
	}
	return failed
}

// A redirect must not carry the credentials anywhere, nor be believed.
func TestRedirectsAreNotFollowed(t *testing.T) {
	sink := newProvider(t, answering(200, "", goodAnswer))
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		p := newProvider(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", sink.URL+"/?"+r.URL.RawQuery)
			w.WriteHeader(status)
		})
		b := bind(t, realmOf(t, `{"url":"@/t?s={secret.s}","method":"POST","token_path":"access_token","arguments":[{"name":"X-Key","place":"header","value":"$s"},{"name":"s","place":"body","value":"$s"}]}`, p.URL), map[string]string{"s": "CANARY-1234"})
		_, err := b.Fetch(t.Context(), testClient(t), Request{})
		failed := failure(t, err)
		permanent := status == 301 || status == 308
		if failed.Kind != KindRedirect || failed.Status != status || (failed.Class == Hopeless) != permanent || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d: %+v", status, failed)
		}
	}
	if len(sink.requests) != 0 {
		t.Errorf("the sink got %+v", sink.requests)
	}
}

// endless writes until the client has had enough.
func endless(w io.Writer, chunk []byte) int {
	total := 0
	for {
		n, err := w.Write(chunk)
		total += n
		if err != nil || total > 1<<30 {
			return total
		}
	}
}

// TestTooLarge: what is too large is given up after 1 MiB, before and after
// decompression, and does not fill the memory.
func TestTooLarge(t *testing.T) {
	bomb := bytes.Repeat(gzipped(t, make([]byte, 4<<20)), 256) // 1 GiB in 1 MiB
	hollow := bytes.Repeat(gzipped(t, nil), 2000)
	sent := make(chan int, 1)
	for _, c := range []struct {
		name, encoding string
		write          func(w io.Writer) int
	}{
		{"a stream of 1 GB", "", func(w io.Writer) int { return endless(w, make([]byte, 64<<10)) }},
		{"a gzip bomb", "gzip", func(w io.Writer) int { n, _ := w.Write(bomb); return n }},
		{"gzip without content", "gzip", func(w io.Writer) int { return endless(w, hollow) }},
		{"a byte too many", "", func(w io.Writer) int { n, _ := w.Write(make([]byte, maxAnswer+1)); return n }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.encoding != "" {
					w.Header().Set("Content-Encoding", c.encoding)
				}
				sent <- c.write(w)
			})
			b := bind(t, realmOf(t, plainRealm, p.URL), nil)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := b.Fetch(t.Context(), testClient(t), Request{})
			runtime.ReadMemStats(&after)
			if failed := failure(t, err); failed.Kind != KindTooLarge || failed.Class != Retryable {
				t.Errorf("error %+v", failed)
			}
			if n := <-sent; n > 64<<20 {
				t.Errorf("%d bytes were taken", n)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("%d bytes were allocated", grown)
			}
		})
	}
}

func TestLargestAnswer(t *testing.T) {
	body := goodAnswer + strings.Repeat(" ", maxAnswer-len(goodAnswer))
	if _, failed := fetchFrom(t, plainRealm, answering(200, "", body)); failed != nil {
		t.Error(failed)
	}
}

// pipe is a client whose connections end in serve, without a network: so that
// a synctest clock governs both sides. served is closed when serve returns.
func pipe(serve func(conn net.Conn)) (c *Client, served <-chan struct{}) {
	done := make(chan struct{})
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer close(done)
			defer func() { _ = server.Close() }()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
				serve(server)
			}
		}()
		return client, nil
	}
	return NewClient(dial, nil), done
}

func bindGuarded(t *testing.T, config string) *Bound {
	t.Helper()
	p, err := Compile(realmOf(t, config, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bind(secretOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDeadline: the deadline is that of the whole call, not of a silence, and
// the shortest of all wins.
func TestDeadline(t *testing.T) {
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	trickle := func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		for {
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	const head = `{"url":"http://x.example/t","allow_http":true,"token_path":"t"`
	for _, c := range []struct {
		name, config string
		serve        func(net.Conn)
		def, ctx     time.Duration
		want         time.Duration
	}{
		{"by default", head + `}`, hang, 0, 0, DefaultTimeout},
		{"a byte a second", head + `}`, trickle, 0, 0, DefaultTimeout},
		{"the configuration's", head + `}`, trickle, 3 * time.Second, 0, 3 * time.Second},
		{"the realm's", head + `,"limits":{"timeout":"25s"}}`, trickle, 3 * time.Second, 0, 25 * time.Second},
		{"the caller's", head + `,"limits":{"timeout":"25s"}}`, hang, 0, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bindGuarded(t, c.config)
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				client, served := pipe(c.serve)
				started := time.Now()
				got, err := b.Fetch(ctx, client, Request{DefaultTimeout: c.def})
				if failed := failure(t, err); failed.Kind != KindTimeout || failed.Class != Retryable {
					t.Errorf("error %+v", failed)
				}
				if took := time.Since(started); took != c.want || got.Took != c.want {
					t.Errorf("took %v (says %v), want %v", took, got.Took, c.want)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					t.Error("the error wraps that of the context")
				}
				<-served
			})
		})
	}
}

// A caller that leaves must not look like a cancellation to whoever else
// waits for the same call.
func TestCancelled(t *testing.T) {
	b := bindGuarded(t, `{"url":"http://x.example/t","allow_http":true,"token_path":"t"}`)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		client, served := pipe(func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		_, err := b.Fetch(ctx, client, Request{})
		if failed := failure(t, err); failed.Kind != KindConnection || errors.Is(err, context.Canceled) {
			t.Errorf("error %+v", failed)
		}
		<-served
	})
}

// TestNothingIsResent: each of these makes net/http resend a request on a kept
// connection.
func TestNothingIsResent(t *testing.T) {
	for name, answer := range map[string]string{
		"closed without an answer": "",
		"cut in the header":        "HTTP/1.1 200 OK\r\nContent-",
		"cut in the body":          "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"no HTTP":                  "TOKEN-0123456789\r\n\r\n",
		"a huge header":            "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" "+method, func(t *testing.T) {
				l, err := net.Listen("tcp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				var connections atomic.Int32
				go func() {
					for {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						connections.Add(1)
						_, _ = http.ReadRequest(bufio.NewReader(conn))
						_, _ = io.WriteString(conn, answer)
						_ = conn.Close()
					}
				}()
				b := bind(t, realmOf(t, `{"url":"@/t","method":"`+method+`","token_path":"t"}`, "http://"+l.Addr().String()), nil)
				client := testClient(t)
				for i := range 2 {
					_, err = b.Fetch(t.Context(), client, Request{})
					failed := failure(t, err)
					if failed.Kind != KindConnection || failed.Class != Retryable || strings.Contains(err.Error(), "TOKEN-") {
						t.Errorf("error %+v", failed)
					}
					if n := int(connections.Load()); n != i+1 {
						t.Errorf("%d connections after %d calls", n, i+1)
					}
				}
			})
		}
	}
}

// nobody is the URL of a port on which nobody listens. One that was free a
// moment ago may be somebody's by now; this one the kernel gives to nobody.
const nobody = "http://127.0.0.1:1"

func TestTransportFailures(t *testing.T) {
	secure := httptest.NewTLSServer(answering(200, "", goodAnswer))
	t.Cleanup(secure.Close)
	plain := newProvider(t, answering(200, "", goodAnswer))
	for _, c := range []struct{ name, url, want string }{
		{"nobody listens", nobody, "connection refused"},
		{"an unknown issuer", secure.URL, "the certificate is not trusted: its issuer is unknown"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), "the server does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bind(t, realmOf(t, `{"url":"@/path?s={secret.s}","token_path":"t"}`, c.url), map[string]string{"s": "CANARY-1234"})
			_, err := b.Fetch(t.Context(), testClient(t), Request{})
			failed := failure(t, err)
			if failed.Kind != KindConnection || failed.Class != Retryable || !strings.Contains(failed.Detail, c.want) {
				t.Errorf("error %+v", failed)
			}
			if strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "path") {
				t.Errorf("the URL is in %v", err)
			}
		})
	}
}

func TestUnknownHost(t *testing.T) {
	client := NewClient(func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x.example", Server: "10.0.0.1", IsNotFound: true}}
	}, nil)
	_, err := bindGuarded(t, `{"url":"https://x.example/t","token_path":"t"}`).Fetch(t.Context(), client, Request{})
	if failed := failure(t, err); failed.Kind != KindConnection || failed.Detail != "x.example: the host name cannot be resolved: no such host" {
		t.Errorf("error %+v", failed)
	}
}

func TestHTTPS(t *testing.T) {
	var protocol string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol = r.Proto
		_, _ = io.WriteString(w, goodAnswer)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := testClient(t)
	client.trusted.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}
	b := bind(t, realmOf(t, plainRealm, server.URL), nil)
	if _, err := b.Fetch(t.Context(), client, Request{}); err != nil {
		t.Fatal(err)
	}
	if protocol != "HTTP/1.1" {
		t.Errorf("spoke %s", protocol)
	}
}

// TestGuard: only what the operator named may be asked at a private address.
func TestGuard(t *testing.T) {
	p := newProvider(t, answering(200, "", goodAnswer))
	r := realmOf(t, `{"url":"@/t","allow_http":true,"token_path":"access_token"}`, p.URL)
	program, err := Compile(r, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := program.Bind(secretOf(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []*Client{testClient(t), NewClient(nil, nil)} {
		_, err = b.Fetch(t.Context(), client, Request{})
		if failed := failure(t, err); failed.Kind != KindForbidden || failed.Class != Hopeless || !failed.NotAsked() {
			t.Errorf("error %+v", failed)
		}
	}
	if len(p.requests) != 0 {
		t.Error("the request arrived")
	}
	policy, err := netguard.Parse([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fetch(t.Context(), NewClient(policy.Dialer(&net.Dialer{}), nil), Request{}); err != nil {
		t.Error(err)
	}
}

// The environment's proxy must not see credentials.
func TestNoProxyFromTheEnvironment(t *testing.T) {
	for _, transport := range []http.RoundTripper{testClient(t).guarded, testClient(t).trusted} {
		if transport.(*http.Transport).Proxy != nil {
			t.Error("a proxy could be used")
		}
	}
}

func TestRequestCannotBeRepeated(t *testing.T) {
	b := bind(t, realmOf(t, `{"url":"https://x.example/t","method":"POST","token_path":"t","arguments":[{"name":"a","place":"body","value":"b"}]}`, ""), nil)
	out, err := b.program.fetch.render(b.values, realm.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	req, err := out.request(t.Context())
	if err != nil || req.GetBody != nil {
		t.Errorf("GetBody is set; %v", err)
	}
}

// The host of a URL may hold a field, and stood in the error as it was.
func TestHostOfAFieldIsHidden(t *testing.T) {
	nobody := NewClient(func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no") }, nil)
	b := bind(t, realmOf(t, `{"url":"https://{secret.shop}.example/t","token_path":"t"}`, ""), map[string]string{"shop": "canary-shop"})
	_, err := b.Fetch(t.Context(), nobody, Request{})
	if failed := failure(t, err); strings.Contains(err.Error(), "canary") || !strings.Contains(failed.Detail, ".example") {
		t.Errorf("error %+v", failed)
	}
}
