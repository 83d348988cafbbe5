package caddymodule

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// bodyAhead is a short body that is read before its request is sent, so that a slow
// caller keeps no connection to the API. Whoever has the request later can read it from
// its beginning, as long as nobody else did.
type bodyAhead struct {
	io.ReadCloser
	came []byte
	err  error // behind what came; nil where more may come
}

// read reads the body of a request to the length that it has. The wait for it ends
// with the right of a client, too.
func (b *bodyAhead) read(w http.ResponseWriter, r *http.Request, p *passage) {
	if p != nil {
		// What a server reads from a caller ends by a deadline only.
		isSet := make(chan struct{})
		stop := context.AfterFunc(p, func() {
			defer close(isSet)
			_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
		})
		defer func() {
			if !stop() { // the deadline must not come to the next request of the connection
				<-isSet
			}
		}()
	}
	b.ReadCloser = r.Body
	came, n := make([]byte, r.ContentLength), 0
	for n < len(came) && b.err == nil {
		var more int
		more, b.err = r.Body.Read(came[n:])
		n += more
	}
	b.came = came[:n]
}

// Read implements io.Reader.
func (b *bodyAhead) Read(p []byte) (int, error) {
	if len(b.came) == 0 && b.err == nil {
		return b.ReadCloser.Read(p)
	}
	n := copy(p, b.came)
	if b.came = b.came[n:]; len(b.came) == 0 {
		return n, b.err
	}
	return n, nil
}

// Close implements io.Closer.
func (b *bodyAhead) Close() error {
	b.came, b.err = nil, http.ErrBodyReadAfterClose
	return b.ReadCloser.Close()
}

// unreadBody is a body that is closed only if something of it was read, as
// reverse_proxy has it: one that nobody touched is for the handlers of the error.
type unreadBody struct {
	io.ReadCloser
	wasRead atomic.Bool
}

// Read implements io.Reader.
func (b *unreadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 || err == io.EOF {
		b.wasRead.Store(true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *unreadBody) Close() error {
	if !b.wasRead.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}
