package test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
)

// TestSecondProcessIsRefused: a second instance on the database of the first
// one does not start, and says which process to stop. Both ran and shared the
// file, and with the same ports half of the calls reached the wrong one.
func TestSecondProcessIsRefused(t *testing.T) {
	c := config{tokens: "allow_private 127.0.0.1", proxy: gateway}
	first := launch(t, c.caddyfile)
	second := prepare(t, c.caddyfile, "XDG_DATA_HOME="+filepath.Join(first.dir, "data"))
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
