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
	// peekMost is how many bytes of an answer are looked at, as they come and
	// unpacked.
	peekMost = 64 << 10
	// peekTime is how long an answer of unknown length may take to arrive, and
	// a refusal that is one by its status.
	peekTime = time.Second
	// firstRead is the first buffer for an answer of unknown length.
	firstRead = 4 << 10
)

// peeked is an answer's body whose beginning was read ahead of the caller. All
// bytes, and the error behind them, come to the caller once and in order.
type peeked struct {
	io.ReadCloser        // what was not read ahead
	head          []byte // what was, and is not handed on yet
	err           error  // what reading ahead ended with; nil: there is more
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

// peek reads an answer ahead: all of it, if it is at most peekMost long and
// comes in time. whole says that it is, and did. goOn is asked, where the
// length is unknown, whether what came so far is worth waiting for more.
//
// The answer that is returned is the caller's; it may be another one.
func (t *Transport) peek(resp *http.Response, goOn func([]byte) bool) (_ *http.Response, head []byte, whole bool) {
	if resp.ContentLength < 0 {
		return t.peekInTime(resp, goOn)
	}
	body := peeked{ReadCloser: resp.Body}
	body.head, body.err = readKnown(resp.Body, resp.ContentLength)
	resp.Body = &body
	return resp, body.head, errors.Is(body.err, io.EOF)
}

// peekInTime is peek with peekTime as its bound, whatever length is announced.
func (t *Transport) peekInTime(resp *http.Response, goOn func([]byte) bool) (_ *http.Response, head []byte, whole bool) {
	body := peeked{ReadCloser: resp.Body}
	own := *resp
	own.Trailer = maps.Clone(resp.Trailer)
	a := &arrival{body: resp.Body, goOn: goOn, done: make(chan struct{})}
	go a.run()
	var inTime bool
	body.head, body.err, inTime = t.await(a)
	if !inTime {
		own.Body = &late{body, a, len(body.head), resp, &own}
		return &own, body.head, false
	}
	resp.Body = &body
	return resp, body.head, errors.Is(body.err, io.EOF) && len(body.head) <= peekMost
}

// readKnown reads a body of a known length to its end. A buffer that is one
// byte larger meets the end without growing.
func readKnown(body io.Reader, length int64) ([]byte, error) {
	buf := make([]byte, length+1)
	n := 0
	for n < len(buf) {
		k, err := body.Read(buf[n:])
		if n += k; err != nil {
			return buf[:n], err
		}
	}
	return buf, nil
}

// arrival is a body that is read by a goroutine of its own, because a Read has
// no deadline. The goroutine ends with the body, with peekMost, when goOn says
// so, or with the Read during which it was left alone: that one ends when the
// body ends, or is closed.
type arrival struct {
	body io.Reader
	goOn func([]byte) bool
	done chan struct{} // closed at the end of the goroutine

	mu   sync.Mutex
	got  []byte
	err  error
	left bool
}

func (a *arrival) run() {
	defer close(a.done)
	buf := make([]byte, 0, firstRead)
	for more := true; more; {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, min(4*cap(buf), peekMost+1)), buf...)
		}
		n, err := a.body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		more = a.took(buf, err)
	}
}

// took publishes what was read, and says whether to read on.
func (a *arrival) took(buf []byte, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got, a.err = buf, err
	return err == nil && !a.left && len(buf) <= peekMost && a.goOn(buf)
}

// await waits until the reading has ended, or for peekTime.
func (t *Transport) await(a *arrival) (head []byte, err error, inTime bool) {
	after := t.after
	if after == nil {
		after = startTimer
	}
	expired, stop := after(peekTime)
	defer stop()
	select {
	case <-a.done:
		return a.got, a.err, true
	case <-expired:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
	return a.got, nil, false
}

func startTimer(d time.Duration) (<-chan time.Time, func() bool) {
	timer := time.NewTimer(d)
	return timer.C, timer.Stop
}

// late is the body of an answer that did not arrive in time. A Read of it may
// be under way for as long as the upstream likes, at whose end net/http writes
// trailers into the answer: so the caller has a copy of that, which gets them
// when the caller itself is at the end.
type late struct {
	peeked
	arrival  *arrival // nil when its last Read is over
	handed   int      // how much of what it got was the head
	from, to *http.Response
}

// Read reads the body.
func (b *late) Read(p []byte) (int, error) {
	if len(b.head) == 0 && b.arrival != nil {
		<-b.arrival.done
		b.head, b.err = b.arrival.got[b.handed:], b.arrival.err
		b.arrival = nil
	}
	n, err := b.peeked.Read(p)
	if err != nil {
		b.takeTrailer()
	}
	return n, err
}

func (b *late) takeTrailer() {
	if b.to.Trailer == nil {
		b.to.Trailer = b.from.Trailer
		return
	}
	maps.Copy(b.to.Trailer, b.from.Trailer)
}
