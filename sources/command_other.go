//go:build !unix

package sources

import "os/exec"

// killWithChildren leaves it at the command itself: there are no process groups.
func killWithChildren(*exec.Cmd) {}

// killChildren leaves them alone, for the same reason.
func killChildren(*exec.Cmd) {}
