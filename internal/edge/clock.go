package edge

import "time"

var started = time.Now()

// NewClock is the clock by which the tokens of an edge end: it begins with the
// machine's, and is not set with it. So a clock that is wrong, or that is set while a
// token lives, makes no token live longer or shorter.
func NewClock() func() time.Time { return newClock(time.Now, sinceBoot) }

func newClock(wall func() time.Time, since func() time.Duration) func() time.Time {
	first, from := wall().Round(0), since()
	return func() time.Time { return first.Add(since() - from) }
}
