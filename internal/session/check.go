package session

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// fresh is how long what the store said of a session counts, so that a page
	// with many requests asks it once. Another node's sign-out counts here as
	// soon as that is over.
	fresh = 500 * time.Millisecond
	// patience is how long a request waits for the store.
	patience = 2 * time.Second
	// maxFound bounds the memory: more people do not sign in to one console.
	maxFound = 10_000
)

// finding is what the store said last about a session that had not ended.
type finding struct{ asked, ends time.Time }

// Check is nil for a session that the store has, ErrEnded for one that it does
// not have any more. While the store is away, a session that this node has seen
// goes on: nobody can sign out then, and who looks at the console probably wants
// to know why the store is away. Others get the store's error.
func (s *Sessions) Check(ctx context.Context, x *Session) error {
	now := s.now()
	if !now.Before(x.Ends) {
		return ErrEnded
	}
	s.mu.Lock()
	last, known := s.found[x.hash]
	s.mu.Unlock()
	if since := now.Sub(last.asked); known && since >= 0 && since < fresh {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.open(ctx)
	if err == nil {
		err = s.store.FindSession(ctx, x.hash)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, tokenstore.ErrSessionNotFound):
		delete(s.found, x.hash)
		return ErrEnded
	case err != nil && !known:
		return err
	}
	if !known && len(s.found) >= maxFound {
		s.dropLocked(now)
	}
	s.found[x.hash] = finding{asked: now, ends: x.Ends}
	return nil
}

// dropLocked makes room: it forgets the sessions that have ended, or all of them.
// What is forgotten is asked for again.
func (s *Sessions) dropLocked(now time.Time) {
	maps.DeleteFunc(s.found, func(_ tokenstore.SessionHash, f finding) bool { return !now.Before(f.ends) })
	if len(s.found) >= maxFound {
		clear(s.found)
	}
}

// End ends a session: here at once, and on the other nodes within half a second.
func (s *Sessions) End(ctx context.Context, x *Session) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	if err := s.store.EndSession(ctx, x.hash); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.found, x.hash)
	return nil
}
