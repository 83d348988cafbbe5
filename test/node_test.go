package test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/testserver"
)

// patience bounds every wait for something that must happen. It is generous:
// no test depends on the speed of the machine.
const patience = 3 * time.Minute

// node is one running binary with a configuration of its own.
type node struct {
	t       testing.TB
	program string // the binary
	dir     string // HOME, XDG directories, working directory, Caddyfile, log
	env     []string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process was reaped

	// proxy and admin are the base URLs of its two sites.
	proxy string
	admin string
}

// launch runs the binary with a Caddyfile in a fresh directory until the test
// ends, and waits until both of its sites answer. The Caddyfile's sites listen on
// the ports that it was given.
func launch(t *testing.T, caddyfile func(proxyPort, adminPort int) string, env ...string) *node {
	t.Helper()
	n := prepare(t, caddyfile, env...)
	n.start()
	return n
}

// prepare is launch without the start.
func prepare(t testing.TB, caddyfile func(proxyPort, adminPort int) string, env ...string) *node {
	t.Helper()
	proxyPort, adminPort := testserver.FreePort(t), testserver.FreePort(t)
	n := &node{
		t: t, program: binary, dir: t.TempDir(), env: env,
		proxy: "http://127.0.0.1:" + strconv.Itoa(proxyPort),
		admin: "http://127.0.0.1:" + strconv.Itoa(adminPort),
	}
	text := []byte(caddyfile(proxyPort, adminPort))
	if err := os.WriteFile(filepath.Join(n.dir, "Caddyfile"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.stop)
	return n
}

// start starts the process, on the data that its directory holds, and waits
// until it answers. It has the variables beside its own this time only.
func (n *node) start(env ...string) {
	n.t.Helper()
	n.spawn(env...)
	n.waitReady()
}

// spawn is start without the waiting.
func (n *node) spawn(env ...string) {
	n.t.Helper()
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.Background(), n.program, "run", "--config", "Caddyfile") // #nosec G204 -- our own program
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir,
		"XDG_DATA_HOME=" + filepath.Join(n.dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(n.dir, "config"),
	}, slices.Concat(n.env, env)...)
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	endWatch := watch(n.t, cmd.Process.Pid)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in the log
		endWatch()
	}()
	n.cmd, n.done = cmd, done
}

// exampleAccount is what the status says of the account of Caddyfile.example once
// the server has logged in.
const exampleAccount = `"realm":"shop","key":"acme","state":"live"`

// waitReady waits until both sites answer. With the account of Caddyfile.example it
// also waits until the server has logged in: it does so at its start, perhaps before
// its own site with the practice provider listens, and until the next try whoever
// wants the token is told that the provider refused the connection.
func (n *node) waitReady() {
	n.t.Helper()
	config, err := os.ReadFile(filepath.Join(n.dir, "Caddyfile"))
	if err != nil {
		n.t.Fatal(err)
	}
	logsIn := bytes.Contains(config, []byte("\t\trealm shop {\n"))
	eventually(n.t, "the node answers", func() bool {
		select {
		case <-n.done:
			n.t.Fatalf("the node ended at its start:\n%s", n.logTail())
		default:
		}
		admin, state := n.try(n.admin + "/api/status")
		proxy, _ := n.try(n.proxy + "/") // the sites begin to listen one after the other
		return admin == 200 && proxy != 0 && (!logsIn || bytes.Contains(state, []byte(exampleAccount)))
	})
}

// kill ends the process with SIGKILL and waits until it is gone.
func (n *node) kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	<-n.done
}

// pause stops the process with SIGSTOP: its connections stay open, and its
// clock goes on without it.
func (n *node) pause() { n.signal(syscall.SIGSTOP) }

// resume lets a paused process go on.
func (n *node) resume() { n.signal(syscall.SIGCONT) }

func (n *node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatal(err)
	}
}

// isUp reports whether the process runs.
func (n *node) isUp() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// waitEnd waits until the process is gone by itself, as at a failpoint.
func (n *node) waitEnd() {
	n.t.Helper()
	select {
	case <-n.done:
	case <-time.After(patience):
		n.t.Fatalf("the node did not end:\n%s", n.logTail())
	}
}

// stop ends the process as an operator does, and by force if it does not obey.
func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	_ = n.cmd.Process.Signal(syscall.SIGCONT) // or paused
	select {
	case <-n.done:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-n.done
		n.t.Errorf("the node did not stop:\n%s", n.logTail())
	}
	if n.t.Failed() {
		n.t.Logf("log of the node:\n%s", n.logTail())
	}
}

func (n *node) logFile() string { return filepath.Join(n.dir, "log") }

func (n *node) log() []byte {
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		n.t.Error(err)
	}
	return text
}

func (n *node) logTail() []byte {
	text := n.log()
	return text[max(0, len(text)-8000):]
}

// watch kills a process when this one ends, however it ends: a shell waits for
// the end of a pipe whose other side only we hold.
func watch(t testing.TB, pid int) (end func()) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", `read -r _; kill -9 "$0"`, strconv.Itoa(pid)) // #nosec G204 -- our own script
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal must not end it
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = w.Close()
	}
}

// eventually polls until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	eventuallyBy(t, time.Now().Add(patience), what, holds)
}

// eventuallyBy is eventually for what takes its time.
func eventuallyBy(t testing.TB, deadline time.Time, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if now := <-tick.C; now.After(deadline) {
			t.Fatalf("it did not happen in time: %s", what)
		}
	}
}
