package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// proxyTimeout is how long a proxy may take until it has a connection.
	proxyTimeout = 10 * time.Second
	// maxTries is how many addresses of a provider a proxy is asked for.
	maxTries = 3
)

// tunnel dials through a proxy.
type tunnel struct {
	network *Network
	proxy   *realm.Proxy
	// trusted: the operator named the host that is dialled.
	trusted bool
}

// dial returns a connection to an address, "host:port", that the proxy passes
// bytes to. Of several addresses of the host, the next one is tried where the proxy
// does not reach one.
func (t *tunnel) dial(ctx context.Context, _, address string) (net.Conn, error) {
	targets, err := t.targets(ctx, address)
	if err != nil {
		return nil, err
	}
	for i, target := range targets {
		var conn net.Conn
		if conn, err = t.reach(ctx, target); err == nil {
			return conn, nil
		}
		var failed *Error
		if !errors.As(err, &failed) || failed.Fault != NotReached || ctx.Err() != nil || i+1 == maxTries {
			return nil, err
		}
	}
	return nil, err
}

// targets are what the proxy may be asked for.
func (t *tunnel) targets(ctx context.Context, address string) ([]string, error) {
	if !t.proxy.Resolve {
		return t.network.Guard.Resolve(ctx, t.network.Dialer.Resolver, address, t.trusted)
	}
	if host, _, err := net.SplitHostPort(address); err != nil || !t.trusted && !t.network.Guard.AllowsLiteral(host) {
		return nil, netguard.ErrForbidden
	}
	return []string{address}, nil
}

// reach asks the proxy for one address.
func (t *tunnel) reach(ctx context.Context, target string) (net.Conn, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	conn, err := t.dialProxy(ctx)
	if err != nil {
		return nil, t.unreachable(ctx, err)
	}
	// The handshake knows no context; it ends when the connection does.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if t.proxy.Scheme == "socks5" {
		err = t.askSOCKS(ctx, conn, target)
	} else {
		err = t.askHTTP(conn, target)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, nil
	}
	_ = conn.Close()
	var known *Error
	if errors.As(err, &known) {
		return nil, err
	}
	return nil, t.unreachable(ctx, err)
}

// dialProxy connects to the proxy itself, which is guarded unless the operator named
// it.
func (t *tunnel) dialProxy(ctx context.Context) (net.Conn, error) {
	dial := t.network.Dialer.DialContext
	if !t.proxy.Trusted {
		dial = t.network.Guard.Dialer(t.network.Dialer)
	}
	conn, err := dial(ctx, "tcp", t.proxy.Host)
	if err != nil || t.proxy.Scheme != "https" {
		return conn, err
	}
	name, _, err := net.SplitHostPort(t.proxy.Host)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: t.network.Roots, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
