package caddymodule

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/adminapi"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() {
	caddy.RegisterModule((*Admin)(nil))
}

// Admin serves the HTTP API of realms, secrets, tokens and companies below
// /api/, and that of accounts: /<realm>-account/ with get-access-token,
// request-access-token, refresh-token, init-all-token, refresh-all-token and
// callback-token. Other paths go to the next handler.
//
// It serves loopback peers that call it by a loopback name only, until an
// authentication handler in front of it accepted the caller, the request
// holds the admin token, or auth is written. Callbacks that a provider sends
// anybody's browser to are served by token_callback.
//
// Requests whose URL, or the URL that they are answered with, is confidential
// are left out of the access log, and have a line of their own in the log of
// this handler.
type Admin struct {
	// A token that lets callers in: Authorization: Bearer <token>. Write it
	// as {env.NAME} or {file./absolute/path}. Default: none.
	AdminToken string `json:"admin_token,omitempty"`

	// Write none to serve everybody without authentication, if the Host is a
	// name of the site, an address, a name without a dot, or one of the names
	// behind it: "none tokens.corp.example". Or write one placeholder: its
	// value, if it is not empty, is the user that another authenticator
	// accepted. Default: loopback callers with a loopback Host, and
	// those with the admin token or accepted by an authentication handler.
	Auth string `json:"auth,omitempty"`

	token     *bearer
	admission admission
	failures  *failures
	api       http.Handler
	refusals  *zap.Logger // anybody may cause one
}

// CaddyModule returns the Caddy module information.
func (*Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_admin",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Provision sets up the API.
func (a *Admin) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if a.admission, err = parseAdmission(a.Auth); err != nil {
		return err
	}
	if a.admission.none {
		ctx.Logger().Warn("auth none: everybody who can reach this handler may read tokens and change secrets")
	}
	if a.AdminToken != "" {
		token, err := resolveHidden(a.AdminToken)
		if err != nil {
			return fmt.Errorf("admin_token: %w", err)
		}
		a.token = newBearer(token)
	}
	a.failures = app.failures
	a.refusals = adminapi.Sampled(ctx.Logger())
	a.api = adminapi.New(app.view, app.view.Catalog(), adminapi.Options{Log: ctx.Logger()})
	return nil
}

// ServeHTTP serves the API.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !adminapi.Serves(r.URL) {
		return next.ServeHTTP(w, a.withoutToken(r))
	}
	confidential := adminapi.IsConfidential(r.URL)
	if confidential {
		skipAccessLog(r)
	}
	if refused := a.admit(r); refused != nil {
		if confidential {
			a.refusals.Info("refused a confidential request", zap.String("method", r.Method), zap.String("remote", r.RemoteAddr))
		}
		forbid(w, refused)
		return nil
	}
	a.api.ServeHTTP(w, r)
	return nil
}

// admit returns nil for a caller that may use the API, else why not. A wrong
// admin token is refused wherever it comes from, also from this machine and
// with auth none: the caller claimed to be somebody. The API itself refuses the
// pages of other sites, all but the callback's.
func (a *Admin) admit(r *http.Request) *realm.Error {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if a.admission.user(repl) == "" {
		if _, given := bearerOf(r); given && a.token != nil {
			return a.admitToken(r)
		}
	}
	// Whoever authorizes comes to the callback by the name that the provider
	// knows.
	if a.admission.none && adminapi.ServesCallback(r.URL) {
		return nil
	}
	refused := a.admission.admitCaller(r, repl)
	if refused == errLocalOnly {
		return errNotAdmin
	}
	return refused
}

// admitToken is admit for a request with a bearer token. An address that sent
// many wrong ones waits, and its next one is not even compared until then.
func (a *Admin) admitToken(r *http.Request) *realm.Error {
	from := addressOf(r)
	wait := a.failures.wait(from)
	matches := false
	if wait == 0 {
		_, matches = a.token.check(r)
		wait = a.failures.record(from, matches)
	}
	switch {
	case wait > 0:
		return errTooManyFailures(wait)
	case !matches:
		return errNotAdmin
	}
	return nil
}

// errNotAdmin names the ways in. It says the same whatever is missing or wrong.
var errNotAdmin = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden,
	Detail: waysIn + ", 'admin_token' is set and sent as Authorization: Bearer, or 'auth none' is written",
}

// withoutToken takes the admin token off a request that is not for us, so
// that no handler behind forwards it.
func (a *Admin) withoutToken(r *http.Request) *http.Request {
	if _, matches := a.token.check(r); !matches {
		return r
	}
	clean := r.Clone(r.Context())
	clean.Header.Del("Authorization")
	return clean
}

// parseAdmin reads the admin API:
//
//	token_admin [<matcher>] {
//	    admin_token <token>
//	    auth none [<hosts...>] | {<placeholder>}
//	}
func parseAdmin(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.Errf("token_admin: surplus argument '%s'", h.Val())
	}
	a := new(Admin)
	return a, options{
		"admin_token": value(&a.AdminToken, func(s string) (string, error) {
			warnIfOpen(h.Dispenser, "admin_token", isLiteral(s))
			return s, nil
		}),
		"auth": {parse: func(d *caddyfile.Dispenser) error {
			words, err := args(d)
			if err != nil {
				return err
			}
			a.Auth = strings.Join(words, " ")
			if _, err := parseAdmission(a.Auth); err != nil {
				return d.WrapErr(err)
			}
			return nil
		}},
	}.parse(h.Dispenser, directiveAdmin)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Admin)(nil)
	_ caddyhttp.MiddlewareHandler = (*Admin)(nil)
)
