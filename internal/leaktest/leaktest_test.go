package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What ends later than goleak waits is no leak.
func TestSlowEndIsNoLeak(t *testing.T) {
	before := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	if goleak.Find(before) == nil {
		t.Fatal("a goroutine that does not end is not found")
	}
	time.AfterFunc(time.Second, func() { close(end) })
	VerifyNone(t, before)
}
