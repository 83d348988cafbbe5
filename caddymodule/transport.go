package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// transportName is the name of the transport and of its upstream source.
const transportName = "token"

func init() {
	caddy.RegisterModule((*Transport)(nil))
}

// Transport is the http transport of reverse_proxy that puts the token of a
// secret into every request, at the last hop: behind the removal of
// hop-by-hop headers, which would let a caller strip it, and behind Caddy's
// debug log, which would show it.
//
// The token goes only to the hosts of its realm. What it refuses is answered
// with a problem document (RFC 9457), so that it does not count against the
// upstream.
//
// It serves the same callers as token_gateway.
//
// Unlike with the transport http, the Host header is the upstream's, unless
// header_up Host says otherwise; more idle connections are kept (512 per host
// and 1024 in all); and proxies of the environment (HTTPS_PROXY) are not
// used, only one that network_proxy names.
//
// A request sets the placeholders {http.token.realm}, {http.token.key},
// {http.token.source} (memory, redis, database or upstream) and
// {http.token.expires_in} (milliseconds left), for logs and headers.
type Transport struct {
	// The realm whose token is sent. It may hold placeholders, which are
	// filled in for each request. Required, except inside token_gateway.
	Realm string `json:"realm,omitempty"`

	// The key of the secret within the realm. It may hold placeholders.
	// Required, except inside token_gateway.
	Key string `json:"key,omitempty"`

	// Whom it serves. Values and default: as in token_gateway, inside which it
	// has to be written there.
	Auth string `json:"auth,omitempty"`

	reverseproxy.HTTPTransport

	app       *App
	ref       refTemplate
	admission admission
	route     *route // of the gateway that the transport belongs to; nil for none
	last      lastLease
	inject    *inject.Transport
	// short injects where a request takes the short way; nil where none does.
	short *inject.Transport
	to    *apiTransports
	// consoles are those at the same address; the gateway has its own.
	consoles consoles
	// answersFailures: an API that is not reached is answered with the reason.
	answersFailures bool
	log             *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport." + transportName,
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision sets up the connections and the injection.
func (t *Transport) Provision(ctx caddy.Context) (err error) {
	t.log, t.answersFailures = ctx.Logger(), triesOnce(ctx)
	if t.app, err = appOf(ctx); err != nil {
		return err
	}
	if (t.Realm == "") != (t.Key == "") {
		return errors.New("realm and key belong together")
	}
	if t.admission, err = parseProxyAdmission(t.Auth); err != nil {
		return err
	}
	if t.admission.none {
		ctx.Logger().Warn("auth none: everybody who can reach this proxy uses the tokens")
	}
	t.admission.connect(t.app)
	t.ref = refTemplate{t.Realm, t.Key}
	t.app.nameRealm(t.ref)
	if t.ProxyProtocol != "" {
		return errors.New("proxy_protocol would tell the provider who the caller is; it is not possible here")
	}
	if t.to, err = t.provisionTransports(ctx); err != nil {
		return err
	}
	t.inject = t.newInject(ctx, t.to.base, t.to.guarded, t.to.ways.of)
	if t.to.shortBase != nil {
		t.short = t.newInject(ctx, t.to.shortBase, t.to.shortGuarded, t.to.ways.short)
	}
	return nil
}

func (t *Transport) newInject(ctx caddy.Context, base, guarded http.RoundTripper, ways func(*realm.Way, bool) http.RoundTripper) *inject.Transport {
	return &inject.Transport{
		Source: t.app.view, Base: base, Guarded: guarded, Ways: ways, Job: t.job, Renewed: t.renewed, Ended: ended, Log: ctx.Logger(),
		History: t.app.history,
	}
}

// RoundTrip sends the request with the token.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.SetScheme(req) // as the http transport does: the URL is the proxy's own copy
	if t.route == nil {
		res, err := t.roundTripAlone(req)
		if err != nil {
			return t.unreached(req, err)
		}
		t.consoles.sandbox(req, res.Header)
		return res, nil
	}
	return t.send(req)
}

// RequestHeaderOps sets no header: the Host is set per request, because one
// transport serves the hosts of many realms.
func (t *Transport) RequestHeaderOps() *headers.HeaderOps { return nil }

// Cleanup closes idle connections.
func (t *Transport) Cleanup() error {
	if t.to != nil {
		t.to.close()
	}
	return t.HTTPTransport.Cleanup()
}

// UnmarshalCaddyfile sets up the transport. Syntax:
//
//	transport token {
//	    realm <realm>
//	    key <key>
//	    auth none [<hosts...>] | {<placeholder>}
//	    <any option of the transport http>
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	var lines []string
	options, err := takeOptions(d, "transport token", func(line []string) error {
		lines = append(lines, line[0])
		return nil
	}, "realm", "key", "auth")
	if err != nil {
		return err
	}
	t.Realm, t.Key, t.Auth = options["realm"], options["key"], options["auth"]
	if _, err := parseProxyAdmission(t.Auth); err != nil {
		d.Next() // so that the error has a line
		return d.Errf("transport token: %v", err)
	}
	known := append([]string{"realm", "key", "auth"}, httpTransportOptions...)
	return suggest(t.HTTPTransport.UnmarshalCaddyfile(d), d, lines, known...)
}

// Interface guards
var (
	_ caddy.Provisioner                                = (*Transport)(nil)
	_ caddy.CleanerUpper                               = (*Transport)(nil)
	_ http.RoundTripper                                = (*Transport)(nil)
	_ caddyfile.Unmarshaler                            = (*Transport)(nil)
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.H2CTransport                        = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
)
