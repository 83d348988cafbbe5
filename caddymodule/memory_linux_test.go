package caddymodule

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMemoryIsProtected: secrets and tokens stand in the memory of the process
// in clear, and a core dump is a copy of it on the disk. Neither the limit nor
// the kernel may let one be written.
func TestMemoryIsProtected(t *testing.T) {
	dir, site := t.TempDir(), freeAddress(t)
	caddyfile := filepath.Join(dir, "Caddyfile")
	writeFile(t, caddyfile, fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n\ttokens\n}\nhttp://%s {\n\ttoken_admin {\n\t\tauth local\n\t}\n}\n", site))
	// The process begins with the largest limit that there may be, and Go
	// raises SIGABRT once more instead of exiting.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -c "$(ulimit -H -c)"; exec "$0"`, self) // #nosec G204 G702 -- this test itself
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), caddyfileEnv+"="+caddyfile, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "GOTRACEBACK=crash")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the admin API", func() bool {
		a, err := try(http.MethodGet, "http://"+site+"/api/status", "")
		return err == nil && a.StatusCode == http.StatusOK
	})
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Max core file size +0 +0 `).Match(limits) {
		t.Errorf("core dumps are possible:\n%s", limits)
	}
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed; the state says how
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGABRT || status.CoreDump() {
		t.Errorf("%v", cmd.ProcessState)
	}
	cores, err := filepath.Glob(filepath.Join(dir, "core*"))
	if err != nil || len(cores) != 0 {
		t.Errorf("%v %v", cores, err)
	}
	if !strings.Contains(stderr.String(), "no core dump") {
		t.Error("the log does not tell of it")
	}
}

// TestNobodyAttaches: a process that is not dumpable can be neither traced nor
// read by others of its user, whatever its limits are.
func TestNobodyAttaches(t *testing.T) {
	if err := protectMemory(); err != nil {
		t.Fatal(err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("%v %v", dumpable, err)
	}
}
