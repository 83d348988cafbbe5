package testserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// watch kills the server whose id stands in its file and removes the
// directory, as soon as its standard input ends.
const watch = `read -r _
kill -9 "$(cat "$1/server.pid")" 2>/dev/null
rm -rf "$1" || { sleep 1; rm -rf "$1"; }`

// newDir makes a directory for a server, with its data directory, and a
// watchdog over it: a process that holds the reading end of a pipe of ours.
// The kernel closes the other end when this process ends, even by SIGKILL,
// and without any help of TestMain. The caller keeps that end: a file that
// nobody refers to is closed by the garbage collector.
func newDir(name string) (string, *os.File, error) {
	dir, err := os.MkdirTemp("", "testserver-"+name+"-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		return "", nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = r.Close() }()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", watch, "watchdog", dir) // #nosec G204 -- our own script
	cmd.Stdin = r
	// A group of its own: an interrupt from the terminal must not end it
	// before it has done its work.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("watchdog: %w", err)
	}
	return dir, w, nil
}
