package shortcut

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// stream is one direction of a connection in memory.
type stream struct {
	mu     sync.Mutex
	more   sync.Cond
	buf    []byte
	ended  bool // nothing more is written
	unread bool // nobody reads any more
	until  time.Time
}

func newStream() *stream {
	s := new(stream)
	s.more.L = &s.mu
	return s
}

func (s *stream) read(p []byte, wait bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) == 0 && !s.ended && !s.unread {
		if !wait {
			return 0, nil
		}
		if !s.until.IsZero() && !time.Now().Before(s.until) {
			return 0, os.ErrDeadlineExceeded
		}
		s.more.Wait()
	}
	switch {
	case s.unread:
		return 0, net.ErrClosed
	case len(s.buf) == 0:
		return 0, io.EOF
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return 0, net.ErrClosed
	case s.unread:
		return 0, syscall.EPIPE
	}
	s.buf = append(s.buf, p...)
	s.more.Broadcast()
	return len(p), nil
}

func (s *stream) set(flag *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*flag = true
	s.more.Broadcast()
}

func (s *stream) is(flag *bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *flag
}

// readUntil has the reading end at a time, which may be the zero one.
func (s *stream) readUntil(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), s.more.Broadcast)
	}
}

// memory is one end of a connection in memory.
type memory struct{ in, out *stream }

func newMemory() (client, server *memory) {
	a, b := newStream(), newStream()
	return &memory{a, b}, &memory{b, a}
}

func (m *memory) Read(p []byte) (int, error)    { return m.in.read(p, true) }
func (m *memory) TryRead(p []byte) (int, error) { return m.in.read(p, false) }
func (m *memory) Write(p []byte) (int, error)   { return m.out.write(p) }
func (m *memory) Close() error {
	m.out.set(&m.out.ended)
	m.in.set(&m.in.unread)
	return nil
}

// isClosed reports whether the other end was closed.
func (m *memory) isClosed() bool { return m.in.is(&m.in.ended) }

// SetReadDeadline implements net.Conn.
func (m *memory) SetReadDeadline(t time.Time) error {
	m.in.readUntil(t)
	return nil
}

func (*memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }
