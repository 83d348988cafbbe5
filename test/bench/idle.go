package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

const (
	// idleBelow is how many processors other work may use on a machine that counts
	// as idle, over idleSpan. The load average would tell of the last minutes, in
	// which this program itself was at work.
	idleBelow = 0.5
	idleSpan  = 5 * time.Second
)

// awaitIdle waits until the machine has nothing else to do, as long as -patience
// says, and returns how many processors were busy in the end.
func (b *bench) awaitIdle(ctx context.Context) (busy float64, err error) {
	for deadline := time.Now().Add(b.patience); ; {
		if busy, err = busyProcessors(ctx); err != nil || busy < idleBelow || time.Now().After(deadline) {
			return busy, err
		}
		log.Printf("other work keeps %.1f processors busy", busy)
	}
}

// busyProcessors is how many processors were at work in the last idleSpan.
func busyProcessors(ctx context.Context) (float64, error) {
	idle, all, err := processorTime()
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(idleSpan):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	idleNow, allNow, err := processorTime()
	if err != nil || allNow == all {
		return 0, errors.Join(err, ctx.Err())
	}
	return float64(runtime.NumCPU()) * (1 - float64(idleNow-idle)/float64(allNow-all)), nil
}

// processorTime is the time of all processors since the start of the machine, and
// what of it they were idle or waited for a disk (proc(5), /proc/stat).
func processorTime() (idle, all int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	const user, idleField, waitField, steal = 1, 4, 5, 8
	if len(fields) <= steal {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i := user; i <= steal; i++ { // guest time, behind it, is in the user's
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		all += n
		if i == idleField || i == waitField {
			idle += n
		}
	}
	return idle, all, nil
}
