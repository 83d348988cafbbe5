// Package caddytokens is what `xcaddy build --with
// github.com/caddy-tokens/caddy-tokens` imports: it registers the modules of
// this plugin, and holds nothing else.
package caddytokens

import _ "github.com/caddy-tokens/caddy-tokens/caddymodule" // registers the modules
