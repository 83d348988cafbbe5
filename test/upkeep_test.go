package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// upkeepAPI is the path of a proxied request to the realm of newKept.
const upkeepAPI = "/any/wx/main/cgi-bin/menu/get"

// kept is a node with many secrets, one of which has a token.
type kept struct {
	*node
	provider *fakeprovider.Provider
}

// keptSecrets are more than one batch of a rotation.
const keptSecrets = 250

// newKept starts a node with a program. Its failpoint can be set while it runs.
func newKept(t *testing.T, program string, s store) kept {
	t.Helper()
	p := fakeprovider.New(fakeprovider.Options{Style: fakeprovider.WeChat, Credentials: map[string]string{"wx-app": "wx-secret-01"}})
	base := p.Start(t)
	n := prepare(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway}.caddyfile, s.env...)
	n.program = program
	n.env = append(n.env, "TOKENS_FAILPOINT_FILE="+filepath.Join(n.dir, "failpoint"))
	n.start()
	n.post("/api/realm", wechatRealm("wx", base))
	secret := func(key string) {
		n.post("/api/secret", map[string]any{"realm": "wx", "key": key, "fields": map[string]any{"key_1": "wx-app", "key_2": "wx-secret-01"}})
	}
	for i := range keptSecrets {
		secret(fmt.Sprint("other-", i))
	}
	secret("main")
	n.get(n.proxy+upkeepAPI, http.StatusOK)
	return kept{n, p}
}

// tokensCommand runs `caddy tokens` as an operator on the node's machine does.
func (n *node) tokensCommand(args ...string) (stdout, stderr string, err error) {
	n.t.Helper()
	cmd := exec.CommandContext(within(n.t), n.program, append([]string{"tokens"}, args...)...) // #nosec G204 -- our own program
	cmd.Dir = n.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir,
		"XDG_DATA_HOME=" + filepath.Join(n.dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(n.dir, "config"),
	}, n.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// mustTokens is tokensCommand for what has to succeed.
func (n *node) mustTokens(args ...string) (stdout string) {
	n.t.Helper()
	stdout, stderr, err := n.tokensCommand(args...)
	if err != nil {
		n.t.Fatalf("tokens %v: %v\n%s%s", args, err, stdout, stderr)
	}
	return stdout
}

// keyFileLines are the keys in the key file of a node with SQLite.
func (n *node) keyFileLines() []string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "data", "caddy", "tokens.key"))
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// wantKept expects that the node has everything, and that the provider is not
// asked again.
func (k kept) wantKept() {
	k.t.Helper()
	k.get(k.proxy+upkeepAPI, http.StatusOK)
	k.wantTokens(1)
	for i := range keptSecrets {
		k.get(fmt.Sprintf("%s/api/secret/wx/other-%d", k.admin, i), http.StatusOK)
	}
	if status := k.get(k.admin+"/api/status", http.StatusOK); bytes.Contains(status, []byte(`"damaged"`)) {
		k.t.Errorf("something is damaged: %s", status)
	}
}

func (k kept) wantTokens(n int) {
	k.t.Helper()
	if got := len(k.provider.Issued()); got != n {
		k.t.Errorf("the provider issued %d tokens, want %d", got, n)
	}
}

// TestRotationIsKilled: a node that is killed at any point of a rotation of its
// key file starts with everything that it had, and the next rotation ends what
// the first one began. Only then does the old key leave the file.
func TestRotationIsKilled(t *testing.T) {
	k := newKept(t, withFailpoints(t), sqlite(t))
	for _, failpoint := range []string{"key_file_written", "key_file_replaced", "key_registered", "batch_sealed_anew", "keys_retired"} {
		before := k.keyFileLines()
		k.arm(failpoint)
		if _, _, err := k.tokensCommand("keys", "rotate", "--api", k.admin); err == nil {
			t.Fatalf("%s: the command does not say that the rotation was cut", failpoint)
		}
		k.waitEnd()
		k.disarm()
		if now := k.keyFileLines(); !slices.Contains(now, before[0]) {
			t.Fatalf("%s: the old key is gone", failpoint)
		}
		k.start()
		k.wantKept()
		k.mustTokens("keys", "rotate", "--api", k.admin)
		if now := k.keyFileLines(); len(now) != 1 || now[0] == before[0] {
			t.Fatalf("%s: the key file has %d keys after the next rotation, or still the old one", failpoint, len(now))
		}
		k.kill()
		k.start()
		k.wantKept()
	}
}

