package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// withInput runs `caddy tokens` with this on standard input.
func withInput(t *testing.T, input string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := tokensCommand()
	var out, errs strings.Builder
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// TestRealmAndSecretCommands: a realm and a secret are made, shown, changed and
// deleted, and no value is shown anywhere.
func TestRealmAndSecretCommands(t *testing.T) {
	v := newClientVerbs(t, "", "")
	api := "http://" + v.api
	all := ""
	run := func(input string, args ...string) (string, error) {
		t.Helper()
		stdout, stderr, err := withInput(t, input, append(args, "--api", api)...)
		all += stdout + stderr
		if err != nil {
			all += err.Error()
		}
		return stdout, err
	}
	const crm = `{"config": {"api": "https://crm.example.com", "url": "https://crm.example.com/t", "token_path": "t",
		"arguments": [{"name": "i", "place": "url", "value": "{secret.client_id}"}, {"name": "s", "place": "url", "value": "$client_secret"}]}}`
	if stdout, err := run(crm, "realm", "set", "crm"); err != nil || !strings.Contains(stdout, `"id": "crm"`) {
		t.Fatalf("%v %s", err, stdout)
	}
	file := filepath.Join(v.dir, "realm.json")
	stdout, err := run("", "realm", "get", "crm")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.Replace(stdout, `"id"`, `"comment": "ours", "id"`, 1))
	if _, err := run("", "realm", "set", "--file", file); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := v.ok("realm", "list"); !strings.Contains(stdout, "crm            https://crm.example.com  ours     database") {
		t.Errorf("the table is\n%s", stdout)
	}

	for input, field := range map[string]string{
		`{"client_id": "a", "client_secret": "` + canary + `-json"}`:             "client_secret",
		"client_id=a\r\n\nclient_secret=" + canary + "==line\n" + "extra = x \n": "extra",
	} {
		if stdout, err = run(input, "secret", "set", "crm", "main"); err != nil || !strings.Contains(stdout, `"`+field+`": "******************"`) {
			t.Errorf("%v %s", err, stdout)
		}
	}
	if stdout, _ := v.ok("secret", "list", "--realm", "crm"); !strings.Contains(stdout, "crm    main  client_id, client_secret, extra  ") {
		t.Errorf("the table is\n%s", stdout)
	}
	for want, c := range map[string]struct {
		input string
		args  []string
	}{
		"a value is never an argument":   {"", []string{"secret", "set", "crm", "main", "client_secret=" + canary}},
		"a value is never an":            {"", []string{"secret", "push", "crm", "main", "ticket", canary}},
		"line 2 of the values is not":    {"a=b\n" + canary, []string{"secret", "set", "crm", "main"}},
		"has a field once more":          {"a=b\na=" + canary, []string{"secret", "set", "crm", "main"}},
		"not one JSON object":            {"{" + canary, []string{"secret", "set", "crm", "main"}},
		"no value was given":             {"\n", []string{"secret", "set", "crm", "main"}},
		"realm list shows which":         {"a=b", []string{"secret", "set", "none", "main"}},
		"--expires-in":                   {canary, []string{"secret", "push", "crm", "main", "f", "--expires-in", "soon"}},
		"before the answer":              {"", []string{"secret", "push", "crm", "main", "f"}},
		"--yes":                          {"y\n", []string{"secret", "delete", "crm", "main"}},
		"add --yes":                      {"y\n", []string{"realm", "delete", "crm", "--cascade"}},
		"add --cascade, which":           {"", []string{"realm", "delete", "crm"}},
		"its id is \"crm\", and the rea": {`{"id": "crm"}`, []string{"realm", "set", "other"}},
		"not one JSON object with an id": {"[]", []string{"realm", "set"}},
		"must not be":                    {"", []string{"realm", "get", ".."}},
	} {
		if _, err := run(c.input, c.args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q, got %v", c.args, want, err)
		}
	}
	if _, err := run("", "secret", "delete", "crm", "main", "--yes"); err != nil {
		t.Error(err)
	}
	if _, err := run("a=b", "secret", "set", "crm", "main"); err != nil {
		t.Error(err)
	}
	if _, err := run("", "realm", "delete", "crm", "--cascade", "--yes"); err != nil {
		t.Error(err)
	}
	if a := v.call(http.MethodGet, "/api/realm/crm", ""); a.StatusCode != http.StatusNotFound {
		t.Errorf("the realm is still there: %s", a.Status)
	}
	if leaks(all+v.notes.String()+v.log()) != nil {
		t.Error("a value is shown")
	}
}

