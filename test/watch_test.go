package test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// orphanEnv makes this test binary launch a node, tell its address and wait to
// be killed.
const orphanEnv = "TOKENS_ORPHAN"

// TestOrphan is the other side of TestNodeDiesWithTheTests.
func TestOrphan(t *testing.T) {
	if os.Getenv(orphanEnv) == "" {
		return
	}
	fmt.Println("ADMIN", launch(t, config{}.caddyfile).admin)
	<-make(chan struct{})
}

// Whoever kills the tests leaves no node behind.
func TestNodeDiesWithTheTests(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOrphan$") // #nosec G204,G702 -- this program
	cmd.Env = append(os.Environ(), orphanEnv+"=1", binaryEnv+"="+binary, "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	admin := ""
	for lines := bufio.NewScanner(out); admin == "" && lines.Scan(); {
		admin, _ = strings.CutPrefix(lines.Text(), "ADMIN ")
	}
	n := &node{t: t}
	n.get(admin+"/api/status", 200)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "the node is gone", func() bool {
		status, _ := n.try(admin + "/api/status")
		return status == 0
	})
}
