package shortcut

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

// A body that is shorter or longer than was announced leaves nothing behind that an
// upstream could take for the beginning of another request.
func TestBodyOfAnotherLength(t *testing.T) {
	for _, announced := range []int{4, 20_000} {
		for _, more := range []int{-1, 1} {
			t.Run(fmt.Sprint(announced, more), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &script{steps: []step{{pieces: []string{}}, get(plainAnswer)}}
					short, _ := shortOver(t, s, s.dial)
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					req := post(ctx, nil)
					req.Body = io.NopCloser(strings.NewReader(strings.Repeat("b", announced+more)))
					req.ContentLength = int64(announced)
					resp, err := short.RoundTrip(req)
					if err == nil {
						_ = resp.Body.Close()
					}
					if want := fmt.Sprintf("ContentLength=%d with Body length %d", announced, announced+more); err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("error %v, want %s", err, want)
					}
					synctest.Wait()
					if _, sent, _ := strings.Cut(s.sent(), "\r\n\r\n"); len(sent) > announced {
						t.Errorf("%d bytes of the body were sent", len(sent))
					}
					sentAll := announced <= MaxWhole // the connection is good if nothing was sent
					s.mu.Lock()
					s.now = 1
					s.mu.Unlock()
					finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
					if want := map[bool]int{true: 1, false: 2}[sentAll]; s.dialled() != want {
						t.Errorf("%d connections, want %d", s.dialled(), want)
					}
				})
			})
		}
	}
}

// breaking is a connection whose writing fails once, after some bytes.
type breaking struct {
	*memory
	isBroken *bool
	written  int
}

func (b breaking) Write(p []byte) (int, error) {
	if !*b.isBroken {
		return b.memory.Write(p)
	}
	*b.isBroken = false
	n, _ := b.memory.Write(p[:b.written])
	_ = b.Close()
	return n, syscall.EPIPE
}

// A request of which nothing was written is sent by another connection, if the one that
// broke was idle before. Any other is not sent twice (RFC 9110 section 9.2.2).
func TestWhatIsSentAgain(t *testing.T) {
	long := http.Header{"X": {strings.Repeat("x", 2*MaxWhole)}}
	for name, tt := range map[string]struct {
		method  string
		header  http.Header
		isFresh bool
		written int
		body    int
		isAgain bool
	}{
		"nothing written":               {method: http.MethodPost, isAgain: true},
		"nothing written, long":         {method: http.MethodPost, header: long, isAgain: true},
		"something written":             {method: http.MethodPost, written: 1},
		"something written, long":       {method: http.MethodPost, header: long, written: 1},
		"something written, long GET":   {method: http.MethodGet, header: long, written: 1, isAgain: true},
		"fresh, nothing written":        {method: http.MethodGet, isFresh: true},
		"fresh, nothing written, long":  {method: http.MethodGet, header: long, isFresh: true},
		"fresh, something written, GET": {method: http.MethodGet, isFresh: true, written: 1},
		"fresh, ends, long GET":         {method: http.MethodGet, header: long, isFresh: true, written: 1},
		"nothing written of a body":     {method: http.MethodPost, body: 4},
		"nothing written, long body":    {method: http.MethodPost, body: 2 * MaxWhole},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{get(plainAnswer)}}
				isBroken := false
				short, _ := shortOver(t, s, func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := s.dial(ctx, network, address)
					return breaking{c.(*memory), &isBroken, tt.written}, err
				})
				before := 0
				if !tt.isFresh {
					finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
					before = 1
				}
				isBroken = true
				req, _ := http.NewRequestWithContext(t.Context(), tt.method, "http://api.example/", nil)
				if tt.header != nil {
					req.Header = tt.header.Clone()
				}
				if tt.body > 0 {
					req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("b", tt.body))), int64(tt.body)
				}
				resp, err := short.RoundTrip(req)
				if err == nil {
					finish(t, resp)
				}
				dialled := 1
				if tt.isAgain {
					dialled = before + 1
				}
				if (err == nil) != tt.isAgain || s.dialled() != dialled {
					t.Errorf("error %v, %d connections, want %d", err, s.dialled(), dialled)
				}
			})
		})
	}
}

