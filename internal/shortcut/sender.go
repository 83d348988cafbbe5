package shortcut

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxWait is how long the end of an answer waits for the end of its request, as with
// http.Transport. After that the connection is closed.
const maxWait = 50 * time.Millisecond

// sender sends a long request in a goroutine of its own, while the answer is waited
// for: an upstream may answer before it has read everything. A nil one has sent its
// request.
type sender struct {
	done chan struct{}
	// All others are set when done is closed. source is an error of the body, which
	// comes before all others.
	err, source error
	sentNothing bool
}

// send sends a request. Nobody knows when the message can be used again.
func (c *conn) send(req *http.Request, m *message) *sender {
	s := &sender{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		n, err := c.net.Write(m.buf)
		s.sentNothing = n == 0
		if hasBody(req) {
			if err == nil {
				err = s.sendBody(c, req)
			} else {
				closeBody(req)
			}
		}
		if s.err = err; s.source != nil {
			c.close() // the upstream would wait for the rest
		}
	}()
	return s
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func (s *sender) sendBody(c *conn, req *http.Request) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	from := &source{Reader: req.Body}
	n, err := io.CopyBuffer(writer{c.net}, io.LimitReader(from, req.ContentLength), *buf)
	if err == nil {
		var surplus int64
		surplus, err = io.CopyBuffer(writer{io.Discard}, from, *buf)
		n += surplus
	}
	s.source = from.err
	if closed := req.Body.Close(); err == nil {
		err = closed
	}
	if err == nil && n != req.ContentLength {
		err = fmt.Errorf("http: ContentLength=%d with Body length %d", req.ContentLength, n)
		s.source = broken(err)
	}
	return err
}

// source notes with which error a body ends.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// writer hides whatever else somebody who writes can do.
type writer struct{ io.Writer }

// hasSent reports whether the whole request has been sent, or will be at once.
func (s *sender) hasSent() bool {
	if s == nil {
		return true
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.err == nil
	case <-timer.C:
		return false
	}
}

// wait waits for the end of the sending, for which the connection is closed.
func (s *sender) wait() (source error, sentNothing bool) {
	if s == nil {
		return nil, false
	}
	<-s.done
	return s.source, s.sentNothing
}
