package failpoint_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// child builds testdata/child with the tags.
func child(t *testing.T, tags string) string {
	t.Helper()
	for _, source := range []string{"on.go", "off.go", "testdata/child/main.go"} {
		if _, err := os.Stat(source); err != nil { // also so that a change to it counts for go test's cache
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "child")
	build := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", file, "./testdata/child")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return file
}

// run returns what the child printed, without blanks, and whether it was
// killed.
func run(t *testing.T, file, failpoint string) (printed string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), file)
	cmd.Env = append(os.Environ(), "TOKENS_FAILPOINT="+failpoint)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, ok := exit.Sys().(syscall.WaitStatus)
		killed = ok && status.Signal() == syscall.SIGKILL
	}
	if err != nil && !killed {
		t.Fatalf("%s: %v", failpoint, err)
	}
	return strings.Join(strings.Fields(string(out)), " "), killed
}

func TestHit(t *testing.T) {
	file := child(t, "failpoints")
	for _, c := range []struct {
		failpoint, printed string
		killed             bool
	}{
		{"here", "", true},
		{"here:1", "", true},
		{"here:3", "1 2", true},
		{"other:2", "1", true},
		{"here:4", "1 2 3 deferred", false},
		{"here:x", "1 2 3 deferred", false},
		{"elsewhere", "1 2 3 deferred", false},
		{"", "1 2 3 deferred", false},
	} {
		if printed, killed := run(t, file, c.failpoint); printed != c.printed || killed != c.killed {
			t.Errorf("%q: printed %q, killed %v", c.failpoint, printed, killed)
		}
	}
}

// A file names the place while the program runs.
func TestHitByFile(t *testing.T) {
	file := child(t, "failpoints")
	t.Setenv("TOKENS_FAILPOINT_FILE", filepath.Join(t.TempDir(), "place"))
	if printed, killed := run(t, file, ""); printed != "1 2 3 deferred" || killed {
		t.Errorf("without the file: printed %q, killed %v", printed, killed)
	}
	if err := os.WriteFile(os.Getenv("TOKENS_FAILPOINT_FILE"), []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	if printed, killed := run(t, file, ""); printed != "" || !killed {
		t.Errorf("with the file: printed %q, killed %v", printed, killed)
	}
}

// A paused process goes on as if nothing had been.
func TestPause(t *testing.T) {
	place := filepath.Join(t.TempDir(), "place")
	if err := os.WriteFile(place, []byte("pause:here"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), child(t, "failpoints"))
	cmd.Env = append(os.Environ(), "TOKENS_FAILPOINT_FILE="+place)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("%v, %v", status, err)
	}
	if _, err := os.Stat(place); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A normal build has no such places, whatever the environment says.
func TestNormalBuild(t *testing.T) {
	if printed, killed := run(t, child(t, ""), "here"); printed != "1 2 3 deferred" || killed {
		t.Errorf("printed %q, killed %v", printed, killed)
	}
}
