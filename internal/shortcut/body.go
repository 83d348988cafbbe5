package shortcut

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"sync"
)

var errClosed = errors.New("http: read on closed response body")

// body is the body of an answer. Its connection is free when it ends. It may be
// closed while it is read.
type body struct {
	io.ReadCloser
	c       *conn
	req     *http.Request
	keep    bool // the connection can be used again
	unwatch func() bool
	sender  *sender

	mu     sync.Mutex
	closed bool
	err    error // what the reading ended with
}

// Read reads the body.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	closed, err := b.closed, b.err
	b.mu.Unlock()
	switch {
	case closed:
		return 0, errClosed
	case err != nil:
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

// end ends the reading, and returns the error for the reader.
func (b *body) end(err error) error {
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return err
	}
	b.err = err
	b.mu.Unlock()
	isEOF := err == io.EOF //nolint:errorlint // as everybody who reads compares it
	b.c.ended(b.keep && isEOF, b.unwatch, b.sender)
	if !isEOF {
		err = errorOf(b.req, err)
	}
	return err
}

// Close gives up what was not read. It does not wait for a Read.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil {
		b.err = errClosed
		b.unwatch()
		b.c.close()
	}
	return nil
}

// unpacked is a body that came in gzip because it was asked for here.
type unpacked struct {
	packed *body

	mu  sync.Mutex
	zr  *gzip.Reader
	err error
}

// Read unpacks.
func (u *unpacked) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.zr == nil && u.err == nil {
		u.zr, u.err = gzip.NewReader(u.packed)
	}
	if u.err != nil {
		return 0, u.err
	}
	return u.zr.Read(p)
}

// Close closes the packed body, which ends a Read.
func (u *unpacked) Close() error { return u.packed.Close() }
