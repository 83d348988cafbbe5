// Package test proves the built binary on real counterparts: an OAuth2 server
// that somebody else wrote, vendors' SDKs, curl, MariaDB, Redis, SIGKILL. It is
// a module of its own, so that what it needs does not stand in the go.sum of
// those who use the plugin.
//
// Everything runs on free loopback ports and in temporary directories; no
// test talks to another host.
//
// Run it with -count=1: the product is built and executed, so go test does not
// know that its sources, or the READMEs, changed since a cached result.
package test
