package grant

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
)

// faulty is a connection whose writes give n bytes and an error.
type faulty struct {
	net.Conn
	n int
}

func (c faulty) Write(p []byte) (int, error) {
	_, _ = c.Conn.Write(p[:c.n])
	return c.n, errors.New("broken pipe")
}

func faultyDialer(n int) netguard.Dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return faulty{conn, n}, err
	}
}

func failing(err error) netguard.Dialer {
	return func(context.Context, string, string) (net.Conn, error) { return nil, err }
}

// TestNothingWasSent: no byte of the request left, and that is certain.
func TestNothingWasSent(t *testing.T) {
	plain := newProvider(t, answering(200, "", goodAnswer))
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") }))
	t.Cleanup(secure.Close)
	for name, c := range map[string]struct {
		url  string
		dial netguard.Dialer
	}{
		"nobody listens":               {nobody, nil},
		"no TLS":                       {strings.Replace(plain.URL, "http:", "https:", 1), nil},
		"a certificate of nobody":      {secure.URL, nil},
		"a forbidden address":          {plain.URL, failing(netguard.ErrForbidden)},
		"a dial that fails":            {plain.URL, failing(errors.New("x"))},
		"a write that took nothing":    {plain.URL, faultyDialer(0)},
		"a handshake cut in the midst": {secure.URL, faultyDialer(10)},
	} {
		t.Run(name, func(t *testing.T) {
			client := testClient(t)
			if c.dial != nil {
				client.trusted = newTransport(c.dial)
			}
			_, err := bind(t, realmOf(t, plainRealm, c.url), nil).Fetch(t.Context(), client, Request{})
			if failed := failure(t, err); !failed.NotSent || failed.Uncertain() {
				t.Errorf("error %+v", failed)
			}
		})
	}
	if len(plain.requests) != 0 {
		t.Errorf("%d requests arrived", len(plain.requests))
	}
}

// TestSomethingMayHaveBeenSent: from the first byte on nothing is certain.
func TestSomethingMayHaveBeenSent(t *testing.T) {
	hang := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	const config = `{"url":"http://x.example/t","allow_http":true,"token_path":"t"}`
	for name, serve := range map[string]func(net.Conn){
		"no answer":    hang,
		"a closed one": func(net.Conn) {},
		"half an answer": func(conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
			hang(conn)
		},
		"half a header":  func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nCont") },
		"something else": func(conn net.Conn) { _, _ = io.WriteString(conn, "SSH-2.0\r\n\r\n") },
		"a cut body":     func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") },
	} {
		t.Run(name, func(t *testing.T) {
			b := bindGuarded(t, config)
			synctest.Test(t, func(t *testing.T) {
				client, served := pipe(serve)
				_, err := b.Fetch(t.Context(), client, Request{})
				if failed := failure(t, err); failed.NotSent || !failed.Uncertain() {
					t.Errorf("error %+v", failed)
				}
				<-served
			})
		})
	}
	t.Run("a byte and no more", func(t *testing.T) {
		plain := newProvider(t, answering(200, "", goodAnswer))
		client := testClient(t)
		client.trusted = newTransport(faultyDialer(1))
		_, err := bind(t, realmOf(t, plainRealm, plain.URL), nil).Fetch(t.Context(), client, Request{})
		if failed := failure(t, err); failed.NotSent || !failed.Uncertain() {
			t.Errorf("error %+v", failed)
		}
	})
}

// TestSendBy: a process that was stopped between its claim and the call must
// not send late, neither in clear nor in TLS, whose handshake is no request.
func TestSendBy(t *testing.T) {
	var handshakes, requests atomic.Int32
	count := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, goodAnswer)
	})
	plain := httptest.NewServer(count)
	t.Cleanup(plain.Close)
	secure := httptest.NewTLSServer(count)
	t.Cleanup(secure.Close)
	client := testClient(t)
	client.trusted.(*http.Transport).TLSClientConfig = &tls.Config{
		RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12,
		VerifyConnection: func(tls.ConnectionState) error { // near the end of a handshake
			handshakes.Add(1)
			return nil
		},
	}
	for _, url := range []string{plain.URL, secure.URL} {
		b := bind(t, realmOf(t, plainRealm, url), nil)
		for _, method := range []string{"GET", "POST"} {
			b.program.fetch.method = method
			_, err := b.Fetch(t.Context(), client, Request{SendBy: time.Now().Add(-time.Nanosecond)})
			failed := failure(t, err)
			if !failed.NotSent || failed.Uncertain() || failed.Kind != KindTimeout || failed.Class != Retryable || !strings.HasSuffix(failed.Detail, errLate.Error()) {
				t.Errorf("%s %s: %+v", method, url, failed)
			}
			if n := requests.Load(); n != 0 {
				t.Fatalf("%s %s: %d requests arrived", method, url, n)
			}
		}
		if _, err := b.Fetch(t.Context(), client, Request{SendBy: time.Now().Add(time.Hour)}); err != nil {
			t.Errorf("in time: %v", err)
		}
		if n := requests.Swap(0); n != 1 {
			t.Errorf("in time: %d requests", n)
		}
	}
	if n := handshakes.Load(); n != 3 {
		t.Errorf("%d handshakes", n)
	}
}

