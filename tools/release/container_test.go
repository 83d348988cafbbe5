package main

import (
	"bytes"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// container is an unpacked image whose programs run as an engine would run them:
// in its root, as its user, with its environment and nothing else. The network is
// that of the machine.
type container struct {
	t      *testing.T
	root   string
	config v1.Config
	log    bytes.Buffer
	// running is the program of the container, and ended is closed at its end.
	running *exec.Cmd
	ended   chan struct{}
}

func newContainer(t *testing.T) *container {
	t.Helper()
	image := imageOf(t, linuxHere())
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	root, _ := rootFS(t, image)
	c := &container{t: t, root: root, config: config.Config}
	t.Cleanup(func() {
		if c.running != nil {
			_ = c.running.Process.Kill()
			<-c.ended
		}
		if t.Failed() {
			t.Logf("the log of the container:\n%s", &c.log)
		}
	})
	// An engine adds this one.
	if err := os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

// command runs a program in the container.
func (c *container) command(words ...string) *exec.Cmd {
	path := words[0]
	if !filepath.IsAbs(path) {
		path = "/usr/bin/" + path // PATH
	}
	return &exec.Cmd{
		Path: path, Args: words, Dir: c.config.WorkingDir, Env: c.config.Env,
		SysProcAttr: &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: imageUser, Gid: imageUser}},
	}
}

// entry is what the container starts.
func (c *container) entry() *exec.Cmd {
	return c.command(append(c.config.Entrypoint, c.config.Cmd...)...)
}