// A connection that is in use at the end is closed when it is free.
func TestConnectionInUseAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, _ := shortOver(t, s, s.dial)
		resp := start(t, short, "http://api.example/") //nolint:bodyclose // finish does it
		short.CloseIdleConnections()
		synctest.Wait()
		if s.conns[0].isClosed() {
			t.Error("it is closed while it is in use")
		}
		finish(t, resp)
		synctest.Wait()
		if !s.conns[0].isClosed() {
			t.Error("it stays open")
		}
	})
}

// Nobody reads the body of a request for which there is an error already: its caller
// may do something else with it.
func TestBodyIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{{when: never}}}
		short, _ := shortOver(t, s, s.dial)
		release := make(chan struct{})
		var once sync.Once
		req := post(t.Context(), nil)
		req.Body = io.NopCloser(io.MultiReader(readerFunc(func([]byte) (int, error) {
			once.Do(func() { <-release })
			return 0, io.EOF
		}), strings.NewReader(strings.Repeat("b", 20_000))))
		req.ContentLength = 20_000
		ended := make(chan error, 1)
		go func() {
			resp, err := short.RoundTrip(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			ended <- err
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("ended with %v while the body is read", err)
			close(release)
		default:
			close(release)
			if err := <-ended; err == nil {
				t.Error("no error")
			}
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A body that was read for a connection of the short way goes with its request where
// the host turns out to speak HTTP/2 by then.
func TestBodyGoesTheOtherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		rt := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 10}
		inject.GuardConnections(rt, func() {})
		guarded, hasTurned := rt.DialContext, false // TLS is left out
		rt.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := guarded(ctx, network, address)
			if hasTurned { // one of HTTP/2 is no connection of the short way
				return struct{ net.Conn }{c}, err
			}
			return c, err
		}
		var ways []Way
		short := New(rt, func(_ *http.Request, w Way) { ways = append(ways, w) })
		short.learn("api.example", true)
		req := post(t.Context(), func() {
			synctest.Wait()
			hasTurned = true
			_ = s.conns[0].Close()
		})
		req.URL.Scheme = "https"
		resp, err := short.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		finish(t, resp)
		if !strings.HasSuffix(s.sent(), "\r\n\r\nbody") || len(ways) != 1 || ways[0] != HTTP2 {
			t.Errorf("sent %q by %v", s.sent(), ways)
		}
		short.CloseIdleConnections()
		s.close()
		time.Sleep(time.Second)
	})
}

// What http.Transport treats in a way of its own is left to it.
func TestUnusualRequests(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"close": func(r *http.Request) { r.Close = true },
		"body comes again": func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("not asked for") }
		},
		"opaque":            func(r *http.Request) { r.URL.Opaque = "//api.example/x" },
		"control in query":  func(r *http.Request) { r.URL.RawQuery = "a=\n" },
		"blank in query":    func(r *http.Request) { r.URL.RawQuery = "a= b" },
		"delete in query":   func(r *http.Request) { r.URL.RawQuery = "a=\x7f" },
		"percent in host":   func(r *http.Request) { r.Host = "a%41" },
		"no host":           func(r *http.Request) { r.URL.Host = "" },
		"another scheme":    func(r *http.Request) { r.URL.Scheme = "ftp" },
		"method with blank": func(r *http.Request) { r.Method = "GET /" },
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
			short := New(&http.Transport{}, nil)
			to := destination{host: "api.example"}
			if _, way := short.write(req, to); way != Short {
				t.Fatal(way)
			}
			change(req)
			if _, way := short.write(req, to); way != Unusual {
				t.Errorf("the way is %v", way)
			}
		})
	}
}