// TestSecretSetWarns: what is misspelt is saved, and said on standard error. The status
// shows at once that the secret is of no use, and ends with 1.
func TestSecretSetWarns(t *testing.T) {
	v := newClientVerbs(t, "", "")
	const crm = `{"id": "crm", "config": {"api": "https://crm.example.com", "url": "https://crm.example.com/t", "token_path": "t",
		"arguments": [{"name": "i", "place": "url", "value": "{secret.client_id}"}, {"name": "s", "place": "url", "value": "$client_secret"}]}}`
	v.must(http.MethodPost, "/api/realm", crm)
	run := func(input string, args ...string) (stdout, stderr string, err error) {
		t.Helper()
		return withInput(t, input, append(args, "--api", "http://"+v.api)...)
	}
	stdout, stderr, err := run("client_id=a\nclient_scret="+canary+"\n", "secret", "set", "crm", "main")
	if err != nil || !json.Valid([]byte(stdout)) {
		t.Errorf("%v %s", err, stdout)
	}
	const warnings = "warning: fields.client_secret: is missing; without it there is no token\n" +
		"warning: fields.client_scret: nothing in the realm reads it; did you mean 'client_secret'?\n"
	if stderr != warnings {
		t.Errorf("standard error has\n%s", stderr)
	}
	stdout, _, err = run("", "status")
	if err == nil || !strings.Contains(stdout, `"failing"`) || !strings.Contains(stdout, "client_secret") {
		t.Errorf("the status: %v %s", err, stdout)
	}
	stdout, _, err = run("", "test", "crm", "main")
	if err == nil || !strings.Contains(stdout, "The secret lacks what the realm needs: client_secret.") || !strings.Contains(stdout, "what the secret has: client_scret.") {
		t.Errorf("the dry run: %v %s", err, stdout)
	}
	if _, stderr, err = run(`{"client_secret": "`+canary+`", "client_scret": null}`, "secret", "set", "crm", "main"); err != nil || stderr != "" {
		t.Errorf("%v %s", err, stderr)
	}
	if stdout, _, err = run("", "status"); err != nil || strings.Contains(stdout, `"failing"`) {
		t.Errorf("the status: %v %s", err, stdout)
	}
	_, stderr, err = run(strings.ReplaceAll(crm, "client_id", "app_id"), "realm", "set")
	if want := "warning: 1 of 1 secrets cannot be used with the realm, such as main: fields.app_id: is missing\n"; err != nil || stderr != want {
		t.Errorf("realm set: %v %s", err, stderr)
	}
}

