package test

import (
	"fmt"
	"strings"
)

// config is a Caddyfile: what stands in the block of the app and in the proxy
// site. The admin API has a site of its own.
type config struct {
	tokens string
	proxy  string
}

// gateway lets every realm and key through.
const gateway = `handle_path /any/* {
	token_gateway
}`

func (c config) caddyfile(proxyPort, adminPort int) string {
	return fmt.Sprintf(`{
	admin off
	persist_config off
	auto_https off
	debug
	tokens {
%s
	}
}

:%d {
	bind 127.0.0.1
%s
}

:%d {
	bind 127.0.0.1
	token_console
	token_admin {
		auth local
	}
}
`, c.tokens, proxyPort, c.proxy, adminPort)
}

// host is the host and port of a base URL.
func host(base string) string { return strings.TrimPrefix(base, "http://") }
