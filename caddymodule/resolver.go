package caddymodule

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// resolverOf asks the name servers in turn.
func resolverOf(servers []string) (*net.Resolver, error) {
	addrs := make([]caddy.NetworkAddress, 0, len(servers))
	for _, server := range servers {
		addr, err := caddy.ParseNetworkAddressWithDefaults(server, "udp", 53)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	var dialer net.Dialer
	var next atomic.Uint32
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			addr := addrs[int(next.Add(1))%len(addrs)]
			return dialer.DialContext(ctx, addr.Network, addr.JoinHostPort(0))
		},
	}, nil
}
