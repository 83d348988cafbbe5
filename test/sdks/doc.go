// Package sdks runs the programs of docs/sdks.md, as they stand there, with the
// real SDKs: through the built binary, on the Caddyfile of the page, to stand-ins
// of the providers that refuse whatever the real ones would.
//
// It is a module of its own, so that the other tests do not wait for the SDKs.
// Those in Go stand in its go.mod, those in JavaScript in node/package.json, which
// `make sdks` installs.
package sdks
