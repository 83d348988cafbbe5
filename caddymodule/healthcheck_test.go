package caddymodule

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// namelessListener accepts connections whose peer has no address, as with a Unix socket
// on macOS.
type namelessListener struct{ net.Listener }

func (l namelessListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return namelessConn{c}, err
}

type namelessConn struct{ net.Conn }

func (namelessConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// TestCallerWithoutAddress: a caller without an address once was taken for a health
// check, and used the token of a reverse_proxy without being asked who he is.
func TestCallerWithoutAddress(t *testing.T) {
	transport := new(Transport) // without auth, and for no client
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, refused := transport.admit(r, nil); refused == nil || r.RemoteAddr != "" {
			t.Errorf("a caller without an address is let in, from %q", r.RemoteAddr)
		}
	}))
	s.Listener = namelessListener{s.Listener}
	s.Start()
	t.Cleanup(s.Close)
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	check, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil) // as Caddy makes one
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := transport.admit(check, nil); refused != nil {
		t.Errorf("a health check: %v", refused)
	}
}
