package broker

import (
	"context"
	"errors"
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
		changes, next, err := feed.Changes(ctx, cursor)
		gap := errors.Is(err, tokenstore.ErrGap)
		if gap {
			// The new cursor comes first: what changes after it is reported,
			// what changed before it is forgotten.
			changes, next, err = feed.Changes(ctx, "")
		}
		if err != nil {
			if !failing && ctx.Err() == nil {
				p.log.Warn("cannot read what other nodes changed; trying again", zap.Error(err))
			}
			failing = true
			continue
		}
		failing, cursor = false, next
		if gap {
			p.forgetAll()
		}
		for _, c := range changes {
			p.changed(c.Ref)
		}
	}
}

// changed takes notice of one change. Most are our own: what memory has is
// compared with the store when it is used next, not dropped.
func (p *Pool) changed(ref realm.Ref) {
	if ref.Key == "" {
		p.invalidateRealm(ref.Realm)
		return
	}
	if e, ok := p.entries.Load(ref); ok {
		e.suspect.Store(true)
	}
}

func (p *Pool) forgetAll() {
	p.epoch.Add(1)
	p.stored.Clear()
	p.entries.Range(func(_ realm.Ref, e *entry) bool {
		e.forget()
		return true
	})
}
