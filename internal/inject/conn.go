package inject

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// maxHeader bounds the header of an answer, with all its interim answers.
	maxHeader = 256 << 10
	// maxInterim is how many interim answers (1xx) may come before the answer.
	maxInterim = 10
	// headerTimeout is how long a header may take from its first byte on.
	headerTimeout = time.Minute
)

var errInterim = errors.New("the upstream sent too many interim answers")

// GuardConnections makes the connections of a transport safe from what upstreams
// may send besides an answer. surplus is called for each connection that is ended
// because something came that nobody asked for.
//
// net/http prints such bytes with the standard logger of the process, and they may
// quote the token. So each connection is cut off at the end of the answer, and
// net/http takes it for one that the upstream has closed. That needs the bytes in
// clear, and so the TLS handshake is made here.
//
// Through a proxy it is made elsewhere. There each connection serves one request,
// because net/http reads on only where it wants to use the connection again.
func GuardConnections(rt *http.Transport, surplus func()) {
	if rt.MaxResponseHeaderBytes == 0 {
		rt.MaxResponseHeaderBytes = maxHeader
	}
	if rt.HTTP2 == nil {
		// A frame that does not come to its end does not answer the ping either.
		rt.HTTP2 = &http.HTTP2Config{SendPingTimeout: headerTimeout / 2, PingTimeout: headerTimeout / 2}
	}
	if rt.Proxy != nil {
		rt.DisableKeepAlives = true
		return
	}
	dial, dialTLS := rt.DialContext, rt.DialTLSContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	if dialTLS == nil {
		dialTLS = func(ctx context.Context, network, address string) (net.Conn, error) {
			return handshake(ctx, rt, dial, network, address)
		}
	}
	rt.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return newGuardedConn(newPoller(c), surplus), nil
	}
	rt.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dialTLS(ctx, network, address)
		if err != nil {
			return nil, err
		}
		// net/http speaks HTTP/2 on a *tls.Conn only.
		if t, ok := c.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
			return c, nil
		}
		return newGuardedConn(c, surplus), nil
	}
}

// handshake dials and makes the TLS handshake as net/http does.
func handshake(ctx context.Context, rt *http.Transport, dial func(context.Context, string, string) (net.Conn, error), network, address string) (net.Conn, error) {
	plain, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	plain = newPoller(plain)
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if rt.TLSClientConfig != nil {
		config = rt.TLSClientConfig.Clone()
	}
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(address); err != nil {
			_ = plain.Close()
			return nil, err
		}
	}
	if only, _ := ctx.Value(http1Only{}).(bool); only {
		config.NextProtos = nil
	}
	if rt.TLSHandshakeTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rt.TLSHandshakeTimeout)
		defer cancel()
	}
	c := tls.Client(plain, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return c, nil
}

// http1Only is the key of a true in the context of a request that cannot be sent
// over HTTP/2.
type http1Only struct{}

// guardedConn is a connection to an upstream that speaks HTTP/1. Requests are
// written and answers read one after the other, by one goroutine each.
type guardedConn struct {
	net.Conn
	surplus func()

	request, answer framing
	interim         int       // interim answers of the current request
	began           time.Time // when the header began that is not complete; zero for none
	ended           bool      // something came that nobody asked for
	one             [1]byte   // for IsQuiet

	// asked: a request was begun, and its answer is not complete.
	asked atomic.Bool
	// isHead: its method is HEAD.
	isHead atomic.Bool
	// isOpaque: the connection is no longer HTTP/1, and passes as it is.
	isOpaque atomic.Bool
}

func newGuardedConn(c net.Conn, surplus func()) *guardedConn {
	g := &guardedConn{Conn: c, surplus: surplus}
	g.request.decide = func([]byte) bodyRule { return bodyAsHeaderSays }
	g.answer.decide = g.bodyRuleOf
	return g
}

