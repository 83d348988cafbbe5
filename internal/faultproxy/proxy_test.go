package faultproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-tokens/caddy-tokens/internal/faultproxy"
	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

const (
	// glance is how long a test looks at what must not happen.
	glance = 100 * time.Millisecond
	// patience bounds what has to happen: it is no measure of the machine.
	patience = 2 * time.Minute
)

// echo is a TCP server that sends back what it gets, and ends when the client
// has ended.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn) // the client may be gone
			}()
		}
	}()
	return l.Addr().String()
}

// client is one connection through a proxy.
type client struct {
	*net.TCPConn
	t *testing.T
}

func dial(t *testing.T, p *faultproxy.Proxy) client {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return client{conn.(*net.TCPConn), t}
}

func (c client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) want(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		c.t.Fatalf("read %q, %v; want %q", got[:n], err, text)
	}
}

// wantSilence checks that nothing arrives, and that the connection stands.
func (c client) wantSilence() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(glance))
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %d bytes, %v; want silence", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

func (c client) wantReset() {
	c.t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("read %d bytes, %v; want a reset", n, err)
	}
}

func (c client) wantEnd() {
	c.t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		c.t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

func TestForwardsBothWays(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	c := dial(t, p)
	c.send("hello")
	c.want("hello")
	if p.Accepted() != 1 || p.Open() != 1 {
		t.Errorf("%d accepted, %d open", p.Accepted(), p.Open())
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.wantEnd()
	eventually(t, "the connection is gone", func() bool { return p.Open() == 0 })
}

func TestForwardsMuch(t *testing.T) {
	c := dial(t, faultproxy.New(t, echo(t)))
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestCutResetsAndRefuses(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	c := dial(t, p)
	c.send("a")
	c.want("a")
	for range 3 { // it can be healed and cut again
		p.Set(faultproxy.Faults{Cut: true})
		c.wantReset()
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("while cut: %v, want a refusal", err)
		}
		p.Set(faultproxy.Faults{})
		c = dial(t, p)
		c.send("b")
		c.want("b")
	}
	if p.Accepted() != 4 {
		t.Errorf("%d accepted", p.Accepted())
	}
}

func TestBlackholeSaysNothingAndLosesNothing(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	old := dial(t, p)
	old.send("a")
	old.want("a")
	p.Set(faultproxy.Faults{Blackhole: true})
	fresh := dial(t, p)
	for _, c := range []client{old, fresh} {
		c.send("b")
		c.wantSilence()
	}
	p.Set(faultproxy.Faults{})
	for _, c := range []client{old, fresh} {
		c.want("b")
	}
}

func TestStallIsOneWay(t *testing.T) {
	for name, c := range map[string]struct {
		faults  faultproxy.Faults
		arrives bool
	}{
		"up":   {faultproxy.Faults{Up: faultproxy.Way{Stall: true}}, false},
		"down": {faultproxy.Faults{Down: faultproxy.Way{Stall: true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			target, got := recorder(t)
			p := faultproxy.New(t, target)
			conn := dial(t, p)
			conn.send("a")
			conn.want("A")
			<-got
			p.Set(c.faults)
			conn.send("b")
			conn.wantSilence()
			select {
			case text := <-got:
				if !c.arrives {
					t.Errorf("%q arrived", text)
				}
			default:
				if c.arrives {
					<-got
				}
			}
			p.Set(faultproxy.Faults{})
			conn.want("B")
		})
	}
}

// recorder is a server that tells what it read, and answers in capitals.
func recorder(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	reads := make(chan string, 100)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		for buf := make([]byte, 1024); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			reads <- string(buf[:n])
			_, _ = conn.Write(bytes.ToUpper(buf[:n]))
		}
	}()
	return l.Addr().String(), reads
}

// The answer to a COMMIT is lost in its middle: the server has got all of the
// request.
func TestResetInTheMiddleOfAnAnswer(t *testing.T) {
	for _, after := range []int{0, 3} {
		target, got := recorder(t)
		p := faultproxy.New(t, target)
		c := dial(t, p)
		c.send("begin")
		c.want("BEGIN")
		p.Set(faultproxy.Faults{Down: faultproxy.Way{Reset: true, After: after}})
		c.send("commit")
		answer, err := io.ReadAll(c)
		if !errors.Is(err, syscall.ECONNRESET) || string(answer) != "COMMIT"[:after] {
			t.Errorf("after %d bytes: read %q, %v", after, answer, err)
		}
		if all := []string{<-got, <-got}; !slices.Equal(all, []string{"begin", "commit"}) {
			t.Errorf("the server read %q", all)
		}
	}
}

func TestResetOfARequest(t *testing.T) {
	target, got := recorder(t)
	p := faultproxy.New(t, target)
	p.Set(faultproxy.Faults{Up: faultproxy.Way{Reset: true, After: 4}})
	c := dial(t, p)
	c.send("half of it")
	if text := <-got; text != "half" {
		t.Errorf("the server read %q", text)
	}
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestHalfClose(t *testing.T) {
	target, got := recorder(t)
	p := faultproxy.New(t, target)
	c := dial(t, p)
	c.send("a")
	c.want("A")
	p.Set(faultproxy.Faults{Down: faultproxy.Way{Close: true}})
	c.wantEnd() // at once
	c.send("b") // and the other way goes on
	if all := []string{<-got, <-got}; !slices.Equal(all, []string{"a", "b"}) {
		t.Errorf("the server read %q", all)
	}
}

func TestHalfCloseAfterSomeBytes(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	p.Set(faultproxy.Faults{Down: faultproxy.Way{Close: true, After: 3}})
	c := dial(t, p)
	c.send("hello")
	if got, err := io.ReadAll(c); err != nil || string(got) != "hel" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestLatencyOfEachWay(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	p.Set(faultproxy.Faults{Up: faultproxy.Way{Latency: 40 * time.Millisecond}, Down: faultproxy.Way{Latency: 60 * time.Millisecond}})
	c := dial(t, p)
	began := time.Now()
	c.send("a")
	c.want("a")
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestBandwidth(t *testing.T) {
	p := faultproxy.New(t, echo(t))
	p.Set(faultproxy.Faults{Down: faultproxy.Way{Bandwidth: 10_000}})
	c := dial(t, p)
	began := time.Now()
	text := string(bytes.Repeat([]byte("x"), 2000))
	c.send(text)
	c.want(text)
	if took := time.Since(began); took < 150*time.Millisecond { // the last piece is read before its time is over
		t.Errorf("it took %v", took)
	}
}

func TestTargetThatRefuses(t *testing.T) {
	p := faultproxy.New(t, "127.0.0.1:1")     // which the kernel gives to nobody
	p.Set(faultproxy.Faults{Blackhole: true}) // the reset must not come before the client is connected
	c := dial(t, p)
	p.Set(faultproxy.Faults{})
	c.wantReset()
}

// A target that hangs up abruptly does so to the client, too.
func TestResetOfTheTargetIsPassedOn(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := dial(t, faultproxy.New(t, l.Addr().String()))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	c.wantReset()
}

// The proxy ends with its test, whatever is open or stalled.
func TestEndsWithTheTest(t *testing.T) {
	target, addr := echo(t), ""
	before := goleak.IgnoreCurrent()
	t.Run("inner", func(t *testing.T) {
		p := faultproxy.New(t, target)
		addr = p.Addr()
		c := dial(t, p)
		c.send("a")
		c.want("a")
		p.Set(faultproxy.Faults{Blackhole: true})
		c.send("b")
		dial(t, p).send("c")
	})
	leaktest.VerifyNone(t, before)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := new(net.Dialer).DialContext(ctx, "tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the test: %v", err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
