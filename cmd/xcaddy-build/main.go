// Command xcaddy-build is Caddy with its standard modules and this plugin:
// the main package that xcaddy would generate, kept in the repository so that
// `go run ./cmd/xcaddy-build run --config Caddyfile.example` needs no other tool.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-tokens/caddy-tokens/caddymodule"
)

func main() {
	caddycmd.Main()
}
