package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// answerSize is the size of the upstream's JSON answer in bytes, that of the
// baselines.
const answerSize = 894

// upstreamProcess is the API behind the proxies, in a process of its own so
// that its processor time is not counted as theirs.
type upstreamProcess struct {
	cmd    *exec.Cmd
	http   string // host:port
	https  string // the same with TLS and HTTP/1.1
	https2 string // the same with TLS and HTTP/2
	ca     string // file with the certificates of both
}

// startUpstream runs this program again as the upstream.
func (b *bench) startUpstream(ctx context.Context) (*upstreamProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ready := filepath.Join(b.dir, "upstream")
	u := &upstreamProcess{ca: filepath.Join(b.dir, "ca.pem")}
	u.cmd = exec.CommandContext(ctx, self, "upstream", ready, u.ca) //nolint:gosec // ourselves
	u.cmd.Stderr = os.Stderr
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := u.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(ready); err == nil {
			where := strings.Split(string(text), "\n")
			u.http, u.https, u.https2 = where[0], where[1], where[2]
			return u, nil
		}
	}
	u.stop()
	return nil, fmt.Errorf("the upstream did not start")
}

func (u *upstreamProcess) stop() {
	_ = u.cmd.Process.Kill()
	_ = u.cmd.Wait()
}

// upstream serves http and https, and writes where, and the certificate, into
// the files that it is given.
func upstream(files []string) {
	answer := []byte(`{"data":"` + strings.Repeat("x", answerSize-len(`{"data":""}`)) + `"}`)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})
	secure, second := httptest.NewUnstartedServer(handler), httptest.NewUnstartedServer(handler)
	second.EnableHTTP2 = true
	for _, s := range []*httptest.Server{secure, second} {
		// A connection that the proxy gives up in its handshake is a line each.
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(files[1], cert, 0o600); err != nil {
		log.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // immediate
	if err != nil {
		log.Fatal(err)
	}
	where := plain.Addr().String() + "\n" + secure.Listener.Addr().String() + "\n" + second.Listener.Addr().String()
	if err := os.WriteFile(files[0]+".new", []byte(where), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(files[0]+".new", files[0]); err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	log.Fatal(server.Serve(plain))
}
