// Package image holds the configuration that a container starts with.
package image

import _ "embed"

// Caddyfile is what the first start in a container writes to /data/Caddyfile.
//
//go:embed Caddyfile
var Caddyfile []byte
