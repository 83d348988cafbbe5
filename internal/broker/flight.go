package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// flight is one piece of work that all callers of a (realm, key) wait for. It
// belongs to none of them: it has a deadline of its own, and a caller that
// leaves takes nothing with it.
type flight struct {
	owner *compiled
	kind  kind
	done  chan struct{}
	// recheck: memory became suspect while the flight was under way, and what
	// the flight knows may be older.
	recheck bool
	// Set before done is closed.
	lease *realm.Lease
	err   error
}

// kind is what a flight is for.
type kind uint8

const (
	load   kind = iota // whatever is live: memory, store, provider
	renew              // a token from the provider, before the live one ends
	flush              // a token from the provider, now, by force
	verify             // compare memory with the store; never asks the provider
)

// serves says whether a caller that wants k may take this flight's result.
func (f *flight) serves(k kind, owner *compiled) bool {
	if f.owner != owner || f.kind == verify {
		return false
	}
	return f.kind == k || k == load || (k == renew && f.kind == flush)
}

func (k kind) String() string { return [...]string{"load", "renew", "flush", "verify"}[k] }

// storeTime is what a flight may spend on the store, besides the provider.
const storeTime = 10 * time.Second

// bounded limits what a caller waits for the store: a server that hangs, or a
// lock that somebody else holds, is an error in the end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, storeTime)
}

// join waits for a flight that gives what the caller wants, starting one
// where there is none.
func (v *View) join(ctx context.Context, c *compiled, ref realm.Ref, k kind) (*realm.Lease, error) {
	for {
		f, err := v.board(c, ref, k)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, gaveUp(ctx)
		}
		if f.serves(k, c) {
			return f.lease, f.err
		}
	}
}

// board returns the flight that is under way, or starts one.
func (v *View) board(c *compiled, ref realm.Ref, k kind) (*flight, error) {
	for {
		e := v.pool.entry(ref)
		e.mu.Lock()
		if f := e.flight; f != nil {
			e.mu.Unlock()
			return f, nil
		}
		f := &flight{owner: c, kind: k, done: make(chan struct{})}
		e.flight = f
		e.mu.Unlock()
		// The entry may have been discarded in between: what happens in it
		// would be seen by nobody.
		if now, ok := v.pool.entries.Load(ref); !ok || now != e {
			e.land(f, nil, errDiscarded)
			continue
		}
		if !v.pool.start(func(ctx context.Context) { v.fly(ctx, e, f, ref) }) {
			e.land(f, nil, errClosed)
		}
		return f, nil
	}
}

// ahead starts a flight that nobody waits for, if none is under way.
func (v *View) ahead(e *entry, c *compiled, ref realm.Ref, k kind) {
	e.mu.Lock()
	busy := e.flight != nil || (k == renew && e.trouble.waits(realm.InstantOf(v.pool.now())))
	if e.flight != nil && k == verify {
		e.flight.recheck = true
	}
	var f *flight
	if !busy {
		f = &flight{owner: c, kind: k, done: make(chan struct{})}
		e.flight = f
	}
	e.mu.Unlock()
	if f != nil && !v.pool.start(func(ctx context.Context) { v.fly(ctx, e, f, ref) }) {
		e.land(f, nil, errClosed)
	}
}

// fly does the work of a flight and lands it, whatever happens.
func (v *View) fly(base context.Context, e *entry, f *flight, ref realm.Ref) {
	// Not derived from base: a pool that closes waits for its flights, it
	// does not cut off an answer that may hold the only live token.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(base), v.timeout(f.owner)+storeTime)
	defer cancel()
	var lease *realm.Lease
	var err error = errPanic
	defer func() {
		if r := recover(); r != nil {
			// The value may hold anything, so only its type is told.
			v.pool.log.Error("panic while getting a token", zap.Stringer("ref", ref),
				zap.String("type", fmt.Sprintf("%T", r)), zap.Stack("stack"))
		}
		e.land(f, lease, err)
	}()
	lease, err = v.obtain(ctx, e, f, ref)
	switch {
	case isNotFound(err):
		v.pool.discard(ref, e)
	case err != nil && f.kind == verify:
		time.AfterFunc(storeWait, func() { e.suspect.Store(true) })
	case err != nil && f.kind == renew:
		e.rest(realm.InstantOf(v.pool.now()))
	}
}

// land ends a flight and lets its callers go on.
func (e *entry) land(f *flight, lease *realm.Lease, err error) {
	e.mu.Lock()
	if e.flight == f {
		e.flight = nil
	}
	f.lease, f.err = lease, err
	if f.recheck {
		e.suspect.Store(true)
	}
	e.mu.Unlock()
	close(f.done)
}

// gaveUp is the error of a caller that does not wait any longer: its own
// doing, or its own deadline.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return unavailable(504, "no token in time", ctx.Err())
	}
	return ctx.Err()
}
