package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
)

const (
	// dialTimeout bounds one connection, with its TLS handshake.
	dialTimeout = 5 * time.Second
	// idleConnections are kept for further questions.
	idleConnections = 64
	// pingAfter and pingTimeout find HTTP/2 connections that are dead.
	pingAfter, pingTimeout = 10 * time.Second, 5 * time.Second
)

// ParseURL reads the address of the other instance. An error does not quote one that
// may have a password in it.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil || text == "":
		return nil, errors.New("cannot be read: write it as https://tokens.internal")
	case u.User != nil:
		return nil, errors.New("must not have a user or a password: the key stands in the option key")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "":
		return nil, errors.New("must begin with https:// and a host: write it as https://tokens.internal")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("is scheme, host, port and path: no query and no fragment")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && u.Scheme == "http" && !isPrivate(ip) {
		return nil, fmt.Errorf("must be https: the key and the tokens would go in clear to %s, which is no address of a private network", ip)
	}
	return u, nil
}

// newClient makes what talks to the other instance: without a proxy, and without
// following a redirect. What is not https goes to private networks only.
func newClient(u *url.URL) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}
	if u.Scheme == "http" {
		dialer.ControlContext = refusePublic
	}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: time.Minute,
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	// What comes behind an answer may hold a token, and net/http would log it.
	inject.GuardConnections(transport, func() {})
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusePublic refuses to connect to an address, which a name may have, beyond the
// networks of one's own.
func refusePublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPrivate(to.Addr()) {
		return &publicError{address}
	}
	return nil
}

// publicError is the error of a connection that is not made, because it would be one in
// clear to a public address.
type publicError struct{ address string }

func (e *publicError) Error() string {
	return fmt.Sprintf("the address %s is of no private network: the key and the tokens would go there in clear; write https", e.address)
}

// carrierNAT is also what overlay networks number their machines with (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// isPrivate reports whether an address is of this machine or of a network of one's own.
// What is not public is not yet private: NAT64 and 6to4 lead to public addresses.
func isPrivate(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierNAT.Contains(ip)
}
