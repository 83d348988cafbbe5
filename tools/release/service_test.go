package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serviceUser is from the numbers that systemd gives to dynamic users.
const serviceUser = 61184

// service runs the installed program as systemd would run its unit: in the
// installed root, as a user that nobody has, with the unit's own lines.
type service struct {
	*debian
	unit   string
	notify *net.UnixConn
	cmd    *exec.Cmd
	log    bytes.Buffer
}

// setting is the value of a line of the unit.
func (s *service) setting(name string) string {
	s.t.Helper()
	_, rest, found := strings.Cut(s.unit, "\n"+name+"=")
	value, _, _ := strings.Cut(rest, "\n")
	if !found {
		s.t.Fatalf("the unit has no %s", name)
	}
	return value
}

// directory makes a directory of the service, as StateDirectory= and the like do.
func (s *service) directory(name, mode string) {
	s.t.Helper()
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err == nil {
		err = os.MkdirAll(s.path(name), 0o755)
	}
	if err == nil {
		err = os.Chmod(s.path(name), os.FileMode(bits))
	}
	if err == nil {
		err = os.Chown(s.path(name), serviceUser, serviceUser)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// newService prepares what systemd prepares before it starts the unit.
func newService(t *testing.T) *service {
	t.Helper()
	s := &service{debian: newDebian(t)}
	s.install()
	s.unit = s.read("usr/lib/systemd/system/caddy-tokens.service")
	s.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644)

	// (systemd keeps /var/lib/private closed, and mounts the one directory that
	// the service may see.)
	s.directory("var/lib/private/"+s.setting("StateDirectory"), s.setting("StateDirectoryMode"))
	if err := os.Symlink("private/"+s.setting("StateDirectory"), s.path("var/lib/"+s.setting("StateDirectory"))); err != nil {
		t.Fatal(err)
	}
	s.directory("run/"+s.setting("RuntimeDirectory"), s.setting("RuntimeDirectoryMode"))
	name, source, _ := strings.Cut(s.setting("LoadCredential"), ":")
	s.directory("run/credentials/caddy-tokens.service", "0500")
	s.write("run/credentials/caddy-tokens.service/"+name, s.read(source), 0o400)
	if err := os.Chown(s.path("run/credentials/caddy-tokens.service/"+name), serviceUser, serviceUser); err != nil {
		t.Fatal(err)
	}

	var err error
	if s.notify, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path("run/notify"), Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.notify.Close() })
	if err := os.Chmod(s.path("run/notify"), 0o777); err != nil {
		t.Fatal(err)
	}
	return s
}

// command is a command line within the root. As the service it has the service's
// user and environment; else it is what root types.
func (s *service) command(line string, isService bool) *exec.Cmd {
	s.t.Helper()
	words := strings.Fields(line)
	cmd := &exec.Cmd{
		Path: words[0], Args: words, Dir: "/", Env: []string{"PATH=/usr/bin", "HOME=/root"},
		SysProcAttr: &syscall.SysProcAttr{Chroot: s.root},
	}
	if isService {
		cmd.Dir = s.setting("WorkingDirectory")
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: serviceUser, Gid: serviceUser}
		cmd.Env = append([]string{"PATH=/usr/bin", "NOTIFY_SOCKET=/run/notify", "CREDENTIALS_DIRECTORY=/run/credentials/caddy-tokens.service"},
			strings.Fields(s.setting("Environment"))...)
		for line := range strings.Lines(s.read(strings.TrimPrefix(s.setting("EnvironmentFile"), "-"))) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				cmd.Env = append(cmd.Env, line)
			}
		}
	}
	return cmd
}

// start starts the service. Its umask is that of the unit.
func (s *service) start() {
	s.t.Helper()
	mask, err := strconv.ParseInt(s.setting("UMask"), 8, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = s.command(s.setting("ExecStart"), true)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	before := syscall.Umask(int(mask))
	err = s.cmd.Start()
	syscall.Umask(before)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if s.t.Failed() {
			s.t.Logf("the log of the service:\n%s", &s.log)
		}
	})
}

// told waits until the service tells systemd of a state.
func (s *service) told(state string) {
	s.t.Helper()
	if err := s.notify.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	for buffer := make([]byte, 4096); ; {
		n, err := s.notify.Read(buffer)
		if err != nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
			s.t.Fatalf("the service never told %s: %v\n%s", state, err, &s.log)
		}
		if strings.TrimSpace(string(buffer[:n])) == state {
			return
		}
	}
}

