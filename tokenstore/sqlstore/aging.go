package sqlstore

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// errAged is what is written to a connection that nobody used for too long.
var errAged = errors.New("the connection was not used for too long")

// agingConn is a connection that takes nothing more after it was not used for
// mysqlIdleTime, by the time of day. The pool closes such connections by itself,
// but for a process that stood still meanwhile: its timers did too, and a firewall
// may have forgotten the connection without a word to either side. A question
// would then wait for an answer until its timeout. The driver sees that nothing
// was sent, and the question goes out on another connection.
type agingConn struct {
	net.Conn
	now  func() time.Time
	used atomic.Int64 // Unix nanoseconds
}

// dialAging connects as the driver does by itself.
func dialAging(now func() time.Time) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &agingConn{Conn: conn, now: now}
		c.touch()
		return c, nil
	}
}

// touch notes a use. The monotonic clock stands still in a machine that is
// suspended, and does not count.
func (c *agingConn) touch() { c.used.Store(c.now().UnixNano()) }

// Read implements net.Conn.
func (c *agingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.touch()
	return n, err
}

// Write implements net.Conn.
func (c *agingConn) Write(b []byte) (int, error) {
	if idle := c.now().UnixNano() - c.used.Load(); idle > int64(mysqlIdleTime) {
		return 0, errAged
	}
	c.touch()
	return c.Conn.Write(b)
}

// SyscallConn lets the driver look whether the server has closed the connection.
func (c *agingConn) SyscallConn() (syscall.RawConn, error) {
	conn, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return conn.SyscallConn()
}
