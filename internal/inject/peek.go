package inject

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

const (
	// maxPeek is how many bytes of an answer are looked at, both as they come
	// and unpacked.
	maxPeek = 64 << 10
	// peekTimeout is how long an answer of unknown length, or one whose status
	// refuses the token, may take to arrive. After that it is not waited for.
	peekTimeout = time.Second
	// firstBuffer is the size of the first buffer for an answer.
	firstBuffer = 4 << 10
)

// peeked is an answer's body whose beginning was read before the caller reads
// it. The caller gets all bytes, and the error after them, once and in order.
type peeked struct {
	io.ReadCloser        // what was not read ahead
	head          []byte // what was read ahead, and the caller has not read yet
	err           error  // what reading ahead ended with; nil where there is more
}

// Read reads the body.
func (b *peeked) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.ReadCloser.Read(p)
}

// peek reads an answer ahead: all of it, if it is at most maxPeek long and comes
// in time, which whole reports. isPromising is asked whether what came so far is
// worth waiting for more. Of an answer that is longer, maxPeek+1 bytes are read.
//
// The answer that is returned is the one for the caller. It may be a copy.
func (t *Transport) peek(resp *http.Response, isPromising func([]byte) bool) (_ *http.Response, head []byte, whole bool) {
	if resp.ContentLength < 0 || resp.ContentLength > maxPeek {
		return t.peekInTime(resp, isPromising)
	}
	body := peeked{ReadCloser: resp.Body}
	body.head, body.err = readKnown(resp.Body, resp.ContentLength, isPromising)
	resp.Body = &body
	return resp, body.head, errors.Is(body.err, io.EOF)
}

// peekInTime is peek with peekTimeout as its bound, whatever length is announced.
func (t *Transport) peekInTime(resp *http.Response, isPromising func([]byte) bool) (_ *http.Response, head []byte, whole bool) {
	body := peeked{ReadCloser: resp.Body}
	own := *resp
	own.Trailer = maps.Clone(resp.Trailer)
	a := &arrival{body: resp.Body, isPromising: isPromising, done: make(chan struct{})}
	go a.run()
	var inTime bool
	body.head, body.err, inTime = t.waitFor(a)
	if !inTime {
		own.Body = &late{body, a, len(body.head), resp, &own}
		return &own, body.head, false
	}
	resp.Body = &body
	return resp, body.head, errors.Is(body.err, io.EOF) && len(body.head) <= maxPeek
}

// readKnown reads a body of a known length to its end, or as long as it is
// promising: of a picture, only what the first Read brings. A buffer that is one byte
// larger than the body meets the end without growing.
func readKnown(body io.Reader, length int64, isPromising func([]byte) bool) ([]byte, error) {
	buf := make([]byte, 0, min(length+1, firstBuffer))
	for int64(len(buf)) <= length {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, length+1), buf...)
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+n]; err != nil || !isPromising(buf) {
			return buf, err
		}
	}
	return buf, nil
}

// arrival is a body that is read by a goroutine of its own, because a Read has
// no deadline. The goroutine ends with the body, after maxPeek, when what came is
// not promising, or after the Read during which the waiting was given up: that
// Read ends when the body ends, or is closed.
type arrival struct {
	body        io.Reader
	isPromising func([]byte) bool
	done        chan struct{} // closed at the end of the goroutine

	mu      sync.Mutex
	got     []byte
	err     error
	givenUp bool // nobody waits any more
}

func (a *arrival) run() {
	defer close(a.done)
	buf := make([]byte, 0, firstBuffer)
	for more := true; more; {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(4*cap(buf), maxPeek+1)), buf...)
		}
		n, err := a.body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		more = a.publish(buf, err)
	}
}

// publish makes known what was read, and reports whether to read on.
func (a *arrival) publish(buf []byte, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got, a.err = buf, err
	return err == nil && !a.givenUp && len(buf) <= maxPeek && a.isPromising(buf)
}

// waitFor waits until the reading has ended, or for peekTimeout.
func (t *Transport) waitFor(a *arrival) (head []byte, err error, inTime bool) {
	after := t.after
	if after == nil {
		after = startTimer
	}
	expired, stop := after(peekTimeout)
	defer stop()
	select {
	case <-a.done:
		return a.got, a.err, true
	case <-expired:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.givenUp = true
	return a.got, nil, false
}

// startTimer is the real clock of the peeks.
func startTimer(d time.Duration) (<-chan time.Time, func() bool) {
	timer := time.NewTimer(d)
	return timer.C, timer.Stop
}

// late is the body of an answer that did not arrive in time. A Read of it may be
// under way for as long as the upstream likes, and at its end net/http writes the
// trailers into the answer, while the caller may be reading that. So the caller
// has a copy of the answer, which gets the trailers when the caller itself comes
// to the end.
type late struct {
	peeked
	arrival  *arrival // nil when its last Read is over
	headSize int      // how much of what it got was handed over as the head
	from, to *http.Response
}

// Read reads the body.
func (b *late) Read(p []byte) (int, error) {
	if len(b.head) == 0 && b.arrival != nil {
		<-b.arrival.done
		b.head, b.err = b.arrival.got[b.headSize:], b.arrival.err
		b.arrival = nil
	}
	n, err := b.peeked.Read(p)
	if err != nil {
		b.copyTrailer()
	}
	return n, err
}

func (b *late) copyTrailer() {
	if b.to.Trailer == nil {
		b.to.Trailer = b.from.Trailer
		return
	}
	maps.Copy(b.to.Trailer, b.from.Trailer)
}
