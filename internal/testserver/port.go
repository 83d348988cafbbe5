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

// firstPort and ports are the range of freePort. It lies below the ports that
// the kernel gives to outgoing connections: one of those could take the port of
// a server while that is restarted.
const (
	firstPort = 10_000
	ports     = 20_000
)

// portTries bounds how many ports are looked at.
const portTries = 1_000

// given are the ports that freePort returned.
var given sync.Map

// FreePort is a loopback port that nobody listens on, and never one that this
// process was given before: who got that one may not have started yet.
func FreePort(tb testing.TB) int {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

func freePort() (int, error) {
	var last error
	for range portTries {
		port := firstPort + rand.IntN(ports) // #nosec G404 -- not a secret
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address(port))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		if _, again := given.LoadOrStore(port, true); !again {
			return port, nil
		}
	}
	return 0, errors.Join(errors.New("no port is free"), last)
}

// address is the loopback address with a port.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
