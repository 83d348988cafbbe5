package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// consoleNode is a node with a console for strangers beside its two sites: nobody is let
// in there without signing in.
type consoleNode struct {
	*node
	site  string
	token string // the admin token
}

// launchConsole launches one, with realms in its Caddyfile where some are given. All
// realms may be on loopback.
func launchConsole(t *testing.T, realms ...string) *consoleNode {
	t.Helper()
	port := testserver.FreePort(t)
	n := launch(t, func(proxyPort, adminPort int) string {
		return config{tokens: "allow_private 127.0.0.1\n" + strings.Join(realms, "\n"), proxy: gateway}.caddyfile(proxyPort, adminPort) + fmt.Sprintf(`
:%d {
	bind 127.0.0.1
	route {
		token_admin
		token_console
	}
}
`, port)
	})
	c := &consoleNode{node: n, site: fmt.Sprintf("http://127.0.0.1:%d", port)}
	eventually(t, "the console answers, and there is an admin token", func() bool {
		token, err := os.ReadFile(filepath.Join(n.dir, "data", "caddy", "tokens.admin"))
		c.token = strings.TrimSpace(string(token))
		status, _ := n.try(c.site + "/")
		return status == http.StatusOK && err == nil && c.token != ""
	})
	return c
}

// openConsole opens a tab on the page to sign in.
func (c *consoleNode) openConsole(language string) *tab {
	c.t.Helper()
	b := newTab(c.t, c.site, language)
	b.expects("GET api/session 403") // nobody is signed in yet
	b.open("")
	return b
}

// signIn signs in with the admin token or a key.
func (b *tab) signIn(key string) {
	b.t.Helper()
	b.fill(b.say("session:key"), key)
	b.press("button", b.say("session:sign_in"))
	b.the("button", b.say("common:sign_out"))
	b.settle()
}

// in is the node for a subtest.
func (c *consoleNode) in(t *testing.T) *consoleNode {
	n := *c.node
	n.t = t
	return &consoleNode{node: &n, site: c.site, token: c.token}
}
