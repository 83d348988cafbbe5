package caddymodule

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// pty is a terminal with a person in front of it: what a program writes to it is
// kept, and what the person types arrives.
type pty struct {
	t     *testing.T
	tty   *os.File
	hands *os.File

	mu    sync.Mutex
	shown strings.Builder
	more  chan struct{} // gets a value when there is more to see
}

// newPTY opens a terminal of so many columns.
func newPTY(t *testing.T, columns uint16) *pty {
	t.Helper()
	hands, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	withoutBlocking(t, hands, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	withoutBlocking(t, hands, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: columns})
	})
	p := &pty{t: t, tty: tty, hands: hands, more: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for piece := make([]byte, 4096); ; {
			n, err := hands.Read(piece)
			p.mu.Lock()
			p.shown.Write(piece[:n])
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		// The person goes first: that ends a command that still waits for an answer,
		// which would keep the terminal open, because its test failed.
		_ = hands.Close()
		<-read
		_ = tty.Close()
	})
	return p
}

// withoutBlocking does something with the descriptor of a file that can be closed
// while it is read, and leaves it so: Fd would not.
func withoutBlocking(t *testing.T, file *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// screen is what was shown until now.
func (p *pty) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.ReplaceAll(p.shown.String(), "\r\n", "\n")
}

// await waits until something is shown.
func (p *pty) await(want string) {
	p.t.Helper()
	for end := time.After(20 * time.Second); !strings.Contains(p.screen(), want); {
		select {
		case <-p.more:
		case <-end:
			p.t.Fatalf("%q is never shown:\n%s", want, p.screen())
		}
	}
}

// enter types a line.
func (p *pty) enter(line string) {
	p.t.Helper()
	p.press(line + "\n")
}

// press types keys.
func (p *pty) press(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.hands, keys); err != nil {
		p.t.Fatal(err)
	}
}

// start runs a command with the terminal at all three streams. The channel gets
// its error, or that it did not end.
func (p *pty) start(ctx context.Context, cmd *cobra.Command, args ...string) <-chan error {
	cmd.SetIn(p.tty)
	cmd.SetOut(p.tty)
	cmd.SetErr(p.tty)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	ended, done := make(chan error, 1), make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	go func() {
		select {
		case err := <-ended:
			done <- err
		case <-time.After(2 * time.Minute):
			done <- fmt.Errorf("the command does not end; the terminal shows\n%s", p.screen())
		}
	}()
	return done
}

// onTerminal runs `caddy tokens` with standard output on a wide terminal without
// colors, for what people read.
func onTerminal(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	t.Setenv("NO_COLOR", "1")
	p := newPTY(t, 400)
	cmd := tokensCommand()
	var errs strings.Builder
	cmd.SetOut(p.tty)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return p.untilNow(), errs.String(), err
}

// untilNow is all that was shown, also what was written a moment ago.
func (p *pty) untilNow() string {
	p.t.Helper()
	const mark = "\x00end\x00"
	if _, err := io.WriteString(p.tty, mark); err != nil {
		p.t.Fatal(err)
	}
	p.await(mark)
	return strings.TrimSuffix(p.screen(), mark)
}
