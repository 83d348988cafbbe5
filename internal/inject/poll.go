package inject

import (
	"errors"
	"net"
	"syscall"
)

// poller is a connection that can be asked whether something has come, without
// waiting for it. It stands below TLS: what TLS has read and not handed over yet
// counts as well, but for the beginning of a record whose rest has not come. So it is
// with net/http, which waits for whole records, too.
type poller struct {
	net.Conn
	try func(p []byte) (int, error)
	// polling: Read does not wait, and Write fails, because it may have to wait. TLS
	// answers some of what it reads. Only who owns the connection sets it.
	polling bool
	// refused: something was not written. What comes next cannot be written either.
	refused bool
}

// tryReader is a connection that can read without waiting by itself.
type tryReader interface {
	// TryRead reads what is there. Where nothing is, it returns 0 and no error.
	TryRead(p []byte) (int, error)
}

// newPoller returns the connection, as a poller where it can be one.
func newPoller(c net.Conn) net.Conn {
	switch c := c.(type) {
	case tryReader:
		return &poller{Conn: c.(net.Conn), try: c.TryRead}
	case syscall.Conn:
		if raw, err := c.SyscallConn(); err == nil && CanPoll {
			return &poller{Conn: c.(net.Conn), try: (&rawReader{raw: raw}).init().read}
		}
	}
	return c
}

// Read implements net.Conn.
func (p *poller) Read(b []byte) (int, error) {
	if !p.polling {
		return p.Conn.Read(b)
	}
	n, err := p.try(b)
	if n == 0 && err == nil {
		err = errNothing
	}
	return n, err
}

// Write implements net.Conn.
func (p *poller) Write(b []byte) (int, error) {
	if !p.polling {
		return p.Conn.Write(b)
	}
	p.refused = true
	return 0, errPolling
}

// poll reads from c, which stands on the poller, without waiting. It reports whether
// nothing has come.
func (p *poller) poll(c net.Conn, b []byte) (n int, isQuiet bool) {
	p.polling, p.refused = true, false
	n, err := c.Read(b)
	p.polling = false
	return n, n == 0 && err == errNothing && !p.refused //nolint:errorlint // it comes as it is; errors.Is would take longer
}

// rawReader reads from a socket without waiting.
type rawReader struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // once, so that a read costs no allocation
	into    []byte
	n       int
	err     error
}

func (r *rawReader) init() *rawReader {
	r.attempt = func(fd uintptr) bool {
		r.n, r.err = readFD(fd, r.into)
		return true
	}
	return r
}

func (r *rawReader) read(p []byte) (int, error) {
	r.into = p
	err := r.raw.Read(r.attempt)
	r.into = nil
	if err != nil {
		return 0, err
	}
	return r.n, r.err
}

var errPolling = errors.New("nothing is written while the connection is polled")

// errNothing is of a poller to which nothing has come. TLS can go on behind an error
// that is temporary.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has come" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }
