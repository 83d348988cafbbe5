package grant

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFailpoints kills a process at each place of a call; the provider says
// how far it came.
func TestFailpoints(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", "failpoints", "-o", child, "./testdata/child")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range []struct {
		failpoint                 string
		asked, answer, killed, ok bool
	}{
		{failpoint: "connected", killed: true},
		{failpoint: "request_written", asked: true, killed: true},
		{failpoint: "answer_begun", asked: true, answer: true, killed: true},
		{failpoint: "elsewhere", asked: true, answer: true, ok: true},
	} {
		t.Run(c.failpoint, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			asked := make(chan bool, 1)
			go serveOnce(l, c.answer, c.ok, asked)
			cmd := exec.CommandContext(t.Context(), child, "http://"+l.Addr().String()+"/t")
			cmd.Env = append(os.Environ(), "TOKENS_FAILPOINT="+c.failpoint)
			err = cmd.Run()
			var exit *exec.ExitError
			killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			if killed != c.killed || c.ok != (err == nil) {
				t.Errorf("ended with %v", err)
			}
			if got := <-asked; got != c.asked {
				t.Errorf("a request arrived: %v", got)
			}
		})
	}
}

// serveOnce serves one connection: it reads a request, answers with a header
// and perhaps a body, and waits for the client's end.
func serveOnce(l net.Listener, header, body bool, asked chan<- bool) {
	conn, err := l.Accept()
	if err != nil {
		asked <- false
		return
	}
	defer func() { _ = conn.Close() }()
	_, err = http.ReadRequest(bufio.NewReader(conn))
	if header {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
	}
	if body {
		_, _ = io.WriteString(conn, `{"t":"T"}`)
	}
	_, _ = io.Copy(io.Discard, conn)
	asked <- err == nil
}
