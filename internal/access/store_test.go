package access

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/leaktest"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

// memoryStore keeps clients as a store does.
type memoryStore struct {
	mu       sync.Mutex
	clients  map[string]tokenstore.Client
	required bool
	used     map[string]time.Time
	err      error // of every call
	reads    int   // of lists
	now      func() time.Time
}

func newMemoryStore(clients ...tokenstore.Client) *memoryStore {
	s := &memoryStore{clients: make(map[string]tokenstore.Client), used: make(map[string]time.Time), now: time.Now}
	for _, c := range clients {
		s.clients[c.ID] = c
	}
	s.required = len(clients) > 0
	return s
}

// fail has every call fail from now on; nil ends that.
func (s *memoryStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// set changes a client as another node does.
func (s *memoryStore) set(c tokenstore.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c.ID], s.required = c, true
}

func (s *memoryStore) Client(_ context.Context, id string) (tokenstore.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.clients[id]
	switch {
	case s.err != nil:
		return c, s.err
	case !ok:
		return c, tokenstore.ErrClientNotFound
	case c.Damaged:
		return tokenstore.Client{}, tokenstore.ErrDamaged
	}
	return c, nil
}

func (s *memoryStore) Clients(context.Context) ([]tokenstore.Client, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var list []tokenstore.Client
	for _, id := range slices.Sorted(maps.Keys(s.clients)) {
		list = append(list, s.clients[id])
	}
	return list, s.required, s.err
}

func (s *memoryStore) UpdateClient(_ context.Context, id string, change func(tokenstore.Client, bool) (tokenstore.Client, error)) (tokenstore.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return tokenstore.Client{}, s.err
	}
	stored, found := s.clients[id]
	if !found {
		stored.ID = id
	}
	c, err := change(stored, found)
	if err != nil {
		return c, err
	}
	for _, other := range s.clients {
		if other.ID == id {
			continue
		}
		for field, common := range map[string]bool{
			"keys": slices.ContainsFunc(c.Keys, func(k tokenstore.ClientKey) bool {
				return slices.ContainsFunc(other.Keys, func(o tokenstore.ClientKey) bool { return o.Digest == k.Digest })
			}),
			"users":    overlaps(c.Users, other.Users),
			"subjects": overlaps(c.Subjects, other.Subjects),
			"sources":  overlaps(c.Sources, other.Sources),
		} {
			if common {
				return c, &tokenstore.IdentityTakenError{Field: field, Client: other.ID}
			}
		}
	}
	c.ID, c.UpdatedAt = id, s.now()
	if !found {
		c.CreatedAt = c.UpdatedAt
	}
	s.clients[id], s.required = c, true
	return c, nil
}

func overlaps(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}

func (s *memoryStore) DeleteClient(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if _, ok := s.clients[id]; !ok {
		return tokenstore.ErrClientNotFound
	}
	delete(s.clients, id)
	return nil
}

func (s *memoryStore) RequireClients(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.required = true
	}
	return s.err
}

func (s *memoryStore) ClientsUsed(_ context.Context, at map[string]time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		maps.Copy(s.used, at)
	}
	return s.err
}
