package broker

import (
	"context"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// spool writes an answer that holds a refresh token to this machine's disk,
// before the store is asked, and reports whether it did. A store on this
// machine needs no spool: it is as quick itself.
func (a *attempt) spool(o *claim.Outcome) bool {
	mayAskAgain := o.Request.MayResend && o.Source != claim.FromCode // the provider would give the answer once more
	if a.pool.spool == nil || o.Token.Refresh == "" || mayAskAgain {
		return false
	}
	err := a.pool.spool.Add(tokenstore.SpoolEntry{
		ID: o.Request.ID, Ref: a.ref, Parent: o.Parent, FromCode: o.Source == claim.FromCode, Token: o.Token,
	})
	if err != nil {
		a.log.Error("an answer could not be spooled", zap.Error(err))
	}
	return err == nil
}

func (p *Pool) unspool(id tokenstore.CallID) {
	if err := p.spool.Remove(id); err != nil {
		p.log.Warn("a spooled answer could not be removed; it is looked at again with the next start", zap.Error(err))
	}
}

// replay brings what lies in the spool into the store: answers that arrived and
// were not saved when the process ended.
func (p *Pool) replay(ctx context.Context) error {
	if p.spool == nil {
		return nil
	}
	entries, err := p.spool.Entries(ctx)
	if err != nil {
		p.log.Error("the spool cannot be read as a whole", zap.Error(err))
	}
	for _, s := range entries {
		switch err := p.replayEntry(ctx, s); {
		case err == nil:
			p.unspool(s.ID)
		case tokenstore.IsUnavailable(err):
			return fmt.Errorf("spooled token of %s: %w", s.Ref, err)
		default: // what is stored of this key is damaged: that stops no other
			p.log.Error("an answer in the spool cannot be saved",
				zap.String("realm", s.Ref.Realm), zap.String("key", s.Ref.Key), zap.Error(err))
		}
	}
	return nil
}

// replayEntry settles a call of a process that is gone.
func (p *Pool) replayEntry(ctx context.Context, s tokenstore.SpoolEntry) error {
	r := &claim.Request{
		ID: s.ID, Key: s.Ref.Key, Fingerprint: s.Token.Fingerprint, Digests: claim.FixedDigest{}, Random: p.random,
	}
	// The process may have died after the store took the answer, or the file may
	// have come back after a power failure: an answer is settled once.
	wasSaved := false
	state, err := p.store.Coordinate(ctx, s.Ref, func(state *tokenstore.State) error {
		if wasSaved = slices.Contains(state.Claim.Settled, s.ID); wasSaved {
			return nil
		}
		o := claim.NewOutcome(r, claim.Decision{Parent: s.Parent, Source: claim.FromToken})
		o.Token = s.Token
		switch t := state.Token; {
		case s.FromCode:
			o.Source = claim.FromCode
		case t.Refresh == "" || state.Claim.Rejected.Refresh == t.Lineage:
			o.Source = claim.FromSecret // there was no other refresh token to send
		}
		o.Settle(state)
		return nil
	})
	if err == nil && !wasSaved {
		p.log.Info("an answer that had not been saved was found in the spool",
			zap.String("realm", s.Ref.Realm), zap.String("key", s.Ref.Key), zap.Int64("lineage", state.Token.Lineage))
	}
	return err
}
