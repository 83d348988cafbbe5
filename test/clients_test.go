package test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// newClientNode is a node with the realm wechat and its secret main.
func newClientNode(t *testing.T) *node {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"}})
	base := p.Start(t)
	n := launchOn(t, sqlite(t))
	n.post("/api/realm", wechatRealm("wechat", base))
	n.post("/api/secret", map[string]any{"realm": "wechat", "key": "main", "fields": map[string]any{"key_1": "wx-app", "key_2": "wx-secret-01"}})
	return n
}

// shell runs a script in which caddy is the program, and talks to the node as if
// the API were at its default address. Its directory is empty at first.
func (n *node) shell(script string) (stdout, stderr string) {
	n.t.Helper()
	bin := filepath.Join(n.t.TempDir(), "bin")
	wrapper := "#!/bin/sh\nexec '" + n.program + "' \"$@\" --api " + n.admin + "\n"
	if err := errors.Join(os.Mkdir(bin, 0o700), os.WriteFile(filepath.Join(bin, "caddy"), []byte(wrapper), 0o700)); err != nil { // #nosec G306 -- it is run
		n.t.Fatal(err)
	}
	cmd := exec.CommandContext(within(n.t), "sh", "-eu", "-c", script) // #nosec G204 -- our own script
	cmd.Dir = n.t.TempDir()
	cmd.Env = []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + n.dir, "PROXY=" + n.proxy,
		"XDG_DATA_HOME=" + filepath.Join(n.dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(n.dir, "config"),
	}
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		n.t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// TestClientByCommands: an operator gives an app a key, asks why a request is
// refused, replaces the key and ends it, in a shell with the real program. The
// exit statuses of explain are those that its help names.
func TestClientByCommands(t *testing.T) {
	n := newClientNode(t)
	stdout, stderr := n.shell(`
		status() { curl -s -o /dev/null -w '%{http_code}\n' -H "Authorization: Bearer $1" "$PROXY/any/wechat/main$2"; }
		explain() { code=0; caddy tokens explain --client app --realm wechat --key main "$@" > explained || code=$?; echo "$(grep -o '"allowed": [a-z]*' explained) $code"; }
		FIRST=$(caddy tokens client add app --allow 'use wechat main methods GET paths /cgi-bin/menu/**')
		status "$FIRST" /cgi-bin/menu/get
		status "$FIRST" /cgi-bin/user/get
		explain --path /cgi-bin/menu/get
		explain --path /cgi-bin/user/get
		explain --method POST --path '/cgi-bin/menu/get?x=<y>'
		explain --path relative
		explain --surplus
		SECOND=$(caddy tokens client rotate app --keep 1h)
		status "$FIRST" /cgi-bin/menu/get
		status "$SECOND" /cgi-bin/menu/get
		THIRD=$(caddy tokens client rotate app)
		status "$FIRST" /cgi-bin/menu/get
		status "$SECOND" /cgi-bin/menu/get
		status "$THIRD" /cgi-bin/menu/get
		caddy tokens client delete app
		status "$THIRD" /cgi-bin/menu/get`)
	want := strings.Join([]string{
		"200", "403", `"allowed": true 0`, `"allowed": false 2`, `"allowed": false 2`, " 1", " 1",
		"200", "200", "403", "403", "200", "client app was deleted", "403",
	}, "\n") + "\n"
	if stdout != want {
		t.Errorf("got\n%s\nwant\n%s", stdout, want)
	}
	for _, words := range []string{"This is the first client.", "path: must begin with a slash", "unknown flag: --surplus"} {
		if !strings.Contains(stderr, words) {
			t.Errorf("nothing says %q:\n%s", words, stderr)
		}
	}
	if all := stderr + string(n.log()); strings.Contains(all, "ctk_") || strings.Contains(stderr, "exiting with status") {
		t.Errorf("a key is in the log or on standard error, or a refusal is an error:\n%s", stderr)
	}
}

// TestDocsClientCommands: the commands of the operations page work as they stand,
// one after the other.
func TestDocsClientCommands(t *testing.T) {
	n := newClientNode(t)
	for _, b := range blocksOf(t, "../docs/operations.md") {
		if b.lang != "sh" || !strings.Contains(b.text, "caddy tokens client") {
			continue
		}
		stdout, _ := n.shell(b.text + `
			test "$KEY" != "$NEW" && test -s billing.json && echo "$KEY" "$NEW" | grep -c '^ctk_[^ ]* ctk_[^ ]*$'`)
		if !strings.HasPrefix(stdout, "{\n  \"allowed\": true,") || !strings.Contains(stdout, `"rule 0 allows use`) || !strings.Contains(stdout, `"id": "billing"`) ||
			!strings.HasSuffix(stdout, "client billing was deleted\n1\n") {
			t.Errorf("got\n%s", stdout)
		}
		n.get(n.admin+"/api/client/billing", http.StatusNotFound)
		return
	}
	t.Error("the page has no such commands")
}
