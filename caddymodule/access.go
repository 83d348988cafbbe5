package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// local reports whether the request comes from this machine. It believes the
// connection and no header: anybody can send X-Forwarded-For. Only a proxy on
// this machine that Caddy trusts (trusted_proxies) is believed when it names a
// caller who is elsewhere.
func local(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !strings.HasPrefix(addr.Network(), "unix") {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			return false
		}
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return true
	}
	// Caddy takes the first of several addresses, which the caller may have sent
	// himself; his own is one of those behind it.
	if from := addressOf(r); from.IsValid() && !from.Unmap().IsLoopback() {
		return false
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for hop := range strings.SplitSeq(line, ",") {
			if from, err := netip.ParseAddr(strings.TrimSpace(hop)); err != nil || !from.Unmap().IsLoopback() {
				return false
			}
		}
	}
	return true
}

// localHost reports whether the Host header is a name of this machine. A page of
// another site, whose name was made to point here (DNS rebinding), sends the
// name of that site.
func localHost(host string) bool {
	name := hostName(host)
	if name == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// crossSite reports whether a browser sends the request on behalf of another
// site. Callers that are no browsers send neither header.
//
// Browsers send Sec-Fetch-Site (W3C Fetch Metadata, section 2.4) to loopback
// addresses and localhost, but not by plain http to a name of their own
// choice that points here. Origin is sent there too, with all but plain GET
// and HEAD.
func crossSite(r *http.Request) bool {
	if adminapi.SaysSiteTwice(r) {
		return true
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil {
		return true
	}
	// Another port of this machine is the same site, if this machine is meant.
	isSame := strings.EqualFold(u.Host, r.Host) || localHost(u.Host) && localHost(r.Host)
	return !isSame
}

// forbid answers a caller that may not use the handler.
func forbid(w http.ResponseWriter, err *realm.Error) { problem.From(err).Write(w) }
