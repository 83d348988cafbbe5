package netguard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Resolve looks up a "host:port" and returns the addresses, "ip:port", that may be
// dialled, for whoever lets somebody else dial them. ErrForbidden where none may.
// With trusted, all may.
func (p Policy) Resolve(ctx context.Context, r *net.Resolver, address string, trusted bool) ([]string, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the port is not a number")
	}
	if r == nil {
		r = net.DefaultResolver
	}
	found, err := r.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	trusted = trusted || p.names[canonicalName(host)]
	var list []string
	for _, addr := range found {
		// A zone means something on this machine only.
		resolved := netip.AddrPortFrom(addr.WithZone("").Unmap(), uint16(port)).String()
		if trusted || p.allows(resolved) {
			list = append(list, resolved)
		}
	}
	if len(list) == 0 {
		return nil, ErrForbidden
	}
	return list, nil
}

// AllowsLiteral reports whether a host is a name, which somebody else resolves, or an
// address that may be dialled. What many resolvers take for an address is no name:
// 127.1, 0x7f000001, localhost.
func (p Policy) AllowsLiteral(host string) bool {
	name := canonicalName(host)
	if p.names[name] {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return p.allows(net.JoinHostPort(name, "0"))
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	isNumber := strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == ""
	return !isNumber && last != "localhost"
}