// Only a common request shows which protocol an https host chooses for common requests.
func TestHostIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		rt := &http.Transport{DialContext: s.dial, DialTLSContext: s.dial, MaxIdleConnsPerHost: 10}
		short := New(rt, func(*http.Request, Way) {})
		for _, isCommon := range []bool{false, true} {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/", nil)
			if !isCommon {
				req.Header.Set("Upgrade", "x")
			}
			resp, err := short.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			finish(t, resp)
			if got := short.isPlain("api.example"); got != isCommon {
				t.Errorf("common %v: plain %v", isCommon, got)
			}
		}
		short.CloseIdleConnections()
		s.close()
		time.Sleep(time.Second)
	})
}

// What is remembered of hosts and destinations has bounds.
func TestMemoryHasBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		short := New(&http.Transport{}, nil)
		for n := range 3 * maxHosts {
			short.learn(fmt.Sprint(n), true)
		}
		if len(short.hosts) > maxHosts {
			t.Errorf("%d hosts are remembered", len(short.hosts))
		}
		p := testPool(1, 0, time.Minute)
		for n := range 100 {
			c, _ := newStuck(destination{host: fmt.Sprint(n)}, "")
			p.put(c)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(p.idle) > 0 || p.count > 0 || p.sweeper != nil {
			t.Errorf("%d destinations, %d connections, and a timer: %v", len(p.idle), p.count, p.sweeper != nil)
		}
		p.close()
	})
}

// bare is a connection that trusts whatever comes, where that of package inject does
// not.
type bare struct{ net.Conn }

func (bare) CanPoll() bool { return true }
func (bare) IsQuiet() bool { return true }

// A connection is used again only where its answer leaves no doubt, whatever guards
// the connection besides.
func TestDoubtfulConnectionIsClosed(t *testing.T) {
	for name, c := range map[string]struct {
		answer  string
		dialled int
	}{
		"good":           {plainAnswer, 1},
		"no content":     {"HTTP/1.1 204 No Content\r\n\r\n", 1},
		"bytes behind":   {plainAnswer + "HTTP/1.1 200 OK\r\n", 2},
		"bytes of 204":   {"HTTP/1.1 204 No Content\r\n\r\nok", 2},
		"status of 0":    {"HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\nok", 2},
		"status of 99":   {"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", 2},
		"other protocol": {"HTTP/1.1 101 Switching Protocols\r\n\r\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{steps: []step{get(c.answer), get(plainAnswer)}}
				short := New(&http.Transport{MaxIdleConnsPerHost: 10, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := s.dial(ctx, network, address)
					return bare{c}, err
				}}, func(*http.Request, Way) {})
				finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
				s.mu.Lock()
				s.now = 1
				s.mu.Unlock()
				finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
				if s.dialled() != c.dialled {
					t.Errorf("%d connections, want %d", s.dialled(), c.dialled)
				}
				short.CloseIdleConnections()
				s.close()
				time.Sleep(time.Second)
			})
		})
	}
}

// Nobody can have the body of an answer that changes the protocol.
func TestSwitchHasNoBody(t *testing.T) {
	for _, more := range []string{"", "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{steps: []step{get("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n" + more + "\r\nok")}}
			short, _ := shortOver(t, s, s.dial)
			resp := start(t, short, "http://api.example/")
			if resp.Body != http.NoBody {
				t.Errorf("%q: a body of %T", more, resp.Body)
			}
			finish(t, resp)
		})
	}
}

// A connection that the end of a request closes is not kept, even if the whole answer
// was there.
func TestAbortedConnectionIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, _ := shortOver(t, s, s.dial)
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://api.example/", nil)
		resp, err := short.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait() // it is closed
		if got := finish(t, resp); got != "ok" || short.pool.count != 0 {
			t.Errorf("%q, %d connections are kept", got, short.pool.count)
		}
	})
}

// countMessages returns how many messages were made since.
func countMessages(t *testing.T) *atomic.Int32 {
	t.Helper()
	made, before := new(atomic.Int32), messages.New
	messages.New = func() any { made.Add(1); return before() }
	t.Cleanup(func() { messages.New = before })
	return made
}

