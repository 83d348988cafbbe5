package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSecondProcessIsRefused: a second instance on the database of the first
// one does not start, and says which process to stop. Both ran and shared the
// file, and with the same ports half of the calls reached the wrong one. Its
// configuration can be checked, and it starts when the first one was killed.
func TestSecondProcessIsRefused(t *testing.T) {
	c := config{tokens: "allow_private 127.0.0.1", proxy: gateway}
	first := launch(t, c.caddyfile)
	second := prepare(t, c.caddyfile, "XDG_DATA_HOME="+filepath.Join(first.dir, "data"))
	validate := exec.CommandContext(t.Context(), second.program, "validate", "--config", "Caddyfile") // #nosec G204 -- our own program
	validate.Dir, validate.Env = second.dir, append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + second.dir}, second.env...)
	if out, err := validate.CombinedOutput(); err != nil {
		t.Fatalf("a configuration cannot be checked beside a running one: %v\n%s", err, out)
	}
	second.spawn()
	second.waitEnd()
	want := fmt.Sprintf("tokens.db is in use by process %d (started ", first.cmd.Process.Pid)
	if code := second.cmd.ProcessState.ExitCode(); code == 0 || !bytes.Contains(second.log(), []byte(want)) {
		t.Fatalf("it ended with status %d and did not say that %s:\n%s", code, want, second.logTail())
	}
	if status, _ := first.try(first.admin + "/api/status"); status != 200 {
		t.Errorf("the first one answers %d", status)
	}
	first.kill()
	second.start()
}
