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
	// firstBuffer is the size of the first buffer for an answer. Most need no other.
	firstBuffer = 4 << 10
)

// buffer is space for the beginning of an answer, which goes back to its pool.
type buffer struct {
	bytes []byte
	pool  *buffers
}

// putBack gives the space to the next answer. Nobody may have a part of it any more.
func (b *buffer) putBack() {
	if b != nil {
		b.pool.free.Put(b)
	}
}

// buffers are those of one size.
type buffers struct {
	free sync.Pool
	size int
}

// take returns one whose content is of no meaning.
func (p *buffers) take() *buffer {
	if b, ok := p.free.Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, p.size), p}
}

// The large ones hold all that is looked at, and the byte that tells of more.
var (
	smallBuffers = buffers{size: firstBuffer}
	largeBuffers = buffers{size: maxPeek + 1}
)

// peeked is an answer's body whose beginning was read before the caller reads
// it. The caller gets all bytes, and the error after them, once and in order.
type peeked struct {
	io.ReadCloser         // what was not read ahead
	head          []byte  // what was read ahead, and the caller has not read yet
	space         *buffer // where head lies, if it goes back to its pool
	err           error   // what reading ahead ended with; nil where there is more
}

// Read reads the body. Who has read the whole head has no use for its space any
// more; with a body that is closed before, that is left to the garbage collector,
// because a Read may be under way.
func (b *peeked) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		if b.head = b.head[n:]; len(b.head) == 0 {
			b.space.putBack()
			b.space = nil
		}
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
	body.head, body.space, body.err = readKnown(resp.Body, resp.ContentLength, isPromising)
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
	body.space = a.space
	resp.Body = &body
	return resp, body.head, errors.Is(body.err, io.EOF) && len(body.head) <= maxPeek
}

// readKnown reads a body of a known length to its end, or as long as it is
// promising: of a picture, only what the first Read brings. There is room for one
// byte more than the body has, so that the Read meets its end.
func readKnown(body io.Reader, length int64, isPromising func([]byte) bool) ([]byte, *buffer, error) {
	space := smallBuffers.take()
	buf := space.bytes[:0]
	for int64(len(buf)) <= length {
		if len(buf) == cap(buf) {
			large := largeBuffers.take()
			buf = append(large.bytes[:0], buf...)
			space.putBack()
			space = large
		}
		n, err := body.Read(buf[len(buf):min(int64(cap(buf)), length+1)])
		if buf = buf[:len(buf)+n]; err != nil || !isPromising(buf) {
			return buf, space, err
		}
	}
	return buf, space, nil
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
	space   *buffer // where got lies
	err     error
	givenUp bool // nobody waits any more
}

func (a *arrival) run() {
	defer close(a.done)
	space := smallBuffers.take()
	buf := space.bytes[:0]
	for more := true; more; {
		if len(buf) == cap(buf) { // somebody may have seen the small one, so that it does not go back
			space = largeBuffers.take()
			buf = append(space.bytes[:0], buf...)
		}
		n, err := a.body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		more = a.publish(buf, space, err)
	}
}

// publish makes known what was read, and reports whether to read on.
func (a *arrival) publish(buf []byte, space *buffer, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got, a.space, a.err = buf, space, err
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
