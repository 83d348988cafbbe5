// Command xcaddy-build is Caddy with its standard modules and this plugin:
// the main package that xcaddy would generate, kept in the repository so that
// `go run ./cmd/xcaddy-build run --config Caddyfile.example` needs no other tool.
//
// Releases install it as caddy-tokens, so that it can stand beside another Caddy.
package main

import (
	"os"
	"slices"
	"strings"
	_ "time/tzdata"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-tokens/caddy-tokens/caddymodule"
	"github.com/caddy-tokens/caddy-tokens/internal/executable"
)

func main() {
	if executable.Name() == executable.Release {
		// Completions, man pages and the help name the program by this.
		caddy.CustomBinaryName = executable.Release
		os.Args = withTokens(os.Args)
	}
	caddycmd.Main()
}

// withTokens writes the word tokens in front of its verbs where it was left out:
// `caddy-tokens client list` is `caddy-tokens tokens client list`. The names of
// Caddy's own commands stay Caddy's.
func withTokens(args []string) []string {
	verb := 1
	if len(args) > 3 && strings.HasPrefix(args[1], "__complete") {
		verb = 2 // the shell asks what may follow; its last word is not whole yet
	}
	if len(args) <= verb || isCaddys(args[verb]) {
		return args
	}
	return slices.Insert(slices.Clone(args), verb, "tokens")
}

// isCaddys reports whether a word on the command line is for Caddy itself: one
// of its commands, or a flag.
func isCaddys(word string) bool {
	if word == "" || strings.HasPrefix(word, "-") || strings.HasPrefix(word, "__complete") {
		return true
	}
	// Caddy lists these as late as it starts.
	if slices.Contains([]string{"help", "manpage", "completion"}, word) {
		return true
	}
	_, found := caddycmd.Commands()[word]
	return found
}
