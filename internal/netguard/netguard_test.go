package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestPublic(t *testing.T) {
	for _, c := range []struct {
		addr   string
		public bool
	}{
		{"8.8.8.8", true},
		{"1.1.1.1", true},
		{"223.255.255.254", true},
		{"172.15.255.255", true},
		{"172.32.0.0", true},
		{"100.63.255.255", true},
		{"100.128.0.0", true},
		{"168.63.129.15", true},
		{"2606:4700:4700::1111", true},
		{"2400:3200::1", true},
		{"::ffff:8.8.8.8", true}, // the kernel connects to 8.8.8.8

		{"0.0.0.0", false},
		{"0.1.2.3", false},
		{"10.0.0.1", false},
		{"100.64.0.1", false},
		{"100.100.100.200", false}, // Alibaba's metadata
		{"127.0.0.1", false},
		{"127.255.255.254", false},
		{"168.63.129.16", false}, // Azure's host service
		{"169.254.169.254", false},
		{"172.16.0.1", false},
		{"172.31.255.255", false},
		{"192.0.0.192", false}, // Oracle's metadata
		{"192.0.2.1", false},
		{"192.88.99.1", false},
		{"192.168.1.1", false},
		{"198.18.0.1", false},
		{"198.19.255.255", false},
		{"198.51.100.1", false},
		{"203.0.113.1", false},
		{"224.0.0.1", false},
		{"239.255.255.255", false},
		{"240.0.0.1", false},
		{"255.255.255.255", false},

		{"::", false},
		{"::1", false},
		{"::7f00:1", false},           // IPv4-compatible
		{"::ffff:127.0.0.1", false},   // IPv4-mapped
		{"::ffff:0:127.0.0.1", false}, // IPv4-translated
		{"64:ff9b::7f00:1", false},    // NAT64
		{"64:ff9b::808:808", false},
		{"64:ff9b:1::1", false},
		{"100::1", false},        // discard
		{"2001::1", false},       // Teredo
		{"2001:2::1", false},     // benchmarks
		{"2001:10::1", false},    // ORCHID
		{"2001:20::1", false},    // ORCHIDv2
		{"2001:db8::1", false},   // documentation
		{"2002:7f00:1::", false}, // 6to4 of 127.0.0.1
		{"3fff::1", false},       // documentation
		{"5f00::1", false},       // segment routing
		{"fc00::1", false},
		{"fd00:ec2::254", false}, // AWS metadata
		{"fe80::1", false},
		{"fec0::1", false}, // site-local
		{"ff02::1", false},
	} {
		t.Run(c.addr, func(t *testing.T) {
			address := netip.AddrPortFrom(netip.MustParseAddr(c.addr), 443).String()
			if got := (Policy{}).allows(address); got != c.public {
				t.Errorf("allows(%s) = %v, want %v", address, got, c.public)
			}
		})
	}
}

func TestAllowsOnlyResolvedAddresses(t *testing.T) {
	for _, address := range []string{"", "8.8.8.8", "dns.google:443", "/run/docker.sock", "[fe80::1%eth0]:443", "8.8.8.8:"} {
		if (Policy{}).allows(address) {
			t.Errorf("allows(%q)", address)
		}
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]string{"10.1.2.3/8", "192.168.1.7", "fd00::/8", "[::1]", "Vault.Internal.", "my_service", "bücher.example"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"10.255.0.1:443": true, "11.0.0.1:80": true, "192.168.1.7:80": true, "192.168.1.8:80": false,
		"[fd12::1]:80": true, "[::1]:80": true, "[fe80::1]:80": false, "127.0.0.1:80": false,
		"[::ffff:10.0.0.1]:80": true,
	} {
		if got := p.allows(address); got != want {
			t.Errorf("allows(%s) = %v, want %v", address, got, want)
		}
	}
	for _, name := range []string{"vault.internal", "VAULT.internal.", "my_service", "xn--bcher-kva.example"} {
		if !p.names[canonicalName(name)] {
			t.Errorf("%s is not allowed", name)
		}
	}
	if p.names[canonicalName("x.vault.internal")] {
		t.Error("a sub-domain is allowed")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, entry := range []string{
		"", " ", "10.0.0.0/33", "10.0.0", "300.0.0.1", "a b", "host:80", "*.internal", "fe80::1%eth0",
		"::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "http://x", "a..b", ".", "-x", "2130706433",
	} {
		_, err := Parse([]string{"10.0.0.0/8", entry})
		if err == nil {
			t.Errorf("%q was accepted", entry)
		} else if !strings.Contains(err.Error(), "allow_private") {
			t.Errorf("%q: %v does not name the option", entry, err)
		}
	}
}

// loopback listens on 127.0.0.1 and counts the connections.
func loopback(t *testing.T) (port string, accepted *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	accepted = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			_ = conn.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, accepted
}

func TestDialRefusesEverySpellingOfLoopback(t *testing.T) {
	port, accepted := loopback(t)
	dial := Policy{}.Dialer(&net.Dialer{Resolver: stub(t, netip.MustParseAddr("127.0.0.1")), Timeout: time.Minute})
	for _, host := range []string{
		"127.0.0.1", "127.1", "0x7f.1", "0177.0.0.1", "2130706433", "0", "0.0.0.0", "localhost", "localhost.",
		"::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "rebound.example",
	} {
		conn, err := dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			_ = conn.Close()
			t.Errorf("%s was dialled", host)
		}
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d connections arrived", n)
	}
}

