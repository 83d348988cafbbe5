package sqlstore_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/storetest"
)

// forgetful is a firewall: it passes on what connections carry, and forgets those
// that there are when it is told to, without a word to either side.
type forgetful struct {
	addr      string
	forgotten atomic.Bool  // the connections of the time before
	lost      atomic.Int64 // bytes that were sent into nothing
	made      atomic.Int64
}

func newForgetful(t *testing.T, target string) *forgetful {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := &forgetful{addr: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			t.Cleanup(func() { _, _ = client.Close(), server.Close() })
			isOld := f.made.Add(1) == 1
			go func() { _, _ = io.Copy(client, server) }()
			go func() {
				buffer := make([]byte, 64<<10)
				for {
					n, err := client.Read(buffer)
					if isOld && f.forgotten.Load() {
						f.lost.Add(int64(n))
					} else if n > 0 {
						_, _ = server.Write(buffer[:n])
					}
					if err != nil {
						return
					}
				}
			}()
		}
	}()
	return f
}

// A process that stood still for minutes asks nothing on a connection of the time
// before, which nobody may know any more: it would wait for its timeout.
func TestConnectionsAgeWhileTheProcessStandsStill(t *testing.T) {
	m := testserver.MariaDB(t)
	f := newForgetful(t, m.Addr())
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s, err := sqlstore.MySQL(strings.Replace(m.DSN(), m.Addr(), f.addr, 1), keyring(t), sqlstore.WithConnections(1), sqlstore.WithClock(now))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	saveSecret(t, s, nil) // the first write prunes the feed; behind a saved token, that would go on in the background
	if _, err := storetest.SaveToken(t.Context(), s, ref, realm.Token{Access: "a", IssuedAt: time.Now()}, 0); err != nil {
		t.Fatal(err)
	}
	if n := f.made.Load(); n != 1 {
		t.Fatalf("%d connections, where one is allowed", n)
	}
	f.forgotten.Store(true)
	ahead.Store(int64(5 * time.Minute))
	if token, _, err := s.Token(t.Context(), ref); err != nil || token.Access != "a" {
		t.Fatalf("%q %v", token.Access.Reveal(), err)
	}
	// Only the farewell may have gone into nothing.
	if made, lost := f.made.Load(), f.lost.Load(); made != 2 || lost != 0 {
		t.Errorf("%d connections, %d bytes into nothing", made, lost)
	}
}
