package caddymodule

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestCommandThatIsNone: a slip in a script must not end with 0, as it did when the
// help was shown for it. Every error about the form says the right form.
func TestCommandThatIsNone(t *testing.T) {
	withoutCredentials(t)
	for words, want := range map[string]string{
		"relam list":        `there is no command "relam"; did you mean 'realm'?; caddy tokens --help lists what there is`,
		"realm lst":         `there is no command "lst"; did you mean 'list'?; caddy tokens realm --help lists what there is`,
		"keys turn":         `there is no command "turn"; caddy tokens keys --help`,
		"realm test plain":  `there is no command "test"; did you mean 'caddy tokens test'?; caddy tokens realm --help lists`,
		"get wx":            "the key is missing: write caddy tokens get REALM KEY",
		"client rotate":     "write caddy tokens client rotate ID",
		"status now":        `surplus argument "now"; caddy tokens status --help`,
		"status --wach":     "unknown flag: --wach; caddy tokens status --help shows the flags",
		"client add x --al": "caddy tokens client add --help shows the flags",
		"explain --realm x": "--client is missing",
		"secret set x y z":  "a value is never an argument",
	} {
		if stdout, _, err := tokens(t, strings.Fields(words)...); err == nil || !strings.Contains(err.Error(), want) || stdout != "" {
			t.Errorf("%s: %v; want %s\n%s", words, err, want, stdout)
		}
	}
	for _, words := range []string{"", "realm", "client", "keys"} {
		if stdout, _, err := tokens(t, strings.Fields(words)...); err != nil || !strings.Contains(stdout, "Available Commands") {
			t.Errorf("%q: %v %s", words, err, stdout)
		}
	}
}

// TestArgumentsOfEveryVerb: each verb names what is missing, and says how it is called.
// What is surplus is not quoted by a verb with arguments: it may be a key.
func TestArgumentsOfEveryVerb(t *testing.T) {
	withoutCredentials(t)
	missing := map[string]string{ // "" where a verb can do without an argument
		"get": "the realm and the key are missing", "get a": "the key is missing",
		"refresh": "the realm and the key are missing", "refresh a": "the key is missing",
		"refresh-all": "the realm is missing",
		"authorize":   "the realm and the key are missing", "authorize a": "the key is missing",
		"test": "the realm and the key are missing", "test a": "the key is missing", "test a --call GET": "the key is missing",
		"realm get": "the id of the realm is missing", "realm delete": "the id of the realm is missing",
		"secret set": "the realm and the key are missing", "secret set a": "the key is missing",
		"secret delete": "the realm and the key are missing", "secret delete a": "the key is missing",
		"secret push": "the realm, the key and the field are missing", "secret push a": "the key and the field are missing",
		"secret push a b": "the field is missing",
		"client add":      "name the client: caddy tokens client add ID", "client show": "the id of the client is missing",
		"client allow": "the id of the client and the rule are missing", "client allow a": "the rule is missing",
		"client rotate": "the id of the client is missing", "client delete": "the id of the client is missing",
		"completion": "the shell is missing", "backup": "--file is missing", "restore": "--file is missing", "explain": "--client is missing",
	}
	for words, want := range missing {
		if stdout, _, err := tokens(t, strings.Fields(words)...); err == nil || !strings.HasPrefix(err.Error(), want) || stdout != "" {
			t.Errorf("%s: %v; want %s", words, err, want)
		}
	}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		for _, verb := range cmd.Commands() {
			each(verb)
		}
		if cmd.HasSubCommands() {
			return
		}
		words := strings.Fields(verbOf(cmd))
		hasArguments := strings.Contains(cmd.Use, " ")
		if _, isKnown := missing[verbOf(cmd)]; hasArguments && !isKnown && !strings.Contains(cmd.Use, " [") {
			t.Errorf("what %q answers without arguments is not in this test", cmd.Use)
		}
		_, _, err := tokens(t, append(words, "canary-1", "canary-2", "canary-3", "canary-4")...)
		want := []string{"surplus argument \"canary-1\"; caddy tokens " + verbOf(cmd) + " --help"}
		if hasArguments {
			want = []string{"too many arguments: write caddy tokens " + verbOf(cmd) + " ", errValueInArguments.Error()}
		}
		if err == nil || !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(err.Error(), w) }) {
			t.Errorf("%s with four arguments: %v; want %s", verbOf(cmd), err, want)
		}
		if err != nil && hasArguments && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s quotes an argument: %v", verbOf(cmd), err)
		}
	}
	each(tokensCommand())
}

