//go:build unix

package caddymodule

import (
	"errors"
	"os"
	"syscall"
)

// fileOwner is the user to whom a file belongs.
type fileOwner uint32

func ownerOf(info os.FileInfo) fileOwner {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileOwner(stat.Uid)
	}
	return 0
}

// ownUser is whoever runs this process.
func ownUser() fileOwner { return fileOwner(os.Geteuid()) } // #nosec G115 -- the system's numbers have 32 bits

// isRunning reports whether there is a process of that number, whoever's it is.
func isRunning(pid int) bool {
	return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
