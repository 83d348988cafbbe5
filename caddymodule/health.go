package caddymodule

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
)

func init() {
	caddy.RegisterModule((*Health)(nil))
}

// The paths of Health.
const (
	pathHealthy = "/healthz"
	pathReady   = "/readyz"
)

// Health answers GET /healthz and GET /readyz, for load balancers and whatever
// else watches over processes. Other paths go to the next handler.
//
// /healthz is 200 as long as the process serves. /readyz is 200 where the
// database can be read and written, and 503 where not: before the start has
// finished, while the database cannot be used, and once a shutdown has begun. A
// cache that is away is no reason, because everything goes on without it.
//
// Everybody is served, and is told one word. The database is asked at most once
// in a second, however many ask.
type Health struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (*Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_health",
		New: func() caddy.Module { return new(Health) },
	}
}

// Provision finds the app.
func (h *Health) Provision(ctx caddy.Context) (err error) {
	h.app, err = appOf(ctx)
	return err
}

// ServeHTTP answers the two paths.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path := r.URL.Path
	if path != pathHealthy && path != pathReady {
		return next.ServeHTTP(w, r)
	}
	problem.SetSecurityHeaders(w.Header())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	status, word := http.StatusOK, "ok"
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		status, word = http.StatusMethodNotAllowed, "method not allowed"
	case path == pathHealthy:
	case h.isReady(r.Context()):
		word = "ready"
	default:
		status, word = http.StatusServiceUnavailable, "not ready"
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(word)) // an error means that the caller has gone
	return nil
}

// isReady reports whether requests can be served now. While a configuration is
// loaded in place of another one with the same store, the other one's start
// counts.
func (h *Health) isReady(ctx context.Context) bool {
	return !isShuttingDown(ctx) && h.app.started.Load() > 0 && h.app.pool.Ready(ctx) == nil
}

// isShuttingDown reports whether Caddy is about to end, or waits with its end
// (shutdown_delay) so that others notice.
func isShuttingDown(ctx context.Context) bool {
	if caddy.Exiting() {
		return true
	}
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return false
	}
	v, _ := repl.Get("http.shutting_down")
	over, _ := v.(bool)
	return over
}

// parseHealth reads the handler of the two paths:
//
//	token_health [<matcher>]
func parseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Errf("token_health: surplus argument '%s'", h.Val())
	}
	return new(Health), options{}.parse(h.Dispenser, directiveHealth)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
)
