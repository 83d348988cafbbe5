package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench holds what all comparisons share.
type bench struct {
	options
	dir    string
	module string // where the product's sources are
	binary string
	runs   int
}

// process is a started server.
type process struct {
	cmd  *exec.Cmd
	port int
}

// freePort asks the kernel for one.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // immediate
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start runs the binary with a Caddyfile and waits for the first answer.
func (b *bench) start(ctx context.Context, config, path, header string) (*process, time.Duration, error) {
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	b.runs++
	home := filepath.Join(b.dir, "home")
	file := filepath.Join(b.dir, fmt.Sprintf("Caddyfile.%d", b.runs))
	config = strings.ReplaceAll(config, "PORT", strconv.Itoa(port))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, 0, err
	}
	cmd := exec.CommandContext(ctx, b.binary, "run", "--adapter", "caddyfile", "--config", file) //nolint:gosec // built by us
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	p := &process{cmd: cmd, port: port}
	if err := p.await(ctx, path, header); err != nil {
		p.stop()
		return nil, 0, err
	}
	return p, time.Since(began), nil
}

func (p *process) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path) }

// await polls until the server answers 200.
func (p *process) await(ctx context.Context, path, header string) error {
	client := &http.Client{Timeout: 5 * time.Second}
	last := errors.New("no answer")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(path), nil)
		if err != nil {
			return err
		}
		if name, value, ok := strings.Cut(header, ": "); ok {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			last = err
			continue
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("HTTP %d: %s", resp.StatusCode, body)
	}
	return last
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// cpu is the processor time that the server, and its children, have used so far.
func (p *process) cpu() (time.Duration, error) {
	pid := p.cmd.Process.Pid
	all, err := cpuOf(strconv.Itoa(pid))
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		one, err := cpuOf(child)
		if err != nil {
			return 0, err
		}
		all += one
	}
	return all, nil
}

func cpuOf(pid string) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	// The second field, the name, may hold blanks; it ends with ")".
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}
