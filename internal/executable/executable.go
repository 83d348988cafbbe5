// Package executable knows what the program that runs is called, for texts that
// tell a person which command to type next.
package executable

import (
	"os"
	"path/filepath"
	"strings"
)

// Release is the name of the program in releases. Called by it, the program knows
// the verbs of `caddy tokens` without the word tokens.
const Release = "caddy-tokens"

// Name is the name that the program was called by, in whatever directory it lies.
func Name() string { return nameOf(os.Args) }

func nameOf(args []string) string {
	if len(args) == 0 || args[0] == "" { // whoever started it may leave it out
		return "caddy"
	}
	return strings.TrimSuffix(filepath.Base(args[0]), ".exe")
}

// Command is how a verb of this product is typed: "caddy tokens presets", or
// "caddy-tokens presets" with the program of a release.
func Command(verb string) string { return commandOf(os.Args, verb) }

func commandOf(args []string, verb string) string {
	if name := nameOf(args); name != Release {
		return name + " tokens " + verb
	}
	return Release + " " + verb
}
