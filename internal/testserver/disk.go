package testserver

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// LimitFiles lets no file of a process (0: this one) grow beyond a number of
// bytes, until lift is called or the test ends: the nearest thing to a full
// disk that needs no rights and hits a running process. A write fails with
// EFBIG, where a full disk says ENOSPC; SQLite reports the first as
// SQLITE_IOERR_WRITE, the second as SQLITE_FULL (see LimitSQLite). Go programs
// ignore the SIGXFSZ that comes with it.
func LimitFiles(tb testing.TB, pid int, bytes uint64) (lift func()) {
	tb.Helper()
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &before); err != nil {
		tb.Fatal(err)
	}
	// The hard limit stays: without rights it could not be raised again.
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: before.Max}, nil); err != nil {
		tb.Fatal(err)
	}
	lift = sync.OnceFunc(func() {
		_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &before, nil) // the process may be gone
	})
	tb.Cleanup(lift)
	return lift
}
