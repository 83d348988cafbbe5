package caddymodule

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
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
		"nothing":         {}, // no instance says that the default address is its own
		"here":            {args: []string{"--api", "http://[::1]:1/x"}},
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
}

// TestAdminTokenGoesToItsInstance: whoever listens on this machine while the
// instance does not, or beside it, is not shown its admin token.
func TestAdminTokenGoesToItsInstance(t *testing.T) {
	i := newInstance(t)
	i.load("", guarded)
	withoutCredentials(t)
	var shown string
	foreign := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		shown += r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
	})
	refused := func(when string, args ...string) {
		t.Helper()
		_, _, err := tokens(t, append([]string{"status"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), "no token was sent") || !strings.Contains(err.Error(), "--api-token-file") || shown != "" {
			t.Errorf("%s: %v; it was shown %q", when, err, shown)
		}
	}
	refused("beside it", "--api", foreign)
	if _, _, err := tokens(t, "status", "--api", "http://"+i.host+"/admin"); err != nil {
		t.Errorf("itself: %v", err)
	}

	data := filepath.Join(i.dir, "caddy")
	text, err := os.ReadFile(filepath.Join(data, apiFileName))
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	refused("after it", "--api", foreign)

	// One that was killed leaves its file, and its port, to others.
	var note apiNote
	if err := json.Unmarshal(text, &note); err != nil {
		t.Fatal(err)
	}
	for n := range note.Sites {
		note.Sites[n] = apiSite{URL: foreign, Dial: strings.TrimPrefix(foreign, "http://")}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ended := exec.CommandContext(t.Context(), program, "-test.run=^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	note.PID = ended.Process.Pid
	if text, err = json.Marshal(note); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(data, apiFileName), string(text))
	refused("in its place", "--api", foreign)
}
