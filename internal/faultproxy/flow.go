package faultproxy

import (
	"errors"
	"io"
	"net"
	"time"
)

const (
	chunkSize = 16 << 10
	// queued chunks are under way at once; a longer line stops reading.
	queued = 64
)

// chunk is what was read at once, or how the reading ended.
type chunk struct {
	at   time.Time
	data []byte
	end  error // io.EOF for an orderly end
}

// flow is one direction of a link.
type flow struct {
	link     *link
	from, to *net.TCPConn
	way      func(Faults) Way
	line     chan chunk

	passed int  // bytes since the last Set
	age    int  // of the faults that passed counts for
	closed bool // the receiver was told that this is the end
}

func newFlow(l *link, from, to *net.TCPConn, way func(Faults) Way) *flow {
	return &flow{link: l, from: from, to: to, way: way, line: make(chan chunk, queued)}
}

// read puts on the line what the sender sends.
func (f *flow) read() {
	for {
		buf := make([]byte, chunkSize)
		n, err := f.from.Read(buf)
		select {
		case f.line <- chunk{at: time.Now(), data: buf[:n], end: err}:
		case <-f.link.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// write gives the receiver what comes off the line.
func (f *flow) write() {
	for {
		way, changed := f.look()
		if way.Close && !way.Stall && f.passed >= way.After {
			f.close()
		}
		select {
		case c := <-f.line:
			if !f.deliver(c) {
				return
			}
		case <-changed:
		case <-f.link.ctx.Done():
			return
		}
	}
}

// deliver passes a chunk on. It returns false when nothing more will come.
func (f *flow) deliver(c chunk) bool {
	for data := c.data; len(data) > 0 && !f.closed; {
		way, ok := f.arrive(c.at)
		if !ok {
			return false
		}
		n := way.allows(f.passed, len(data))
		if n == 0 {
			f.stop(way)
			continue
		}
		if _, err := f.to.Write(data[:n]); err != nil {
			f.link.reset()
			return false
		}
		f.passed += n
		data = data[n:]
		f.pause(way.takes(n))
	}
	if c.end == nil {
		return true
	}
	if _, ok := f.arrive(c.at); ok {
		f.ended(c.end)
	}
	return false
}

// ended tells the receiver how the sender has ended.
func (f *flow) ended(how error) {
	if errors.Is(how, io.EOF) {
		f.close()
	} else {
		f.link.reset()
	}
}

// stop is the fault that ends a direction.
func (f *flow) stop(way Way) {
	if way.Reset {
		f.link.reset()
	} else {
		f.close()
	}
}

func (f *flow) close() {
	if !f.closed {
		f.closed = true
		_ = f.to.CloseWrite()
	}
}

// look is the direction as it is now.
func (f *flow) look() (Way, <-chan struct{}) {
	faults, age, changed := f.link.proxy.now()
	if age != f.age {
		f.age, f.passed = age, 0
	}
	way := f.way(faults)
	way.Stall = way.Stall || faults.Blackhole
	return way, changed
}

// arrive waits until what was sent at an instant gets through. It returns
// false when the link has ended before.
func (f *flow) arrive(sent time.Time) (Way, bool) {
	for {
		way, changed := f.look()
		left := time.Until(sent.Add(way.Latency))
		if !way.Stall && left <= 0 {
			return way, f.link.ctx.Err() == nil
		}
		var due <-chan time.Time
		if !way.Stall {
			timer := time.NewTimer(left)
			defer timer.Stop()
			due = timer.C
		}
		select {
		case <-due:
		case <-changed:
		case <-f.link.ctx.Done():
			return Way{}, false
		}
	}
}

func (f *flow) pause(d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.link.ctx.Done():
	}
}
