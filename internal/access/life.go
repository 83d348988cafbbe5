package access

import (
	"sync"
	"time"
)

// lifeCheck bounds how long a timer is trusted: the machine may sleep, or its
// clock be set.
const lifeCheck = time.Hour

// life is how long an identity of a client lasts. It goes from one table to the
// next as long as the identity stays, so that who waits for its end need not
// look at tables.
type life struct {
	now   func() time.Time
	ended chan struct{}

	mu      sync.Mutex
	over    bool
	waited  bool        // somebody waits for the end, or did
	expires int64       // in Unix nanoseconds; 0 for never
	timer   *time.Timer // nil where nobody waits or nothing expires
}

func newLife(now func() time.Time, expires int64) *life {
	return &life{now: now, ended: make(chan struct{}), expires: expires}
}

// wait returns the channel that is closed at the end. An expiry needs a timer
// only from now on.
func (l *life) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waited {
		l.waited = true
		l.armLocked()
	}
	return l.ended
}

// armLocked sets the timer, or ends the life if that is due.
func (l *life) armLocked() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.over || l.expires == 0 {
		return
	}
	// Keys that last for years have timers, too. They are set again and again,
	// so that a clock that was set, or a machine that slept, delays an end by an
	// hour at most.
	left := time.Duration(l.expires - l.now().UnixNano())
	if left <= 0 {
		l.endLocked()
		return
	}
	l.timer = time.AfterFunc(min(left, lifeCheck), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.armLocked()
	})
}

// renew sets another expiry, and reports false if the life is over already: a
// closed channel cannot be opened again, so that the identity needs a new life.
func (l *life) renew(expires int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.expires = expires
	if l.waited {
		l.armLocked()
	}
	return true
}

// end ends the life before its time, or again.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked()
}

func (l *life) endLocked() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if !l.over {
		l.over = true
		close(l.ended)
	}
}
