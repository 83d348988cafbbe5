//go:build !linux

package edge

import "time"

// sinceBoot is the time since this process began, as far as nobody sets it.
func sinceBoot() time.Duration { return time.Since(started) }
