package faultproxy

import (
	"context"
	"net"
	"sync"
)

// link is one connection from a client through the proxy.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	ctx    context.Context // ends with the link
	cancel context.CancelFunc

	mu     sync.Mutex
	server *net.TCPConn // nil until the target is connected
	over   bool
}

func newLink(p *Proxy, client *net.TCPConn) *link {
	l := &link{proxy: p, client: client}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// run connects to the target and carries both directions until both have
// ended.
func (l *link) run() {
	defer l.finish()
	if !l.through() || !l.connect() {
		l.reset()
		return
	}
	up := newFlow(l, l.client, l.server, func(f Faults) Way { return f.Up })
	down := newFlow(l, l.server, l.client, func(f Faults) Way { return f.Down })
	var both sync.WaitGroup
	for _, f := range []*flow{up, down} {
		both.Go(f.read)
		both.Go(f.write)
	}
	both.Wait()
}

// through waits until new connections reach the target.
func (l *link) through() bool {
	for {
		faults, _, changed := l.proxy.now()
		if !faults.Blackhole {
			return true
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			return false
		}
	}
}

func (l *link) connect() bool {
	conn, err := new(net.Dialer).DialContext(l.ctx, "tcp", l.proxy.target)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = conn.(*net.TCPConn)
	if l.over { // reset, while the target answered
		abort(l.server)
	}
	return !l.over
}

// reset ends the connection with an RST to both sides.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	l.cancel()
	abort(l.client)
	if l.server != nil {
		abort(l.server)
	}
}

// finish ends a connection whose two directions have ended.
func (l *link) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.cancel()
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

func abort(c *net.TCPConn) {
	_ = c.SetLinger(0) // closing then sends an RST
	_ = c.Close()
}
