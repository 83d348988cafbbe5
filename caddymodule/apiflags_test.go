package caddymodule

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// flagsOf parses arguments, in an environment that says nothing else.
func flagsOf(t *testing.T, args ...string) *apiFlags {
	t.Helper()
	f, flags := new(apiFlags), pflag.NewFlagSet("", pflag.ContinueOnError)
	f.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func withoutCredentials(t *testing.T) {
	t.Helper()
	for _, name := range []string{"TOKENS_API_TOKEN", "TOKENS_API_USER", "TOKENS_API_PASSWORD"} {
		t.Setenv(name, "")
	}
}

// TestVerbsFindTheAdminToken: on the instance's own machine, whoever may read
// its file needs to say nothing.
func TestVerbsFindTheAdminToken(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	withoutCredentials(t)
	var warnings strings.Builder
	c, err := flagsOf(t, "--api", "http://"+i.host+"/admin").connect(&warnings)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var status struct{ Stores any }
	if err := c.JSON(t.Context(), http.MethodGet, "/api/status", nil, &status); err != nil || status.Stores == nil || warnings.Len() > 0 {
		t.Errorf("%v %v %s", err, status, &warnings)
	}
}

// TestCredentialsOfVerbs: what is said counts before the file, and the file's
// token goes to no other machine.
func TestCredentialsOfVerbs(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	const lying = canary + "-0123456789abcdef0123456789abcdef"
	file, other := filepath.Join(data, "caddy", adminFileName), filepath.Join(data, "other")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, lying+"\n")
	writeFile(t, other, canary+"-other\n")
	for name, c := range map[string]struct {
		args           []string
		token, user    string // of the environment
		want, password string
		warns          string
	}{
		"nothing":         {want: lying},
		"here":            {args: []string{"--api", "http://[::1]:1/x"}, want: lying},
		"there":           {args: []string{"--api", "https://tokens.example"}},
		"there, in clear": {args: []string{"--api", "http://tokens.example"}, token: canary, want: canary, warns: "in clear"},
		"a file":          {args: []string{"--api-token-file", other}, token: canary, want: canary + "-other"},
		"a variable":      {token: canary, want: canary},
		"a user":          {user: "alice"},
	} {
		withoutCredentials(t)
		t.Setenv("TOKENS_API_TOKEN", c.token)
		t.Setenv("TOKENS_API_USER", c.user)
		var warnings strings.Builder
		f := flagsOf(t, c.args...)
		client, err := f.connect(&warnings)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		client.Close()
		if f.options.Token.Reveal() != c.want || f.options.User != c.user {
			t.Errorf("%s: %q %q", name, f.options.Token.Reveal(), f.options.User)
		}
		if got := warnings.String(); (c.warns == "") != (got == "") || !strings.Contains(got, c.warns) || leaks(got) != nil {
			t.Errorf("%s: it warns %q", name, got)
		}
	}
	withoutCredentials(t)
	if err := os.Chmod(file, 0o644); err != nil { // #nosec G302 -- what is tested
		t.Fatal(err)
	}
	var warnings strings.Builder
	f := flagsOf(t)
	client, err := f.connect(&warnings)
	if err != nil || f.options.Token != "" || !strings.Contains(warnings.String(), "chmod 600") {
		t.Errorf("others may read the file: %v %s", err, &warnings)
	} else {
		client.Close()
	}
}
