package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// feedInterval is how long a change made on another node may go unnoticed.
const feedInterval = time.Second

// follow reads what other nodes changed since the cursor until ctx ends.
func (p *Pool) follow(ctx context.Context, feed tokenstore.ChangeFeed, cursor string) {
	tick := time.NewTicker(feedInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := p.now()
		next, err := p.poll(ctx, feed, cursor)
		if err == nil {
			cursor = next
			p.hears(began)
		} else if !failing && ctx.Err() == nil {
			p.log.Warn("cannot read what other nodes changed; trying again", zap.Error(err))
		}
		failing = err != nil
	}
}

// poll takes notice of what changed since the cursor and returns the next one.
// A panic in the store is an error of this one reading: it must not end the
// process.
func (p *Pool) poll(ctx context.Context, feed tokenstore.ChangeFeed, cursor string) (next string, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value may hold anything, so only its type is told.
			err = fmt.Errorf("panic: %T", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	changes, next, err := feed.Changes(ctx, cursor)
	if errors.Is(err, tokenstore.ErrGap) {
		// The new cursor comes first: what changes after it is reported, what
		// changed before it is forgotten.
		if changes, next, err = feed.Changes(ctx, ""); err == nil {
			p.forgetAll()
			p.tellClientChange("")
		}
	}
	for _, c := range changes {
		if c.IsClient() {
			p.tellClientChange(c.Client)
		} else {
			p.cache.Recheck(ctx, c.Ref) // and catalogChanged is called
		}
	}
	return next, err
}

// OnClientChange has changed called with the id of each client that was changed
// as the store's feed reports it, by this node or another one, and with an empty
// id where all clients may have changed. It is called by the goroutine that reads
// the feed, which hears nothing else meanwhile; a panic makes it read the same
// changes again. A store without a feed reports nothing: whoever changes a client
// there tells it.
func (p *Pool) OnClientChange(changed func(id string)) { p.clientChanged.Store(&changed) }

func (p *Pool) tellClientChange(id string) {
	if changed := p.clientChanged.Load(); changed != nil {
		(*changed)(id)
	}
}

// Deaf returns since when this node has not heard what other nodes change: the
// store, or the upstream of an edge, does not answer, or this process was stopped. It is the zero time for a
// node that hears, or that shares its store with nobody. A node that hears again
// learns what it missed by OnClientChange.
func (p *Pool) Deaf() (since time.Time) {
	if p.link != nil {
		return p.link.deaf()
	}
	until := realm.Instant(p.hearsUntil.Load())
	if realm.InstantOf(p.now()) < until {
		return time.Time{}
	}
	return until.Time().Add(-hearingLasts)
}

// hears notes that this node knows what the others did until at.
func (p *Pool) hears(at time.Time) {
	p.hearsUntil.Store(int64(realm.InstantOf(at.Add(hearingLasts))))
}

// storeChanged has what memory knows compared with the store when it is used
// next, and lets a flight that waits for another node look. What failed may
// work now: the store is asked, which knows what has to wait.
func (p *Pool) storeChanged(ref realm.Ref) {
	defer p.noteUnseen(ref)
	e, ok := p.entries.Load(ref)
	if !ok {
		return
	}
	e.suspect.raise()
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.flightLocked(); f != nil {
		f.heard = storeChanged
		select {
		case f.woken <- struct{}{}:
		default:
		}
	} else {
		e.clearFailureLocked()
	}
}

// forgetAll drops all that memory knows.
func (p *Pool) forgetAll() {
	p.cache.Clear()
	p.entries.Range(func(_ realm.Ref, e *entry) bool {
		e.forget()
		return true
	})
	p.watchers.tellGap()
}
