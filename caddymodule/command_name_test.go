package caddymodule

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestProgramOfAnotherName: errors, help and completion name the program that a
// person has: with a release, "caddy tokens presets" would lead to another Caddy, or
// to nothing.
func TestProgramOfAnotherName(t *testing.T) {
	withoutCredentials(t)
	before := os.Args[0]
	t.Cleanup(func() { os.Args[0] = before })
	for program, c := range map[string]struct{ verbs, completes string }{
		"/usr/bin/caddy-tokens": {"caddy-tokens ", "caddy-tokens"},
		"/opt/gateway":          {"gateway tokens ", "gateway"},
		"/usr/bin/caddy":        {"caddy tokens ", "caddy"},
	} {
		os.Args[0] = program
		if _, _, err := tokens(t, "presets", "nobody"); err == nil || !strings.Contains(err.Error(), "; "+c.verbs+"presets lists them") {
			t.Errorf("%s: an error: %v", program, err)
		}
		_, _, err := tokensWith(t, `{"config": {"preset": "nobody"}}`, "realm", "new", "--preset", "nobody", "--caddyfile")
		if err == nil || !strings.Contains(err.Error(), "; "+c.verbs+"presets lists them") {
			t.Errorf("%s: another: %v", program, err)
		}
		for verb, want := range map[string]string{
			"get": "TOKEN=$(" + c.verbs + "get crm main)", "completion": `"${fpath[1]}/_` + c.completes + `"`,
			"import": "the document that " + c.verbs + "export wrote", "realm new": "provider of the catalogue; " + c.verbs + "presets lists them",
		} {
			if help, _, err := tokens(t, append(strings.Fields(verb), "--help")...); err != nil || !strings.Contains(help, want) {
				t.Errorf("%s: the help of %s lacks %q: %v", program, verb, want, err)
			}
		}
		root := &cobra.Command{Use: "caddy"}
		root.AddCommand(tokensCommand())
		var out strings.Builder
		root.SetOut(&out)
		root.SetArgs([]string{"tokens", "completion", "bash"})
		if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "__start_"+c.completes+" "+c.completes+"\n") {
			t.Errorf("%s: the completion is of another program: %v", program, err)
		}
	}
}
