package testserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// firstPort, blocks and blockSize are the range of freePort. It lies below the
// ports that the kernel gives to outgoing connections: one of those could take
// the port of a server while that is restarted.
const (
	firstPort = 10_000
	blocks    = 200
	blockSize = 100
)

// own are the ports of this process. The tests of several packages run at the
// same time, and a port on which nobody listens may be that of a server of
// another package which is about to start: so ports come in blocks, and a
// process has a block for itself while it listens on the first port of it.
var own struct {
	sync.Mutex
	next, end int
	guards    []net.Listener // closed by the end of the process
}

// FreePort is a loopback port that nobody listens on, and never one that was
// given before, to this process or to another one that lives: who got that one
// may not have started yet.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	own.Lock()
	defer own.Unlock()
	for {
		if own.next == own.end {
			if err := takeBlock(); err != nil {
				return 0, err
			}
		}
		port := own.next
		own.next++
		l, err := listen(port)
		if err != nil {
			continue // a stranger has it
		}
		return port, l.Close()
	}
}

// takeBlock takes a block that no process has. The caller holds the lock.
func takeBlock() error {
	var last error
	for _, block := range rand.Perm(blocks) { // #nosec G404 -- not a secret
		first := firstPort + block*blockSize
		guard, err := listen(first)
		if err != nil {
			last = err
			continue
		}
		own.guards = append(own.guards, guard)
		own.next, own.end = first+1, first+blockSize
		return nil
	}
	return errors.Join(errors.New("no port is free"), last)
}

func listen(port int) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", address(port))
}

// address is the loopback address with a port.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
