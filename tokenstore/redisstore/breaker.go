package redisstore

import (
	"sync"
	"time"
)

const (
	// tripAfter failures in a row, Redis is left alone.
	tripAfter = 3
	// firstPause is how long, at first; it doubles with each probe that fails.
	firstPause = 250 * time.Millisecond
	maxPause   = 10 * time.Second
)

// breaker keeps a dead or stopped Redis from costing its budget with every
// request: after some failures in a row only one probe at a time is let
// through, ever more rarely.
type breaker struct {
	now func() time.Time

	mu       sync.Mutex
	failures int
	pause    time.Duration // 0 while closed
	retryAt  time.Time
	probing  bool
}

// transition is what one result changed.
type transition int

const (
	stayed transition = iota
	wentDown
	cameBack
)

func newBreaker(now func() time.Time) *breaker { return &breaker{now: now} }

// allow reports whether an operation may be tried. When it says yes, report or
// abstain must follow.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return true
	}
	if b.probing || b.now().Before(b.retryAt) {
		return false
	}
	b.probing = true
	return true
}

// report notes how an operation ended. While the breaker is open only the
// probe counts: others were let through before it opened.
func (b *breaker) report(ok bool) transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause != 0 && !b.probing:
		return stayed
	case ok && b.pause == 0:
		b.failures = 0
		return stayed
	case ok:
		b.failures, b.pause, b.probing = 0, 0, false
		return cameBack
	case b.pause != 0:
		b.pause, b.probing = min(2*b.pause, maxPause), false
		b.retryAt = b.now().Add(b.pause)
		return stayed
	}
	if b.failures++; b.failures < tripAfter {
		return stayed
	}
	b.pause, b.retryAt = firstPause, b.now().Add(firstPause)
	return wentDown
}

// abstain ends an operation that proved nothing.
func (b *breaker) abstain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}
