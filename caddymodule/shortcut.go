package caddymodule

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/shortcut"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// shortcutOff is the value of the option with which no request takes the short way.
const shortcutOff = "off"

// Why a request does not take the short way, besides what package shortcut knows.
const (
	wayOff         = "off"         // shortcut off
	wayOptions     = "options"     // the block has an option that is not known there
	wayUpgrade     = "upgrade"     // WebSocket and the like
	wayCaller      = "caller"      // HTTP/3, or HTTP/2 with a body
	wayIncremental = "incremental" // RFC 10036
	wayRealm       = "realm"       // what the realm does with the request, or the answer
	wayProxy       = "proxy"       // the way of the realm goes through a proxy
)

// waysOfShortcut are the labels of what package shortcut reports.
var waysOfShortcut = func() (labels [shortcut.Ways]string) {
	for n := range labels {
		labels[n] = shortcut.Way(n).String()
	}
	return labels
}()

// countShortcut counts a request of the short way, or one that its transport left to
// the usual one.
func countShortcut(r *http.Request, w shortcut.Way) { countSent(r, waysOfShortcut[w]) }

// countSent counts a request when it is sent for the first time.
func countSent(r *http.Request, way string) {
	x, ok := r.Context().Value(shortRequestKey{}).(*shortRequest)
	if !ok || x.isCounted {
		return
	}
	x.isCounted = true
	countWay(way)
}

// countWay counts a request by the way that it takes.
func countWay(way string) { counters.ways.WithLabelValues(way).Inc() }

// shortWay proxies the common requests of a gateway in place of reverse_proxy, whose
// options they do not need. All that is decided about a request is decided before, or
// by inject; what is left is to copy, in the way that reverse_proxy does it.
type shortWay struct {
	transport *Transport
	log       *zap.Logger
	// upstream is the one that the operator named; the zero one where it is the api of
	// the realm, as the lease says.
	upstream realm.Address
	// flushes: flush_interval is -1.
	flushes bool
	// headers are header_up and header_down; nil for none.
	headers *headers.Handler
}

// upstreamFor is the upstream for a request.
func (s *shortWay) upstreamFor(target *realm.Target) realm.Address {
	if s.upstream.HostPort != "" {
		return s.upstream
	}
	return *target.Dial
}

// upstreamOf reads host:port. It is not ok for other networks, and for more than one port.
func upstreamOf(dial string) (u realm.Address, ok bool) {
	addr, err := caddy.ParseNetworkAddress(dial)
	if err != nil || addr.Network != "tcp" || addr.PortRangeSize() != 1 || strings.Contains(dial, "{") {
		return u, false
	}
	u.HostPort = addr.JoinHostPort(0)
	u.Host, u.Port, err = net.SplitHostPort(u.HostPort)
	return u, err == nil
}

// newShortWay returns the short way of a gateway, or why it has none. It is asked
// before the options are provisioned.
func (g *Gateway) newShortWay(isAPI bool) (*shortWay, string) {
	if g.Shortcut == shortcutOff {
		return nil, wayOff
	}
	h := g.Handler
	s := &shortWay{log: g.log, flushes: h.FlushInterval < 0, headers: h.Headers}
	switch {
	case h.FlushInterval > 0, len(h.Upstreams) > 1, changesCourse(h.Headers):
		return nil, wayOptions
	case len(h.Upstreams) == 1:
		rest := reverseproxy.Upstream{Dial: h.Upstreams[0].Dial}
		var ok bool
		if s.upstream, ok = upstreamOf(rest.Dial); !ok || !reflect.DeepEqual(h.Upstreams[0], &rest) {
			return nil, wayOptions
		}
	}
	if isAPI {
		h.DynamicUpstreamsRaw = nil // ours
	}
	// What is not about common requests, or looked at above.
	h.TransportRaw, h.Upstreams, h.FlushInterval, h.TrustedProxies, h.ProxyStatusName = nil, nil, 0, nil, ""
	h.StreamTimeout, h.StreamBufferSize, h.StreamCloseDelay, h.Headers = 0, 0, 0, nil
	if !reflect.ValueOf(h).IsZero() {
		return nil, wayOptions
	}
	return s, ""
}

// usualWay is why a transport has no short way.
func (*Transport) usualWay() string {
	if !inject.CanPoll {
		return waysOfShortcut[shortcut.Unpollable]
	}
	return wayOptions
}

// changesCourse reports whether header_up may change the way that a request takes.
func changesCourse(h *headers.Handler) bool {
	if h == nil || h.Request == nil {
		return false
	}
	names := slices.Concat(slices.Collect(maps.Keys(h.Request.Set)), slices.Collect(maps.Keys(h.Request.Add)), slices.Collect(maps.Keys(h.Request.Replace)))
	return slices.ContainsFunc(names, func(name string) bool {
		switch http.CanonicalHeaderKey(name) {
		case "Connection", "Upgrade", "Expect", "Incremental", "Te", "Trailer", "Transfer-Encoding", "Content-Length":
			return true
		}
		return strings.ContainsAny(name, "{*:")
	})
}

// hasCommonOptions reports whether the short way knows all options of a transport.
func hasCommonOptions(h reverseproxy.HTTPTransport) bool {
	// A renegotiation may begin while a connection is only polled.
	if h.TLS != nil && (strings.Contains(h.TLS.ServerName, "{") || h.TLS.Renegotiation != "") {
		return false
	}
	for _, version := range h.Versions {
		if !slices.Contains([]string{"1.1", "2"}, version) {
			return false
		}
	}
	h.TLS, h.Resolver, h.KeepAlive, h.Compression, h.Versions = nil, nil, nil, nil, nil
	h.DialTimeout, h.FallbackDelay, h.ExpectContinueTimeout, h.MaxResponseHeaderSize, h.LocalAddress = 0, 0, 0, 0, ""
	return reflect.ValueOf(h).IsZero()
}

// why is the reason for which a request does not take the short way; "" if it does.
// What a request to an http.Transport has besides is seen by package shortcut.
func (s *shortWay) why(r *http.Request, target *realm.Target) string {
	switch {
	case len(r.Header["Upgrade"]) > 0, r.Method == http.MethodConnect, len(r.Header[":protocol"]) > 0:
		return wayUpgrade
	case r.ProtoMajor > 2, r.ProtoMajor == 2 && r.ContentLength != 0:
		return wayCaller
	case r.ContentLength < 0, len(r.TransferEncoding) > 0, len(r.Trailer) > 0:
		return waysOfShortcut[shortcut.OpenBody]
	case len(r.Header["Expect"]) > 0:
		return waysOfShortcut[shortcut.Expect]
	case len(r.Header["Incremental"]) > 0:
		return wayIncremental
	case target.Scrub, target.RewriteLinks, target.Forwarded, s.upstream.HostPort == "" && target.Dial == nil:
		return wayRealm
	}
	for i := range target.Inject {
		switch target.Inject[i].In {
		case realm.PlaceURL, realm.PlaceHeader:
		default:
			return wayRealm
		}
	}
	return ""
}

// takesShortWay reports whether a request takes the short way, and counts one that
// does not.
func (g *Gateway) takesShortWay(r *http.Request, target *realm.Target) bool {
	why := g.usualWay
	if g.short != nil {
		why = g.short.why(r, target)
	}
	if why != "" {
		countWay(why)
	}
	return why == ""
}

var errShortcut = errors.New(`shortcut: must be "on" or "off"`)

func checkShortcut(value string) error {
	switch value {
	case "", "on", shortcutOff:
		return nil
	}
	return errShortcut
}
