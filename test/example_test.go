package test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

const example = "../Caddyfile.example"

// exampleConfig is Caddyfile.example with free ports in place of its own.
func exampleConfig(t *testing.T) func(proxyPort, adminPort int) string {
	t.Helper()
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	return func(proxyPort, adminPort int) string {
		return strings.NewReplacer(
			"8080", strconv.Itoa(proxyPort),
			"8081", strconv.Itoa(adminPort),
			"8082", strconv.Itoa(testserver.FreePort(t)),
			// Caddy's own admin endpoint has a fixed port as well.
			"\n{\n", "\n{\n\tadmin off\n",
		).Replace(string(text))
	}
}

// The first thing that a reader of the README does.
func TestExample(t *testing.T) {
	n := launch(t, exampleConfig(t))
	localhost := strings.NewReplacer("127.0.0.1", "localhost")
	hello := func() string {
		t.Helper()
		status, body := curl(t, localhost.Replace(n.proxy)+"/practice/hello")
		if status != http.StatusOK {
			t.Fatalf("got %d %s", status, body)
		}
		return string(body)
	}
	seen := regexp.MustCompile(`GET /hello\?access_token=(practice-\S+)`).FindStringSubmatch(hello())
	if seen == nil {
		t.Fatalf("no token was injected: %s", hello())
	}
	if !strings.Contains(hello(), seen[1]) {
		t.Error("the second request got another token")
	}
	status, body := curl(t, localhost.Replace(n.admin)+"/api/token?realm=practice&key=main")
	if answer := decode[tokenAnswer](t, body); status != http.StatusOK || answer.Token != seen[1] || answer.Source != "memory" {
		t.Errorf("got %d %s", status, body)
	}
	if status, body := curl(t, localhost.Replace(n.proxy)+"/any/practice/main/a/b?c=d"); status != http.StatusOK ||
		!bytes.Contains(body, []byte("/a/b?c=d&access_token="+seen[1])) {
		t.Errorf("by the gateway: %d %s", status, body)
	}
}

// The console is at the root of the admin site. What nobody serves is still 404.
func TestExampleConsole(t *testing.T) {
	n := launch(t, exampleConfig(t))
	if status, page := curl(t, n.admin+"/"); status != http.StatusOK || !bytes.Contains(page, []byte("./assets/")) {
		t.Errorf("the console: %d %s", status, page)
	}
	if status, body := curl(t, n.admin+"/api/session"); status != http.StatusOK || !bytes.Contains(body, []byte(`"kind":"local"`)) {
		t.Errorf("who am I: %d %s", status, body)
	}
	if status, body := curl(t, n.admin+"/elsewhere"); status != http.StatusNotFound || !bytes.Contains(body, []byte("/, the console")) {
		t.Errorf("elsewhere: %d %s", status, body)
	}
}

// The example's account: the server logs in for itself, once.
func TestExampleAccount(t *testing.T) {
	n := launch(t, exampleConfig(t))
	var tokens []string
	for _, verb := range []string{"get-access-token", "get-access-token", "refresh-all-token"} {
		status, body := curl(t, "-X", "POST", n.admin+"/shop-account/"+verb)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", verb, status, body)
		}
		tokens = append(tokens, string(body))
	}
	if !strings.HasPrefix(tokens[0], "practice-") || tokens[1] != tokens[0] || !strings.Contains(tokens[2], `"total":1`) {
		t.Errorf("got %q", tokens)
	}
	if status, page := curl(t, n.admin+"/shop-account/callback-token?code=1&state=2"); status != http.StatusBadRequest {
		t.Errorf("a callback that nobody asked for: %d %s", status, page)
	}
}

// All data lies in Caddy's data directory, and what is confidential is for the
// owner only. The working directory stays as it was.
func TestExampleWritesOnlyIntoTheDataDirectory(t *testing.T) {
	n := launch(t, exampleConfig(t))
	n.get(n.proxy+"/practice/hello", http.StatusOK)
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{"Caddyfile": true, "log": true, "data": true, "config": true}
	for _, entry := range entries {
		if !allowed[entry.Name()] {
			t.Errorf("%s was written beside the configuration", entry.Name())
		}
	}
	for _, name := range []string{"tokens.db", "tokens.key"} {
		info, err := os.Stat(filepath.Join(n.dir, "data", "caddy", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// Caddy's own commands work on the example.
func TestCommandsOnTheExample(t *testing.T) {
	for _, args := range [][]string{
		{"adapt", "--config", example, "--validate"},
		{"validate", "--config", example},
		{"fmt", "--diff", example},
	} {
		if out, err := command(t, args...); err != nil {
			t.Errorf("%s: %v\n%s", args[0], err, out)
		}
	}
	modules, err := command(t, "list-modules")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"tokens", "http.reverse_proxy.transport.token", "http.reverse_proxy.upstreams.token",
		"http.handlers.token_gateway", "http.handlers.token_admin", "http.handlers.token_console",
	} {
		if !bytes.Contains(modules, []byte("\n"+id+"\n")) {
			t.Errorf("there is no module %s", id)
		}
	}
}

func command(t *testing.T, args ...string) ([]byte, error) { return commandWith(t, nil, args...) }

// commandWith runs the binary with variables beside those of the test.
func commandWith(t *testing.T, env []string, args ...string) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(within(t), binary, args...) // #nosec G204 -- our own program
	cmd.Env = slices.Concat(os.Environ(), env, []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir})
	return cmd.CombinedOutput()
}
