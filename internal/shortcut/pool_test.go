package shortcut

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// start begins a request to a host, whose answer is not read yet.
func start(t *testing.T, way http.RoundTripper, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := way.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func finish(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return string(body)
}

// As many connections stay idle as the settings say, for as long as they say; the
// others are closed, the oldest ones first.
func TestIdleConnections(t *testing.T) {
	for _, isShort := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{get(plainAnswer)}}
			rt := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 2, MaxIdleConns: 3, IdleConnTimeout: time.Minute}
			inject.GuardConnections(rt, func() {})
			var way http.RoundTripper = rt
			if isShort {
				short := New(rt, func(*http.Request, Way) {})
				defer short.CloseIdleConnections()
				way = short
			}
			defer rt.CloseIdleConnections()
			state := func() (closed string) {
				synctest.Wait()
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, c := range s.conns {
					closed += fmt.Sprint(map[bool]int{true: 1}[c.isClosed()])
				}
				return closed
			}
			var open []*http.Response
			for _, host := range []string{"a", "a", "a", "b", "b"} {
				open = append(open, start(t, way, "http://"+host+".example/")) //nolint:bodyclose // finish does it
			}
			for _, resp := range open {
				finish(t, resp)
				time.Sleep(time.Second)
			}
			if got := state(); got != "10100" {
				t.Errorf("short %v: closed %s, want 10100", isShort, got)
			}
			time.Sleep(2 * time.Minute)
			if got := state(); got != "11111" {
				t.Errorf("short %v: closed %s after the timeout", isShort, got)
			}
			s.close()
			synctest.Wait()
		})
	}
}

// An https host that chooses HTTP/2 for a new connection gets its requests that way.
func TestHostTurnsToHTTP2(t *testing.T) {
	var isHTTP2 atomic.Bool
	far := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	far.EnableHTTP2 = true
	far.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	far.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := far.TLS.Clone()
		if c.NextProtos = []string{"http/1.1"}; isHTTP2.Load() {
			c.NextProtos = []string{"h2"}
		}
		return c, nil
	}
	far.StartTLS()
	t.Cleanup(far.Close)
	rt := far.Client().Transport.(*http.Transport).Clone()
	rt.ForceAttemptHTTP2 = true
	inject.GuardConnections(rt, func() {})
	var ways []Way
	short := New(rt, func(_ *http.Request, w Way) { ways = append(ways, w) })
	t.Cleanup(short.CloseIdleConnections)
	ask := func(want string, way Way) {
		t.Helper()
		if got := finish(t, start(t, short, far.URL)); got != want || ways[len(ways)-1] != way { //nolint:bodyclose // finish does it
			t.Errorf("%s by %v, want %s by %v", got, ways[len(ways)-1], want, way)
		}
	}
	ask("HTTP/1.1", HTTP2)
	ask("HTTP/1.1", Short)
	ask("HTTP/1.1", Short)
	isHTTP2.Store(true)
	short.CloseIdleConnections()
	ask("HTTP/2.0", HTTP2)
	if short.isPlain(far.Listener.Addr().String()) {
		t.Error("the host still counts as one of HTTP/1.1")
	}
	ask("HTTP/2.0", HTTP2)
	// The other way round, it stays with the http.Transport for a while.
	isHTTP2.Store(false)
	short.CloseIdleConnections()
	ask("HTTP/1.1", HTTP2)
	ask("HTTP/1.1", HTTP2)
}

// stuck is a connection that takes its time to be polled, and to be closed.
type stuck struct {
	connection
	name           string
	polled, closed chan bool // what comes is whether it is quiet; and when it may go on
	isClosed       atomic.Bool
}

func (s *stuck) IsQuiet() bool { return s.polled == nil || <-s.polled }

func (s *stuck) Close() error {
	s.isClosed.Store(true)
	if s.closed != nil {
		<-s.closed
	}
	return nil
}

func newStuck(to destination, name string) (*conn, *stuck) {
	s := &stuck{name: name}
	return newConn(nil, to, s), s
}

func testPool(perHost, most int, timeout time.Duration) *pool {
	p := new(pool)
	p.init(&http.Transport{MaxIdleConnsPerHost: perHost, MaxIdleConns: most, IdleConnTimeout: timeout})
	return p
}

// Nobody waits for a connection that is polled. It is not taken, and is closed once.
func TestNobodyWaitsForPolling(t *testing.T) {
	a, b := destination{host: "a"}, destination{host: "b"}
	for name, c := range map[string]struct {
		meanwhile func(p *pool)
		quiet     bool
		want      bool // it is closed
		left      int
	}{
		"quiet":          {quiet: true, left: 1},
		"not quiet":      {want: true},
		"pool is full":   {func(p *pool) { c, _ := newStuck(b, "new"); p.put(c) }, true, true, 1},
		"pool is closed": {(*pool).close, true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPool(2, 1, 0)
				c1, s1 := newStuck(a, "first")
				s1.polled = make(chan bool)
				p.put(c1)
				time.Sleep(sweepInterval)
				synctest.Wait()
				if got := p.take(a); got != nil {
					t.Error("it is taken while it is polled")
				}
				if c.meanwhile != nil {
					c.meanwhile(p)
				}
				synctest.Wait()
				if s1.isClosed.Load() {
					t.Error("it is closed while it is polled")
				}
				s1.polled <- c.quiet
				synctest.Wait()
				if s1.isClosed.Load() != c.want || p.count != c.left {
					t.Errorf("closed %v, %d are left", s1.isClosed.Load(), p.count)
				}
				s1.polled = nil
				p.close()
			})
		})
	}
}

// Nobody waits for a connection that is closed, wherever that begins.
func TestNobodyWaitsForClosing(t *testing.T) {
	to := destination{host: "a"}
	for name, begin := range map[string]func(p *pool){
		"too many of the host": func(p *pool) {
			p.perHost = 1
			c, s := newStuck(to, "third")
			s.closed = make(chan bool)
			p.put(c)
			defer close(s.closed)
		},
		"too many of all": func(p *pool) { p.most = 1; c, _ := newStuck(destination{host: "b"}, "other"); p.put(c) },
		"expired, taken":  func(p *pool) { p.timeout = 1; time.Sleep(time.Nanosecond); p.take(to) },
		"expired, put":    func(p *pool) { p.timeout = 1; time.Sleep(time.Nanosecond); c, _ := newStuck(to, "new"); p.put(c) },
		"the end":         (*pool).close,
		"sweep":           func(p *pool) { p.mu.Lock(); p.timeout = 1; p.mu.Unlock(); time.Sleep(sweepInterval); synctest.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPool(5, 5, 0)
				c1, s1 := newStuck(to, "first")
				s1.closed = make(chan bool)
				p.put(c1)
				defer close(s1.closed)
				begin(p)
				p.take(destination{host: "x"}) // nobody has the lock
				p.close()
			})
		})
	}
}

// What was idle for too long does not take the place of a connection that is fresh.
func TestExpiredConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := destination{host: "a"}
		p := testPool(1, 0, 2*time.Second)
		old, oldConn := newStuck(to, "old")
		fresh, freshConn := newStuck(to, "fresh")
		p.put(old)
		time.Sleep(2 * time.Second)
		p.put(fresh)
		synctest.Wait()
		if !oldConn.isClosed.Load() || freshConn.isClosed.Load() || p.take(to) != fresh {
			t.Errorf("old closed %v, fresh closed %v", oldConn.isClosed.Load(), freshConn.isClosed.Load())
		}
		p.close()
	})
}
