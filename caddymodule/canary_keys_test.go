package caddymodule

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asKeys are encryption keys as they are written, and their bytes.
func asKeys(t *testing.T, texts ...string) (secrets []string) {
	t.Helper()
	for _, text := range texts {
		text = strings.TrimSpace(text)
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 32 {
			t.Fatalf("not a key: %v", err)
		}
		secrets = append(secrets, text, string(raw))
	}
	return secrets
}

// TestNothingLeaksOfTheKeyFile: neither the key that is in the file, nor the one
// that takes its place, is anywhere else.
func TestNothingLeaksOfTheKeyFile(t *testing.T) {
	p, i, stderr := newProvider(t), newInstance(t), captureStderr(t)
	withoutCredentials(t)
	i.config = freeAddress(t)
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	i.load(strings.ReplaceAll(p.realm(planted, "inject query access_token"), canary+"-secret", "{env.TOKENS_TEST_SECRET}"), proxyMain)
	i.plant()
	file := keyPath(filepath.Join(i.dir, "caddy", defaultDatabase))
	keys, shown := []string{contentOf(t, file)}, planted
	for _, args := range [][]string{{"keys", "rotate"}, {"keys", "rotate", "--json"}} {
		stdout, rest, err := tokens(t, append(args, "--api", "http://"+i.api)...)
		shown += fmt.Sprintln(stdout, rest, err)
		key := contentOf(t, file)
		if key == keys[len(keys)-1] {
			t.Error("the key is the same")
		}
		keys = append(keys, key)
	}
	all := i.sinks(file)
	all["the verb"] = shown
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, append(asKeys(t, keys...), canary)...)
}

// TestNothingLeaksOfGivenKeys: the same for keys that the configuration names,
// also while one takes the other's place, and where a key is wrong.
func TestNothingLeaksOfGivenKeys(t *testing.T) {
	p, i, stderr := newProvider(t), newInstance(t), captureStderr(t)
	withoutCredentials(t)
	i.config = freeAddress(t)
	keys := []string{newKey(t), newKey(t), newKey(t)}
	file := filepath.Join(i.dir, "second")
	writeFile(t, file, keys[1]+"\n")
	t.Setenv("TOKENS_TEST_FIRST", keys[0])
	t.Setenv("TOKENS_TEST_OTHER", keys[2])
	t.Setenv("TOKENS_TEST_CUT", keys[2][:40])
	t.Setenv("TOKENS_TEST_LONG", keys[2]+"AAAA")
	t.Setenv("TOKENS_TEST_SECRET", canary+"-secret")
	blocks := strings.ReplaceAll(p.realm(planted, "inject query access_token"), canary+"-secret", "{env.TOKENS_TEST_SECRET}")
	load := func(keys string) { i.load("encryption_key "+keys+"\n"+blocks, proxyMain) }
	shown := planted
	rotate := func() {
		stdout, rest, err := tokens(t, "keys", "rotate", "--api", "http://"+i.api)
		if shown += fmt.Sprintln(stdout, rest, err); err != nil {
			t.Error(err)
		}
	}
	load("{env.TOKENS_TEST_FIRST}")
	i.plant()
	load("{file." + file + "} {env.TOKENS_TEST_FIRST}") // rows of both, until it is rotated
	both := i.sinks(file)
	rotate()
	load("{file." + file + "}")
	errs := planted
	for _, wrong := range []string{
		"{env.TOKENS_TEST_OTHER}", "{env.TOKENS_TEST_CUT}", "{env.TOKENS_TEST_LONG}", "{env.TOKENS_TEST_OTHER}{env.TOKENS_TEST_CUT}",
		"{file." + file + "} {env.TOKENS_TEST_CUT}",
	} {
		err := i.tryLoad("encryption_key "+wrong+"\n"+blocks, proxyMain)
		if err == nil {
			t.Errorf("it starts with %s", wrong)
			continue
		}
		errs += err.Error() + "\n"
	}
	all := i.sinks(file)
	for name, text := range both {
		all[name+", with both keys"] = text
	}
	all["the verb"], all["start errors"] = shown, errs
	_, _ = fmt.Fprintln(os.Stderr, planted)
	all["stderr"] = stderr()
	all.wantNoSecret(t, append(asKeys(t, keys...), canary)...)
}
