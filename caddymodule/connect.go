package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/shortcut"
)

// The defaults towards providers. Caddy's own 32 idle connections per host
// make it dial for most requests of 300 callers, which costs it two thirds of
// its throughput with https (docs/benchmarks.md).
const (
	idleConnsPerHost = 512
	idleConns        = 1024
	handshakeTimeout = 10 * time.Second
)

// provisionTransports provisions the embedded transport, and makes its guarded twin: the
// same settings, but it dials only what netguard lets it. The twin has a
// connection pool of its own, HTTP/2 included, so that a guarded request never
// travels on a connection that was dialled without the guard; that is why it
// is not a clone of the other. Realms that say how connections are made have
// transports of their own, see wayTransports.
//
// A proxy of the environment is not used. What network_proxy says counts for all
// realms, and its proxy may see what is not https.
func (t *Transport) provisionTransports(ctx caddy.Context) (*apiTransports, error) {
	isCommon := hasCommonOptions(t.HTTPTransport)
	t.setDefaults()
	named := len(t.NetworkProxyRaw) > 0 || t.ForwardProxyURL != ""
	twin := copySettings(t.HTTPTransport)
	if err := t.HTTPTransport.Provision(ctx); err != nil {
		return nil, err
	}
	limitHandshake(t.Transport)
	dialer, err := dialerOf(&t.HTTPTransport)
	if err != nil {
		return nil, err
	}
	if named {
		ways := t.namedWays(dialer)
		inject.GuardConnections(t.Transport, counters.surplusAnswers.Inc)
		return &apiTransports{base: &t.HTTPTransport, guarded: ways.of(nil, false), ways: ways}, nil
	}
	t.Transport.Proxy = nil
	if err := twin.Provision(ctx); err != nil {
		return nil, err
	}
	guarded := twin.Transport
	guarded.Proxy, guarded.DialTLSContext = nil, nil
	limitHandshake(guarded)
	ways := &wayTransports{network: t.app.network(dialer), template: guarded.Clone(), direct: t.Transport.DialContext}
	if t.app.proxy != nil {
		return &apiTransports{base: ways.of(nil, true), guarded: ways.of(nil, false), ways: ways}, nil
	}
	guarded.DialContext = t.app.guard.Dialer(dialer)
	inject.GuardConnections(t.Transport, counters.surplusAnswers.Inc)
	inject.GuardConnections(guarded, counters.surplusAnswers.Inc)
	made := &apiTransports{base: &t.HTTPTransport, guarded: guarded, ways: ways}
	if isCommon && inject.CanPoll && shortcut.Suits(t.Transport) && shortcut.Suits(guarded) {
		made.shortBase, made.shortGuarded = shortcut.New(t.Transport, countShortcut), shortcut.New(guarded, countShortcut)
	}
	return made, nil
}

// namedWays are the ways of a block with network_proxy.
func (t *Transport) namedWays(dialer *net.Dialer) *wayTransports {
	ways := &wayTransports{
		network: t.app.network(dialer), template: t.Transport.Clone(),
		direct: t.Transport.DialContext, named: t.Transport.Proxy, base: &t.HTTPTransport,
	}
	ways.template.Proxy, ways.template.DialTLSContext = nil, nil
	if t.Transport.TLSClientConfig != nil {
		ways.network.Roots = t.Transport.TLSClientConfig.RootCAs
	}
	return ways
}

// apiTransports are those for the calls of an API.
type apiTransports struct {
	// base is for hosts that the operator named, guarded for any other.
	base, guarded http.RoundTripper
	// ways has those of realms that say how connections are made.
	ways *wayTransports
	// shortBase and shortGuarded are in place of base and guarded where a request takes
	// the short way; nil where the options are not all known there.
	shortBase, shortGuarded *shortcut.Transport
}

// close closes idle connections.
func (a *apiTransports) close() {
	if a.shortBase != nil {
		a.shortBase.CloseIdleConnections()
		a.shortGuarded.CloseIdleConnections()
	}
	if t, ok := a.guarded.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	a.ways.close()
}

// setDefaults fills in the limits of idle connections that the operator left
// open.
func (t *Transport) setDefaults() {
	keep := reverseproxy.KeepAlive{}
	if t.KeepAlive != nil {
		keep = *t.KeepAlive
	}
	if keep.MaxIdleConnsPerHost == 0 {
		keep.MaxIdleConnsPerHost = idleConnsPerHost
	}
	if keep.MaxIdleConns == 0 {
		keep.MaxIdleConns = max(idleConns, keep.MaxIdleConnsPerHost)
	}
	t.KeepAlive = &keep
}

// copySettings copies the settings of a transport that is not provisioned yet.
// Loading a module empties its raw form, so what holds one is copied too. The
// guard dials TCP only: HTTP/3 becomes HTTP/2.
func copySettings(h reverseproxy.HTTPTransport) *reverseproxy.HTTPTransport {
	h.NetworkProxyRaw, h.ForwardProxyURL = nil, ""
	if h.TLS != nil {
		tls := *h.TLS
		h.TLS = &tls
	}
	if len(h.Versions) == 1 && h.Versions[0] == "3" {
		h.Versions = nil
	}
	return &h
}

// dialerOf is the dialer that the settings ask for.
func dialerOf(h *reverseproxy.HTTPTransport) (*net.Dialer, error) {
	d := &net.Dialer{
		Timeout:       time.Duration(h.DialTimeout),
		FallbackDelay: time.Duration(h.FallbackDelay),
		KeepAlive:     time.Duration(h.KeepAlive.ProbeInterval),
	}
	if h.LocalAddress != "" {
		local, err := caddy.ParseNetworkAddressWithDefaults(h.LocalAddress, "tcp", 0)
		if err != nil {
			return nil, err
		}
		if d.LocalAddr, err = net.ResolveTCPAddr("tcp", local.JoinHostPort(0)); err != nil {
			return nil, fmt.Errorf("local_address: %w", err)
		}
	}
	if h.Resolver != nil {
		resolver, err := resolverOf(h.Resolver.Addresses)
		if err != nil {
			return nil, err
		}
		d.Resolver = resolver
	}
	return d, nil
}

// limitHandshake bounds the TLS handshake: Caddy has no default for it, and a
// provider that accepts connections and then says nothing would hold requests
// for ever.
func limitHandshake(rt *http.Transport) {
	if rt.TLSHandshakeTimeout == 0 {
		rt.TLSHandshakeTimeout = handshakeTimeout
	}
}
