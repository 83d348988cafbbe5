package main

import (
	"os"
	"os/exec"
	"path/filepath"
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

// Vault's client is in the program of those who ask for it by the build tag, and in no
// other: neither in ours, nor in that of those who import the plugin.
func TestVaultIsOnlyInBuildsWithItsTag(t *testing.T) {
	const client, module = "github.com/hashicorp/vault/api", "github.com/caddy-tokens/caddy-tokens"
	for _, args := range [][]string{{module}, {module + "/cmd/xcaddy-build"}} {
		if slices.Contains(run(t, append([]string{"go", "list", "-deps"}, args...)...), client) {
			t.Errorf("%s has the client of Vault", args)
		}
	}
	program := filepath.Join(t.TempDir(), "caddy")
	run(t, "go", "build", "-tags", "vault,nobadger,nomysql,nopgx", "-o", program, module+"/cmd/xcaddy-build")
	if modules := run(t, program, "list-modules"); !slices.Contains(modules, "tokens.sources.vault") || !slices.Contains(modules, "tokens.sources.file") {
		t.Errorf("the program has no source vault: %q", modules)
	}
}

// run is what a command prints, by lines.
func run(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) // #nosec G204 -- of this test
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
