package caddymodule

import (
	"testing"
	"time"
)

// waitFor polls a condition that must come true.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still waiting for %s after %s", what, patience)
		}
	}
}