// Write writes a part of a request. What net/http writes begins a request only
// where the request before is complete.
func (g *guardedConn) Write(p []byte) (int, error) {
	if !g.isOpaque.Load() {
		for rest := p; len(rest) > 0; {
			if g.request.part == atEnd {
				g.request.part = atStart
			}
			if g.request.part == atStart {
				method, _, _ := bytes.Cut(rest, []byte(" "))
				g.isHead.Store(string(method) == http.MethodHead)
				g.asked.Store(true)
				if string(method) == "PRI" { // the preface of HTTP/2
					g.isOpaque.Store(true)
					break
				}
			}
			n, err := g.request.next(rest)
			if err != nil {
				return 0, err
			}
			rest = rest[n:]
		}
	}
	return g.Conn.Write(p)
}

// Read reads a part of an answer, and nothing behind the answer.
func (g *guardedConn) Read(p []byte) (int, error) {
	if g.ended {
		return 0, io.EOF
	}
	n, err := g.Conn.Read(p)
	if n == 0 || g.isOpaque.Load() {
		return n, err
	}
	kept, fault := g.keep(p[:n])
	switch {
	case fault != nil:
		return 0, fault
	case kept < n:
		g.ended = true
		g.surplus()
		return kept, io.EOF
	case g.isOpaque.Load():
		return n, err
	}
	if late := g.boundHeader(); late != nil {
		return 0, late
	}
	return n, err
}

// CanPoll reports whether IsQuiet can tell what it is asked.
func (g *guardedConn) CanPoll() bool { return pollerOf(g.Conn) != nil }

// IsQuiet reports, without waiting, whether nothing has come since the last answer,
// not even the end of the connection. It is asked between two requests. Where
// something has come, or the last answer has not ended, the connection is of no use
// any more.
func (g *guardedConn) IsQuiet() bool {
	poll := pollerOf(g.Conn)
	if g.ended || poll == nil {
		return false
	}
	if g.answer.part != atStart || g.asked.Load() {
		g.ended = true
		return false
	}
	n, isQuiet := poll.poll(g.Conn, g.one[:])
	if isQuiet {
		return true
	}
	g.ended = true
	if n > 0 {
		g.surplus()
	}
	return false
}

// pollerOf is what a connection stands on; nil where that cannot be asked.
func pollerOf(c net.Conn) *poller {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	p, _ := c.(*poller)
	return p
}

// keep returns how much of what was read belongs to an answer.
func (g *guardedConn) keep(p []byte) (int, error) {
	if g.answer.part == atStart && !g.asked.Load() {
		return 0, nil
	}
	n, err := g.answer.next(p)
	switch {
	case errors.Is(err, errFraming): // net/http says what is wrong with it, and closes
		return len(p), nil
	case g.isOpaque.Load():
		return len(p), nil
	case g.interim > maxInterim:
		return 0, errInterim
	}
	if g.answer.part == atEnd {
		g.answer.part, g.interim = atStart, 0
		g.asked.Store(false)
	}
	return n, nil
}

// boundHeader ends the waiting for a header that has begun and does not come to its
// end. The deadline is set where the first part of one was read, so that an answer
// that takes long to begin, and a body, are not bounded.
func (g *guardedConn) boundHeader() error {
	switch {
	case g.answer.part != atHeader && g.began.IsZero():
		return nil
	case g.answer.part != atHeader:
		g.began = time.Time{}
		return g.Conn.SetReadDeadline(time.Time{})
	case g.began.IsZero():
		g.began = time.Now()
		return g.Conn.SetReadDeadline(g.began.Add(headerTimeout))
	case time.Since(g.began) >= headerTimeout: // a read_timeout has moved the deadline
		return os.ErrDeadlineExceeded
	}
	return nil
}

// bodyRuleOf tells whether an answer with this status line has a body (RFC 9112
// section 6.3).
func (g *guardedConn) bodyRuleOf(first []byte) bodyRule {
	_, status, _ := bytes.Cut(first, []byte(" "))
	status = bytes.TrimLeft(status, " ")
	switch {
	case bytes.HasPrefix(status, []byte("101")):
		g.isOpaque.Store(true)
		return noBody
	case bytes.HasPrefix(status, []byte("1")):
		g.interim++
		return anotherHeader
	case bytes.HasPrefix(status, []byte("204")), bytes.HasPrefix(status, []byte("304")), g.isHead.Load():
		return noBody
	}
	return bodyToTheEnd
}