// run runs what root types, and returns what it prints.
func (s *service) run(line string) string {
	s.t.Helper()
	out, err := s.command(line, false).CombinedOutput()
	if err != nil {
		s.t.Errorf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// get returns the status and the body of an answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
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

// practice is a provider and its API, which shows the token that arrived.
func practice(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			_, _ = fmt.Fprint(w, r.URL.Query().Get("access_token"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token": "token-for-%s", "expires_in": 7200}`, r.URL.Query().Get("secret"))
	}))
	t.Cleanup(server.Close)
	return server
}

// TestDebRunsAsItsUnit: the installed program serves with the installed
// configuration, as the unit's user, keeps its data where only that user can read
// it, reloads, and stops when it is asked to; root's commands find it.
func TestDebRunsAsItsUnit(t *testing.T) {
	s := newService(t)
	proxy, admin, provider := freePort(t), freePort(t), practice(t)
	// The configuration of the package, on ports that are free here, with one realm
	// whose secret is in the environment.
	realm := "\n\t\trealm practice {\n\t\t\tapi " + provider.URL + "\n\t\t\tfetch GET " + provider.URL + "/token {\n\t\t\t\tquery secret {secret.secret}\n\t\t\t}\n" +
		"\t\t\ttoken_path access_token\n\t\t\texpires_in_path expires_in\n\t\t\tinject query access_token\n\t\t\tsecret main {\n\t\t\t\tsecret {env.PRACTICE_SECRET}\n\t\t\t}\n\t\t}\n"
	const here = "storage sqlite tokens.db\n"
	config := strings.NewReplacer(here, here+realm, "\n:8080 {", "\n:"+proxy+" {", "\n:8081 {", "\n:"+admin+" {").Replace(s.read("etc/caddy-tokens/Caddyfile"))
	s.write("etc/caddy-tokens/Caddyfile", config, 0o644)
	s.write("etc/caddy-tokens/environment", s.read("etc/caddy-tokens/environment")+"PRACTICE_SECRET=of-the-environment\n", 0o600)

	s.start()
	s.told("READY=1")
	if status, body := get(t, "http://127.0.0.1:"+proxy+"/practice/main/hello"); status != http.StatusOK || body != "token-for-of-the-environment" {
		t.Errorf("the proxied call: %d %s", status, body)
	}
	if status, body := get(t, "http://127.0.0.1:"+admin+"/api/status"); status != http.StatusForbidden {
		t.Errorf("the API without the admin token: %d %s", status, body)
	}
	for path, want := range map[string]string{"/readyz": "ready", "/": "<div id=\"root\">"} {
		if status, body := get(t, "http://127.0.0.1:"+admin+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	// The commands find the service and its admin token by themselves.
	if out := s.run("/usr/bin/caddy-tokens status"); !strings.Contains(out, `"realm": "practice"`) || !strings.Contains(out, `"state": "live"`) {
		t.Errorf("status, as root: %s", out)
	}
	if out := s.run("/usr/bin/caddy-tokens keys rotate"); !strings.Contains(out, `"in_use"`) && !strings.Contains(out, `"state"`) {
		t.Errorf("keys rotate, as root: %s", out)
	}

	for name, want := range map[string]os.FileMode{
		"var/lib/private/caddy-tokens": 0o700 | os.ModeDir, "var/lib/caddy-tokens/caddy/tokens.db": 0o600, "var/lib/caddy-tokens/caddy/tokens.admin": 0o600,
	} {
		info, err := os.Stat(s.path(name))
		if err != nil || info.Mode() != want || info.Sys().(*syscall.Stat_t).Uid != serviceUser {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(s.path("var/lib/caddy-tokens/caddy/tokens.key")); err == nil {
		t.Error("a key lies beside the database, although the unit has one")
	}

	reload := s.command(s.setting("ExecReload"), true)
	if out, err := reload.CombinedOutput(); err != nil {
		t.Errorf("reload: %v\n%s", err, out)
	}
	s.told("RELOADING=1")
	s.told("READY=1")
	if status, body := get(t, "http://127.0.0.1:"+proxy+"/practice/main/hello"); status != http.StatusOK {
		t.Errorf("after the reload: %d %s", status, body)
	}

	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.told("STOPPING=1")
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it does not stop cleanly: %v\n%s", err, &s.log)
	}
	s.dpkg("--purge", "caddy-tokens")
	for _, name := range s.left() {
		if strings.Contains(name, "caddy-tokens") && !strings.HasPrefix(name, "run/") { // systemd empties /run
			t.Errorf("a purge leaves %s", name)
		}
	}
}
