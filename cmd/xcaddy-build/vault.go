//go:build vault

package main

// With the build tag vault, fields can have values of HashiCorp Vault or OpenBao, as
// with `xcaddy build --with github.com/caddy-tokens/caddy-tokens/sources/vault`.
import _ "github.com/caddy-tokens/caddy-tokens/sources/vault"
