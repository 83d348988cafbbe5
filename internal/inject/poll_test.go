package inject

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pollable is one end of a connection on which nobody takes what is written.
type pollable struct {
	net.Conn // a pipe: who writes waits
	mu       sync.Mutex
	came     []byte
	err      error // of a poll of which nothing has come; nil for none
}

func (p *pollable) arrive(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came = append(p.came, b...)
}

func (p *pollable) TryRead(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.came)
	p.came = p.came[n:]
	if n == 0 {
		return 0, p.err
	}
	return n, nil
}

func newPollable() *pollable {
	near, _ := net.Pipe()
	return &pollable{Conn: near}
}

// A connection is quiet as long as nothing has come, and only that.
func TestIsQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		came string
		err  error
		want bool
	}{
		"nothing": {want: true}, "a byte": {came: "x"}, "the end": {err: io.EOF},
		// A deadline that somebody left there says nothing about what has come.
		"a deadline": {err: os.ErrDeadlineExceeded},
	} {
		p, surplus := newPollable(), 0
		p.err = c.err
		p.arrive([]byte(c.came))
		g := newGuardedConn(newPoller(p), func() { surplus++ })
		if got := g.IsQuiet(); got != c.want || surplus != len(c.came) {
			t.Errorf("%s: quiet %v, surplus %d", name, got, surplus)
		}
		if got := g.IsQuiet(); got != c.want {
			t.Errorf("%s: quiet %v when it is asked once more", name, got)
		}
	}
}

// halfAnswered is a connection whose other end has sent a part of an answer.
type halfAnswered struct{ *pollable }

func (halfAnswered) Write(p []byte) (int, error)     { return len(p), nil }
func (a halfAnswered) Read(p []byte) (int, error)    { return a.TryRead(p) }
func (halfAnswered) SetReadDeadline(time.Time) error { return nil }

// A connection with an answer that is not complete is not quiet, although nothing
// comes.
func TestIsQuietWithinAnAnswer(t *testing.T) {
	for answer, want := range map[string]bool{
		"": false, "HTTP/1.1 2": false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no": false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok": true,
	} {
		a := halfAnswered{newPollable()}
		g := newGuardedConn(newPoller(a), func() { t.Error("surplus") })
		if !g.IsQuiet() {
			t.Error("a fresh connection is not quiet")
		}
		_, _ = io.WriteString(g, "GET / HTTP/1.1\r\n\r\n")
		a.arrive([]byte(answer))
		_, _ = g.Read(make([]byte, 100))
		if got := g.IsQuiet(); got != want {
			t.Errorf("behind %q: quiet %v", answer, got)
		}
	}
}

// TLS answers some of what it reads, such as a malformed record or a wish for new
// keys. While a connection is polled it must not: nobody may take what it writes.
func TestPollingWritesNothing(t *testing.T) {
	config := start(t, true, http.NotFound).TLS.Clone()
	config.SessionTicketsDisabled = true // they would come behind the handshake
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		p := &pollable{Conn: near}
		c := tls.Client(newPoller(p), &tls.Config{InsecureSkipVerify: true})
		go func() { _ = tls.Server(far, config).Handshake() }()
		noError(t, c.Handshake())
		g := newGuardedConn(c, func() { t.Error("surplus") })
		if !g.IsQuiet() {
			t.Fatal("not quiet at first")
		}
		p.arrive(append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...))
		done := make(chan bool, 1)
		go func() { done <- g.IsQuiet() }()
		synctest.Wait()
		select {
		case quiet := <-done:
			equal(t, false, quiet, "quiet")
		default:
			t.Error("it waits until somebody takes its answer")
			_ = far.Close()
		}
	})
}

// What TLS wanted to write while it was polled is lost, and so is the connection:
// what it reads behind that does not count.
func TestRefusedWriteIsNotQuiet(t *testing.T) {
	p := newPollable()
	g := newGuardedConn(newPoller(p), func() { t.Error("surplus") })
	poll := pollerOf(g.Conn)
	poll.try = func([]byte) (int, error) {
		if _, err := poll.Write([]byte("new keys")); err == nil {
			t.Error("it was written")
		}
		return 0, errNothing
	}
	equal(t, false, g.IsQuiet(), "quiet")
}
