package testserver

import (
	"context"
	"net"
	"sync"
	"testing"
)

// No port is given twice, however many are asked for at once, and each is of a
// block that no other process can take.
func TestFreePortsDiffer(t *testing.T) {
	const each, askers = 30, 8
	answers := make(chan int, each*askers)
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			for range each {
				port, err := freePort()
				if err != nil {
					t.Error(err)
				}
				answers <- port
			}
		})
	}
	wg.Wait()
	close(answers)
	seen := map[int]bool{}
	for port := range answers {
		if seen[port] {
			t.Errorf("%d was given twice", port)
		}
		seen[port] = true
		if l, err := listen(port - port%blockSize); err == nil {
			_ = l.Close()
			t.Errorf("%d was given out of a block that is free for others", port)
		}
	}
}

// The address that was free is taken before the server binds it: the server is
// started on another one.
func TestAddressTakenInBetween(t *testing.T) {
	dir, alive, err := newDir("redis")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{name: "redis-server", dir: dir, alive: alive, ready: pingRedis}
	t.Cleanup(func() { _ = alive.Close() }) // the watchdog ends the server
	program := find(t, "redis-server")
	first := ""
	err = s.firstStart(func(addr, port string) {
		s.addr = addr
		s.args = []string{program, "--bind", "127.0.0.1", "--port", port, "--dir", s.Dir(), "--save", ""}
		if first != "" {
			return
		}
		first = addr
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	})
	if err != nil || s.addr == first {
		t.Fatalf("%s after %s: %v", s.addr, first, err)
	}
}
