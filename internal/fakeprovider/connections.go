package fakeprovider

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// connections are those of a provider's server on which a request is under way,
// or may still come.
type connections struct {
	mu     sync.Mutex
	busy   map[net.Conn]bool
	change chan struct{} // closed with the next change
}

func newConnections() *connections {
	return &connections{busy: map[net.Conn]bool{}, change: make(chan struct{})}
}

// note is the ConnState hook of the server.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateNew || state == http.StateActive {
		c.busy[conn] = true
	} else {
		delete(c.busy, conn)
	}
	close(c.change)
	c.change = make(chan struct{})
}

// status reports whether the connection of this address was accepted, and how many
// are busy.
func (c *connections) status(address string) (accepted bool, busy int, change <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.busy {
		accepted = accepted || conn.RemoteAddr().String() == address
	}
	return accepted, len(c.busy), c.change
}

// Settle waits until the provider, as Start serves it, has answered whatever was
// sent to it before. A process that was killed may have left a request that the
// server did not read yet: the ledger is whole only after that. No answer may be
// held meanwhile.
func (p *Provider) Settle(tb testing.TB) {
	tb.Helper()
	timeout := time.After(30 * time.Second)
	// Connections are accepted in the order in which they were made: when this one
	// is, the others have been.
	own, err := new(net.Dialer).DialContext(tb.Context(), "tcp", p.address)
	if err != nil {
		tb.Fatal(err)
	}
	defer own.Close()
	for {
		accepted, busy, change := p.connections.status(own.LocalAddr().String())
		if accepted && busy == 1 {
			return
		}
		select {
		case <-change:
		case <-timeout:
			tb.Fatalf("the provider has %d connections on which something is under way", busy-1)
		}
	}
}
