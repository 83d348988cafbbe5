package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/console"
)

func init() {
	caddy.RegisterModule((*Console)(nil))
}

// Console serves the web console of the HTTP API: its page at / and what belongs
// to it below /assets/. Other paths, and other methods than GET and HEAD, go to the
// next handler. It stands in a site with token_admin, which the page calls at
// ./api/.
//
// The page itself is open to everybody and has nothing confidential in it: whoever
// opens it signs in, and sees what he may see.
type Console struct {
	page *console.Page
}

// CaddyModule returns the Caddy module information.
func (*Console) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_console",
		New: func() caddy.Module { return new(Console) },
	}
}

// Provision sets up the handler.
func (c *Console) Provision(ctx caddy.Context) (err error) {
	if isConsoleAlone(ctx) {
		return errConsoleAlone
	}
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if err := app.refuseOnEdge("token_console", "the console is that of the instance that it takes its tokens from"); err != nil {
		return err
	}
	c.page, err = console.Built()
	return err
}

var errConsoleAlone = errors.New("token_console: this site has no token_admin, so that the console would find no API; write both in one site")

// ServeHTTP serves the page.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !c.page.Serves(r) {
		return next.ServeHTTP(w, r)
	}
	c.page.ServeHTTP(w, r)
	return nil
}

// isConsoleAlone reports whether some site has a console and no API. Sites of one
// server are routes with names of hosts (where there is one site without a name,
// its routes are the server's own).
//
// While handlers are provisioned, some routes have theirs as JSON still, and all
// others as what was made of it.
func isConsoleAlone(ctx caddy.Context) bool {
	modules := ctx.Modules()
	if len(modules) == 0 {
		return false
	}
	app, isHTTP := modules[0].(*caddyhttp.App)
	if !isHTTP {
		return false
	}
	for _, server := range app.Servers {
		var others caddyhttp.RouteList
		for _, route := range server.Routes {
			if !isSite(route) {
				others = append(others, route)
			} else if lacksAPI(caddyhttp.RouteList{route}) {
				return true
			}
		}
		if lacksAPI(others) {
			return true
		}
	}
	return false
}

// hasConsole reports whether the site that serves this request by token_admin has a
// console, too. A handler that is not found in any site is one of a named route, and
// may be in any of them.
func (a *Admin) hasConsole(r *http.Request) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return false
	}
	var others caddyhttp.RouteList
	for _, route := range server.Routes {
		if site := (caddyhttp.RouteList{route}); !isSite(route) {
			others = append(others, route)
		} else if a.isAmong(site) {
			return hasHandler(site, directiveConsole)
		}
	}
	return hasHandler(others, directiveConsole) || !a.isAmong(others) && hasHandler(server.Routes, directiveConsole)
}

// isAmong reports whether routes have this very handler, also within others.
func (a *Admin) isAmong(routes caddyhttp.RouteList) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
			if sub, ok := handler.(*caddyhttp.Subroute); ok {
				return a.isAmong(sub.Routes)
			}
			return handler == caddyhttp.MiddlewareHandler(a)
		})
	})
}

// isSite reports whether a route is for hosts that are named, and the last one for
// them.
func isSite(route caddyhttp.Route) bool {
	if !route.Terminal {
		return false
	}
	for _, set := range route.MatcherSetsRaw {
		if set["host"] != nil {
			return true
		}
	}
	for _, set := range route.MatcherSets {
		if slices.ContainsFunc(set, func(m any) bool { _, is := m.(*caddyhttp.MatchHost); return is }) {
			return true
		}
	}
	return false
}

// lacksAPI reports whether routes have a console and no API.
func lacksAPI(routes caddyhttp.RouteList) bool {
	return hasHandler(routes, directiveConsole) && !hasHandler(routes, directiveAdmin)
}

// hasHandler reports whether routes have a handler, whose module has the name of
// its directive, also within others.
func hasHandler(routes caddyhttp.RouteList, name string) bool {
	for _, route := range routes {
		for _, raw := range route.HandlersRaw {
			var config any
			if json.Unmarshal(raw, &config) == nil && namesHandler(config, name) {
				return true
			}
		}
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *caddyhttp.Subroute:
				if hasHandler(h.Routes, name) {
					return true
				}
			case caddy.Module:
				if h.CaddyModule().ID.Name() == name {
					return true
				}
			}
		}
	}
	return false
}

// namesHandler reports whether a configuration has such a handler anywhere.
func namesHandler(config any, name string) bool {
	switch c := config.(type) {
	case []any:
		return slices.ContainsFunc(c, func(v any) bool { return namesHandler(v, name) })
	case map[string]any:
		if c["handler"] == name {
			return true
		}
		for _, v := range c {
			if namesHandler(v, name) {
				return true
			}
		}
	}
	return false
}

// parseConsole reads the console:
//
//	token_console [<matcher>]
func parseConsole(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Errf("token_console: surplus argument '%s'", h.Val())
	}
	return new(Console), options{}.parse(h.Dispenser, directiveConsole)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Console)(nil)
	_ caddyhttp.MiddlewareHandler = (*Console)(nil)
)