// arm lets the node end at a failpoint, the next time that it comes by.
func (k kept) arm(failpoint string) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, "failpoint"), []byte(failpoint), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k kept) disarm() {
	k.t.Helper()
	if err := os.Remove(filepath.Join(k.dir, "failpoint")); err != nil {
		k.t.Fatal(err)
	}
}

// TestRotationOfACluster: the way that docs/operations.md tells, on two nodes
// that are restarted one after the other while calls go on. No call fails, no
// token is bought again, and in the end the old key is not needed.
func TestRotationOfACluster(t *testing.T) {
	m := testserver.MariaDB(t)
	oldKey, newKey := newKey(), newKey()
	on := func(keys ...string) store {
		return store{
			config: "storage mysql {env.TOKENS_DSN}\nencryption_key {$TOKENS_KEYS}\n",
			env:    []string{"TOKENS_DSN=" + m.DSN(), "TOKENS_KEYS=" + strings.Join(keys, " ")},
		}
	}
	first := newKept(t, binary, on(oldKey))
	c := config{tokens: on().config + "allow_private 127.0.0.1", proxy: gateway}
	second := launch(t, c.caddyfile, on(oldKey).env...)
	nodes := []*node{first.node, second}
	restart := func(keys ...string) {
		t.Helper()
		for i, n := range nodes {
			load := startDemand(t, nodes[1-i].proxy+upkeepAPI)
			n.stop()
			n.env = on(keys...).env
			n.start()
			load.wantAllServed(t)
		}
	}
	restart(oldKey, newKey) // all can open what the new key seals
	restart(newKey, oldKey)
	load := startDemand(t, second.proxy+upkeepAPI)
	var rotations sync.WaitGroup
	for _, n := range nodes { // two at once
		rotations.Go(func() {
			if stdout, stderr, err := n.tokensCommand("keys", "rotate", "--api", n.admin); err != nil {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
	rotations.Wait()
	load.wantAllServed(t)
	if report := first.mustTokens("keys", "rotate", "--api", first.admin); !strings.Contains(report, `"state": "removable"`) {
		t.Fatalf("the report is\n%s", report)
	}
	restart(newKey)
	first.wantKept()
}

// TestBackupAndRestore: what a running node backs up is restored into a new
// database, by which another node serves with the token that the first one
// bought.
func TestBackupAndRestore(t *testing.T) {
	k := newKept(t, binary, sqlite(t))
	file := filepath.Join(k.dir, "backup")
	load := startDemand(t, k.proxy+upkeepAPI)
	k.mustTokens("backup", "--file", file, "--api", k.admin)
	load.wantAllServed(t)
	if _, stderr, err := k.tokensCommand("restore", "--file", file); err == nil || !strings.Contains(stderr, "in use") {
		t.Errorf("a restore into a database in use: %v, %s", err, stderr)
	}
	k.stop()
	key := filepath.Join(k.dir, "data", "caddy", "tokens.key")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}

	m := testserver.MariaDB(t)
	s := store{
		config: "storage mysql {env.TOKENS_DSN}\nencryption_key {env.TOKENS_KEY}\n",
		env:    []string{"TOKENS_DSN=" + m.DSN(), "TOKENS_KEY=" + strings.TrimSpace(string(text))},
	}
	n := prepare(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: gateway}.caddyfile, s.env...)
	n.mustTokens("restore", "--file", file, "--storage", "mysql {env.TOKENS_DSN}", "--encryption-key-file", key)
	n.start()
	kept{n, k.provider}.wantKept()

	// And back, into a file; the key is put beside it by hand.
	again := filepath.Join(n.dir, "again")
	n.mustTokens("backup", "--file", again, "--api", n.admin)
	n.stop()
	back := prepare(t, config{tokens: "allow_private 127.0.0.1", proxy: gateway}.caddyfile)
	back.mustTokens("restore", "--file", again)
	if err := os.WriteFile(filepath.Join(back.dir, "data", "caddy", "tokens.key"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	back.start()
	kept{back, k.provider}.wantKept()
}
