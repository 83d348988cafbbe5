package shortcut

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// shortOver is a short way to a script, by whatever dials. It ends with the test.
func shortOver(t *testing.T, s *script, dial func(context.Context, string, string) (net.Conn, error)) (short *Transport, ways *[]Way) {
	t.Helper()
	rt := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 10}
	inject.GuardConnections(rt, func() {})
	ways = new([]Way)
	short = New(rt, func(_ *http.Request, w Way) { *ways = append(*ways, w) })
	t.Cleanup(func() {
		short.CloseIdleConnections()
		s.close()
		time.Sleep(time.Second) // the script has come to its end
	})
	return short, ways
}

// body4 is a body of four bytes, before which something happens.
type body4 struct {
	io.Reader
	before func()
}

func (b *body4) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
		b.before = nil
	}
	return b.Reader.Read(p)
}

func post(ctx context.Context, before func()) *http.Request {
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://api.example/", io.NopCloser(&body4{strings.NewReader("body"), before}))
	req.ContentLength = 4
	return req
}

func (s *script) sent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

func (s *script) dialled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Somebody whose right ends while his body is waited for, or at the very moment before
// the writing, sends nothing.
func TestNothingIsSentBehindTheEnd(t *testing.T) {
	errRevoked := errors.New("revoked")
	for name, atPoll := range map[string]bool{"within the body": false, "when the connection is polled": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{get(plainAnswer)}}
				polled := func() {}
				short, _ := shortOver(t, s, func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := s.dial(ctx, network, address)
					return watched{c.(*memory), &polled}, err
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				end := func() { cancel(errRevoked) }
				before := func() { time.Sleep(5 * time.Minute); end() }
				if atPoll {
					before, polled = nil, end
				}
				resp, err := short.RoundTrip(post(ctx, before))
				if err == nil {
					_ = resp.Body.Close()
				}
				if synctest.Wait(); !errors.Is(err, errRevoked) || s.sent() != "" {
					t.Errorf("error %v, sent %q", err, s.sent())
				}
			})
		})
	}
}

// watched is a connection that tells when it is polled.
type watched struct {
	*memory
	polled *func()
}

func (w watched) TryRead(p []byte) (int, error) {
	(*w.polled)()
	return w.memory.TryRead(p)
}

// An upstream that does not wait for the body of a slow caller, and says so before
// anything was sent, has not answered.
func TestUpstreamTiresOfSlowBody(t *testing.T) {
	for _, last := range []string{"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", ""} {
		for _, isReused := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{get(plainAnswer)}}
				short, _ := shortOver(t, s, s.dial)
				if isReused {
					finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
				}
				resp, err := short.RoundTrip(post(t.Context(), func() {
					synctest.Wait()
					c := s.conns[0]
					_, _ = io.WriteString(c, last)
					_ = c.Close()
				}))
				if err != nil {
					t.Fatalf("reused %v, behind %q: %v", isReused, last, err)
				}
				if got := finish(t, resp); got != "ok" || s.dialled() != 2 {
					t.Errorf("reused %v, behind %q: %s %q, %d connections", isReused, last, resp.Status, got, s.dialled())
				}
			})
		}
	}
}

// A connection on which nothing was sent, because the caller broke off, is of use to
// the next one.
func TestUnusedConnectionIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, _ := shortOver(t, s, s.dial)
		for range 3 {
			req := post(t.Context(), nil)
			req.Body = io.NopCloser(failing{})
			resp, err := short.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if !errors.Is(err, errBrokenOff) {
				t.Fatal(err)
			}
		}
		finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
		if s.dialled() != 1 {
			t.Errorf("%d connections", s.dialled())
		}
	})
}

// Where no connection can be made, the body stays untouched, even behind one that has
// ended while it was idle.
func TestBodyIsUntouchedWithoutConnection(t *testing.T) {
	for _, isStale := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{get(plainAnswer)}}
			errRefused := errors.New("connection refused")
			short, _ := shortOver(t, s, func(ctx context.Context, network, address string) (net.Conn, error) {
				if !isStale || s.dialled() > 0 {
					return nil, errRefused
				}
				return s.dial(ctx, network, address)
			})
			if isStale {
				finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
				s.close()
			}
			resp, err := short.RoundTrip(post(t.Context(), func() { t.Errorf("stale %v: the body is read", isStale) }))
			if err == nil {
				_ = resp.Body.Close()
			}
			if !errors.Is(err, errRefused) {
				t.Errorf("stale %v: %v", isStale, err)
			}
		})
	}
}

// unpolled is a connection that cannot be polled.
type unpolled struct{ net.Conn }

// Where connections cannot be polled, none is made in vain but the first one.
func TestUnpollableIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, ways := shortOver(t, s, func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := s.dial(ctx, network, address)
			return unpolled{c}, err
		})
		for range 3 {
			finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
			synctest.Wait()
		}
		if s.dialled() != 2 { // and the one of the http.Transport
			t.Errorf("%d connections", s.dialled())
		}
		for _, way := range *ways {
			if way != Unpollable {
				t.Errorf("ways %v", *ways)
			}
		}
	})
}

func TestAddress(t *testing.T) {
	for host, want := range map[string]string{
		"api.example": "api.example:443", "api.example:": "api.example:443", "api.example:8443": "api.example:8443",
		"[::1]": "[::1]:443", "[::1]:": "[::1]:443", "[::1]:1": "[::1]:1", "[fe80::1%eth0]": "[fe80::1%eth0]:443", "127.0.0.1": "127.0.0.1:443",
	} {
		if got := (destination{true, host}).address(); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if got := (destination{false, "api.example:"}).address(); got != "api.example:80" {
		t.Error(got)
	}
}

// Where both kinds of server are behind one name, a minute passes before the short way
// is tried again.
func TestMixedHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short, _ := shortOver(t, &script{}, nil)
		const name = "api.example"
		expect := func(want bool) {
			t.Helper()
			if got := short.isPlain(name); got != want {
				t.Errorf("plain %v", got)
			}
		}
		short.learn(name, true)
		expect(true)
		short.learn(name, false)
		short.learn(name, true)
		expect(false)
		time.Sleep(mixedTime - 1)
		short.learn(name, true)
		expect(false)
		time.Sleep(time.Nanosecond)
		short.learn(name, true)
		expect(true)
	})
}
