package broker

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// spool writes an answer that holds a refresh token to this machine's disk,
// before the store is asked, and says whether it did. Where the store is on
// this machine too, it is as quick itself.
func (t *task) spool(end *ended) bool {
	again := end.keeps && end.source != fromCode // the provider would give it once more
	if t.pool.spool == nil || end.cause != nil || end.token.Refresh == "" || again {
		return false
	}
	err := t.pool.spool.Add(tokenstore.SpoolEntry{
		ID: end.id, Ref: t.ref, Parent: end.parent, FromCode: end.source == fromCode, Token: end.token,
	})
	if err != nil {
		t.pool.log.Error("an answer could not be spooled",
			zap.String("realm", t.ref.Realm), zap.String("key", t.ref.Key), zap.Error(err))
	}
	return err == nil
}

func (p *Pool) unspool(id tokenstore.CallID) {
	if err := p.spool.Remove(id); err != nil {
		p.log.Warn("a spooled answer could not be removed; it is looked at again with the next start", zap.Error(err))
	}
}

// replay brings what lies in the spool into the store: answers that arrived
// and were not saved when the process ended.
func (p *Pool) replay(ctx context.Context) error {
	if p.spool == nil {
		return nil
	}
	entries, err := p.spool.Entries(ctx)
	if err != nil {
		p.log.Error("the spool cannot be read as a whole", zap.Error(err))
	}
	for _, s := range entries {
		switch err := p.replayOne(ctx, s); {
		case err == nil:
			p.unspool(s.ID)
		case tokenstore.IsUnavailable(err):
			return fmt.Errorf("spooled token of %s: %w", s.Ref, err)
		default: // what is stored of this one is damaged: that stops no other
			p.log.Error("an answer in the spool cannot be saved",
				zap.String("realm", s.Ref.Realm), zap.String("key", s.Ref.Key), zap.Error(err))
		}
	}
	return nil
}

// replayOne settles a call of a process that is gone.
func (p *Pool) replayOne(ctx context.Context, s tokenstore.SpoolEntry) error {
	end := &ended{
		asks:    &asks{id: s.ID, draw: p.draw, fingerprint: s.Token.Fingerprint},
		verdict: verdict{parent: s.Parent, source: fromToken},
		token:   s.Token,
	}
	if s.FromCode {
		end.source = fromCode
	}
	saved := false
	state, err := p.store.Coordinate(ctx, s.Ref, func(state *tokenstore.State) error {
		if saved = slices.Contains(state.Claim.Settled, s.ID); !saved {
			if t := state.Token; !s.FromCode && (t.Refresh == "" || state.Claim.Rejected.Refresh == t.Lineage) {
				end.source = fromSecret // there was no other to send, see means
			}
			end.settle(state)
		}
		return nil
	})
	if err == nil && !saved {
		p.log.Info("an answer that had not been saved was found in the spool",
			zap.String("realm", s.Ref.Realm), zap.String("key", s.Ref.Key), zap.Int64("lineage", state.Token.Lineage))
	}
	return err
}
