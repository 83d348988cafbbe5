package broker

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// The feed of the store names what another node changed and not how. So somebody
// has to look, which costs the store a read, and memory its comparison ahead of the
// next use. That is done only while somebody watches.

// unseenBuffer is how many changes may wait to be looked at.
const unseenBuffer = 4096

// noteUnseen has a change of another node looked at, if somebody watches. Most are
// our own, of which nothing is told twice.
func (p *Pool) noteUnseen(ref realm.Ref) {
	if !p.watchers.isWatched() {
		return
	}
	select {
	case p.unseen <- ref:
	default:
		p.watchers.tellGap()
	}
}

// lookAtUnseen looks at what other nodes changed, until ctx ends. What the store does
// not tell leaves a gap, and another one when it answers again: who compares meanwhile
// finds nothing, and takes the token for the one of now.
func (p *Pool) lookAtUnseen(ctx context.Context) {
	var again <-chan time.Time // nil where nothing was missed
	for {
		select {
		case ref := <-p.unseen:
			if p.watchers.isWatched() && p.lookAt(ctx, ref) != nil && again == nil {
				p.watchers.tellGap()
				again = time.After(storeRetry)
			}
		case <-again:
			if again = nil; p.settleClock(ctx) != nil {
				again = time.After(storeRetry)
			} else {
				p.watchers.tellGap()
			}
		case <-ctx.Done():
			return
		}
	}
}

// lookAt tells what the store has of a realm, or of a token.
func (p *Pool) lookAt(ctx context.Context, ref realm.Ref) (err error) {
	ctx, cancel := context.WithTimeout(ctx, p.patience())
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			p.logPanic(r, "panic while looking at a change", zap.Stringer("ref", ref))
			err = errPanic
		}
	}()
	if ref.Key == "" {
		return p.lookAtRealm(ctx, ref.Realm)
	}
	return p.lookAtToken(ctx, ref)
}

// lookAtRealm tells of a realm that is gone, or says something else. It may have been
// this node that changed it, and told of it before.
func (p *Pool) lookAtRealm(ctx context.Context, id string) error {
	v := p.schedule.driver.Load()
	if v == nil || v.catalog.IsDefined(id) {
		return nil
	}
	_, err := p.callers.Realm(ctx, id)
	if errors.Is(err, tokenstore.ErrRealmNotFound) {
		p.watchers.tell(Change{Realm: id, State: stateDeleted})
		return nil
	}
	if err == nil {
		p.watchers.tell(Change{Realm: id, State: stateChanged})
	}
	return err
}

// lookAtToken tells what became of a token. One that memory has is compared first:
// who hears of the change then finds it in the status of this node.
func (p *Pool) lookAtToken(ctx context.Context, ref realm.Ref) error {
	v := p.schedule.driver.Load()
	if v == nil {
		return nil
	}
	c, err := v.catalog.Realm(ctx, ref.Realm)
	switch {
	case catalog.IsNotFound(err):
		p.watchers.tell(Change{Realm: ref.Realm, Key: ref.Key, State: stateDeleted})
		return nil
	case err != nil:
		return err
	}
	if !c.Program.Fetches() {
		// The lineage of a fixed token tells nothing of another value.
		p.watchers.tell(Change{Realm: ref.Realm, Key: ref.Key, State: stateChanged})
		return nil
	}
	secret, err := v.catalog.Secret(ctx, c, ref)
	switch {
	case catalog.IsNotFound(err):
		p.watchers.tell(Change{Realm: ref.Realm, Key: ref.Key, State: stateDeleted})
		return nil
	case err != nil:
		return err
	}
	if err := p.lookAtState(ctx, v, c, ref); err != nil {
		return err
	}
	if p.watchers.noteSaved(ref, secret.UpdatedAt) { // the token may have stayed
		p.watchers.tell(Change{Realm: ref.Realm, Key: ref.Key, State: stateChanged})
	}
	return nil
}

// lookAtState tells of a token of a secret that there is.
func (p *Pool) lookAtState(ctx context.Context, v *View, c *catalog.Realm, ref realm.Ref) error {
	e, ok := p.entries.Load(ref)
	for range maxComparisons {
		if !ok || e.live.Load() == nil {
			break
		}
		f := v.compare(e, c, ref)
		select {
		case <-f.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if f.err != nil {
			break
		}
		// One that others began may have read the store before the change.
		if !e.suspect.isRaised() && e.live.Load() != nil {
			p.tellState(ref, e)
			return nil
		}
	}
	return p.lookAtStored(ctx, ref)
}

// lookAtStored tells of a token that memory does not have.
func (p *Pool) lookAtStored(ctx context.Context, ref realm.Ref) error {
	st, err := p.callers.Peek(ctx, ref)
	if err != nil {
		return err
	}
	t := p.local(st.Token)
	change := Change{Realm: ref.Realm, Key: ref.Key, State: stateIdle.String()}
	if t.Access != "" {
		change.Lineage, change.State = t.Lineage, stateLive.String()
		if t.Expired(p.now().Add(slack)) {
			change.State = stateExpired.String()
		}
	}
	p.watchers.tellSeen(func() Change { return change }, false)
	return nil
}
