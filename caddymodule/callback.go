package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
)

func init() {
	caddy.RegisterModule((*Callback)(nil))
}

// Callback serves the callbacks of authorizations, and nothing else: GET
// /<realm>-account/callback-token, which the provider leads the browser of
// whoever authorizes to, or calls itself. Other paths go to the next handler.
//
// Everybody is served. A callback is good for nothing without the state that
// an authorization began with, which is good once; the answer is a constant
// page.
//
// The URL holds the code and the state: such requests are left out of the
// access log, and have a line of their own in the log of this handler.
type Callback struct {
	api http.Handler
}

// CaddyModule returns the Caddy module information.
func (*Callback) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_callback",
		New: func() caddy.Module { return new(Callback) },
	}
}

// Provision sets up the handler.
func (c *Callback) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if err := app.refuseOnEdge("token_callback", "providers call back the instance that it takes its tokens from"); err != nil {
		return err
	}
	c.api = adminapi.NewCallback(app.view, app.view.Catalog(), adminapi.Options{Audit: app.recorder, Log: ctx.Logger()})
	return nil
}

// ServeHTTP serves callbacks.
func (c *Callback) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !adminapi.ServesCallback(r.URL) {
		return next.ServeHTTP(w, r)
	}
	skipAccessLog(r)
	c.api.ServeHTTP(w, r.WithContext(adminapi.WithCaller(r.Context(), adminapi.Caller{Address: auditAddress(r)})))
	return nil
}

// skipAccessLog leaves a request out of the access log. Its URI is noted
// before any handler sees the request, so that nothing less would hide it.
func skipAccessLog(r *http.Request) { caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true) }

// parseCallback reads the handler of callbacks:
//
//	token_callback [<matcher>]
func parseCallback(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Errf("token_callback: surplus argument '%s'", h.Val())
	}
	return new(Callback), options{}.parse(h.Dispenser, directiveCallback)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Callback)(nil)
	_ caddyhttp.MiddlewareHandler = (*Callback)(nil)
)
