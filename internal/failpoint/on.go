//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
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
	if !armed(at) && (at != name || passed.Add(1) != nth) {
		return
	}
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {}
}

// armed says whether the file names the place now.
func armed(at string) bool {
	if file == "" {
		return false
	}
	text, err := os.ReadFile(file) // #nosec G304,G703 -- the test's own file
	return err == nil && string(text) == at
}
