package main

import (
	"slices"
	"strings"
	"testing"
)

// The program of a release knows its verbs without the word tokens, and leaves
// alone what Caddy understands.
func TestVerbsWithoutTheWordTokens(t *testing.T) {
	for line, want := range map[string]string{
		"caddy-tokens":                              "caddy-tokens",
		"caddy-tokens --help":                       "caddy-tokens --help",
		"caddy-tokens help run":                     "caddy-tokens help run",
		"caddy-tokens run --config Caddyfile":       "caddy-tokens run --config Caddyfile",
		"caddy-tokens version":                      "caddy-tokens version",
		"caddy-tokens completion bash":              "caddy-tokens completion bash",
		"caddy-tokens manpage -o man":               "caddy-tokens manpage -o man",
		"caddy-tokens tokens client list":           "caddy-tokens tokens client list",
		"caddy-tokens client list --json":           "caddy-tokens tokens client list --json",
		"caddy-tokens keys rotate":                  "caddy-tokens tokens keys rotate",
		"caddy-tokens __complete cli":               "caddy-tokens __complete cli",
		"caddy-tokens __complete client li":         "caddy-tokens __complete tokens client li",
		"caddy-tokens __complete run --con":         "caddy-tokens __complete run --con",
		"caddy-tokens __completeNoDesc client li":   "caddy-tokens __completeNoDesc tokens client li",
		"caddy-tokens __complete tokens client lis": "caddy-tokens __complete tokens client lis",
	} {
		args := strings.Fields(line)
		if got := strings.Join(withTokens(args), " "); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
		if !slices.Equal(args, strings.Fields(line)) {
			t.Errorf("%s: the arguments were changed in place", line)
		}
	}
}

// Under any other name the program is Caddy, as everybody knows it.
func TestIsRelease(t *testing.T) {
	for program, want := range map[string]bool{
		"/usr/bin/caddy-tokens": true, "caddy-tokens": true, "caddy-tokens.exe": true,
		"caddy": false, "/usr/bin/caddy": false, "xcaddy-build": false, "caddy-tokens-old": false,
	} {
		if got := isRelease(program); got != want {
			t.Errorf("%s: got %v, want %v", program, got, want)
		}
	}
}
