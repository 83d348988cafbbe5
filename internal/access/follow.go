package access

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// run reads what changed, notes in the store what has to be noted, and tries
// again what failed, until ctx ends.
func (r *Registry) run(ctx context.Context) {
	// Three things wake it up: a notice, the time for another try, and the time to
	// tell the store who was here. A notice does not wait for the next try: the
	// store may have come back, and the notice be the first sign of it.
	used := time.NewTicker(usedInterval)
	defer used.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := retryMin
	for {
		select {
		case <-ctx.Done():
			return
		case <-used.C:
			if err := r.guarded(ctx, r.flushUsed); err != nil && ctx.Err() == nil {
				r.log.Warn("cannot note when clients were last seen; trying again", zap.Error(err))
			}
			continue
		case <-r.wake:
		case <-retry.C:
		}
		if err := r.guarded(ctx, r.catchUp); err != nil {
			retry.Reset(wait)
			wait = min(2*wait, retryMax)
			continue
		}
		wait = retryMin
	}
}

// guarded runs f and makes an error of a panic in the store: it must not end the
// process.
func (r *Registry) guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T", p) // the value may hold anything
		}
	}()
	return f(ctx)
}

// catchUp does what there is to do. What fails stays to be done.
func (r *Registry) catchUp(ctx context.Context) error {
	// What there is to do is taken, and what is left of it is put back. What is
	// asked for meanwhile is kept apart, or it would be forgotten with the rest.
	r.mu.Lock()
	all, mark, changed := r.all || !r.stored.Load().loaded, r.mark, r.changed
	r.all, r.mark, r.changed = false, false, make(map[string]bool)
	r.mu.Unlock()
	defer func() { // also after a panic in the store
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all, r.mark = r.all || all, r.mark || mark
		maps.Copy(r.changed, changed)
	}()
	return r.inTurn(ctx, func(ctx context.Context) error {
		// The mark comes first. Until it is stored, another node would let callers
		// without a key in.
		if mark {
			if err := r.markRequired(ctx); err != nil {
				return err
			}
			mark = false
		}
		if all {
			if err := r.load(ctx); err != nil {
				return err
			}
			all = false
			clear(changed)
			return nil
		}
		if err := r.loadSome(ctx, changed); err != nil {
			return err
		}
		r.staleSince.Store(0)
		return nil
	})
}

// loadSome reads some clients and takes from changed those that it has read. It
// publishes them together: each table is a copy of the one before.
func (r *Registry) loadSome(ctx context.Context, changed map[string]bool) error {
	// If the store goes away in the middle, what was read before counts.
	read := make(map[string]*tokenstore.Client, len(changed))
	defer func() {
		if len(read) > 0 {
			r.replace(read)
		}
	}()
	for _, id := range slices.Sorted(maps.Keys(changed)) {
		c, err := r.read(ctx, id)
		if err != nil {
			return err
		}
		read[id] = c
		delete(changed, id)
	}
	return nil
}

// markRequired notes in the store that clients are required.
func (r *Registry) markRequired(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		r.stale(err)
		return storeError(err)
	}
	if err := r.store.RequireClients(ctx); err != nil {
		r.stale(err)
		return storeError(err)
	}
	return nil
}

// flushUsed tells the store in which hour clients were last seen. Caddyfile
// clients have no row.
func (r *Registry) flushUsed(ctx context.Context) error {
	// A client that was seen in this hour is told once, however often it comes.
	at := make(map[string]time.Time)
	hours := make(map[*tally]int64)
	for id, p := range r.stored.Load().policies {
		if hour := p.tally.used.Load(); hour > p.tally.noted.Load() {
			at[id], hours[p.tally] = hourTime(hour), hour
		}
	}
	if len(at) == 0 {
		return nil
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.store.ClientsUsed(ctx, at); err != nil {
		return err
	}
	for t, hour := range hours {
		t.noted.Store(hour)
	}
	return nil
}

// hourTime is the time at which an hour of Unix time begins.
func hourTime(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }
