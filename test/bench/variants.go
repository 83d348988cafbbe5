package main

import (
	"fmt"
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
	return []comparison{
		{
			title: "P1 injection, http upstream, c=64", target: "CPU per request at most 1.10x of plain reverse_proxy with the same connection settings", conns: 64,
			variants: []variant{{"reverse_proxy, tuned", plain, "/v1/things?a=1&b=2", ""}, {"token_proxy, query", query, "/v1/things?a=1&b=2", ""}, {"token_proxy, header", header, "/v1/things?a=1&b=2", ""}},
		},
		{
			title: "P2 as shipped, https upstream (HTTP/1.1), c=300", target: "at least 3x the requests per second of Caddy as shipped", conns: 300,
			variants: []variant{{"reverse_proxy as shipped", shipped(up.https), "/v1/things?a=1&b=2", ""}, {"token_proxy as shipped", secure(up.https), "/v1/things?a=1&b=2", ""}},
		},
		{
			title: "P2 as shipped, https upstream (HTTP/2), c=300", target: "none, because one connection carries everything in both variants", conns: 300,
			variants: []variant{{"reverse_proxy as shipped", shipped(up.https2), "/v1/things?a=1&b=2", ""}, {"token_proxy as shipped", secure(up.https2), "/v1/things?a=1&b=2", ""}},
		},
		{
			title: "A client's request, http upstream, c=64", target: "none; it is identified by its key, its rules decide, and its limits count", conns: 64,
			variants: []variant{{"token_proxy, no clients", query, "/v1/things?a=1&b=2", noKey}, {"token_proxy, a client", used, "/v1/things?a=1&b=2", bearer}},
		},
		{
			title: "P5 GET /api/token from memory, by the key of a client that may read, c=64", target: "at least 0.9 of a bare Caddy handler, which gets the same request", conns: 64,
			variants: []variant{{"respond", respond, "/api/token?realm=bench&key=main", bearer}, {"GET /api/token", api, "/api/token?realm=bench&key=main", bearer}},
		},
		{
			title: "The earlier service's load test: GET /api/token, c=300", target: "about 1,700 requests per second, as there, and no errors", conns: 300,
			variants: []variant{{"GET /api/token", api, "/api/token?realm=bench&key=main", bearer}},
		},
	}
}