// keptMessages takes all messages that wait for a request.
func keptMessages() (kept []*message) {
	before := messages.New
	defer func() { messages.New = before }()
	messages.New = nil
	for m := messages.Get(); m != nil; m = messages.Get() {
		kept = append(kept, m.(*message))
	}
	return kept
}

// The space of a message is used again. The race detector has some thrown away.
func TestMessagesAreUsedAgain(t *testing.T) {
	const many = 100
	made := countMessages(t)
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, _ := shortOver(t, s, s.dial)
		for range many {
			finish(t, start(t, short, "http://api.example/")) //nolint:bodyclose // finish does it
		}
	})
	if got := made.Swap(0); got > many*3/4 {
		t.Errorf("%d messages for %d requests", got, many)
	}
	short := New(&http.Transport{}, nil)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/?a= b", nil)
	req.URL.RawQuery = "a= b"
	for range many {
		if _, way := short.write(req, destination{host: "api.example"}); way != Unusual {
			t.Fatal(way)
		}
	}
	if got := made.Load(); got > many*3/4 {
		t.Errorf("%d messages for %d requests that go the other way", got, many)
	}
}

// A message that is kept has no more space than others need, and nothing of its request.
func TestMessagesStaySmall(t *testing.T) {
	keptMessages()
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: []step{get(plainAnswer)}}
		short, _ := shortOver(t, s, s.dial)
		for range 10 {
			for _, size := range []int{2 * MaxWhole, MaxWhole - 200, 1} {
				for _, end := range []string{"\n", ""} { // the first goes the other way
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/", nil)
					req.Header = http.Header{"X": {strings.Repeat("x", size) + end}}
					if resp, err := short.RoundTrip(req); err == nil {
						finish(t, resp)
					}
				}
			}
		}
	})
	for _, m := range keptMessages() {
		if cap(m.buf) > MaxWhole {
			t.Errorf("one of %d bytes is kept", cap(m.buf))
		}
		for _, name := range m.names[:cap(m.names)] {
			if name != "" {
				t.Errorf("the name %s is kept", name)
			}
		}
	}
}

// waiting is a connection whose answer is there before anybody has read the request.
type waiting struct {
	bare
	begun chan []byte
	goOn  chan struct{}
}

func (w waiting) Write(p []byte) (int, error) {
	w.begun <- p
	<-w.goOn
	return len(p), nil
}

// A message that is still written belongs to nobody else.
func TestMessageIsWrittenBeforeItIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // the race detector has some thrown away
			keptMessages()
			client, server := newMemory()
			w := waiting{bare{client}, make(chan []byte, 10), make(chan struct{})}
			short := New(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return w, nil }}, func(*http.Request, Way) {})
			_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
			req := post(t.Context(), nil)
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("b", 2*MaxWhole))), 2*MaxWhole
			resp, err := short.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			written := <-w.begun
			for _, m := range keptMessages() {
				if &m.buf[:1][0] == &written[0] {
					t.Error("it is used again while it is written")
				}
			}
			close(w.goOn)
			_ = resp.Body.Close()
			synctest.Wait()
		}
	})
}

// A body that is given back is no part of the message any more.
func TestGivenBodyIsACopy(t *testing.T) {
	req := post(t.Context(), nil)
	m := &message{buf: make([]byte, 0, MaxWhole)}
	if _, err := m.readBody(req); err != nil {
		t.Fatal(err)
	}
	m.giveBody(req)
	clear(m.buf)
	if got, err := io.ReadAll(req.Body); string(got) != "body" || err != nil {
		t.Errorf("%q, error %v", got, err)
	}
}

// Behind the end no timer runs.
func TestSweepEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPool(1, 0, 0)
		c, _ := newStuck(destination{host: "a"}, "")
		p.put(c)
		p.close()
		if p.sweeper.Stop() {
			t.Error("the timer still ran")
		}
	})
}
