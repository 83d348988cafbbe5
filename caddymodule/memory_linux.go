package caddymodule

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// protectMemory keeps what stands in the memory of the process away from the
// disk and from debuggers. Secrets and tokens are in it in clear, and a core
// dump is a copy that outlives them.
//
// The limit alone is not enough: the kernel ignores it where core_pattern is a
// program. A process that is not dumpable is dumped to no program either, and
// others of its user can neither trace it nor read its memory (ptrace(2)).
func protectMemory() error {
	var errs []error
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("RLIMIT_CORE: %w", err))
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("PR_SET_DUMPABLE: %w", err))
	}
	return errors.Join(errs...)
}
