//go:build unix

package sources

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

// script makes a command of a shell script, which is the only shell there is.
func script(t *testing.T, body string, args ...string) *Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "command")
	write(t, path, "#!/bin/sh\n"+body+"\n")
	if err := os.Chmod(path, 0o700); err != nil { // #nosec G302 -- it is run
		t.Fatal(err)
	}
	return &Command{Args: append([]string{path}, args...)}
}

func TestWhatACommandPrints(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for output, want := range map[string]struct {
		text  string
		fresh time.Duration
	}{
		`plain`:                                 {"plain", DefaultCache},
		`{"private_key": "of a JSON document"}`: {`{"private_key": "of a JSON document"}`, DefaultCache},
		`{"value": "v"}`:                        {"v", DefaultCache},
		`{"value": "v", "expires_in": 90.5}`:    {"v", 90*time.Second + 500*time.Millisecond},
		`{"value": "v", "expires_at": "2026-01-01T01:00:00+00:30"}`:   {"v", 30 * time.Minute},
		fmt.Sprintf(`{"value": "v", "expires_at": %d}`, now.Unix()+7): {"v", 7 * time.Second},
	} {
		c := script(t, `printf '%s\n' "$1"`, output)
		c.Now = func() time.Time { return now }
		v, err := c.Read(t.Context())
		if err != nil || v.Text.Reveal() != want.text || v.Fresh != want.fresh || v.Lease != want.fresh {
			t.Errorf("%s: %q %v, %v", output, v.Text.Reveal(), v, err)
		}
	}
	c := script(t, "echo plain")
	c.Cache = time.Minute
	if v, err := c.Read(t.Context()); err != nil || v.Fresh != time.Minute {
		t.Errorf("%v, %v", v, err)
	}
}

func TestCommandWithoutAValue(t *testing.T) {
	for body, want := range map[string]string{
		`echo canary; echo canary >&2; exit 3`:        "the command ended with exit status 3",
		`kill -9 $$`:                                  "the command ended with signal: killed",
		`echo`:                                        "the command printed nothing",
		`head -c 70000 /dev/zero`:                     "the command printed more than 64 KiB",
		`while :; do echo canary; done`:               "the command printed more than 64 KiB",
		`echo '{"value": ""}'`:                        "the command printed an empty value",
		`echo '{"value": "canary", "expires_in": 0}'`: "the command printed a value that has ended",
		`echo '{"value": "canary", "expires_at": "2001-01-01T00:00:00Z"}'`: "the command printed a value that has ended",
		`echo '{"value": "canary", "expires_at": "canary"}'`:               "the command printed an expires_at that is neither RFC 3339 nor seconds since 1970",
		`echo '{"value": "canary", "expires_at": 1, "expires_in": 1}'`:     "the command printed both expires_at and expires_in",
	} {
		v, err := script(t, body).Read(t.Context())
		if err == nil || err.Error() != want || v.Text != "" {
			t.Errorf("%s: %v", body, err)
		}
	}
	c := &Command{Args: []string{filepath.Join(t.TempDir(), "none")}}
	if _, err := c.Read(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "the command does not run: ") {
		t.Errorf("%v", err)
	}
}

// No shell reads the arguments, and the command sees no variable but a few harmless ones.
func TestArgumentsAndEnvironmentOfACommand(t *testing.T) {
	t.Setenv("CANARY_TOKEN", "canary")
	argument := "$(echo run) `echo run` ; $HOME *"
	v, err := script(t, `echo "$1"; env`, argument).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := v.Text.Reveal()
	if !strings.HasPrefix(text, argument+"\n") || strings.Contains(text, "canary") || !strings.Contains(text, "PATH="+os.Getenv("PATH")) {
		t.Errorf("%s", text)
	}
}

// A command that hangs is killed at the end of its time, with what it has started.
func TestCommandIsKilledWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	c := script(t, `sleep 600 & echo $! $$ > "$1"; wait`, pids)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := c.Read(ctx); done <- err }()
	var text []byte
	waitFor(t, func() bool { text, _ = os.ReadFile(pids); return strings.HasSuffix(string(text), "\n") })
	cancel()
	if err := <-done; err == nil {
		t.Error("it gave a value")
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return !isAlive(pid) })
	}
}

// isAlive reports whether a process is there, and no zombie.
func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	return !strings.Contains(string(stat), ") Z ")
}

// A command that leaves somebody behind does not hang, not even if he holds its output.
// Who was left is killed, however the command ended.
func TestCommandThatLeavesAChild(t *testing.T) {
	for body, isValue := range map[string]bool{
		`sleep 600 & echo $! > "$1"; echo value`:                          false,
		`sleep 600 > /dev/null & echo $! > "$1"; echo value`:              true,
		`sleep 600 > /dev/null & echo $! > "$1"; exit 3`:                  false,
		`sleep 600 > /dev/null & echo $! > "$1"; head -c 70000 /dev/zero`: false,
	} {
		pids := filepath.Join(t.TempDir(), "pids")
		if _, err := script(t, body, pids).Read(t.Context()); (err == nil) != isValue {
			t.Errorf("%s: %v", body, err)
		}
		text, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return !isAlive(pid) })
	}
}

// However many want the value, one run is under way at a time.
func TestOneRunAtATime(t *testing.T) {
	dir := t.TempDir()
	c := script(t, `mkdir "$1/lock" || echo twice > "$1/twice"; sleep 0.05; rmdir "$1/lock"; echo '{"value": "v", "expires_in": 0.001}'`, dir)
	memory := NewMemory()
	done := make(chan struct{})
	const callers = 8
	for range callers {
		f := NewField(c, memory, zap.NewNop(), nil)
		t.Cleanup(f.Close)
		go func() { defer func() { done <- struct{}{} }(); _, _ = f.Value(context.Background()) }()
	}
	for range callers {
		<-done
	}
	if _, err := os.Stat(filepath.Join(dir, "twice")); err == nil {
		t.Error("two runs at a time")
	}
}

func TestCheckCommand(t *testing.T) {
	for want, c := range map[string]Command{
		"needs a command": {}, "must be absolute": {Args: []string{"cat"}},
		"cache is out of range": {Args: []string{"/bin/cat"}, Cache: -1}, "at most a minute": {Args: []string{"/bin/cat"}, Limit: time.Hour},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
