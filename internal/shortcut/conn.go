package shortcut

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// bufferSize is that of http.Transport.
const bufferSize = 4 << 10

// defaultMaxHeader is that of http.Transport.
const defaultMaxHeader = 10 << 20

// conn is a connection to an upstream. It has one request at a time.
type conn struct {
	t   *Transport
	to  destination
	net connection
	br  *bufio.Reader
	// abort closes the connection, from any goroutine.
	abort func()
	// limit is how much of the answer's header may still be read.
	limit int64
	// reused: the connection was idle before this request.
	reused bool

	// What the pool knows of it. older and newer are nil for one that is not idle.
	idleSince    time.Time
	older, newer *conn
	isPolled     bool // the sweep looks at it: nobody takes it, or closes it
}

func newConn(t *Transport, to destination, c connection) *conn {
	made := &conn{t: t, to: to, net: c}
	made.abort = made.close
	made.br = bufio.NewReaderSize(made, bufferSize)
	return made
}

func (c *conn) close() { _ = c.net.Close() }

// Read reads from the connection, for br.
func (c *conn) Read(p []byte) (int, error) {
	if c.limit <= 0 {
		return 0, errors.New("the header of the answer is too long")
	}
	n, err := c.net.Read(p[:min(int64(len(p)), c.limit)])
	c.limit -= int64(n)
	return n, err
}

// maxHeader bounds the header of an answer, with its interim answers.
func (c *conn) maxHeader() int64 {
	if most := c.t.rt.MaxResponseHeaderBytes; most > 0 {
		return most
	}
	return defaultMaxHeader
}

// exchange sends a request and returns its answer. The connection becomes idle, or is
// closed, when the body of the answer has been read or closed. mayRepeat tells of an
// error that the request may be sent again, by another connection.
func (c *conn) exchange(req *http.Request, m *message) (resp *http.Response, mayRepeat bool, err error) {
	unwatch := func() bool { return true }
	if ctx := req.Context(); ctx.Done() != nil {
		unwatch = context.AfterFunc(ctx, c.abort)
		// One that has ended since closes the connection, but perhaps not in time.
		if ctx.Err() != nil {
			unwatch()
			c.close()
			if !m.isWhole {
				closeBody(req)
			}
			return nil, false, context.Cause(ctx)
		}
	}
	var s *sender
	if m.isWhole {
		n, err := c.net.Write(m.buf)
		if err != nil {
			unwatch()
			c.close()
			return nil, n == 0 && c.mayReplace(req), errorOf(req, broken(err))
		}
	} else {
		s = c.send(req, m)
	}
	resp, mayRepeat, err = c.answer(req)
	if err != nil {
		unwatch()
		c.close()
		source, sentNothing := s.wait()
		if source != nil {
			return nil, false, errorOf(req, source)
		}
		return nil, mayRepeat || sentNothing && c.mayReplace(req), errorOf(req, err)
	}
	c.limit = math.MaxInt64 // of the body
	keep := !resp.Close && resp.StatusCode > 199
	if req.Method == http.MethodHead || resp.ContentLength == 0 {
		c.ended(keep, unwatch, s)
		return resp, false, nil
	}
	b := &body{ReadCloser: resp.Body, c: c, req: req, keep: keep, unwatch: unwatch, sender: s}
	resp.Body = b
	if c.t.wantsGzip(req) && strings.EqualFold(first(resp.Header["Content-Encoding"]), "gzip") {
		resp.Body = &unpacked{packed: b}
		delete(resp.Header, "Content-Encoding")
		delete(resp.Header, "Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	return resp, false, nil
}

// answer reads the header of the answer. Interim answers are dropped.
func (c *conn) answer(req *http.Request) (_ *http.Response, mayRepeat bool, err error) {
	c.limit = c.maxHeader()
	if _, err := c.br.Peek(1); err != nil {
		return nil, c.reused && isReplayable(req), err
	}
	for {
		resp, err := http.ReadResponse(c.br, req)
		switch {
		case err != nil && c.limit <= 0:
			err = fmt.Errorf("net/http: server response headers exceeded %d bytes; aborted", c.maxHeader())
			fallthrough
		case err != nil:
			return nil, false, broken(err)
		case resp.StatusCode < 100 || resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, false, nil
		}
	}
}

// mayReplace reports whether a request of which nothing was written may be sent by
// another connection. Its body, if it has one, is gone.
func (c *conn) mayReplace(req *http.Request) bool { return c.reused && req.ContentLength == 0 }

// isReplayable reports whether a request may be sent again although the upstream may
// have got it (RFC 9110 section 9.2.2), by the rules of http.Transport.
func isReplayable(req *http.Request) bool {
	if req.ContentLength > 0 {
		return false
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, has := req.Header["Idempotency-Key"]
	_, hasX := req.Header["X-Idempotency-Key"]
	return has || hasX
}

// ended is called once the answer has been read to its end, or is given up.
func (c *conn) ended(keep bool, unwatch func() bool, s *sender) {
	keep = keep && c.br.Buffered() == 0 && s.hasSent()
	if !unwatch() || !keep { // whoever watches closes it
		c.close()
		return
	}
	c.t.pool.put(c)
}

// broken is an error behind the beginning of the answer, worded as by http.Transport.
func broken(err error) error {
	return fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", err)
}