func TestDialForbidden(t *testing.T) {
	port, _ := loopback(t)
	_, err := Policy{}.Dialer(&net.Dialer{})(t.Context(), "tcp", "127.0.0.1:"+port)
	if !errors.Is(err, ErrForbidden) {
		t.Errorf("error %v", err)
	}
	_, err = Policy{}.Dialer(&net.Dialer{})(t.Context(), "unix", "/run/nothing.sock")
	if !errors.Is(err, ErrForbidden) {
		t.Errorf("unix: error %v", err)
	}
}

func TestDialAllowed(t *testing.T) {
	port, _ := loopback(t)
	resolver := stub(t, netip.MustParseAddr("127.0.0.1"))
	for _, c := range []struct{ entry, host string }{
		{"127.0.0.0/8", "127.0.0.1"},
		{"127.0.0.1", "vault.internal"},
		{"Vault.internal", "vault.INTERNAL."},
	} {
		p, err := Parse([]string{c.entry})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := p.Dialer(&net.Dialer{Resolver: resolver})(t.Context(), "tcp4", net.JoinHostPort(c.host, port))
		if err != nil {
			t.Errorf("%s to %s: %v", c.entry, c.host, err)
			continue
		}
		_ = conn.Close()
	}
}

// A name that is public when it is looked at and loopback when it is used:
// the second answer must not get through.
func TestDialRebinding(t *testing.T) {
	port, accepted := loopback(t)
	resolver := stub(t, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1"))
	first, err := resolver.LookupNetIP(t.Context(), "ip4", "rebound.example")
	if err != nil || len(first) != 1 || first[0].Unmap().String() != "192.0.2.1" {
		t.Fatalf("the check saw %v, %v", first, err)
	}
	_, err = Policy{}.Dialer(&net.Dialer{Resolver: resolver})(t.Context(), "tcp4", "rebound.example:"+port)
	if !errors.Is(err, ErrForbidden) {
		t.Errorf("error %v", err)
	}
	if accepted.Load() != 0 {
		t.Error("a connection arrived")
	}
}

func TestDialKeepsControl(t *testing.T) {
	port, _ := loopback(t)
	p, err := Parse([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	errOwn := errors.New("own control")
	own := func(string, string, syscall.RawConn) error { return errOwn }
	withContext := func(_ context.Context, n, a string, c syscall.RawConn) error { return own(n, a, c) }
	for _, d := range []*net.Dialer{{Control: own}, {ControlContext: withContext}} {
		if _, err := p.Dialer(d)(t.Context(), "tcp4", "127.0.0.1:"+port); !errors.Is(err, errOwn) {
			t.Errorf("error %v", err)
		}
	}
}

// Where somebody else resolves the names, what stands for an address in any spelling
// is judged as one.
func TestAllowsLiteral(t *testing.T) {
	p, err := Parse([]string{"10.0.0.0/8", "inside.localhost", "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"api.example.com": true, "api.example.com.": true, "93.184.216.34": true, "10.1.2.3": true, "1x.example": true, "localhost": true, "inside.localhost": true,
		"127.0.0.1": false, "127.0.0.1.": false, "127.1": false, "2130706433": false, "0x7f000001": false, "0X7F.1": false, "0177.0.0.1": false,
		"::1": false, "::ffff:127.0.0.1": false, "fe80::1%eth0": false, "other.localhost": false, "other.LOCALHOST.": false, "": false,
	} {
		if got := p.AllowsLiteral(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if (Policy{}).AllowsLiteral("localhost") {
		t.Error("localhost is allowed by default")
	}
}
