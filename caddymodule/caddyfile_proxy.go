package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// The directives.
const (
	directiveProxy   = "token_proxy"
	directiveGateway = "token_gateway"
	directiveAdmin   = "token_admin"
	// directiveCallback stands in front of directiveAdmin: what is open to
	// everybody must not ask who calls.
	directiveCallback = "token_callback"
	// directivePush stands in front of it for the same reason.
	directivePush = "token_push"
	// directiveHealth stands in front of all authentication: whoever asks has no
	// credential, and is told one word.
	directiveHealth = "token_health"
	// directiveConsole stands behind directiveAdmin, which takes credentials off
	// what is not for the API.
	directiveConsole = "token_console"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective(directiveProxy, parseProxy)
	httpcaddyfile.RegisterHandlerDirective(directiveGateway, parseGateway)
	httpcaddyfile.RegisterHandlerDirective(directiveAdmin, parseAdmin)
	httpcaddyfile.RegisterHandlerDirective(directiveCallback, parseCallback)
	httpcaddyfile.RegisterHandlerDirective(directivePush, parsePush)
	httpcaddyfile.RegisterHandlerDirective(directiveHealth, parseHealth)
	httpcaddyfile.RegisterDirectiveOrder(directiveHealth, httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterHandlerDirective(directiveConsole, parseConsole)
	for _, name := range []string{directiveCallback, directivePush, directiveAdmin, directiveConsole, directiveGateway, directiveProxy} {
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "reverse_proxy")
	}
}

// parseProxy reads a reverse proxy for one credential:
//
//	token_proxy [<matcher>] [<upstreams...>] {
//	    realm <realm>
//	    key <key>
//	    auth none [<hosts...>] | {<placeholder>}
//	    shortcut on | off
//	    transport token {
//	        <any option of the transport http>
//	    }
//	    <any other option of reverse_proxy>
//	}
//
// Without upstreams, the upstream is the realm's api. The JSON is that of
// token_gateway, with a realm and a key.
func parseProxy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g, err := unmarshalGateway(h, directiveProxy, "realm", "key", "auth", "shortcut")
	if err != nil {
		return nil, err
	}
	if g.Realm == "" || g.Key == "" {
		return nil, h.Err("token_proxy needs a realm and a key")
	}
	return g, nil
}

// parseGateway reads a reverse proxy for all credentials; the first two
// segments of the path are the realm and the key:
//
//	token_gateway [<matcher>] {
//	    auth none [<hosts...>] | {<placeholder>}
//	    shortcut on | off
//	    transport token {
//	        <any option of the transport http>
//	    }
//	    <any other option of reverse_proxy>
//	}
func parseGateway(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	g, err := unmarshalGateway(h, directiveGateway, "auth", "shortcut")
	if err != nil {
		return nil, err
	}
	if len(g.Upstreams) > 0 || g.DynamicUpstreamsRaw != nil {
		return nil, h.Err("token_gateway takes no upstreams: the upstream is the api of the realm in the path")
	}
	return g, nil
}

// unmarshalGateway reads what the two directives have in common. names are
// the options that are ours; the rest is reverse_proxy's.
func unmarshalGateway(h httpcaddyfile.Helper, directive string, names ...string) (*Gateway, error) {
	h.Next() // the directive's name
	d := h.NewFromNextSegment()
	var lines []string
	options, err := takeOptions(d, directive, func(line []string) error {
		lines = append(lines, line[0])
		return checkProxyLine(directive, line)
	}, names...)
	if err != nil {
		return nil, err
	}
	g := &Gateway{Realm: options["realm"], Key: options["key"], Auth: options["auth"], Shortcut: options["shortcut"]}
	if err := checkShortcut(g.Shortcut); err != nil {
		return nil, h.WrapErr(err)
	}
	if _, err := parseProxyAdmission(g.Auth); err != nil {
		return nil, h.WrapErr(err)
	}
	known := append(slices.Clone(names), reverseProxyOptions...)
	if err := suggest(g.Handler.UnmarshalCaddyfile(d), d, lines, known...); err != nil {
		return nil, err
	}
	if err := g.Handler.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	if err := g.useTokenTransport(); err != nil {
		return nil, h.WrapErr(err)
	}
	return g, nil
}

// checkProxyLine looks at a line that goes to reverse_proxy.
func checkProxyLine(directive string, line []string) error {
	switch line[0] {
	case "transport":
		if len(line) == 2 && line[1] != transportName {
			return fmt.Errorf("%s has the transport token; write 'transport token { ... }', which takes every option of 'transport %s'", directive, line[1])
		}
	case "realm", "key":
		return fmt.Errorf("token_gateway takes the %s from the path; token_proxy has a fixed one", line[0])
	}
	return nil
}

// useTokenTransport makes the transport ours. Where none was written,
// reverse_proxy has none either or, for an upstream with a scheme, an http
// transport, whose settings the token transport takes too.
func (g *Gateway) useTokenTransport() error {
	transport := make(map[string]json.RawMessage)
	if g.TransportRaw != nil {
		if err := json.Unmarshal(g.TransportRaw, &transport); err != nil {
			return err
		}
	}
	if transport["realm"] != nil || transport["key"] != nil || transport["auth"] != nil {
		return errors.New("realm, key and auth stand outside of the transport here")
	}
	transport["protocol"] = caddyconfig.JSON(transportName, nil)
	g.TransportRaw = caddyconfig.JSON(transport, nil)
	return nil
}
