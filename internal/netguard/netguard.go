// Package netguard decides which network addresses may be dialled on behalf
// of realms that did not come from the operator's own configuration file: the
// public ones, and those that the operator allowed. The decision is made
// after name resolution, at the moment of the dial, so that a name cannot
// point elsewhere between check and use.
package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ErrForbidden is returned by a dial to an address that is not allowed.
var ErrForbidden = errors.New("address is not public and not in allow_private")

// Dialer is the signature of net.Dialer.DialContext.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Policy is what the operator allowed besides public addresses. The zero
// value allows nothing more.
type Policy struct {
	prefixes []netip.Prefix
	names    map[string]bool // canonical
}

// Dialer returns a dial function that refuses, with ErrForbidden, every
// address that is not allowed, after resolution and before connecting. A host
// name of the policy allows whatever it resolves to. d is not changed; a
// Control function that it has is still called.
func (p Policy) Dialer(d *net.Dialer) Dialer {
	guarded := *d
	guarded.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if !p.allows(address) {
			return ErrForbidden
		}
		return control(ctx, d, network, address, c)
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if p.names[canonicalName(hostOf(address))] {
			return d.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
}

// control calls the dialer's own control function, as net.Dialer would: the
// one with a context wins.
func control(ctx context.Context, d *net.Dialer, network, address string, c syscall.RawConn) error {
	switch {
	case d.ControlContext != nil:
		return d.ControlContext(ctx, network, address, c)
	case d.Control != nil:
		return d.Control(network, address, c)
	}
	return nil
}

// allows judges a resolved "ip:port". Anything else, such as the path of a
// Unix socket, is refused.
func (p Policy) allows(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	// A mapped address is the IPv4 address that the kernel will connect to.
	addr := ap.Addr().WithZone("").Unmap()
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return IsPublic(addr)
}

// hostOf is the address without its port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// canonicalName makes the spellings of one name equal: case and trailing dot.
func canonicalName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
