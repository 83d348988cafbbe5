package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/problem"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// statusClientClosed is what Caddy logs for a caller that went away.
const statusClientClosed = 499

func init() {
	caddy.RegisterModule((*Gateway)(nil))
}

// Gateway is a reverse proxy that puts tokens into the requests. It gets the
// token before it proxies. Without one it answers with a problem document
// (RFC 9457): 404 for an unknown realm or key, 409 for a realm that says too
// little, and 502, 503 or 504 for a provider that gives no token.
//
// With a realm and a key it serves that credential (the directive
// token_proxy). Without, the first two segments of the path are the realm and
// the key, percent-decoded once (the directive token_gateway).
//
// The rest of the path arrives byte for byte as the caller sent it, also behind
// handle_path, uri and rewrite, which clean paths. Where they leave no way to
// tell what was sent, the answer is 400.
//
// Where no upstream is named, it is the api of the realm.
//
// It serves loopback peers that call it by a loopback name only, until an
// authentication handler in front of it accepted the caller, or auth is written.
// It serves no request that a browser makes for another site.
type Gateway struct {
	// The realm. It may hold placeholders, which are filled in for each
	// request. Default: the first segment of the path.
	Realm string `json:"realm,omitempty"`

	// The key of the secret within the realm. It may hold placeholders.
	// Default: the second segment of the path.
	Key string `json:"key,omitempty"`

	// Write none to serve everybody without authentication, if the Host is a
	// name of the site, an address, a name without a dot, or one of the names
	// behind it: "none tokens.corp.example". Or write one placeholder: its
	// value, if it is not empty, is the user that another authenticator
	// accepted. Default: loopback callers with a loopback Host, and
	// those whom an authentication handler accepted.
	Auth string `json:"auth,omitempty"`

	// Write off to have every request proxied by reverse_proxy. Default: on, by
	// which requests that need nothing of it take a shorter way. What the API and the
	// caller get is the same.
	Shortcut string `json:"shortcut,omitempty"`

	// Everything else is as in reverse_proxy. The transport is token.
	reverseproxy.Handler

	app       *App
	ref       refTemplate
	admission admission
	// direct: the transport needs to be told nothing about a request. It saves
	// each of them two allocations.
	direct bool
	// useAPI: the upstream is the realm's own api.
	useAPI bool
	// ready: the embedded handler is provisioned, and has to be cleaned up.
	ready bool
	// short proxies the common requests. Where it is nil, usualWay is why.
	short    *shortWay
	usualWay string
	log      *zap.Logger
	// consoles are those at the same address.
	consoles consoles
}

// CaddyModule returns the Caddy module information.
func (*Gateway) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_gateway",
		New: func() caddy.Module { return new(Gateway) },
	}
}

// Provision sets up the embedded reverse proxy.
func (g *Gateway) Provision(ctx caddy.Context) (err error) {
	g.log = ctx.Logger()
	if g.app, err = appOf(ctx); err != nil {
		return err
	}
	if err := g.check(); err != nil {
		return err
	}
	if g.admission.none {
		g.log.Warn("auth none: everybody who can reach this handler uses the tokens")
	}
	g.ref = refTemplate{g.Realm, g.Key}
	g.app.nameRealm(g.ref)
	g.admission.connect(g.app)
	r := g.chooseUpstreams()
	g.useAPI, g.ready = r.api, true
	g.short, g.usualWay = g.newShortWay(r.api)
	if err := g.Handler.Provision(ctx); err != nil {
		return err
	}
	transport, ok := g.Handler.Transport.(*Transport)
	if !ok || transport.Realm != "" || transport.Auth != "" {
		return errors.New("the transport must be token, without a realm, key or auth of its own")
	}
	transport.route, transport.ref, transport.admission = &r, g.ref, g.admission
	if g.short != nil && transport.short == nil {
		g.short, g.usualWay = nil, transport.usualWay()
	}
	if g.short != nil {
		g.short.transport = transport
	}
	return nil
}

