package main

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
)

// comparison is a set of variants under the same load; the first is the base
// of the ratios.
type comparison struct {
	title    string
	target   string // in words
	conns    int
	variants []variant
}

// variant is one configuration of the binary and the request to it.
type variant struct {
	name   string
	config string // a Caddyfile; PORT stands for its port
	path   string
	header string
	// isNginx: the configuration is one of nginx.
	isNginx bool
}

const preamble = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	%s
}
http://:PORT {
	bind 127.0.0.1
	%s
}
`

func caddyfile(global, site string) string { return fmt.Sprintf(preamble, global, site) }

const tuned = `transport http {
			keepalive_idle_conns 1024
			keepalive_idle_conns_per_host 512
			%s
		}`

// tokenRealm is a realm with a fixed token on the upstream, and the clients that
// may use it.
//
// A store that has seen a client lets nobody in without one, so that those with
// clients have a store of their own.
func tokenRealm(api, inject string, clients ...string) string {
	file := "tokens.db"
	if len(clients) > 0 {
		file = "clients.db"
	}
	return fmt.Sprintf(`tokens {
		storage sqlite %s
		%s
		realm bench {
			api %s
			allow_http
			grant static
			inject %s
			secret main {
				token 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
			}
		}
	}`, file, strings.Join(clients, "\n"), api, inject)
}

const tokenProxy = `token_proxy {
		realm bench
		key main
		%s
	}`

func (b *bench) comparisons(up *upstreamProcess) []comparison {
	plain := caddyfile("", fmt.Sprintf("reverse_proxy %s {\n\t\t"+tuned+"\n\t}", up.http, ""))
	query := caddyfile(tokenRealm("http://"+up.http, "query access_token"), fmt.Sprintf(tokenProxy, ""))
	header := caddyfile(tokenRealm("http://"+up.http, `header Authorization "Bearer {token}"`), fmt.Sprintf(tokenProxy, ""))
	shipped := func(upstream string) string {
		return caddyfile("", fmt.Sprintf("reverse_proxy https://%s {\n\t\ttransport http {\n\t\t\ttls_trust_pool file %s\n\t\t}\n\t}", upstream, up.ca))
	}
	secure := func(upstream string) string {
		return caddyfile(tokenRealm("https://"+upstream, "query access_token"),
			fmt.Sprintf(tokenProxy, fmt.Sprintf("transport token {\n\t\t\ttls_trust_pool file %s\n\t\t}", up.ca)))
	}
	key, _ := access.NewKey()
	bearer := "Authorization: Bearer " + key.Reveal()
	noKey := "Authorization: Bearer " + strings.Repeat("x", len(key)) // a wrong one would be refused
	client := fmt.Sprintf("client app {\n\t\t\tkey %s\n\t\t\tallow use,read bench main\n\t\t}", key.Reveal())
	used := caddyfile(tokenRealm("http://"+up.http, "query access_token", client), fmt.Sprintf(tokenProxy, ""))
	api := caddyfile(tokenRealm("http://"+up.http, "query access_token", client), "token_admin")
	respond := caddyfile("", `header Content-Type application/json
	respond /api/token "{\"token\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"expires_in\":null,\"expires_at\":null,\"source\":\"memory\"}"`)
	const things = "/v1/things?a=1&b=2"
	besideNginx := func(title, target string, conns int, nginx, own string) comparison {
		return comparison{title: "Beside nginx + lua, " + title, target: target, conns: conns, variants: []variant{
			{name: "nginx + lua", config: nginx, path: things, isNginx: true}, {name: "token_proxy", config: own, path: things},
		}}
	}
	half := "at least 0.5 of its requests per second, at most 2.6x its CPU"
	processors := runtime.NumCPU()
	return []comparison{
		{
			title: "P1 injection, http upstream, c=64", target: "CPU per request at most 1.10x of plain reverse_proxy with the same connection settings", conns: 64,
			variants: []variant{{name: "reverse_proxy, tuned", config: plain, path: things}, {name: "token_proxy, query", config: query, path: things}, {name: "token_proxy, header", config: header, path: things}},
		},
		{
			title: "P2 as shipped, https upstream (HTTP/1.1), c=300", target: "at least 5x the requests per second of Caddy as shipped", conns: 300,
			variants: []variant{{name: "reverse_proxy as shipped", config: shipped(up.https), path: things}, {name: "token_proxy as shipped", config: secure(up.https), path: things}},
		},
		{
			title: "P2 as shipped, https upstream (HTTP/2), c=300", target: "none, because one connection carries everything in both variants", conns: 300,
			variants: []variant{{name: "reverse_proxy as shipped", config: shipped(up.https2), path: things}, {name: "token_proxy as shipped", config: secure(up.https2), path: things}},
		},
		besideNginx("http upstream, c=64", half, 64, nginxHTTP(processors, up.http), query),
		besideNginx("http upstream, c=300", half, 300, nginxHTTP(processors, up.http), query),
		besideNginx("https upstream (HTTP/1.1), c=64", "at least 0.6 of its requests per second", 64, nginxHTTPS(processors, up.https, up.ca), secure(up.https)),
		{
			title: "A client's request, http upstream, c=64", target: "none; it is identified by its key, its rules decide, and its limits count", conns: 64,
			variants: []variant{{name: "token_proxy, no clients", config: query, path: things, header: noKey}, {name: "token_proxy, a client", config: used, path: things, header: bearer}},
		},
		{
			title: "P5 GET /api/token from memory, by the key of a client that may read, c=64", target: "at least 0.9 of a bare Caddy handler, which gets the same request", conns: 64,
			variants: []variant{{name: "respond", config: respond, path: "/api/token?realm=bench&key=main", header: bearer}, {name: "GET /api/token", config: api, path: "/api/token?realm=bench&key=main", header: bearer}},
		},
		{
			title: "The earlier service's load test: GET /api/token, c=300", target: "about 1,700 requests per second, as there, and no errors", conns: 300,
			variants: []variant{{name: "GET /api/token", config: api, path: "/api/token?realm=bench&key=main", header: bearer}},
		},
	}
}
