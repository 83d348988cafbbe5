package caddymodule

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// apiSite is a site that has token_admin, as this machine reaches it.
type apiSite struct {
	// URL is its address, with the path that is taken away in front of it.
	URL string `json:"url"`
	// Dial is the listener: the name in URL may lead to another machine.
	Dial string `json:"dial"`
}

// hasPort reports whether the site listens on a port.
func (s apiSite) hasPort(port string) bool {
	_, own, err := net.SplitHostPort(s.Dial)
	return err == nil && own == port
}

// apiSites finds the sites that have token_admin. Those that answer to a loopback
// name come first: auth local serves these alone.
func apiSites(app *caddyhttp.App) []apiSite {
	var sites []apiSite
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		for _, found := range adminRoutes(server.Routes, adminRoute{}) {
			for _, listener := range server.Listen {
				if s, ok := found.at(listener, server, cmp.Or(app.HTTPPort, caddyhttp.DefaultHTTPPort)); ok {
					sites = append(sites, s)
				}
			}
		}
	}
	isRemote := func(s apiSite) int {
		_, rest, _ := strings.Cut(s.URL, "://")
		host, _, _ := strings.Cut(rest, "/")
		if localHost(host) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(sites, func(a, b apiSite) int { return isRemote(a) - isRemote(b) })
	return slices.Compact(sites)
}

// adminRoute is how a request comes to token_admin: with this Host ("" for any),
// and this path in front.
type adminRoute struct{ host, path string }

// adminRoutes follows the routes of a site down to token_admin. What handle_path
// and uri strip_prefix take away from the path is what a caller writes in front.
func adminRoutes(routes caddyhttp.RouteList, at adminRoute) (found []adminRoute) {
	for _, route := range routes {
		hosts := hostsOf(route.MatcherSets)
		if len(hosts) == 0 {
			hosts = []string{at.host}
		}
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *rewrite.Rewrite:
				if h.StripPathPrefix != "" && !strings.ContainsAny(h.StripPathPrefix, "{*") {
					at.path += "/" + strings.Trim(h.StripPathPrefix, "/")
				}
			case *caddyhttp.Subroute:
				for _, host := range hosts {
					found = append(found, adminRoutes(h.Routes, adminRoute{host, at.path})...)
				}
			case *Admin:
				for _, host := range hosts {
					found = append(found, adminRoute{host, at.path})
				}
			}
		}
	}
	return found
}

// hostsOf are the names that a route is for; none for any. A pattern is no name.
func hostsOf(sets caddyhttp.MatcherSets) (hosts []string) {
	for _, set := range sets {
		for _, matcher := range set {
			if names, ok := matcher.(*caddyhttp.MatchHost); ok {
				hosts = append(hosts, *names...)
			}
		}
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return strings.ContainsAny(h, "*{") })
}

// at is the site at one listener of its server. The test for TLS is Caddy's own.
func (r adminRoute) at(listener string, server *caddyhttp.Server, httpPort int) (apiSite, bool) {
	address, err := caddy.ParseNetworkAddress(listener)
	if err != nil {
		return apiSite{}, false
	}
	host := cmp.Or(r.host, "localhost")
	if address.IsUnixNetwork() {
		path, _, _ := strings.Cut(address.Host, "|") // the mode of the socket
		return apiSite{URL: "http://" + host + r.path, Dial: "unix/" + path}, true
	}
	if !strings.HasPrefix(address.Network, "tcp") {
		return apiSite{}, false
	}
	scheme, port, usual := "http", strconv.FormatUint(uint64(address.StartPort), 10), strconv.Itoa(caddyhttp.DefaultHTTPPort)
	if len(server.TLSConnPolicies) > 0 && port != strconv.Itoa(httpPort) {
		scheme, usual = "https", strconv.Itoa(caddyhttp.DefaultHTTPSPort)
	}
	name := net.JoinHostPort(host, port)
	if port == usual {
		name = strings.TrimSuffix(name, ":"+port)
	}
	dial := address.Host
	if ip := net.ParseIP(dial); dial == "" || ip != nil && ip.IsUnspecified() {
		dial = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			dial = "::1"
		}
	}
	return apiSite{URL: scheme + "://" + name + r.path, Dial: net.JoinHostPort(dial, port)}, true
}