// TestSendByIsCheckedLast: what counts is the moment of the write and not that
// of the call: the dial may have lasted.
func TestSendByIsCheckedLast(t *testing.T) {
	b := bindGuarded(t, `{"url":"http://x.example/t","allow_http":true,"token_path":"t"}`)
	for wait, want := range map[time.Duration]bool{999 * time.Millisecond: true, 1001 * time.Millisecond: false} {
		synctest.Test(t, func(t *testing.T) {
			var got []byte
			var done sync.WaitGroup
			client := NewClient(func(context.Context, string, string) (net.Conn, error) {
				time.Sleep(wait) // of the bubble: the clock jumps
				near, far := net.Pipe()
				done.Go(func() {
					defer func() { _ = far.Close() }()
					line, _, _ := bufio.NewReader(far).ReadLine()
					got = line
				})
				return near, nil
			}, nil)
			_, err := b.Fetch(t.Context(), client, Request{SendBy: time.Now().Add(time.Second)})
			done.Wait()
			if failed := failure(t, err); failed.NotSent == want || (len(got) > 0) != want {
				t.Errorf("after %v: %+v, the provider got %q", wait, failed, got)
			}
		})
	}
}

// TestEndBy: a call that began late, because its claim was long in coming, does
// not outlive that claim.
func TestEndBy(t *testing.T) {
	b := bindGuarded(t, `{"url":"http://x.example/t","allow_http":true,"token_path":"t"}`)
	for end, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, time.Hour: DefaultTimeout} {
		synctest.Test(t, func(t *testing.T) {
			var done sync.WaitGroup
			client := NewClient(func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				done.Go(func() {
					defer func() { _ = far.Close() }()
					_, _ = io.Copy(io.Discard, far) // it hangs
				})
				return near, nil
			}, nil)
			began := time.Now()
			_, err := b.Fetch(t.Context(), client, Request{EndBy: began.Add(end)})
			if failed := failure(t, err); failed.NotSent || failed.Kind != KindTimeout || time.Since(began) != want {
				t.Errorf("after %v, want %v: %+v", time.Since(began), want, failed)
			}
			done.Wait()
		})
	}
}

// TestWireStops: a goroutine of net/http that comes late cannot begin what
// was reported as not sent.
func TestWireStops(t *testing.T) {
	var w wire
	w.connected()
	if got := w.stop(); got != stopped {
		t.Errorf("stage %d", got)
	}
	near, far := net.Pipe()
	_ = far.Close() // what reaches the pipe fails in another way
	if n, err := (&watched{near, &w}).Write([]byte("x")); n != 0 || !errors.Is(err, errStopped) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A connection that nobody watches is none: its bytes would not be counted.
func TestUnwatched(t *testing.T) {
	dialled := watching(func(context.Context, string, string) (net.Conn, error) { panic("dialled") })
	if _, err := dialled(t.Context(), "tcp", "x.example:80"); !errors.Is(err, errUnwatched) {
		t.Errorf("error %v", err)
	}
}

// TestFreshConnection: net/http resends a GET when a kept connection turns out
// to be dead, so none is kept, whatever the provider offers.
func TestFreshConnection(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var requests, closing atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil && r.Close {
				closing.Add(1)
			}
			requests.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 11\r\n\r\n{\"t\":\"T\"}  ")
			// A second request on it would be read, and die unanswered.
			go func() {
				defer func() { _ = conn.Close() }()
				if n, _ := conn.Read(make([]byte, 1)); n > 0 {
					requests.Add(1)
				}
			}()
		}
	}()
	for _, method := range []string{"GET", "POST"} {
		b := bind(t, realmOf(t, `{"url":"@/t","method":"`+method+`","token_path":"t"}`, "http://"+l.Addr().String()), nil)
		client := testClient(t)
		requests.Store(0)
		closing.Store(0)
		for range 3 {
			if _, err := b.Fetch(t.Context(), client, Request{}); err != nil {
				t.Error(err)
			}
		}
		if requests.Load() != 3 || closing.Load() != 3 {
			t.Errorf("%s: %d requests, %d said that the connection ends", method, requests.Load(), closing.Load())
		}
	}
}
