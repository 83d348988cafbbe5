package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// The phases of a storm.
const (
	before = iota // nothing is due yet
	during        // from when the first renewal is due to when the last is done
	after         // until the last of the old tokens has ended
	phases
)

const (
	callers      = 4
	callsPerTick = 5
	callTick     = time.Millisecond
)

// demand is callers that use all tokens of a storm in turn.
type demand struct {
	storm   *storm
	view    *broker.View
	phase   atomic.Int32
	callers [callers]caller
	cancel  context.CancelFunc
	work    sync.WaitGroup
}

// caller is what one goroutine saw in each phase.
type caller [phases]seen

// seen is what became of calls.
type seen struct {
	took    histogram // of those that found a live token in memory
	expired int       // got a token that had ended
	waited  int       // got one that was not in memory
	failed  int
}

// call lets callers begin.
func (s *storm) call(ctx context.Context, view *broker.View) *demand {
	ctx, cancel := context.WithCancel(ctx)
	d := &demand{storm: s, view: view, cancel: cancel}
	for n := range callers {
		d.work.Go(func() { d.use(ctx, &d.callers[n], n) })
	}
	return d
}

// stop ends the calls; it may be called again.
func (d *demand) stop() {
	d.cancel()
	d.work.Wait()
}

// use calls at a constant rate. Each caller goes its own way through the keys.
func (d *demand) use(ctx context.Context, c *caller, n int) {
	tick := time.NewTicker(callTick)
	defer tick.Stop()
	keys := len(d.storm.refs)
	next := n * keys / callers
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for range callsPerTick {
			d.once(ctx, &c[d.phase.Load()], next%keys)
			next++
		}
	}
}

// once uses the token of the i-th key.
func (d *demand) once(ctx context.Context, s *seen, i int) {
	began := time.Now()
	lease, err := d.view.Token(ctx, d.storm.refs[i])
	now := time.Now()
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.failed++
	case now.After(lease.Expires.Time()), strings.HasPrefix(lease.Access.Reveal(), oldToken) && now.After(d.storm.end(i)):
		s.expired++
	case lease.Source != realm.FromMemory:
		s.waited++
	default:
		s.took.add(now.Sub(began))
	}
}

// of sums up a phase.
func (d *demand) of(phase int) *seen {
	sum := &seen{}
	for n := range d.callers {
		sum.add(&d.callers[n][phase])
	}
	return sum
}

func (d *demand) total() *seen {
	sum := &seen{}
	for phase := range phases {
		sum.add(d.of(phase))
	}
	return sum
}

func (s *seen) add(other *seen) {
	s.took.merge(&other.took)
	s.expired += other.expired
	s.waited += other.waited
	s.failed += other.failed
}
