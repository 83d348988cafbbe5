// Package outbound makes the connections to providers: directly, or through an
// http, https or socks5 proxy, with the authorities and the client certificate that
// a realm wants.
//
// A proxy gets to see an address and encrypted bytes. The name of the provider is
// looked up and checked here (netguard), and the proxy is asked for the checked
// address; TLS is made with the provider itself, inside of the tunnel.
package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Network is what the operator's configuration says about connections.
type Network struct {
	// Dialer dials what needs no guard.
	Dialer *net.Dialer
	// Guard says which addresses may be reached for realms that the operator did
	// not write.
	Guard netguard.Policy
	// Proxy is used by realms that say nothing about one; nil for none.
	Proxy *realm.Proxy

	// Roots are those that the certificate of an https proxy leads to; nil for the
	// system's.
	Roots *x509.CertPool
}

// ErrClear refuses a request without TLS by a proxy, which would see the token.
var ErrClear = errors.New("a request without https does not go through a proxy, which would see the token")

// ProxyFor is the proxy of a way, which may be nil; nil for none.
func (n *Network) ProxyFor(way *realm.Way) *realm.Proxy {
	switch {
	case way == nil:
		return n.Proxy
	case way.Proxy != nil || way.Direct:
		return way.Proxy
	}
	return n.Proxy
}

// Dial returns how connections of a way are dialled, which may be nil. trusted says
// that the operator named the host that is dialled.
func (n *Network) Dial(way *realm.Way, trusted bool) netguard.Dialer {
	switch proxy := n.ProxyFor(way); {
	case proxy != nil:
		return (&tunnel{network: n, proxy: proxy, trusted: trusted}).dial
	case trusted:
		return n.Dialer.DialContext
	}
	return n.Guard.Dialer(n.Dialer)
}

// TLS is a copy of the TLS settings with those of the way, which may be nil.
// base may be nil, too.
func TLS(base *tls.Config, way *realm.Way) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		config = base.Clone()
	}
	if way == nil {
		return config, nil
	}
	if way.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(way.CA)) {
			return nil, errors.New("ca holds no certificate")
		}
	}
	if way.Certificate != "" {
		certificate, err := KeyPair(way.Certificate, way.Key)
		if err != nil {
			return nil, err
		}
		// What a configuration says for all realms must not go to this one's servers.
		config.GetClientCertificate, config.Certificates = nil, []tls.Certificate{certificate}
	}
	return config, nil
}

// KeyPair reads a client certificate and its key. The error quotes nothing of them.
func KeyPair(certificate, key realm.Hidden) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair([]byte(certificate.Reveal()), []byte(key.Reveal()))
	if err != nil {
		return pair, errors.New("the client certificate and its key must be in PEM and belong together")
	}
	return pair, nil
}

// withTimeout bounds what a proxy is waited for.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, proxyTimeout)
}