// TestIDThatIsNone: a slip in an id is answered with the one that was perhaps meant,
// in one language, and with the verb that lists them.
func TestIDThatIsNone(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load(clientBlock(t, "allow admin_read wechat"), "")
	t.Setenv("TOKENS_API", "http://"+i.api)
	i.must(http.MethodPost, "/api/realm", `{"id": "wechat", "config": {"preset": "wechat"}}`)
	i.must(http.MethodPost, "/api/secret", `{"realm": "wechat", "key": "main", "fields": {"appid": "a", "appsecret": "b"}}`)
	const (
		noRealm  = "there is no such realm; did you mean 'wechat'?; caddy tokens realm list shows which there are"
		noSecret = "the realm has no such secret; did you mean 'main'?; caddy tokens secret list shows which there are"
		noClient = "there is no such client; did you mean 'app'?; caddy tokens client list shows which there are"
	)
	for words, want := range map[string]string{
		"realm get wecaht": noRealm, "realm delete wecaht": noRealm, "secret list --realm wecaht": noRealm, "status --realm wecaht": noRealm,
		"get wecaht main": noRealm, "refresh wecaht main": noRealm, "refresh-all wecaht": noRealm, "test wecaht main": noRealm, "authorize wecaht main": noRealm,
		"get wechat mian": noSecret, "refresh wechat mian": noSecret, "test wechat mian": noSecret, "secret delete wechat mian --yes": noSecret,
		"client show ap": noClient, "client rotate ap": noClient, "client delete ap": noClient,
		"explain --client ap --realm wechat --key main": noClient,
		"authorize wechat main":                         "its tokens need no person; caddy tokens test wechat main",
		"realm delete wechat":                           "realm wechat still has secrets: delete them first, or add --cascade",
	} {
		if stdout, _, err := tokens(t, strings.Fields(words)...); err == nil || err.Error() != want && !strings.Contains(err.Error(), want) || stdout != "" {
			t.Errorf("%s: %v; want %s\n%s", words, err, want, stdout)
		}
	}
	// Who may see a part exports that part.
	t.Setenv("TOKENS_API_TOKEN", ownKey)
	stdout, stderr, err := tokens(t, "export")
	if err != nil || !strings.Contains(stdout, `"wechat"`) || !strings.Contains(stderr, "the clients are left out") {
		t.Errorf("export: %v\n%s%s", err, stdout, stderr)
	}
}

// TestInterrupt: Ctrl+C at a question ends the verb with a word for it, and nothing
// is done.
func TestInterrupt(t *testing.T) {
	withoutCredentials(t)
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s is done", r.Method, r.URL)
		}
		_, _ = w.Write([]byte(`{"id": "x", "config": {"url": "https://x.example/{secret.a}"}, "reads": ["a"]}`))
	})
	for verb, question := range map[string]string{"delete": "[y/N]: ", "set": "(not shown): "} {
		p := newPTY(t, 80)
		ctx, cancel := context.WithCancel(t.Context())
		done := p.start(ctx, tokensCommand(), "secret", verb, "x", "y", "--api", base)
		p.await(question)
		if verb == "set" {
			p.press("\x03")
		} else {
			cancel() // as the signal does, which the terminal sends the process
		}
		if err := <-done; err == nil || err.Error() != errInterrupted.Error() {
			t.Errorf("%s: %v", verb, err)
		}
		cancel()
	}
}
