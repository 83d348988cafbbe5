package inject

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// rawUpstream is an upstream that answers every request on a connection with the
// same bytes, in the given pieces.
type rawUpstream struct {
	net.Listener
	connections atomic.Int64
}

func startRaw(t *testing.T, secure bool, pieces ...string) *rawUpstream {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	noError(t, err)
	if secure {
		l = tls.NewListener(l, start(t, true, http.NotFound).TLS)
	}
	u := &rawUpstream{Listener: l}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.connections.Add(1)
			wg.Go(func() { answerRaw(c, pieces) })
		}
	})
	return u
}

// answerRaw answers until the connection ends.
func answerRaw(c net.Conn, pieces []string) {
	defer func() { _ = c.Close() }()
	requests := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		for _, piece := range pieces {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
}

// guardedTransport is a transport for raw upstreams. The counter counts surplus.
func guardedTransport(t *testing.T) (*http.Transport, *atomic.Int64) {
	t.Helper()
	rt, surplus := new(http.Transport), new(atomic.Int64)
	rt.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	GuardConnections(rt, func() { surplus.Add(1) })
	t.Cleanup(rt.CloseIdleConnections)
	return rt, surplus
}

func (u *rawUpstream) request(t tester, method string, secure bool) *http.Request {
	t.Helper()
	scheme := "http"
	if secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(context.Background(), method, scheme+"://"+u.Addr().String()+"/", nil)
	noError(t, err)
	return req
}

// logged captures what is printed with the standard logger until the test ends.
func logged(t *testing.T) func() string {
	t.Helper()
	var mu sync.Mutex
	var text strings.Builder
	log.SetOutput(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(p)
	}))
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// net/http prints what comes behind an answer, whatever stands in it.
func TestSurplusIsNotLogged(t *testing.T) {
	printed := logged(t)
	const quote = "token=" + token
	for _, secure := range []bool{false, true} {
		for name, tt := range map[string]struct {
			method string
			pieces []string
			body   string
		}{
			"no content":    {"GET", []string{"HTTP/1.1 204 No Content\r\n\r\n" + quote}, ""},
			"not modified":  {"GET", []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + quote}, ""},
			"head":          {"HEAD", []string{"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n" + quote}, ""},
			"head, chunked": {"HEAD", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + quote}, ""},
			"long":          {"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody" + quote}, "body"},
			"long, folded":  {"GET", []string{"HTTP/1.1 200 OK\r\ncontent-LENGTH:\r\n\t4\r\n\r\nbody" + quote}, "body"},
			"empty":         {"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + quote}, ""},
			"chunked":       {"POST", []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\nX: 1\r\n\r\n" + quote}, "body"},
			"both lengths":  {"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" + quote}, "body"},
			"in two pieces": {"GET", []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo", "dy", quote}, "body"},
			"second answer": {"GET", []string{"HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + quote + "\r\n\r\n"}, ""},
			"bare newlines": {"GET", []string{"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody" + quote}, "body"},
		} {
			t.Run(fmt.Sprintf("%s, secure %v", name, secure), func(t *testing.T) {
				u := startRaw(t, secure, tt.pieces...)
				rt, surplus := guardedTransport(t)
				for want := int64(1); want <= 3; want++ {
					resp, err := rt.RoundTrip(u.request(t, tt.method, secure))
					noError(t, err)
					equal(t, tt.body, read(t, resp).body, "body")
					for begin := time.Now(); surplus.Load() < want; { // net/http reads on by itself
						if time.Since(begin) > 5*time.Second {
							t.Fatalf("the surplus was not seen; printed: %s", printed())
						}
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
	}
	if printed() != "" {
		t.Errorf("printed: %s", printed())
	}
}

// A good upstream's connection is used again, whatever its answers are like, and
// whatever comes before them.
func TestGuardedConnectionsAreKept(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for name, tt := range map[string]struct{ method, answer, body string }{
			"no content":   {"GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
			"not modified": {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""},
			"head":         {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", ""},
			"length":       {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body"},
			"chunked":      {"POST", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\nX-T: 1\r\n\r\n", "body"},
			"interim":      {"GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", maxInterim) + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"},
		} {
			u := startRaw(t, secure, tt.answer)
			rt, surplus := guardedTransport(t)
			for range 5 {
				resp, err := rt.RoundTrip(u.request(t, tt.method, secure))
				noError(t, err)
				equal(t, tt.body, read(t, resp).body, name)
			}
			equal(t, 1, u.connections.Load(), name+": connections")
			equal(t, 0, surplus.Load(), name+": surplus")
		}
	}
}

// The end of an answer is found wherever the pieces begin, in the chunks of which
// there may be a line break, and with a request body that looks like a request.
func TestFramingProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var requests, answers bytes.Buffer
		heads := rapid.SliceOfN(rapid.SampledFrom([]string{"HEAD", "GET", "POST", "chunked"}), 1, 6).Draw(t, "methods")
		var ends []int
		var sent []string
		for _, head := range heads {
			body := rapid.StringMatching(`(HEAD / HTTP/1.1|[a-z\r\n]){0,9}`).Draw(t, "body")
			requests.Reset()
			switch head {
			case "chunked":
				fmt.Fprintf(&requests, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body)+1, body+"x")
			case "POST":
				fmt.Fprintf(&requests, "POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			default:
				fmt.Fprintf(&requests, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", head)
			}
			sent = append(sent, requests.String())
			switch {
			case head == "HEAD":
				fmt.Fprintf(&answers, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body))
			case rapid.Bool().Draw(t, "chunked"):
				fmt.Fprintf(&answers, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;x\r\n%s\r\n0\r\nT: 1\r\n\r\n", len(body)+1, body+"x")
			default:
				fmt.Fprintf(&answers, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			ends = append(ends, answers.Len())
		}
		g := newGuardedConn(discard{}, func() {})
		begin, all := 0, answers.Bytes()
		for i, end := range ends {
			for rest := sent[i]; rest != ""; {
				n := rapid.IntRange(1, len(rest)).Draw(t, "written")
				_, err := g.Write([]byte(rest[:max(n, min(len(rest), 5))]))
				noError(t, err)
				rest = rest[max(n, min(len(rest), 5)):]
			}
			for begin < end {
				n := rapid.IntRange(1, len(all)-begin).Draw(t, "read")
				kept, err := g.keep(all[begin : begin+n])
				noError(t, err)
				if want := min(n, end-begin); kept != want {
					t.Fatalf("of %q, %d bytes are kept, not %d", all[begin:begin+n], kept, want)
				}
				begin += kept
			}
			if kept, _ := g.keep([]byte("x")); kept != 0 {
				t.Fatalf("a byte behind %q is kept", all[:end])
			}
		}
	})
}

// discard is a connection to which one can write.
type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// An upstream cannot keep a request by interim answers without an end, or by a
// header that is too large.
func TestHeaderIsBounded(t *testing.T) {
	for name, answer := range map[string]string{
		"interim": strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim+1) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"large":   "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxHeader) + "\r\nContent-Length: 0\r\n\r\n",
		"large in interim answers": strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("a", maxHeader/8)+"\r\n\r\n", 8) +
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		u := startRaw(t, false, answer)
		rt, _ := guardedTransport(t)
		resp, err := rt.RoundTrip(u.request(t, http.MethodGet, false))
		if err == nil {
			t.Errorf("%s: answered %s", name, resp.Status)
			noError(t, resp.Body.Close())
		}
	}
	both(t, func(t *testing.T, h2 bool) {
		s := start(t, h2, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("a", 2*maxHeader)) })
		rt := s.Client().Transport.(*http.Transport)
		GuardConnections(rt, func() {})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		noError(t, err)
		resp, err := rt.RoundTrip(req)
		if err == nil {
			t.Errorf("answered %s", resp.Status)
			noError(t, resp.Body.Close())
		}
	})
}

// A header that trickles is not waited for longer than a minute, a header that has
// not begun, and a body, for as long as they take.
func TestHeaderThatTrickles(t *testing.T) {
	for _, tt := range []struct {
		name   string
		pieces []string
		err    error
	}{
		{"header", append([]string{"HTTP/1.1 200 OK\r\nX: "}, strings.Split(strings.Repeat("a", 20), "")...), os.ErrDeadlineExceeded},
		{"one byte", []string{"H"}, os.ErrDeadlineExceeded},
		{"body", append([]string{"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"}, strings.Split(strings.Repeat("a", 20), "")...), nil},
		{"header, then body", []string{"HTTP/1.1 200 OK\r\n", "Content-Length: 3\r\n\r\n", "a", "b", "c"}, nil},
		{"interim", []string{"HTTP/1.1 102 P\r\n\r\n", "HTTP/1.1 102 P\r\n\r\n", "", "", "", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, nil},
	} {
		for _, moved := range []bool{false, true} { // by a wrapper below, as read_timeout does
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				below := here
				if moved {
					below = noDeadline{here}
				}
				g := newGuardedConn(below, func() {})
				g.asked.Store(true)
				pieces := tt.pieces
				if moved && tt.err != nil {
					pieces = append(slices.Clone(pieces), "x", "x", "x")
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				defer func() { _, _ = here.Close(), there.Close() }()
				wg.Go(func() {
					time.Sleep(5 * time.Minute) // before the header begins
					for _, piece := range pieces {
						_, _ = io.WriteString(there, piece)
						time.Sleep(25 * time.Second)
					}
				})
				begin, want := time.Now(), 0
				for _, piece := range tt.pieces {
					want += len(piece)
				}
				got, err := 0, error(nil)
				for p := make([]byte, 100); err == nil && (got < want || tt.err != nil); {
					var n int
					n, err = g.Read(p)
					got += n
				}
				if !errors.Is(err, tt.err) {
					t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
				}
				if took := time.Since(begin); tt.err != nil && took > 5*time.Minute+headerTimeout+25*time.Second {
					t.Errorf("%s: took %v", tt.name, took)
				}
			})
		}
	}
}

// noDeadline is a connection whose deadline somebody else moves on.
type noDeadline struct{ net.Conn }

func (noDeadline) SetReadDeadline(time.Time) error { return nil }

// A WebSocket goes through, over TLS with a server that would rather speak HTTP/2.
func TestGuardedUpgrade(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			equal(t, "HTTP/1.1", r.Proto, "protocol")
			conn, out, err := w.(http.Hijacker).Hijack()
			noError(t, err)
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ")
			line, err := out.ReadString('\n')
			noError(t, err)
			_, _ = io.WriteString(conn, line)
		}, inQuery)
		p.lease.Target.Upgrade = true
		GuardConnections(p.upstream.Client().Transport.(*http.Transport), func() { t.Error("surplus") })
		req := getWith(t.Context(), "/")
		scheme, _, _ := strings.Cut(p.upstream.URL, ":")
		req.URL.Scheme, req.URL.Host = scheme, p.upstream.Listener.Addr().String()
		req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
		resp, err := p.transport.RoundTrip(req)
		noError(t, err)
		equal(t, http.StatusSwitchingProtocols, resp.StatusCode, "status")
		_, err = io.WriteString(resp.Body.(io.Writer), "HTTP/1.1 200 OK\r\n")
		noError(t, err)
		equal(t, "hello HTTP/1.1 200 OK\r\n", read(t, resp).body, "what came")
	})
}
