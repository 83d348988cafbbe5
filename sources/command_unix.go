//go:build unix

package sources

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killWithChildren lets the command run in a process group of its own, which is
// killed as a whole.
func killWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// killChildren kills what a command that ended has left behind. The system gives the id
// of the group to nobody else while a process is in it.
func killChildren(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
