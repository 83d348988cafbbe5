package redisstore

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	clk := &clock{now: time.Unix(1_800_000_000, 0)}
	b := newBreaker(clk.Now)
	fail := func(want transition) {
		t.Helper()
		if !b.allow() {
			t.Fatal("not allowed")
		}
		if got := b.report(false); got != want {
			t.Fatalf("transition %d, want %d", got, want)
		}
	}
	fail(stayed)
	fail(stayed)
	if b.allow(); b.report(true) != stayed {
		t.Fatal("a success changed something")
	}
	fail(stayed) // the success counted: three in a row are needed
	fail(stayed)
	b.allow() // was let through before it opened
	fail(wentDown)
	if b.report(true) != stayed {
		t.Fatal("an answer from before closed it")
	}
	for _, pause := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second} {
		clk.Advance(pause - 1)
		if b.allow() {
			t.Fatalf("a probe before %v", pause)
		}
		clk.Advance(1)
		fail(stayed)
	}
	clk.Advance(maxPause)
	if !b.allow() || b.allow() {
		t.Fatal("not exactly one probe")
	}
	b.abstain()
	if !b.allow() {
		t.Fatal("a probe that proved nothing took the turn")
	}
	if b.report(true) != cameBack {
		t.Fatal("a probe that succeeded did not close it")
	}
	for range 2 {
		if !b.allow() {
			t.Fatal("not closed")
		}
	}
}
