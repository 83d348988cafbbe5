package edge

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the time since the machine was started: it goes on while the machine
// is suspended, and nobody sets it.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started) // an old kernel
	}
	return time.Duration(t.Nano())
}
