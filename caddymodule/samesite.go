package caddymodule

import (
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	policyHeader = "Content-Security-Policy"
	// sandboxed is the policy of a page that has no origin: its scripts do not run,
	// and nothing of it is the site's own.
	sandboxed = "sandbox"
)

// consoles tells of a handler whether its answers come from an address that has a
// console, too. A page of a proxied API would otherwise be one of the console's
// origin there: its script could do whatever the one who is signed in may.
type consoles struct {
	once sync.Once
	// everywhere: there is a console for every host of the server, or for hosts
	// that are not known plainly.
	everywhere bool
	hosts      []*caddyhttp.MatchHost
}

// isAt reports whether the server of a request has a console at the host that the
// caller sent. The routes are looked at with the first request: while handlers are
// provisioned, not all of them are there. All requests of a handler come from one
// server.
func (c *consoles) isAt(r *http.Request) bool {
	c.once.Do(func() {
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
			c.find(server)
		}
	})
	if c.everywhere || len(c.hosts) == 0 {
		return c.everywhere
	}
	sent := *r // a proxy may have changed the Host
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if host, ok := repl.GetString("http.request.hostport"); ok {
			sent.Host = host
		}
	}
	return slices.ContainsFunc(c.hosts, func(m *caddyhttp.MatchHost) bool {
		matches, err := m.MatchWithError(&sent)
		return matches || err != nil
	})
}

// find looks for the consoles of a server.
func (c *consoles) find(server *caddyhttp.Server) {
	for _, named := range server.NamedRoutes {
		c.everywhere = c.everywhere || hasHandler(caddyhttp.RouteList{*named}, directiveConsole)
	}
	for _, route := range server.Routes {
		if !hasHandler(caddyhttp.RouteList{route}, directiveConsole) {
			continue
		}
		for _, set := range route.MatcherSets {
			at := slices.IndexFunc(set, func(m any) bool { _, is := m.(*caddyhttp.MatchHost); return is })
			if at < 0 {
				c.everywhere = true
				continue
			}
			c.hosts = append(c.hosts, set[at].(*caddyhttp.MatchHost))
		}
		c.everywhere = c.everywhere || len(route.MatcherSets) == 0
	}
}

// sandbox adds the policy to an answer, beside those of the API: a browser keeps
// to each of several. A health check is answered to nobody, and may run before all
// routes are there.
func (c *consoles) sandbox(r *http.Request, h http.Header) {
	if !isHealthCheck(r) && c.isAt(r) {
		h.Add(policyHeader, sandboxed)
	}
}
