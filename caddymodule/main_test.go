package caddymodule

import (
	"flag"
	"os"
	"testing"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// caddyfileEnv names a Caddyfile. With it, the test binary is Caddy: a process
// of its own, for what is true of a whole process.
const caddyfileEnv = "TOKENS_TEST_CADDYFILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(caddyfileEnv); path != "" {
		os.Args = []string{"caddy", "run", "--adapter", "caddyfile", "--config", path}
		caddycmd.Main()
		return
	}
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" { // fuzzing starts this file again, by its name
		os.Args[0] = "caddy" // which the texts name
	}
	os.Exit(m.Run())
}
