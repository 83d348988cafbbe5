package executable

import "testing"

// TestCommand: a person types the name of the program that is there, and a release
// takes its verbs without the word tokens.
func TestCommand(t *testing.T) {
	for program, want := range map[string]string{
		"caddy":                       "caddy tokens status",
		"/usr/local/bin/caddy":        "caddy tokens status",
		"caddy.exe":                   "caddy tokens status",
		"./gateway":                   "gateway tokens status",
		"/usr/bin/caddy-tokens":       "caddy-tokens status",
		"caddy-tokens.exe":            "caddy-tokens status",
		"/opt/caddy-tokens/bin/caddy": "caddy tokens status",
		"caddy-tokens-old":            "caddy-tokens-old tokens status",
		"":                            "caddy tokens status",
	} {
		if got := commandOf([]string{program, "run"}, "status"); got != want {
			t.Errorf("%q: %q, want %q", program, got, want)
		}
	}
	if got := commandOf(nil, "status"); got != "caddy tokens status" {
		t.Errorf("no arguments: %q", got)
	}
}
