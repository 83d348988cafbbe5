// Package faultproxy is the network between a client and a server, for tests:
// a TCP proxy on a loopback port whose faults can be switched while it runs.
//
// A connection is made with the target only when the network lets the client
// through; the kernel answers the client's own SYN, so that Latency begins
// with the first byte.
package faultproxy

import (
	"context"
	"net"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Proxy forwards the connections that it accepts. It is safe for concurrent
// use.
type Proxy struct {
	tb      testing.TB
	target  string
	addr    string
	holder  int // a bound socket that keeps the port ours while nobody listens
	running sync.WaitGroup

	mu       sync.Mutex
	faults   Faults
	age      int           // grows with each Set
	changed  chan struct{} // closed by the next Set
	listener net.Listener  // nil while nobody listens
	links    map[*link]struct{}
	accepted int
	over     bool
}

// New starts a proxy to the target, a host:port, without faults. It ends with
// the test.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p := &Proxy{tb: tb, target: target, changed: make(chan struct{}), links: map[*link]struct{}{}}
	if err := p.reserve(); err != nil {
		tb.Fatalf("faultproxy: %v", err)
	}
	tb.Cleanup(p.end)
	p.Set(Faults{})
	return p
}

// Addr is the host:port that clients connect to.
func (p *Proxy) Addr() string { return p.addr }

// Set replaces the faults. They hold for whatever is sent after it returns.
func (p *Proxy) Set(f Faults) {
	p.tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.faults = f
	p.age++
	close(p.changed)
	p.changed = make(chan struct{})
	if f.Cut {
		p.cut()
	} else if err := p.listen(); err != nil {
		p.tb.Fatalf("faultproxy: %v", err)
	}
}

// Accepted is how many connections there have been.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open is how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// reserve binds a socket that never listens: a client is refused as long as
// no other does, and the kernel gives the port to nobody else.
func (p *Proxy) reserve() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	p.holder = fd
	syscall.CloseOnExec(fd)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		return err
	}
	p.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
	return nil
}

// listen begins to listen, if nobody does. The caller holds the lock.
func (p *Proxy) listen() error {
	if p.listener != nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	p.running.Go(func() { p.accept(l) })
	return nil
}

// cut ends everything. The caller holds the lock.
func (p *Proxy) cut() {
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for l := range p.links {
		l.reset()
	}
}

func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil { // it was closed
			return
		}
		p.admit(conn.(*net.TCPConn), l)
	}
}

// admit takes a connection, unless its listener was closed meanwhile.
func (p *Proxy) admit(client *net.TCPConn, from net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := newLink(p, client)
	if p.listener != from {
		l.reset()
		return
	}
	p.accepted++
	p.links[l] = struct{}{}
	p.running.Go(func() {
		l.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	})
}

// now is what holds at the moment, with a channel that is closed when it does
// no longer.
func (p *Proxy) now() (f Faults, age int, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.age, p.changed
}

func (p *Proxy) end() {
	p.mu.Lock()
	p.over = true
	p.cut()
	p.mu.Unlock()
	p.running.Wait()
	_ = syscall.Close(p.holder)
}
