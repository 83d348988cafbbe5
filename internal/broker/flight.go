package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// flight is one piece of work that all callers of a (realm, key) wait for
// (singleflight). It belongs to none of them: it has a deadline of its own, and
// a caller that leaves takes nothing with it.
type flight struct {
	goal
	owner *catalog.Realm
	done  chan struct{}
	// woken: another node did something with the (realm, key).
	woken chan struct{}
	// isQueued: the schedule started it and waits for it.
	isQueued bool
	// payer pays for the calls: whoever began the flight. nil for nobody.
	payer Payer
	// heard is what became known of the store while the flight was under way.
	heard heard
	// withheld is the live token, hidden from callers while its renewal is
	// under way: the provider ends it as soon as it issues the new one. It
	// comes back if the renewal fails and the entry still has this revision.
	withheld *live
	revision uint32
	// newest is the lineage of which an edge heard while the flight was under way:
	// one that brings an older token missed that. 0 for none.
	newest int64
	// isRepeated: an edge asks once more, because of what it heard before the answer.
	isRepeated bool
	// parentWait is how long a parent is left alone whose token is needed first.
	parentWait time.Duration
	// Set before done is closed. isRefused: err is that of the payer, who may cause
	// no call.
	lease     *realm.Lease
	err       error
	isRefused bool
}

// heard is what a flight is told while it is under way. Each value includes
// those before it.
type heard uint8

const (
	nothing heard = iota
	// staleMemory: what the flight knows may be older than the store. Memory is
	// compared with the store again afterwards.
	staleMemory
	// storeChanged: what failed before the change, in the flight or before it,
	// may work now.
	storeChanged
)

// goal is what a flight is to bring about.
type goal struct {
	purpose claim.Purpose
	// failed is the token that the API refused (Heal), blame what is probably at
	// fault for that.
	failed realm.Hidden
	blame  realm.Blame
	// fromProvider: a token that is stored already does not do (Renew).
	fromProvider bool
	// isAwaited: somebody waits for it, so that it goes on although another
	// node is making the call (Renew).
	isAwaited bool
	// report is filled with what its last call did; nil if nobody wants to know.
	// It is for the one who asked for this very flight, once it is done.
	report *grant.Report
}

// errElsewhere: another node is making the call, and nobody waits for this
// flight.
var errElsewhere = errors.New("another node renews the token")

func newFlight(c *catalog.Realm, g goal) *flight {
	return &flight{goal: g, owner: c, done: make(chan struct{}), woken: make(chan struct{}, 1)}
}

// serves reports whether a caller with the goal g may take the result of this
// flight.
func (f *flight) serves(g goal, owner *catalog.Realm) bool {
	if f.owner != owner || f.purpose == claim.Verify || errors.Is(f.err, errElsewhere) || errors.Is(f.err, errDiscarded) {
		return false
	}
	if g.report != nil { // nobody else's calls are reported to him
		return f.report == g.report
	}
	switch g.purpose {
	case claim.Load:
		// A token that was withheld for a renewal which failed is handed out
		// again. And a renewal fails without the store, while a caller that has
		// no token is served nevertheless, see outage.
		return f.err == nil || f.withheld == nil && (f.purpose != claim.Renew && !f.purpose.IsForced() || !tokenstore.IsUnavailable(f.err))
	case claim.Heal:
		return f.goal == g || f.err == nil && f.lease.Access != g.failed
	case claim.Renew:
		return f.purpose == claim.Renew || f.purpose.IsForced()
	default:
		return f.purpose == g.purpose
	}
}

// join waits for a flight that gives what the caller wants, and starts one if
// there is none.
func (v *View) join(ctx context.Context, c *catalog.Realm, ref realm.Ref, g goal) (*realm.Lease, error) {
	lease, _, err := v.wait(ctx, c, ref, g)
	return lease, err
}

// wait is join, and reports whether the flight that served was started for this
// very caller.
func (v *View) wait(ctx context.Context, c *catalog.Realm, ref realm.Ref, g goal) (_ *realm.Lease, isOurs bool, _ error) {
	payer := payerOf(ctx)
	for {
		f, isOurs := v.joinOrStart(c, ref, g, payer)
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, false, gaveUp(ctx)
		}
		if f.serves(g, c) && !f.isRefusedTo(payer, g) {
			return f.lease, isOurs, f.err
		}
	}
}

// joinOrStart returns the flight that is under way, or a new one, which isNew.
func (v *View) joinOrStart(c *catalog.Realm, ref realm.Ref, g goal, payer Payer) (_ *flight, isNew bool) {
	for {
		e := v.pool.entry(ref)
		e.mu.Lock()
		if f := e.flightLocked(); f != nil {
			e.mu.Unlock()
			return f, false
		}
		f := newFlight(c, g)
		f.payer = payer
		e.activityLocked().flight = f
		e.mu.Unlock()
		// The entry may have been discarded in between. Nobody would see then
		// what happens in it.
		if now, ok := v.pool.entries.Load(ref); !ok || now != e {
			e.finish(f, nil, errDiscarded)
			continue
		}
		v.launch(e, f, ref)
		return f, true
	}
}

// startVerify starts a flight that compares memory with the store, for nobody
// in particular. A flight that is under way is told that what it knows may be
// old.
func (v *View) startVerify(e *entry, c *catalog.Realm, ref realm.Ref) {
	e.mu.Lock()
	f := e.flightLocked()
	if f != nil {
		f.heard = max(f.heard, staleMemory)
		e.mu.Unlock()
		return
	}
	f = newFlight(c, goal{purpose: claim.Verify})
	e.activityLocked().flight = f
	e.mu.Unlock()
	v.launch(e, f, ref)
}

// launch lets a flight begin.
func (v *View) launch(e *entry, f *flight, ref realm.Ref) {
	if !v.pool.start(func(ctx context.Context) { v.run(ctx, e, f, ref) }) {
		e.finish(f, nil, errClosed)
		if f.isQueued {
			v.pool.schedule.renewed(ref.Realm)
		}
	}
}

// flightTimeout is how long a flight may take, with the flights of the parents whose
// tokens it needs first, twice if those are dead.
func (v *View) flightTimeout(c *catalog.Realm) time.Duration {
	return v.ownFlightTimeout(c) + 2*v.parentsTimeout(c)
}

// ownFlightTimeout is how long a flight may take without its parents: the claim of
// a node that died has to run out first.
func (v *View) ownFlightTimeout(c *catalog.Realm) time.Duration {
	t := v.terms(c)
	d := t.Life() + t.Timeout + tokenstore.Timeout
	if c.Program.Unattended() {
		d += callbackWait + t.Timeout
	}
	return d
}

// run does the work of a flight and finishes it, whatever happens.
func (v *View) run(base context.Context, e *entry, f *flight, ref realm.Ref) {
	// A pool that closes ends what waits. It does not cut off an answer that
	// may hold the only live token: calls are not derived from base.
	ctx, cancel := context.WithTimeout(withBudget(base), v.flightTimeout(f.owner))
	defer cancel()
	var lease *realm.Lease
	var err error = errPanic
	seen := e.suspect.state.Load()
	defer func() {
		if r := recover(); r != nil {
			v.pool.logPanic(r, "panic while getting a token", zap.Stringer("ref", ref))
		}
		if f.purpose == claim.Verify || v.pool.upstream != nil && err == nil {
			e.suspect.drop(seen) // what came while it was under way, it may have missed
		}
		e.finish(f, lease, err)
		switch {
		case catalog.IsNotFound(err): // whoever makes up keys is not worth a word
		case f.purpose == claim.Heal:
			v.pool.tellHealed(ref, e)
		default:
			v.pool.tellState(ref, e)
		}
		v.pool.schedule.finished(v, e, f, ref)
		if v.pool.upstream != nil {
			v.pool.forgetUnused(ref, e)
		}
	}()
	lease, err = v.obtain(ctx, e, f, ref)
	if f.purpose == claim.Heal {
		if err == nil && lease.Source == realm.FromUpstream {
			e.recordHeal(realm.InstantOf(v.pool.now()), lease.Access)
		}
		v.pool.notify(func(o Observer) { o.Healed(ref.Realm, err == nil) })
	}
	switch {
	case err != nil && base.Err() != nil:
		err = errClosed
	case catalog.IsNotFound(err):
		v.pool.discard(ref, e)
	case err != nil && f.purpose == claim.Verify:
		time.AfterFunc(storeRetry, e.suspect.raise)
	case err != nil && f.purpose == claim.Renew && !f.isRefused:
		e.backOff(origin{v, f.owner}, realm.InstantOf(v.pool.now()), max(storeRetry, f.parentWait))
	}
}

// logPanic tells of a panic that ends one piece of work, and not the process.
// The value may hold anything: only its type is told.
func (p *Pool) logPanic(r any, what string, where zap.Field) {
	p.log.Error(what, where, zap.String("type", fmt.Sprintf("%T", r)), zap.Stack("stack"))
}

// finish ends a flight and lets its callers go on. A token that was withheld
// for a renewal which failed is handed out again.
func (e *entry) finish(f *flight, lease *realm.Lease, err error) {
	e.mu.Lock()
	if a := e.activity; a != nil {
		if a.flight == f {
			a.flight = nil
		}
		if a.comparison == f {
			a.comparison = nil
		}
		e.trimLocked()
	}
	e.handBackLocked(f)
	f.lease, f.err = lease, err
	if f.heard == storeChanged {
		e.clearFailureLocked()
	}
	if f.heard != nothing || f.newest > 0 && (lease == nil || lease.Lineage < f.newest) {
		e.suspect.raise()
	}
	e.mu.Unlock()
	close(f.done)
}

// withhold hides the live token until the flight ends, see flight.withheld.
func (e *entry) withhold(f *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live.Swap(nil); l != nil { // the second call of a flight finds none
		f.withheld, f.revision = l, e.revision
	}
}

// handBackLocked ends what withhold began, unless there is another token by now, or
// what was known has been forgotten.
func (e *entry) handBackLocked(f *flight) {
	if f.withheld != nil && e.revision == f.revision && e.live.Load() == nil {
		e.live.Store(f.withheld)
	}
}

// handBack is handBackLocked for callers without the lock.
func (e *entry) handBack(f *flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handBackLocked(f)
}

// gaveUp is the error of a caller that waits no longer, because it left or
// because its own deadline has passed.
func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return unavailable(504, "no token in time", ctx.Err())
	}
	return ctx.Err()
}
