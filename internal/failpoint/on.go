//go:build failpoints && unix

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	name, nth = parse(os.Getenv("TOKENS_FAILPOINT"))
	file      = os.Getenv("TOKENS_FAILPOINT_FILE")
	passed    atomic.Int64
)

// parse reads "name" or "name:n". A number that is none is never reached: a
// test that waits for the end then fails.
func parse(s string) (name string, nth int64) {
	name, times, counted := strings.Cut(s, ":")
	if !counted {
		return name, 1
	}
	nth, _ = strconv.ParseInt(times, 10, 64)
	return name, nth
}

// Hit kills this process with SIGKILL where the environment names the place,
// and does not return then.
func Hit(at string) {
	switch armed() {
	case at:
		end(os.Kill)
	case pauseAt + at:
		_ = os.Remove(file) // once, and so that the test sees it
		end(syscall.SIGSTOP)
		return
	}
	if at == name && passed.Add(1) == nth {
		end(os.Kill)
	}
}

// pauseAt before the name of a place: the process is stopped there, and goes on
// with SIGCONT.
const pauseAt = "pause:"

// end sends this process a signal, and returns if it goes on.
func end(with os.Signal) {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Signal(with)
	}
	if with == os.Kill {
		select {}
	}
	time.Sleep(reaction) // another thread may get the signal
}

// reaction is well above what the kernel needs to stop all threads.
const reaction = 100 * time.Millisecond

// armed is what the file says now.
func armed() string {
	if file == "" {
		return ""
	}
	text, _ := os.ReadFile(file) // #nosec G304,G703 -- the test's own; it need not be there
	return string(text)
}
