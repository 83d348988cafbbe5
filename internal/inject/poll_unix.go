//go:build unix

package inject

import (
	"errors"
	"io"
	"syscall"
)

// CanPoll tells whether a socket can be read without waiting.
const CanPoll = true

// readFD reads from a socket that does not block. Where nothing is there, it returns 0
// and no error.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