// TestSecretSetAsks: on a terminal each field of the preset is asked for, and those
// that the realm itself reads. What is typed is not shown.
func TestSecretSetAsks(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load("", "")
	i.must(http.MethodPost, "/api/realm", `{"id": "wx", "config": {"preset": "wechat"}}`)
	i.must(http.MethodPost, "/api/realm", `{"id": "own", "config": {"url": "https://x.example/t", "token_path": "t", "shared": {"app": "x"},
		"arguments": [{"name": "a", "place": "url", "value": "{secret.app}"}, {"name": "b", "place": "url", "value": "{secret.b}"}]}}`)
	for realmID, fields := range map[string][]string{"wx": {"appid", "secret"}, "own": {"b"}} {
		p := newPTY(t, 200)
		done := p.start(t.Context(), tokensCommand(), "secret", "set", realmID, "main", "--api", "http://"+i.api)
		for n := range fields {
			question := " (not shown): "
			waitFor(t, "question "+fields[n], func() bool { return strings.Count(p.screen(), question) > n })
			p.enter(canary + "-typed")
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v\n%s", realmID, err, p.untilNow())
		}
		if screen := p.untilNow(); leaks(screen) != nil || !strings.Contains(screen, "secret "+realmID+" main was saved") {
			t.Errorf("%s: the screen is\n%s", realmID, screen)
		}
		var saved struct{ Fields map[string]string }
		if err := json.Unmarshal([]byte(i.must(http.MethodGet, "/api/secret/"+realmID+"/main", "")), &saved); err != nil || len(saved.Fields) != len(fields) {
			t.Errorf("%s: %v %v", realmID, err, saved)
		}
	}
}

// TestSecretPushCommand: a pushed value comes from standard input.
func TestSecretPushCommand(t *testing.T) {
	withoutCredentials(t)
	var got map[string]any
	base := serveAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/secret/suite/main/push" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = w.Write([]byte(`{"success": "ok"}`))
	})
	stdout, stderr, err := withInput(t, canary+"\nmore\n", "secret", "push", "suite", "main", "suite_ticket", "--expires-in", "30m", "--api", base)
	if err != nil || got["value"] != canary || got["field"] != "suite_ticket" || got["expires_in"] != 1800.0 || leaks(stdout+stderr) != nil {
		t.Errorf("%v %v %s%s", err, got, stdout, stderr)
	}
}

// TestCompletion: ids are offered as the instance has them, and nothing where it
// does not answer.
func TestCompletion(t *testing.T) {
	withoutCredentials(t)
	i := newInstance(t)
	i.load("client billing {\n key "+strings.Repeat("k", 40)+"\n}", "")
	i.must(http.MethodPost, "/api/realm", `{"id": "crm", "config": {"url": "https://x.example/t", "token_path": "t"}}`)
	i.must(http.MethodPost, "/api/secret", `{"realm": "crm", "key": "主", "fields": {"a": "b"}}`)
	complete := func(api string, args ...string) string {
		root := &cobra.Command{Use: "caddy"}
		root.AddCommand(tokensCommand())
		var out strings.Builder
		root.SetOut(&out)
		root.SetErr(new(strings.Builder))
		t.Setenv("TOKENS_API", api)
		root.SetArgs(append([]string{"__completeNoDesc", "tokens"}, args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		words, _, _ := strings.Cut(out.String(), ":")
		return strings.ReplaceAll(strings.TrimSpace(words), "\n", " ")
	}
	here := "http://" + i.api
	for want, args := range map[string][]string{
		"crm": {"get", ""}, "主": {"secret", "set", "crm", ""}, "billing": {"client", "rotate", ""}, "bash zsh fish powershell": {"completion", ""},
	} {
		if got := complete(here, args...); got != want {
			t.Errorf("%v: %q", args, got)
		}
	}
	if got := complete("http://127.0.0.1:1", "get", ""); got != "" {
		t.Errorf("nobody answers: %q", got)
	}
	for shell, want := range map[string]string{"bash": "__start_caddy", "zsh": "#compdef caddy", "fish": "complete -c caddy", "powershell": "Register-ArgumentCompleter"} {
		root := &cobra.Command{Use: "caddy"}
		root.AddCommand(tokensCommand())
		var out strings.Builder
		root.SetOut(&out)
		root.SetArgs([]string{"tokens", "completion", shell})
		if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v", shell, err)
		}
	}
	if _, _, err := tokens(t, "completion", "tcsh"); err == nil || errors.Is(err, errNoAnswer) {
		t.Errorf("tcsh: %v", err)
	}
}
