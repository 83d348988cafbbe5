package caddymodule

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

func init() {
	caddy.RegisterModule((*Upstreams)(nil))
}

// Upstreams is the upstream of token_gateway: the api of the realm that the
// request is for. It works inside token_gateway only, which uses it by itself.
type Upstreams struct{}

// CaddyModule returns the Caddy module information.
func (*Upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.upstreams.token",
		New: func() caddy.Module { return new(Upstreams) },
	}
}

// GetUpstreams returns the host of the realm's api, as a name: what it resolves
// to is looked up, and checked, when it is dialled.
func (*Upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	res, ok := resolvedOf(r.Context())
	if !ok {
		return nil, errors.New("the upstream source token works inside token_gateway only")
	}
	return []*reverseproxy.Upstream{{Dial: res.lease.Target.Dial.HostPort}}, nil
}

// literalAPIs are the addresses, host:port by realm, of the realms whose api
// holds no placeholder.
func literalAPIs(defs []catalog.Definition) map[string]string {
	addresses := make(map[string]string)
	for _, def := range defs {
		api := def.Realm.Config.API
		if u, err := url.Parse(api); err == nil && u.Host != "" && !strings.Contains(api, "{") {
			addresses[def.Realm.ID] = realm.AddressOf(u).HostPort
		}
	}
	return addresses
}

// Interface guards
var _ reverseproxy.UpstreamSource = (*Upstreams)(nil)
