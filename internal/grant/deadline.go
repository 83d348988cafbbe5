package grant

import (
	"context"
	"errors"
	"time"
)

const (
	// lateness of a deadline means that the process was stopped in between.
	lateness = time.Second / 2
	// reprieve is what an answer gets to be read that may have arrived
	// meanwhile.
	reprieve = time.Second
)

// withDeadline bounds a call. A process that was stopped (SIGSTOP, a paused
// machine) past the deadline may find the answer waiting when it goes on, and
// with it the only refresh token that lives: it is read, and not given up in
// the same instant. Nothing is sent any more then, see wire.
//
// The cause of the end is context.DeadlineExceeded.
func withDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	end := func() { cancel(context.DeadlineExceeded) }
	due := time.Now().Add(d)
	timer := time.AfterFunc(d, func() {
		if time.Since(due) > lateness {
			time.AfterFunc(reprieve, end)
			return
		}
		end()
	})
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}

// ranOut reports whether a call ended by its deadline, or that of its caller.
func ranOut(ctx context.Context) bool { return errors.Is(context.Cause(ctx), context.DeadlineExceeded) }
