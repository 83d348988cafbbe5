package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// newUpkeep is an instance with a realm whose shared field is confidential.
func newUpkeep(t *testing.T, tokens string) *instance {
	t.Helper()
	withoutCredentials(t)
	i := newInstance(t)
	i.load(tokens, "")
	i.must(http.MethodPost, "/api/realm", `{"id": "wx", "config": {"url": "https://token.example.com/t", "token_path": "t", "shared": {"x": "`+canary+`"}}}`)
	return i
}

// The command rotates the key of the key file, and tells what became of each
// key without showing one.
func TestRotateCommand(t *testing.T) {
	i := newUpkeep(t, "")
	file := keyPath(filepath.Join(i.dir, "caddy", defaultDatabase))
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := onTerminal(t, "keys", "rotate", "--api", "http://"+i.api)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	after, err := os.ReadFile(file)
	if err != nil || string(after) == string(before) {
		t.Fatalf("the key file is the same: %v", err)
	}
	for _, want := range []string{"a new key was made", "rows were sealed anew", "in use, seals what is written", "removed from the key file"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in the report:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "tokens_realms: 1 of 1 rows") {
		t.Errorf("the progress is\n%s", stderr)
	}
	for _, key := range []string{string(before), string(after)} {
		if all := stdout + stderr + i.log(); strings.Contains(all, strings.TrimSpace(key)) {
			t.Error("a key is shown")
		}
	}
	i.must(http.MethodGet, "/api/realm/wx", "")
}

// As JSON, the result is what the API answers. With encryption_key there is
// nothing to do until another key is put in front.
func TestRotateCommandWithGivenKeys(t *testing.T) {
	const first, second = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
	t.Setenv("TOKENS_TEST_FIRST", first)
	t.Setenv("TOKENS_TEST_SECOND", second)
	i := newUpkeep(t, "encryption_key {env.TOKENS_TEST_FIRST}")
	rotate := func() (done tokenstore.Rotation) {
		t.Helper()
		stdout, stderr, err := tokens(t, "keys", "rotate", "--json", "--api", "http://"+i.api)
		if err != nil || json.Unmarshal([]byte(stdout), &done) != nil {
			t.Fatalf("%v\n%s%s", err, stdout, stderr)
		}
		return done
	}
	if done := rotate(); done.Generated || len(done.Keys) != 1 || done.Keys[0].State != tokenstore.KeySealing {
		t.Errorf("got %+v", done)
	}
	// It was logged at each start, and named a key of zeros.
	const older = "rows are sealed with an older encryption key"
	if strings.Contains(i.log(), older) {
		t.Error("the log says that an older key is needed, and there is only one")
	}
	i.load("encryption_key {env.TOKENS_TEST_SECOND} {env.TOKENS_TEST_FIRST}", "")
	line := regexp.MustCompile(older + `.*`).FindString(i.log())
	if fingerprint := rotate().Keys[1].Fingerprint; !strings.Contains(line, fingerprint) {
		t.Errorf("the log does not say that the older key %s is needed: %q", fingerprint, line)
	}
	if done := rotate(); done.Generated || len(done.Keys) != 2 || done.Keys[1].State != tokenstore.KeyRemovable {
		t.Errorf("got %+v", done)
	}
	i.load("encryption_key {env.TOKENS_TEST_SECOND}", "")
	i.must(http.MethodGet, "/api/realm/wx", "")
}

// What one command backs up the other one restores, into either database.
func TestBackupAndRestoreCommands(t *testing.T) {
	i := newUpkeep(t, "")
	key := keyPath(filepath.Join(i.dir, "caddy", defaultDatabase))
	file := filepath.Join(i.dir, "backup")
	stdout, stderr, err := tokens(t, "backup", "--file", file, "--api", "http://"+i.api)
	if err != nil || !strings.Contains(stdout, "rows of schema") || !strings.Contains(stdout, "it opens with the encryption key") {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, _, err := tokens(t, "backup", "--file", file, "--api", "http://"+i.api); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("a second time: %v", err)
	}
	text, err := os.ReadFile(file)
	if err != nil || leaks(string(text)) != nil {
		t.Errorf("the backup shows a secret: %v", err)
	}

	path := filepath.Join(i.dir, "restored", "tokens.db")
	t.Setenv("TOKENS_TEST_DSN", testserver.MariaDB(t).DSN())
	for _, storage := range []string{"sqlite " + path, "mysql {env.TOKENS_TEST_DSN}"} {
		stdout, stderr, err := tokens(t, "restore", "--file", file, "--storage", storage, "--encryption-key-file", key)
		if err != nil || !strings.Contains(stdout, "were opened") {
			t.Fatalf("%s: %v\n%s%s", storage, err, stdout, stderr)
		}
		_, _, err = tokens(t, "restore", "--file", file, "--storage", storage)
		if err == nil || !strings.Contains(err.Error(), "nothing was restored: the store is not empty") {
			t.Errorf("%s: a second time: %v", storage, err)
		}
	}
	// The instance's own database is in use.
	if _, _, err := tokens(t, "restore", "--file", file); err == nil {
		t.Error("it was restored into a database in use")
	}
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, keyPath(path), string(content))
	i.load("storage sqlite "+path, "")
	i.must(http.MethodGet, "/api/realm/wx", "")
}

// What is wrong is named, and no file stays behind.
func TestUpkeepCommandsFail(t *testing.T) {
	withoutCredentials(t)
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := `{"backup": "caddy-tokens", "format": 1, "schema": 5, "keys": [], "tables": []}`
		switch r.URL.Path {
		case "/text/api/backup":
			_, _ = w.Write([]byte("hello"))
			return
		case "/api/keys/rotate":
			line = `{"table": "tokens_realms", "done": 1, "total": 2}`
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = w.Write([]byte(line + "\n"))
	}))
	defer server.Close()
	other, secret := filepath.Join(dir, "other"), filepath.Join(dir, "key")
	writeFile(t, other, "{}\n")
	writeFile(t, secret, canary)
	file := filepath.Join(dir, "out", "backup")
	for want, args := range map[string][]string{
		"before the keys were rotated":           {"keys", "rotate", "--api", server.URL},
		"no backup was written: line 2: ":        {"backup", "--api", server.URL, "--file", file},
		"this is not the API":                    {"backup", "--api", server.URL + "/text", "--file", file},
		"--file is missing: name a new file":     {"backup"},
		"--file is missing: name a backup":       {"restore"},
		"--file: open":                           {"restore", "--file", filepath.Join(dir, "none"), "--storage", "sqlite " + dir + "/x.db"},
		"nothing was restored: line 1: ":         {"restore", "--file", other, "--storage", "sqlite " + dir + "/x.db"},
		"--storage: unknown type \"oracle\"":     {"restore", "--file", other, "--storage", "oracle"},
		"other users of the machine can read":    {"restore", "--file", other, "--storage", "mysql u:p@tcp(127.0.0.1:1)/x"},
		"environment variable TOKENS_TEST_UNSET": {"restore", "--file", other, "--storage", "mysql {env.TOKENS_TEST_UNSET}"},
		"--encryption-key-file: open":            {"restore", "--file", other, "--encryption-key-file", filepath.Join(dir, "none")},
		"encryption key 1 of 1":                  {"restore", "--file", other, "--encryption-key-file", secret},
	} {
		stdout, stderr, err := tokens(t, args...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q, got %v", args, want, err)
		} else if leaks(stdout+stderr+err.Error()) != nil {
			t.Errorf("%v: shows a secret", args)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 0 {
		t.Errorf("%v stay behind, %v", left, err)
	}
}
