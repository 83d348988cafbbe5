package fakeprovider

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
)

// Pipe serves the provider over connections within the memory, until the test
// ends, and returns what dials them, whatever the address. With it a
// testing/synctest bubble goes on: its clock stands while a goroutine waits for
// the network. Call it within the bubble, with the bubble's T.
func (p *Provider) Pipe(tb testing.TB) (dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	tb.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: p} // #nosec G112 -- its only clients are tests
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(l) })
	tb.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return l.dial
}

// pipeListener accepts the far ends of the pipes that dial makes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
