package test

import (
	"strings"
	"testing"
)

// TestDocsTryoutCommands: the commands that try a realm out work as the page has
// them, and their exit statuses are those that the help names.
func TestDocsTryoutCommands(t *testing.T) {
	n := newClientNode(t)
	for _, b := range blocksOf(t, "../docs/realms.md") {
		if b.lang != "sh" || !strings.HasPrefix(b.text, "caddy tokens test") {
			continue
		}
		stdout, stderr := n.shell(b.text + `
			code() { "$@" > out && echo 0 || echo $?; }
			code caddy tokens test wechat main
			code caddy tokens test wechat main --call TRACE /x
			code caddy tokens test wechat nobody`)
		if strings.Count(stdout, `"what": "token"`) != 2 || !strings.Contains(stdout, `"call": {`) ||
			!strings.HasSuffix(stdout, "\n0\n2\n1\n") {
			t.Errorf("got\n%s%s", stdout, stderr)
		}
		if all := stdout + stderr + string(n.log()); strings.Contains(all, "wx-secret-01") {
			t.Error("the secret is shown")
		}
		return
	}
	t.Error("the page has no such commands")
}
