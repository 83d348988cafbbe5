package sqlstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
	"github.com/caddy-tokens/caddy-tokens/tokenstore/sqlstore"
)

// holderPath is, in the environment of a child, the database that it opens.
const holderPath = "SQLSTORE_TEST_HOLD"

// TestMain is also the other process of the tests of the lock: it opens a
// database, says how that went, and holds it until its input ends.
func TestMain(m *testing.M) {
	path := os.Getenv(holderPath)
	if path == "" {
		os.Exit(m.Run())
	}
	key := realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	keys, err := tokenstore.NewKeyring(key)
	if err == nil {
		s := sqlstore.SQLite(path, keys)
		if err = s.Open(context.Background()); err == nil {
			fmt.Println("open")
			_, _ = io.Copy(io.Discard, os.Stdin)
			err = s.Close()
		}
	}
	fmt.Println(err)
}

// holder is another process that was told to open a database.
type holder struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	stop io.Closer
}

// startHolder starts one in a working directory and returns what it says.
func startHolder(t *testing.T, dir, path string) (h holder, says string) {
	t.Helper()
	h.cmd = exec.CommandContext(context.Background(), os.Args[0])
	h.cmd.Env, h.cmd.Dir = append(os.Environ(), holderPath+"="+path), dir
	in, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	h.out, h.stop = bufio.NewReader(out), in
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return h, strings.TrimSpace(line)
}

func (h holder) kill() {
	_ = h.cmd.Process.Kill() // SIGKILL
	_ = h.cmd.Wait()
}

// refusal is what this process is told when it opens a database that another
// one has.
func refusal(t *testing.T, path string) string {
	t.Helper()
	err := sqlstore.SQLite(path, keyring(t)).Open(t.Context())
	if !errors.Is(err, sqlstore.ErrInUse) {
		t.Fatalf("%s was opened, or fails in another way: %v", path, err)
	}
	return err.Error()
}

// wantRefusal checks that what a process is told names the one that has the
// database.
func wantRefusal(t *testing.T, says, path string, pid int) {
	t.Helper()
	want := fmt.Sprintf("%s is in use by process %d (started %d-", path, pid, time.Now().Year())
	if !strings.HasPrefix(says, want) || !strings.HasSuffix(says, "); stop it first") {
		t.Fatalf("%s\nwant %s...", says, want)
	}
}

// TestOneProcess: a second process is refused, whatever path it takes to the
// file; two processes shared the tokens and did not know of each other. After
// the first one has ended, whether it was killed or not, the next one is let
// in.
func TestOneProcess(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "data", "tokens.db")
	for _, link := range [][2]string{{"data", filepath.Join(dir, "linked")}, {path, filepath.Join(dir, "other.db")}} {
		if err := os.Symlink(link[0], link[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	// The link to a file that does not exist yet is the hardest.
	first, says := startHolder(t, dir, "other.db")
	if says != "open" {
		t.Fatal(says)
	}
	for _, way := range []string{path, filepath.Join(dir, "linked", "tokens.db"), filepath.Join(dir, "other.db")} {
		wantRefusal(t, refusal(t, way), path, first.cmd.Process.Pid)
	}
	_, says = startHolder(t, filepath.Join(dir, "linked"), "tokens.db")
	wantRefusal(t, says, path, first.cmd.Process.Pid)

	first.kill()
	second, says := startHolder(t, dir, path)
	if says != "open" {
		t.Fatalf("after a kill: %s", says)
	}
	wantRefusal(t, refusal(t, path), path, second.cmd.Process.Pid)
	if err := second.stop.Close(); err != nil {
		t.Fatal(err)
	}
	if says, err := second.out.ReadString('\n'); err != nil || strings.TrimSpace(says) != "<nil>" {
		t.Fatalf("%q, %v", says, err)
	}
	openSQLite(t, path, keyring(t))
	_, says = startHolder(t, dir, path)
	wantRefusal(t, says, path, os.Getpid())
}

// TestReloadIsOneProcess: while a configuration is reloaded, two stores of one
// process have the file open. Other processes stay out until both are closed.
func TestReloadIsOneProcess(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "tokens.db"), filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	before := openSQLite(t, path, keyring(t))
	for _, way := range []string{path, link, path} {
		after := openSQLite(t, way, keyring(t))
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		if _, says := startHolder(t, dir, path); !strings.Contains(says, fmt.Sprint("is in use by process ", os.Getpid())) {
			t.Fatalf("in the middle of a reload: %s", says)
		}
		before = after
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	if _, says := startHolder(t, dir, path); says != "open" {
		t.Fatal(says)
	}
}

// TestFailedOpenLeavesNoLock: a process that could not open the database does
// not keep others from it.
func TestFailedOpenLeavesNoLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.db")
	s := openSQLite(t, path, keyring(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{8}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	put := func(text []byte) func() error { return func() error { return os.WriteFile(path, text, 0o600) } }
	for _, c := range []struct {
		name string
		do   func() error
		keys *tokenstore.Keyring
	}{
		{"another key", put(whole), other},
		{"no database", put(bytes.Repeat([]byte("no database "), 100)), keyring(t)},
		{"a directory", func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, keyring(t)},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if err := sqlstore.SQLite(path, c.keys).Open(t.Context()); err == nil {
			t.Fatalf("%s: it was opened", c.name)
		}
		next, says := startHolder(t, dir, path)
		if strings.Contains(says, "in use") {
			t.Errorf("%s: %s", c.name, says)
		}
		next.kill()
	}
}

// TestLockCannotBeMade: the reason is said where the file beside the database
// cannot be made.
func TestLockCannotBeMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.Mkdir(path+".lock", 0o700); err != nil {
		t.Fatal(err)
	}
	err := sqlstore.SQLite(path, keyring(t)).Open(t.Context())
	if !errors.Is(err, tokenstore.ErrUnavailable) || !strings.Contains(err.Error(), "tokens.db.lock") {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the database was made all the same")
	}
}