// ServeHTTP proxies a request with its token.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ctx, came := r.Context(), r //nolint:contextcheck // a passage is a context, made of it
	repl := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	who, refused := g.admission.admit(r, repl)
	var p *passage // nil for a caller that is no client
	if refused == nil && who.client != nil {
		if p, refused = beginPassage(ctx, who); refused == nil {
			defer p.end()
			ctx, p.app = p, g.app
		}
	}
	if refused != nil {
		g.app.refused(r, who, realm.Ref{}, refused)
		forbid(w, refused)
		return nil
	}
	err := g.ref.check(sentURL(ctx))
	if err == nil {
		r, err = withSentPath(r)
	}
	if err != nil {
		g.app.refused(r, who, realm.Ref{}, err)
		problem.From(err).Write(w)
		return nil
	}
	res := resolved{passage: p}
	if g.Realm != "" {
		res.ref = g.ref.ref(repl)
	} else if res.ref, r = g.cut(r); res.ref.Realm == "" {
		g.app.refused(r, who, realm.Ref{}, errNoPath)
		problem.From(errNoPath).Write(w)
		return nil
	}
	if err = p.mayUse(g.app, res.ref, r, g.pathToSend(r), g.useAPI); err == nil {
		res.lease, err = leaseOf(ctx, g.app, res.ref)
	}
	if err != nil {
		g.refuse(w, r.WithContext(ctx), who, res.ref, err)
		return nil
	}
	res.url = r.URL
	g.consoles.sandbox(r, w.Header()) // the proxy adds what the API answers
	isShort := g.takesShortWay(r, res.lease.Target)
	if p != nil || !g.direct && !isShort {
		r = r.WithContext(withResolved(ctx, res))
	}
	if isShort {
		err = g.short.serve(w, r, came, repl, &res)
	} else {
		err = g.Handler.ServeHTTP(w, r, next)
	}
	if err != nil {
		if isRevoked(ctx) {
			return caddyhttp.Error(http.StatusForbidden, errRevoked)
		}
		return g.unreached(w, r, res.ref, err)
	}
	return nil
}

// pathToSend is the URL whose path goes to the API; nil where it is not known
// before the proxy has rewritten it.
func (g *Gateway) pathToSend(r *http.Request) *url.URL {
	if g.Rewrite != nil {
		return nil
	}
	return r.URL
}

// Cleanup cleans up the embedded reverse proxy.
func (g *Gateway) Cleanup() error {
	if !g.ready {
		return nil
	}
	return g.Handler.Cleanup()
}

// check refuses settings that contradict each other.
func (g *Gateway) check() (err error) {
	if g.admission, err = parseProxyAdmission(g.Auth); err != nil {
		return err
	}
	if err := checkShortcut(g.Shortcut); err != nil {
		return err
	}
	switch {
	case (g.Realm == "") != (g.Key == ""):
		return errors.New("realm and key belong together")
	case g.Realm == "" && len(g.Upstreams) > 0:
		return errors.New("upstreams need a realm and a key: a path may name any realm")
	}
	if g.TransportRaw == nil {
		g.TransportRaw = []byte(`{"protocol":"token"}`)
	}
	return nil
}

// chooseUpstreams makes the realm's api the upstream where none is named. A
// realm of the configuration that says its api in plain words has a static
// one; for the others it is found per request.
func (g *Gateway) chooseUpstreams() route {
	r := route{keepHost: g.setsHost()}
	// A rewrite inside of the proxy changes the path once more, which the
	// transport has to compare with the one before it.
	direct := g.ref.fixed() && g.Rewrite == nil
	if len(g.Upstreams) > 0 || g.DynamicUpstreamsRaw != nil {
		g.direct = direct
		return r
	}
	r.api = true
	if dial, ok := g.app.apiAddresses[g.Realm]; ok {
		g.Upstreams = reverseproxy.UpstreamPool{{Dial: dial}}
		g.direct = direct
		return r
	}
	g.DynamicUpstreamsRaw = []byte(`{"source":"token"}`)
	return r
}

// setsHost reports whether header_up Host is used.
func (g *Gateway) setsHost() bool {
	if g.Headers == nil || g.Headers.Request == nil {
		return false
	}
	ops := g.Headers.Request
	for _, fields := range []http.Header{ops.Add, ops.Set} {
		for name := range fields {
			if strings.EqualFold(name, "Host") {
				return true
			}
		}
	}
	for name := range ops.Replace {
		if strings.EqualFold(name, "Host") {
			return true
		}
	}
	return false
}

// refuse answers a request that gets no token. The broker has logged already why
// a provider gave none. Of an error of an unknown type only the type is logged,
// since its text may hold anything.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, who caller, ref realm.Ref, err error) {
	g.app.refused(r, who, ref, err)
	var known *realm.Error
	switch {
	case isRevoked(r.Context()):
		forbid(w, errNoRight)
	case errors.Is(r.Context().Err(), context.Canceled):
		w.WriteHeader(statusClientClosed)
	case errors.As(err, &known):
		problem.From(known).Write(w)
	case errors.Is(err, context.DeadlineExceeded):
		problem.New(http.StatusGatewayTimeout, realm.CodeTokenUnavailable, "no token in time").Write(w)
	default:
		g.log.Error("no token", zap.Stringer("ref", ref), zap.String("type", fmt.Sprintf("%T", err)))
		problem.From(err).Write(w)
	}
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Gateway)(nil)
	_ caddy.CleanerUpper          = (*Gateway)(nil)
	_ caddyhttp.MiddlewareHandler = (*Gateway)(nil)
)
