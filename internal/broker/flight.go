package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// flight is one piece of work that all callers of a (realm, key) wait for. It
// belongs to none of them: it has a deadline of its own, and a caller that
// leaves takes nothing with it.
type flight struct {
	aim
	owner *catalog.Realm
	done  chan struct{}
	// woken: another node did something with the (realm, key).
	woken chan struct{}
	// recheck: memory became suspect while the flight was under way, and what
	// the flight knows may be older.
	recheck bool
	// doubted: the store changed while the flight was under way. What failed,
	// in it or before, may work now.
	doubted bool
	// queued: the schedule started it and waits for it.
	queued bool
	// barred is the token that is not handed out while its renewal is under
	// way, because that ends it.
	barred   *live
	revision uint32 // of the entry when it was barred
	// Set before done is closed.
	lease *realm.Lease
	err   error
}

// aim is what a flight is for.
type aim struct {
	kind kind
	// failed is the token that the API refused (heal).
	failed realm.Hidden
	// anew: a token that is stored already does not do (renew).
	anew bool
	// waited: somebody waits for it, also where another node is at it (renew).
	waited bool
}

// kind is what a flight is for.
type kind uint8

const (
	load      kind = iota // whatever is live: memory, store, provider
	renew                 // a token from the provider, before the live one ends
	heal                  // a token other than the one that failed
	flush                 // a token from the provider, now, by force
	verify                // compare memory with the store; never asks the provider
	authorize             // a token by a new authorization, now
	exchange              // a token for the code of an authorization
)

func (k kind) String() string {
	return [...]string{"load", "renew", "heal", "flush", "verify", "authorize", "exchange"}[k]
}

// forced says whether the provider is asked even where a token lives.
func (k kind) forced() bool { return k == flush || k == authorize }

// errElsewhere: another node is at it, and nobody waits for this flight.
var errElsewhere = errors.New("another node renews the token")

func newFlight(c *catalog.Realm, a aim) *flight {
	return &flight{aim: a, owner: c, done: make(chan struct{}), woken: make(chan struct{}, 1)}
}

// serves says whether a caller that wants a may take this flight's result.
func (f *flight) serves(a aim, owner *catalog.Realm) bool {
	if f.owner != owner || f.kind == verify || errors.Is(f.err, errElsewhere) || errors.Is(f.err, errDiscarded) {
		return false
	}
	switch a.kind {
	case load:
		// A token that was held back for a renewal which failed is handed out
		// again. And a renewal without the store fails, where a caller without
		// a token is served all the same, see unclaimed.
		return f.err == nil || f.barred == nil && (f.kind != renew && !f.kind.forced() || !tokenstore.IsUnavailable(f.err))
	case heal:
		return f.aim == a || f.err == nil && f.lease.Access != a.failed
	case renew:
		return f.kind == renew || f.kind.forced()
	default:
		return f.kind == a.kind
	}
}

// storeTime is what a flight may spend on the store, besides the provider.
const storeTime = tokenstore.Timeout

// bounded limits what a caller waits for the store: a server that hangs, or a
// lock that somebody else holds, is an error in the end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, storeTime)
}

// join waits for a flight that gives what the caller wants, starting one
// where there is none.
func (v *View) join(ctx context.Context, c *catalog.Realm, ref realm.Ref, a aim) (*realm.Lease, error) {
	for {
		f, err := v.board(c, ref, a)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, gaveUp(ctx)
		}
		if f.serves(a, c) {
			return f.lease, f.err
		}
	}
}

// board returns the flight that is under way, or starts one.
func (v *View) board(c *catalog.Realm, ref realm.Ref, a aim) (*flight, error) {
	for {
		e := v.pool.entry(ref)
		e.mu.Lock()
		if f := e.underWay(); f != nil {
			e.mu.Unlock()
			return f, nil
		}
		f := newFlight(c, a)
		e.work().flight = f
		e.mu.Unlock()
		// The entry may have been discarded in between: what happens in it
		// would be seen by nobody.
		if now, ok := v.pool.entries.Load(ref); !ok || now != e {
			e.land(f, nil, errDiscarded)
			continue
		}
		v.launch(e, f, ref)
		return f, nil
	}
}

// launch lets a flight begin.
func (v *View) launch(e *entry, f *flight, ref realm.Ref) {
	if !v.pool.start(func(ctx context.Context) { v.fly(ctx, e, f, ref) }) {
		e.land(f, nil, errClosed)
		if f.queued {
			v.pool.schedule.renewed(ref.Realm)
		}
	}
}

// verify starts a flight that compares memory with the store, for nobody in
// particular. One that is under way is told that what it knows may be old.
func (v *View) verify(e *entry, c *catalog.Realm, ref realm.Ref) {
	e.mu.Lock()
	f := e.underWay()
	if f != nil {
		f.recheck = true
		e.mu.Unlock()
		return
	}
	f = newFlight(c, aim{kind: verify})
	e.work().flight = f
	e.mu.Unlock()
	v.launch(e, f, ref)
}

// flightTime is how long a flight may take: the claim of a node that died has
// to run out first.
func (v *View) flightTime(c *catalog.Realm) time.Duration {
	t := v.terms(c)
	d := t.lease() + t.timeout + storeTime
	if c.Program.Unattended() {
		d += callbackWait + t.timeout
	}
	return d
}

// fly does the work of a flight and lands it, whatever happens.
func (v *View) fly(base context.Context, e *entry, f *flight, ref realm.Ref) {
	// A pool that closes ends what waits. It does not cut off an answer that
	// may hold the only live token: calls are not derived from base.
	ctx, cancel := context.WithTimeout(base, v.flightTime(f.owner))
	defer cancel()
	var lease *realm.Lease
	var err error = errPanic
	defer func() {
		if r := recover(); r != nil {
			v.pool.panicked(r, "panic while getting a token", zap.Stringer("ref", ref))
		}
		e.land(f, lease, err)
		v.pool.schedule.landed(v, e, f, ref)
	}()
	lease, err = v.obtain(ctx, e, f, ref)
	if f.kind == heal {
		v.pool.observe(func(o Observer) { o.Healed(ref.Realm, err == nil) })
	}
	switch {
	case err != nil && base.Err() != nil:
		err = errClosed
	case catalog.IsNotFound(err):
		v.pool.discard(ref, e)
	case err != nil && f.kind == verify:
		time.AfterFunc(storeWait, func() { e.suspect.Store(true) })
	case err != nil && f.kind == renew:
		e.pause(realm.InstantOf(v.pool.now()))
	}
}

// panicked tells of a panic that ends one piece of work, and not the process.
// The value may hold anything, so only its type is told.
func (p *Pool) panicked(r any, what string, where zap.Field) {
	p.log.Error(what, where, zap.String("type", fmt.Sprintf("%T", r)), zap.Stack("stack"))
}

// land ends a flight and lets its callers go on. A token that was held back
// for a renewal which failed is handed out again.
func (e *entry) land(f *flight, lease *realm.Lease, err error) {
	e.mu.Lock()
	if e.underWay() == f {
		e.doing.flight = nil
		e.rest()
	}
	if f.barred != nil && e.revision == f.revision && e.live.Load() == nil {
		e.live.Store(f.barred)
	}
	f.lease, f.err = lease, err
	if f.doubted {
		e.pardon()
	}
	if f.recheck {
		e.suspect.Store(true)
	}
	e.mu.Unlock()
	close(f.done)
}

// bar holds the live token back until the flight lands: the provider ends it
// as soon as it makes the new one, and a request that took it now would fail.
func (e *entry) bar(f *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.barred, f.revision = e.live.Swap(nil), e.revision
}

// gaveUp is the error of a caller that does not wait any longer: its own
// doing, or its own deadline.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return unavailable(504, "no token in time", ctx.Err())
	}
	return ctx.Err()
}
