package broker

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// probed is a store that counts its probes, and may refuse or hold them up.
type probed struct {
	tokenstore.Store
	probes atomic.Int64
	gate   atomic.Pointer[chan struct{}]
	err    atomic.Pointer[error]
}

func (s *probed) ProbeWrite(ctx context.Context) error {
	s.probes.Add(1)
	if gate := s.gate.Load(); gate != nil {
		select {
		case <-*gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.err.Load(); err != nil {
		return *err
	}
	return s.Store.(tokenstore.WriteProber).ProbeWrite(ctx)
}

// Many who ask whether the node is ready cost the store one write in a second.
func TestReadyAsksOnceForMany(t *testing.T) {
	c := newClock()
	s := &probed{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	p := New(s, zap.NewNop(), c.now, WithPatience(longPatience))
	defer func() { _ = p.Destruct() }()
	askMany := func(what string, want bool, probes int64) {
		t.Helper()
		var wait sync.WaitGroup
		for range 200 {
			wait.Go(func() {
				if err := p.Ready(t.Context()); (err == nil) != want {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wait.Wait()
		if n := s.probes.Load(); n != probes {
			t.Errorf("%s: %d probes, not %d", what, n, probes)
		}
	}
	askMany("at first", true, 1) // and the store is open then
	if !p.opened.Load() {
		t.Error("the store was not opened: nobody would open it where only probes come")
	}
	askMany("within the second", true, 1)
	refused := errors.New("read-only")
	s.err.Store(&refused)
	c.advance(readyFor)
	askMany("a second later", false, 2)
	s.err.Store(nil)
	c.advance(-time.Hour) // a clock that goes back ends the second, too
	askMany("after the fault", true, 3)
}

// A store that hangs holds up nobody for longer than a caller waits, and one who
// leaves takes nothing from the others.
func TestReadyDoesNotWaitForAStoreThatHangs(t *testing.T) {
	c := newClock()
	s := &probed{Store: newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c)}
	p := New(s, zap.NewNop(), c.now, WithPatience(longPatience))
	defer func() { _ = p.Destruct() }()
	gate := make(chan struct{})
	s.gate.Store(&gate)
	left, leave := context.WithCancel(t.Context())
	leave()
	if err := p.Ready(left); !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	p.waits.Store(int64(10 * time.Millisecond))
	if err := p.Ready(t.Context()); !tokenstore.IsUnavailable(err) { // it would not come back otherwise
		t.Error(err)
	}
	p.waits.Store(int64(longPatience))
	close(gate)
	eventually(t, "the probe ends", func() bool { return p.Ready(t.Context()) == nil })
	if n := s.probes.Load(); n != 1 {
		t.Errorf("%d probes", n)
	}
}

// A pool that was closed is not ready, and does not wait.
func TestReadyAfterTheEnd(t *testing.T) {
	c := newClock()
	p := New(newStore(t, filepath.Join(t.TempDir(), "tokens.db"), c), zap.NewNop(), c.now)
	if err := p.Destruct(); err != nil {
		t.Fatal(err)
	}
	var known *realm.Error
	if err := p.Ready(t.Context()); !errors.As(err, &known) || known.Code != realm.CodeUnavailable {
		t.Error(err)
	}
}