// mountVolume puts an empty volume in the place of /data.
func (c *container) mountVolume(owner int) {
	c.t.Helper()
	data := filepath.Join(c.root, "data")
	err := os.RemoveAll(data)
	if err == nil {
		err = os.Mkdir(data, 0o755)
	}
	if err == nil {
		err = os.Chown(data, owner, owner)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// exec is docker exec: as the image's user, with text as its input.
func (c *container) exec(input string, words ...string) string {
	c.t.Helper()
	cmd := c.command(words...)
	var complaints bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &complaints
	out, err := cmd.Output()
	if err != nil {
		c.t.Errorf("%v: %v\n%s%s", words, err, out, &complaints)
	}
	return string(out)
}

// start starts the container, and waits until its health check is content.
func (c *container) start() {
	c.t.Helper()
	c.running, c.ended = c.entry(), make(chan struct{})
	c.running.Stdout, c.running.Stderr = &c.log, &c.log
	if err := c.running.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(c.running, c.ended)
	for c.command(c.config.Healthcheck.Test[1:]...).Run() != nil {
		select {
		case <-c.ended:
			c.t.Fatalf("it does not start:\n%s", &c.log)
		default:
		}
	}
}

// stop sends a signal, and waits for the end.
func (c *container) stop(signal syscall.Signal) *os.ProcessState {
	c.t.Helper()
	if err := c.running.Process.Signal(signal); err != nil {
		c.t.Fatal(err)
	}
	<-c.ended
	return c.running.ProcessState
}

// TestContainerOnARootsVolume: a volume that the program's user cannot write is an
// error that says so, and whose it has to be.
func TestContainerOnARootsVolume(t *testing.T) {
	c := newContainer(t)
	c.mountVolume(0)
	out, err := c.entry().CombinedOutput()
	for _, want := range []string{"/data/Caddyfile is not there", "/data/caddy: permission denied", "user 65532 of group 65532", "chown"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, and no %q in\n%s", err, want, out)
		}
	}
	// What an engine makes of a file that is mounted, and not there.
	c.mountVolume(imageUser)
	if err := os.Mkdir(filepath.Join(c.root, "data/Caddyfile"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := c.entry().CombinedOutput(); err == nil || !strings.Contains(string(out), "/data/Caddyfile is a directory") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestContainerOnAnEmptyVolume: the first start writes the default Caddyfile, and
// takes its ports from it.
func TestContainerOnAnEmptyVolume(t *testing.T) {
	c := newContainer(t)
	c.mountVolume(imageUser)
	c.startOnTakenPorts()
}

// startOnTakenPorts starts the container where somebody listens on the ports of the
// default Caddyfile: the start ends there, and has written the file.
func (c *container) startOnTakenPorts() {
	c.t.Helper()
	for _, address := range []string{":8080", ":8081"} {
		if l, err := net.Listen("tcp", address); err == nil { // else somebody else has it
			defer l.Close()
		}
	}
	out, err := c.entry().CombinedOutput()
	if err == nil || !strings.Contains(string(out), "wrote the default configuration into /data/Caddyfile") || !strings.Contains(string(out), "address already in use") {
		c.t.Errorf("%v\n%s", err, out)
	}
	want, err := os.ReadFile("../../deploy/image/Caddyfile")
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.root, "data/Caddyfile")
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		c.t.Errorf("%v\n%s", err, got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 || info.Sys().(*syscall.Stat_t).Uid != imageUser {
		c.t.Errorf("%v, %v", info, err)
	}
}

// TestContainerRuns: the container serves with the default configuration, which the
// operator has changed; the commands in it find it; it reloads, is killed and
// starts again, and stops when it is asked to.
func TestContainerRuns(t *testing.T) {
	c := newContainer(t)
	proxy, admin, provider := freePort(t), freePort(t), practice(t)
	path := filepath.Join(c.root, "data/Caddyfile")
	config, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The provider of this test is on this machine.
	changed := strings.NewReplacer("\n:8080 {", "\n:"+proxy+" {", "\n:8081 {", "\n:"+admin+" {", "storage sqlite tokens.db\n", "storage sqlite tokens.db\n\t\tallow_private 127.0.0.1\n").Replace(string(config))
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	c.start()

	site := "http://127.0.0.1:" + admin
	for path, want := range map[string]string{"/readyz": "ready", "/": "<div id=\"root\">"} {
		if status, body := get(t, site+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := get(t, site+"/api/status"); status != http.StatusForbidden {
		t.Errorf("the API without the admin token: %d %s", status, body)
	}
	if out := c.exec("", "caddy", "tokens", "console"); !strings.Contains(out, "http://localhost:"+admin+"/#") {
		t.Errorf("no link to the console: %s", out)
	}

	c.exec(`{"id": "practice", "config": {"allow_http": true, "api": "`+provider.URL+`", "url": "`+provider.URL+`/token",
		"arguments": [{"place": "url", "name": "secret", "value": "{secret.secret}"}], "token_path": "access_token", "expires_in_path": "expires_in",
		"inject": [{"place": "url", "name": "access_token", "value": "{token}"}]}}`, "caddy", "tokens", "realm", "set")
	c.exec("secret=typed-in\n", "caddy", "tokens", "secret", "set", "practice", "main")
	key := strings.TrimSpace(c.exec("", "caddy-tokens", "client", "add", "billing", "--allow", "use practice"))
	call := func(key string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:"+proxy+"/practice/main/hello", nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := call(key); status != http.StatusOK || body != "token-for-typed-in" {
		t.Errorf("the proxied call: %d %s", status, body)
	}
	if status, body := call(""); status == http.StatusOK {
		t.Errorf("without a key: %s", body)
	}
	another := freePort(t)
	changed += "\n:" + another + " {\n\trespond reloaded\n}\n"
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	c.exec("", "caddy", "reload")
	if _, body := get(t, "http://127.0.0.1:"+another); body != "reloaded" {
		t.Errorf("after the reload: %s", body)
	}
	for name, want := range map[string]os.FileMode{
		"": os.ModeDir | 0o700, "tokens.db": 0o600, "tokens.key": 0o600, "tokens.admin": 0o600, "admin.sock": os.ModeSocket,
	} {
		info, err := os.Stat(filepath.Join(c.root, "data/caddy", name))
		if err != nil || info.Mode().Type() != want.Type() || want&0o700 != 0 && info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	// A socket and a lock that nobody holds are left by a kill.
	c.stop(syscall.SIGKILL)
	c.start()
	if status, body := call(key); status != http.StatusOK {
		t.Errorf("after another start: %d %s", status, body)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != changed {
		t.Errorf("a start changed the operator's Caddyfile (%v)", err)
	}
	if state := c.stop(syscall.SIGTERM); state.ExitCode() != 0 {
		t.Errorf("it does not stop cleanly: %v", state)
	}
	if err := c.command(c.config.Healthcheck.Test[1:]...).Run(); err == nil {
		t.Error("the health check is content with a container that has stopped")
	}
	c.checkWritten()
}

// checkWritten: what runs in the container writes into its volume only, so that its
// root file system may be read-only.
func (c *container) checkWritten() {
	c.t.Helper()
	err := filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == filepath.Join(c.root, "data") {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid == imageUser {
			c.t.Errorf("it writes %s", path)
		}
		return err
	})
	if err != nil {
		c.t.Error(err)
	}
}
