package broker

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// readyFor is how long it counts what a probe of the store found out.
const readyFor = time.Second

// readiness is what the last probe of the store found out. The zero value is
// ready for use. Whoever asks while a probe is under way waits for that one, so
// that the store has one probe in a second, however many ask.
type readiness struct {
	mu    sync.Mutex
	probe *probe // the one under way, or the last one; nil for none
	// isFailing: the last one that ended failed, and was logged.
	isFailing bool
}

// probe is one probe of the store.
type probe struct {
	done chan struct{}
	// err and at are set when done is closed.
	err error
	at  time.Time
}

// isGood reports whether the probe is under way, or ended a moment ago.
func (p *probe) isGood(now time.Time) bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		age := now.Sub(p.at)
		return 0 <= age && age < readyFor
	default:
		return true
	}
}

// Ready is nil if the store can be read and written; it opens the store, if that
// was not done yet. A shared cache is not asked: without it everything goes on.
// Who asks waits no longer than any other caller.
func (p *Pool) Ready(ctx context.Context) error {
	p.ready.mu.Lock()
	current := p.ready.probe
	if !current.isGood(p.now()) {
		current = &probe{done: make(chan struct{})}
		if !p.start(func(ctx context.Context) { p.runProbe(ctx, current) }) {
			p.ready.mu.Unlock()
			return errClosed
		}
		p.ready.probe = current
	}
	p.ready.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	select {
	case <-current.done:
		return current.err
	case <-ctx.Done():
		return unavailable(http.StatusServiceUnavailable, "the store does not answer", ctx.Err())
	}
}

// runProbe opens the store and writes to it.
func (p *Pool) runProbe(ctx context.Context, result *probe) {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	var err error = errPanic
	defer func() {
		if r := recover(); r != nil {
			p.logPanic(r, "panic while probing the store", zap.Skip())
		}
		result.err, result.at = err, p.now()
		close(result.done)
		p.logReadiness(err)
	}()
	if err = p.Open(ctx); err != nil {
		return
	}
	if p.link != nil && p.link.isReached.Load() {
		return // an edge serves what it has while the other instance is away
	}
	if w, ok := p.store.(tokenstore.WriteProber); ok {
		err = w.ProbeWrite(ctx)
	} else {
		err = p.store.Ping(ctx)
	}
	if err != nil {
		err = fmt.Errorf("probing the store: %w", err)
	}
}

// logReadiness logs why the store cannot be used, once, and that it can again. An
// end of the pool is neither.
func (p *Pool) logReadiness(err error) {
	if p.base.Err() != nil {
		return
	}
	p.ready.mu.Lock()
	defer p.ready.mu.Unlock()
	switch {
	case err != nil && !p.ready.isFailing:
		p.log.Warn("not ready: the store cannot be used", zap.Error(err))
	case err == nil && p.ready.isFailing:
		p.log.Info("ready again: the store can be used")
	}
	p.ready.isFailing = err != nil
}
