// Package testserver starts private instances of the installed database
// programs for tests: on free loopback ports, in temporary directories, once
// per test process. They end with it, however it ends.
//
// A missing program fails the test; it is never skipped.
package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the start of a server. It is generous: machines that
// run many tests at once are slow.
const startTimeout = 5 * time.Minute

// Server is one running program. Faults are made with Kill, Stop, Cont and
// Restart; a test that makes one leaves the server running and answering,
// because the next test shares it.
type Server struct {
	name  string
	dir   string
	addr  string
	args  []string // program and arguments
	ready func(ctx context.Context, s *Server) error
	alive *os.File // what the watchdog waits for the end of

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process was reaped
}

// Addr is the server's host:port.
func (s *Server) Addr() string { return s.addr }

// Dir is the directory of the server's data.
func (s *Server) Dir() string { return filepath.Join(s.dir, "data") }

// PID is the process id of the running server.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Kill ends the server with SIGKILL and waits until it is gone. The server
// runs again when the test ends.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() { s.Restart(tb) })
	s.signal(tb, syscall.SIGKILL)
	<-s.exited()
}

// Stop pauses the server with SIGSTOP: connections stay open, nothing
// answers. It goes on when the test ends.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	tb.Cleanup(func() { s.Restart(tb) })
	s.signal(tb, syscall.SIGSTOP)
}

// Cont lets a stopped server go on.
func (s *Server) Cont(tb testing.TB) {
	tb.Helper()
	s.signal(tb, syscall.SIGCONT)
}

// Restart makes sure that the server runs and answers, with the data that it
// had: a stopped one goes on, a killed one is started again.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	select {
	case <-s.exited():
		if err := s.start(); err != nil {
			tb.Fatal(err)
		}
	default:
		s.signal(tb, syscall.SIGCONT)
		if err := s.wait(); err != nil {
			tb.Fatal(err)
		}
	}
}

func (s *Server) signal(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("%s: %v: %v", s.name, sig, err)
	}
}

func (s *Server) exited() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// startTries bounds the attempts to start a server: the address that was free
// when it was chosen may be taken by the time that the server wants it.
const startTries = 3

// firstStart starts a new server on an address that configure is told of;
// where it ends at once, on another one.
func (s *Server) firstStart(configure func(addr, port string)) error {
	var failed error
	for range startTries {
		port, err := freePort()
		if err != nil {
			return err
		}
		configure(address(port), strconv.Itoa(port))
		if err := s.start(); err == nil {
			return nil
		} else if failed = errors.Join(failed, err); !errors.Is(err, errEnded) {
			return failed
		}
	}
	return failed
}

// errEnded: the server ended while it was waited for.
var errEnded = errors.New("ended at its start")

// start starts the process and waits until it answers.
func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.Background(), s.args[0], s.args[1:]...) // #nosec G204 -- fixed programs
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	pid := []byte(strconv.Itoa(cmd.Process.Pid))
	if err := os.WriteFile(filepath.Join(s.dir, "server.pid"), pid, 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // its end is what the tests are about
	}()
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	return s.wait()
}

// wait polls until the server answers.
func (s *Server) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ready(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.exited():
			return fmt.Errorf("%s %w:\n%s", s.name, errEnded, s.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", s.name, err, s.tail())
		}
	}
}

// tail is the end of the server's log.
func (s *Server) tail() []byte {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return text[max(0, len(text)-2000):]
}

// find looks for a program; system programs are often outside of PATH.
func find(tb testing.TB, program string) string {
	tb.Helper()
	for _, candidate := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path
		}
	}
	tb.Fatalf("%s is not installed: run scripts/install-test-servers", program)
	return ""
}
