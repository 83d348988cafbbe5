package inject

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
)

// errTaken ends the first attempt at sending a body that is sent again.
var errTaken = errors.New("the body is being sent again")

// record is the body of a request that may have to be sent twice. What the
// first attempt reads is kept, up to a bound. The second reads that, and then
// goes on where the first one stopped, which may be before the beginning: an
// upstream that is asked with "Expect: 100-continue" may refuse before it
// takes a byte.
//
// The write loop of the first attempt may outlive its answer, and hang in a
// Read until the caller sends more. Nobody waits for it: what that Read brings
// is kept as well.
type record struct {
	source io.ReadCloser
	most   int64
	// trailer is the caller's, filled when source ends. Each attempt has a map
	// of its own, since the write loop of the first may still read its; next
	// is that of the second.
	trailer, next http.Header

	reading sync.Mutex // held while source is read or closed
	closed  bool       // guarded by reading

	mu      sync.Mutex
	kept    []byte
	err     error // what source ended with
	lost    bool  // more came than may be kept
	taken   bool  // by the second attempt
	decided bool  // closing the first attempt closes source
	done    bool  // the first attempt is closed
	closing bool  // source is to be closed
}

// recordBody makes the body of a request that may be sent again. The request
// that is returned is the one to send first; record is nil where there is
// nothing to keep, or too much.
func recordBody(req *http.Request, most int64) (*http.Request, *record) {
	if !hasBody(req) || req.ContentLength > most {
		return req, nil
	}
	r := &record{source: req.Body, most: most, trailer: req.Trailer, next: maps.Clone(req.Trailer)}
	first := *req
	first.Trailer, first.GetBody = maps.Clone(req.Trailer), nil
	first.Body = &firstReading{r, first.Trailer}
	return &first, r
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

// firstReading is the body as the first attempt reads it.
type firstReading struct {
	*record
	trailer http.Header
}

// Read reads from the source, and keeps what it gets.
func (f *firstReading) Read(p []byte) (int, error) {
	f.reading.Lock()
	defer f.unlock()
	if f.isTaken() {
		return 0, errTaken
	}
	n, err := f.source.Read(p)
	if f.keep(p[:n], err) {
		return 0, errTaken
	}
	f.fill(f.trailer, err)
	return n, err
}

// Close leaves the source open for a second attempt, until it is decided that
// there is none.
func (f *firstReading) Close() error {
	f.mu.Lock()
	f.done = true
	closes := f.decided
	f.mu.Unlock()
	if closes {
		f.close()
	}
	return nil
}

// fill fills an attempt's trailer when the source has ended.
func (r *record) fill(trailer http.Header, err error) {
	if errors.Is(err, io.EOF) && trailer != nil {
		maps.Copy(trailer, r.trailer)
	}
}

// keep keeps what was read, and says whether the second attempt has begun: it
// gets all of it then, and the bound was looked at before.
func (r *record) keep(b []byte, err error) (taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	switch {
	case r.lost:
	case !r.taken && int64(len(r.kept)+len(b)) > r.most:
		r.kept, r.lost = nil, true
	default:
		r.kept = append(r.kept, b...)
	}
	return r.taken
}

func (r *record) isTaken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken
}

// take ends the first attempt; false where too much of the body is lost to
// begin a second one.
func (r *record) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = !r.lost
	return r.taken
}

// idle says whether nobody reads the source now. Once it is taken, the first
// attempt does not begin to.
func (r *record) idle() bool {
	if r == nil {
		return true
	}
	idle := r.reading.TryLock()
	if idle {
		r.unlock()
	}
	return idle
}

// release says that there is no second attempt, and drops what was kept.
func (r *record) release() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.kept, r.lost, r.decided = nil, true, true
	closes := r.done
	r.mu.Unlock()
	if closes {
		r.close()
	}
}

// close closes the source, now or when the Read that is under way is over:
// closing the body of a server's request waits for that.
func (r *record) close() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	if r.reading.TryLock() {
		r.unlock()
	}
}

// unlock ends a use of the source, and closes it where that is due. Who asks
// for it while the source is in use leaves it to the user, who may just have
// looked: hence once more.
func (r *record) unlock() {
	for {
		closing := r.isClosing()
		if closing && !r.closed {
			r.closed = true
			_ = r.source.Close()
		}
		r.reading.Unlock()
		if closing || !r.isClosing() || !r.reading.TryLock() {
			return
		}
	}
}

func (r *record) isClosing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closing
}

// secondReading is the body as the second attempt reads it.
type secondReading struct {
	*record
	at      int
	trailer http.Header
}

// again is the request with its body from the beginning. Its header is its
// own, since the write loop of the first attempt may still read that of req.
func (r *record) again(req *http.Request) *http.Request {
	second := *req
	second.Header, second.GetBody = maps.Clone(req.Header), nil
	if r != nil {
		second.Trailer = r.next
		second.Body = &secondReading{record: r, trailer: r.next}
	}
	return &second
}

// Read reads what was kept, then the rest of the source.
func (s *secondReading) Read(p []byte) (int, error) {
	if n := s.fromKept(p); n > 0 {
		return n, nil
	}
	s.reading.Lock()
	defer s.unlock()
	if n := s.fromKept(p); n > 0 {
		return n, nil
	}
	s.mu.Lock()
	err := s.err
	s.mu.Unlock()
	n := 0
	if err == nil {
		n, err = s.source.Read(p)
	}
	s.fill(s.trailer, err)
	return n, err
}

func (s *secondReading) fromKept(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.kept[s.at:])
	s.at += n
	return n
}

// Close closes the source.
func (s *secondReading) Close() error {
	s.close()
	return nil
}
