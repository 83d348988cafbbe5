package inject

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
)

// errReplayed ends the first attempt at sending a body that is sent again.
var errReplayed = errors.New("the body is being sent again")

// phase is how far the sending of a recorded body has come.
//
//	             startReplay
//	recording ───────────────► replaying ──────────┐
//	  │    │                                        │ the second attempt closes
//	  │    └────────────┐ release                   ▼
//	  │ too much        ├──────────► released ──► closing ──► closed
//	  ▼                 │       the first attempt         nobody reads
//	overflowed ─────────┘       closes, or has closed     the source
//
// The first attempt moves recording to overflowed when it reads more than may
// be kept. The healing calls startReplay or release, never both. Whoever ends a
// Read, or asks for the closing while there is none, closes the source.
type phase uint8

const (
	recording  phase = iota // the first attempt reads, and what it reads is kept
	overflowed              // the first attempt reads, and came too far to be repeated
	replaying               // the second attempt reads; the first gets errReplayed
	released                // there is no second attempt, so nothing is kept
	closing                 // the source is closed as soon as nobody reads it
	closed                  // the source is closed
)

// record is the body of a request that may have to be sent twice. What the
// first attempt reads is kept, up to a bound. The second attempt reads that,
// and then goes on where the first one stopped, which may be before the
// beginning: an upstream that is asked with "Expect: 100-continue" may refuse
// before it takes a byte.
//
// The goroutine that sends the first attempt may outlive its answer, and hang
// in a Read until the caller sends more. Nobody waits for it, and what that
// Read brings is kept as well. So the lock is not held during a Read; instead
// reading keeps a second one from beginning.
type record struct {
	source io.ReadCloser
	most   int64 // how many bytes may be kept
	// trailer is the caller's, filled when source ends. Each attempt has a map
	// of its own, since the first one may still read its map while the second
	// fills the other; second is that of the second attempt.
	trailer, second http.Header

	mu          sync.Mutex
	readEnded   sync.Cond // a Read of source has ended; its lock is mu
	phase       phase
	reading     bool // a Read of source is under way
	firstClosed bool // the first attempt has closed its body
	kept        []byte
	err         error // what source ended with
}

// recordBody makes the body of a request that may be sent again. The request
// that is returned is the one to send first. The record is nil where there is
// nothing to keep, or too much; the methods that accept a nil record say so.
func recordBody(req *http.Request, most int64) (*http.Request, *record) {
	if !hasBody(req) || req.ContentLength > most {
		return req, nil
	}
	r := &record{source: req.Body, most: most, trailer: req.Trailer, second: maps.Clone(req.Trailer)}
	r.readEnded.L = &r.mu
	first := *req
	first.Trailer, first.GetBody = maps.Clone(req.Trailer), nil
	first.Body = &firstReading{r, first.Trailer}
	return &first, r
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// readSourceLocked reads from the source, and gives the lock up meanwhile. The
// caller has made sure that no other Read is under way.
func (r *record) readSourceLocked(p []byte) (int, error) {
	r.reading = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.reading = false
		r.readEnded.Broadcast()
		r.closeIdleLocked()
	}()
	return r.source.Read(p)
}

// closeIdleLocked closes the source where that is due and nobody reads it: the
// body of a server's request cannot be closed during a Read. It gives the lock
// up meanwhile, since the closing may have to drain the caller's connection.
func (r *record) closeIdleLocked() {
	if r.phase != closing || r.reading {
		return
	}
	r.phase = closed
	r.mu.Unlock()
	defer r.mu.Lock()
	_ = r.source.Close()
}

// fillTrailer fills an attempt's trailer when the source has ended.
func (r *record) fillTrailer(trailer http.Header, err error) {
	if errors.Is(err, io.EOF) && trailer != nil {
		maps.Copy(trailer, r.trailer)
	}
}

// startReplay ends the first attempt and begins the second. It returns false,
// and changes nothing, where too much was read to be repeated.
func (r *record) startReplay() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.phase != recording {
		return false
	}
	r.phase = replaying
	return true
}

// release notes that there is no second attempt, and drops what was kept. A nil
// record has nothing to drop.
func (r *record) release() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept, r.phase = nil, released
	if r.firstClosed {
		r.phase = closing
	}
	r.closeIdleLocked()
}

// isIdle reports whether nobody reads the source now; nobody reads that of a
// nil record. In a replay, the first attempt does not begin another Read.
func (r *record) isIdle() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.reading
}

// firstReading is the body as the first attempt reads it.
type firstReading struct {
	*record
	trailer http.Header
}

// Read reads from the source, and keeps what it gets. It never has to wait for
// another Read: the second attempt reads only in a replay.
func (f *firstReading) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.phase {
	case recording, overflowed, released:
	case replaying, closing, closed:
		return 0, errReplayed
	}
	n, err := f.readSourceLocked(p)
	f.err = err
	switch f.phase { // it may have changed during the Read
	case recording:
		if int64(len(f.kept)+n) > f.most {
			f.kept, f.phase = nil, overflowed
		} else {
			f.kept = append(f.kept, p[:n]...)
		}
	case replaying: // all of this is the second attempt's, whatever its length
		f.kept = append(f.kept, p[:n]...)
		return 0, errReplayed
	case overflowed, released, closing, closed:
	}
	f.fillTrailer(f.trailer, err)
	return n, err
}

// Close leaves the source open for a second attempt, until it is known that
// there is none.
func (f *firstReading) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.firstClosed = true
	if f.phase == released {
		f.phase = closing
	}
	f.closeIdleLocked()
	return nil
}

// secondRequest returns the request with its body from the beginning. It has a
// header of its own, since the goroutine that sends the first attempt may still
// read that of req. A nil record has no body to repeat.
func (r *record) secondRequest(req *http.Request) *http.Request {
	second := *req
	second.Header, second.GetBody = maps.Clone(req.Header), nil
	if r != nil {
		second.Trailer = r.second
		second.Body = &secondReading{record: r, trailer: r.second}
	}
	return &second
}

// secondReading is the body as the second attempt reads it.
type secondReading struct {
	*record
	at      int // how much of what was kept is read
	trailer http.Header
}

// Read reads what was kept, then the rest of the source. What the first attempt
// is reading right now is waited for: it comes before the rest.
func (s *secondReading) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if n := copy(p, s.kept[s.at:]); n > 0 {
			s.at += n
			return n, nil
		}
		if !s.reading {
			break
		}
		s.readEnded.Wait()
	}
	n, err := 0, s.err
	if err == nil {
		n, err = s.readSourceLocked(p)
	}
	s.fillTrailer(s.trailer, err)
	return n, err
}

// Close closes the source.
func (s *secondReading) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != closed {
		s.phase = closing
	}
	s.closeIdleLocked()
	return nil
}
