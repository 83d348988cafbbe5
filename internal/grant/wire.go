package grant

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/failpoint"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
)

// Why a byte of a request is not written.
var (
	errLate    = errors.New("the time to send the request had passed")
	errStopped = errors.New("the call has ended")
	// errUnwatched: without a wire nobody could say what was sent.
	errUnwatched = errors.New("the connection is not watched")
)

// stage is how far a call has come on its connection.
type stage int

const (
	connecting stage = iota // the handshake of TLS included
	ready                   // the next byte is the request's
	sending                 // a byte of the request may have left
	late                    // sendBy passed before the first one
	stopped                 // the call ended before the first one
)

// wire watches the connection of one call, beneath TLS, and knows whether a
// byte of the request may have left. Its lock makes that certain: after stop
// nothing begins any more, however late a goroutine of net/http comes.
type wire struct {
	sendBy time.Time // the request is not begun after it; zero for no bound

	mu    sync.Mutex
	stage stage
}

type wireKey struct{}

// watch returns a context whose connection is watched. It reaches the dialer,
// because net/http keeps the context's values there.
func (w *wire) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(context.WithValue(ctx, wireKey{}, w), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { w.connected() },
	})
}

// connected notes that net/http has a connection, and its next byte is the
// request's.
func (w *wire) connected() {
	w.mu.Lock()
	if w.stage == connecting {
		w.stage = ready
	}
	w.mu.Unlock()
	failpoint.Hit("connected")
}

// mayWrite reports whether bytes may be written now, and whether they begin the
// request.
func (w *wire) mayWrite() (begins bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.stage {
	case late:
		return false, errLate
	case stopped:
		return false, errStopped
	case ready:
		if isPast(w.sendBy, time.Now()) {
			w.stage = late
			return false, errLate
		}
		w.stage = sending
		return true, nil
	default: // connecting, or in the midst of it
		return false, nil
	}
}

// isPast reports whether the time to send is over. The monotonic clock says so;
// but on some systems it stands while the machine sleeps, so the wall clock
// counts too: a request that is not sent is made again, one that is
// sent too late may spend a refresh token twice.
func isPast(sendBy, now time.Time) bool {
	return !sendBy.IsZero() && (now.After(sendBy) || now.Round(0).After(sendBy.Round(0)))
}

// nothingWritten takes back the begin of a request of which the kernel took
// nothing.
func (w *wire) nothingWritten() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage = stopped
}

// stop ends the sending and says how far it came.
func (w *wire) stop() stage {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == connecting || w.stage == ready {
		w.stage = stopped
	}
	return w.stage
}

// watched is a connection under watch.
type watched struct {
	net.Conn
	wire *wire
}

// Write asks the wire before every write, and notes whether the first one of the
// request got anywhere.
func (c *watched) Write(p []byte) (int, error) {
	begins, err := c.wire.mayWrite()
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	switch {
	case !begins:
	case err != nil && n == 0:
		c.wire.nothingWritten()
	default:
		failpoint.Hit("request_written")
	}
	return n, err
}

// watching makes a dialer of watched connections.
func watching(dial netguard.Dialer) netguard.Dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		w, ok := ctx.Value(wireKey{}).(*wire)
		if !ok {
			return nil, errUnwatched
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &watched{conn, w}, nil
	}
}
