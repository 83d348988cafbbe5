//go:build unix

package sources

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe into which nobody writes held the start for ever.
func TestPipeIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fileField(t, path).Load(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "is no regular file") {
		t.Errorf("%v", err)
	}
}
