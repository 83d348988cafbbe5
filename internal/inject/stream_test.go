package inject

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// both runs a test over HTTP/1.1 and over HTTP/2.
func both(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Run("h1", func(t *testing.T) { test(t, false) })
	t.Run("h2", func(t *testing.T) { test(t, true) })
}

// pattern is a stream of so many bytes, in which whatever is lost, doubled or
// moved shows: its period fits no buffer.
type pattern struct{ at, size int }

var period = func() []byte {
	b := make([]byte, 1<<20+7)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}()

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size-p.at)], period[p.at%len(period):])
	p.at += n
	return n, nil
}

func digest(t tester, r io.Reader) string {
	t.Helper()
	h := sha256.New()
	_, err := io.Copy(h, r)
	noError(t, err)
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestStream100MB(t *testing.T) {
	const size = 100 << 20
	want := digest(t, &pattern{size: size})
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Digest", digest(t, r.Body))
			_, _ = io.Copy(w, &pattern{size: size})
		}, inHeader)
		resp, err := p.front.Client().Do(p.request(t, http.MethodPost, "/", &pattern{size: size}))
		noError(t, err)
		defer func() { _ = resp.Body.Close() }()
		equal(t, want, resp.Header.Get("X-Digest"), "upload")
		equal(t, want, digest(t, resp.Body), "download")
	})
}

// Every byte is handed on when it comes, in both directions at once: neither
// side sends its next line before it has read the other's.
func TestStreamLineByLine(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if !h2 {
				noError(t, control.EnableFullDuplex())
			}
			w.Header().Set("Content-Type", "text/event-stream")
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				_, _ = fmt.Fprintf(w, "data: %s\n", lines.Text())
				_ = control.Flush()
			}
		}, inQuery)
		in, out := io.Pipe()
		go func() { _, _ = io.WriteString(out, "line 0\n") }()
		resp, err := p.front.Client().Do(p.request(t, http.MethodPost, "/", in))
		noError(t, err)
		defer func() { _ = resp.Body.Close() }()
		answers := bufio.NewScanner(resp.Body)
		for i := range 5 {
			if !answers.Scan() {
				t.Fatalf("the stream ended: %v", answers.Err())
			}
			equal(t, fmt.Sprintf("data: line %d", i), answers.Text(), "event")
			_, err := fmt.Fprintf(out, "line %d\n", i+1)
			noError(t, err)
		}
		noError(t, out.Close())
	})
}

// Trailers go through, announced and seen only at the end, but not one with
// the name of an injected field.
func TestStreamTrailers(t *testing.T) {
	both(t, func(t *testing.T, h2 bool) {
		type seen struct{ Announced, Came []string }
		got := make(chan seen, 1)
		p := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			announced := slices.Sorted(maps.Keys(r.Trailer))
			_, _ = io.Copy(io.Discard, r.Body)
			got <- seen{announced, slices.Sorted(maps.Keys(r.Trailer))}
			checkHeader(t, r.Header, "X-Access-Token", token)
			equal(t, "fine", r.Trailer.Get("X-Checksum"), "a trailer")
			w.Header().Set("Trailer", "X-Answer")
			_, _ = io.WriteString(w, "ok")
			w.Header().Set("X-Answer", "fine too")
		}, inCustom)
		req := p.request(t, http.MethodPost, "/", struct{ io.Reader }{strings.NewReader("body")})
		req.Trailer = http.Header{
			"X-Checksum": {"fine"}, "X-Access-Token": {"evil"}, "X-Access_token": {"evil"}, "X-Forwarded-For": {"10.0.0.1"},
		}
		back := p.do(t, req)
		equal(t, "ok", back.body, "body")
		equal(t, "fine too", back.trailer.Get("X-Answer"), "the answer's trailer")
		equal(t, seen{[]string{"X-Checksum"}, []string{"X-Checksum"}}, <-got, "trailers")
	})
}

// A proxy like Caddy hands over a map of its own that has the announced names
// until the body ends, and is filled then with whatever came.
func TestStreamTrailersUnannounced(t *testing.T) {
	req := get("/")
	req.Method, req.ContentLength, req.Trailer = http.MethodPost, -1, http.Header{"X-Checksum": nil}
	req.Body = &filling{Reader: strings.NewReader("body"), into: req.Trailer}
	out, _ := send(t, apiLease(inCustom), req)
	_, err := io.Copy(io.Discard, out.Body)
	noError(t, err)
	equal(t, http.Header{"X-Checksum": {"fine"}}, out.Trailer, "trailers")
}

type filling struct {
	io.Reader
	into http.Header
}

func (f *filling) Close() error { return nil }

func (f *filling) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		clear(f.into)
		maps.Copy(f.into, http.Header{"X-Checksum": {"fine"}, "X-Access-Token": {"evil"}, "x_access_token": {"evil"}})
	}
	return n, err
}

// The body is not asked for before the upstream wants it.
func TestStreamExpectContinue(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		equal(t, "100-continue", r.Header.Get("Expect"), "Expect")
		_, _ = io.Copy(w, r.Body)
	}, inHeader)
	p.upstream.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	p.front.Client().Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	for path, want := range map[string]int{"/": http.StatusOK, "/refuse": http.StatusForbidden} {
		asked := &watchedRead{Reader: strings.NewReader("body")}
		req := p.request(t, http.MethodPost, path, asked)
		req.Header.Set("Expect", "100-continue")
		req.ContentLength = 4
		got := p.do(t, req)
		equal(t, want, got.status, path)
		if want == http.StatusOK {
			equal(t, "body", got.body, "echo")
		}
		equal(t, want == http.StatusOK, asked.read.Load(), "body read")
	}
}

type watchedRead struct {
	io.Reader
	read atomic.Bool
}

func (w *watchedRead) Read(p []byte) (int, error) {
	w.read.Store(true)
	return w.Reader.Read(p)
}

// An upgraded connection is handed through in both directions, and the
// request that opened it carried the token.
func TestStreamUpgrade(t *testing.T) {
	p := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		checkHeader(t, r.Header, "Authorization", "Bearer "+token)
		equal(t, "Upgrade", r.Header.Get("Connection"), "Connection")
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}, inHeader)
	p.lease.Target.Upgrade = true
	c, answers := p.dial(t)
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade, Authorization\r\nUpgrade: echo\r\n"+
		"Authorization: evil\r\n\r\n")
	noError(t, err)
	resp, err := http.ReadResponse(answers, nil) //nolint:bodyclose // the connection is the body
	noError(t, err)
	equal(t, http.StatusSwitchingProtocols, resp.StatusCode, "status")
	for _, word := range []string{"hello", "again"} {
		_, err := io.WriteString(c, word)
		noError(t, err)
		got := make([]byte, len(word))
		_, err = io.ReadFull(answers, got)
		noError(t, err)
		equal(t, word, string(got), "echo")
	}
}

// dial opens a raw connection to the proxy.
func (p *proxied) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.front.Listener.Addr().String())
	noError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	noError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	return c, bufio.NewReader(c)
}
