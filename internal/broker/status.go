package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Status is the answer of GET /api/status.
type Status struct {
	Stores []StoreStatus `json:"stores"`
	Tokens []TokenStatus `json:"tokens"`
}

// StoreStatus is the health of one level.
type StoreStatus struct {
	Name  string `json:"name"` // sqlite, mysql, redis
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// TokenStatus is the state of one (realm, key) on this node.
type TokenStatus struct {
	Realm string `json:"realm"`
	Key   string `json:"key"`
	// State is live, failing (the last call to the provider was refused and
	// there is no live token), expired or idle.
	State       string     `json:"state"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	Lineage     int64      `json:"lineage,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	// NextRefresh is the earliest time of the next call to the provider.
	NextRefresh *time.Time `json:"next_refresh,omitempty"`
	// Fetches are the calls to the provider that this node made.
	Fetches uint32 `json:"fetches"`
}

// Status tells the health of the stores and the state of every token that
// memory knows.
func (v *View) Status(ctx context.Context) Status {
	s := Status{Stores: v.health(ctx), Tokens: []TokenStatus{}}
	now := realm.InstantOf(v.pool.now())
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		s.Tokens = append(s.Tokens, e.status(ref, now))
		return true
	})
	slices.SortFunc(s.Tokens, func(a, b TokenStatus) int {
		return cmp.Or(cmp.Compare(a.Realm, b.Realm), cmp.Compare(a.Key, b.Key))
	})
	return s
}

func (v *View) health(ctx context.Context) []StoreStatus {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := v.pool.Open(ctx); err != nil {
		return []StoreStatus{{Name: "database", Error: err.Error()}}
	}
	var out []StoreStatus
	if h, ok := v.pool.store.(tokenstore.HealthReporter); ok {
		for _, level := range h.Health(ctx) {
			out = append(out, storeStatus(level.Name, level.Err))
		}
		return out
	}
	return append(out, storeStatus("database", v.pool.store.Ping(ctx)))
}

func storeStatus(name string, err error) StoreStatus {
	s := StoreStatus{Name: name, OK: err == nil}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

func (e *entry) status(ref realm.Ref, now realm.Instant) TokenStatus {
	e.mu.Lock()
	t, fetches := e.trouble, e.fetches
	e.mu.Unlock()
	s := TokenStatus{Realm: ref.Realm, Key: ref.Key, State: "idle", Fetches: fetches}
	if l := e.live.Load(); l != nil {
		s.State, s.Lineage = "live", l.lineage
		if !l.usable(now) {
			s.State = "expired"
		}
		s.ExpiresAt, s.NextRefresh = timeOf(l.lease.Expires), timeOf(l.renewAt)
	}
	if t != nil && t.kept != nil {
		s.LastError, s.LastErrorAt = "the store did not take the new token yet", timeOf(t.at)
	}
	if t.failed() {
		if s.State != "live" {
			s.State = "failing"
		}
		s.LastError, s.LastErrorAt, s.NextRefresh = t.cause.Error(), timeOf(t.at), timeOf(t.until)
	}
	return s
}

func timeOf(i realm.Instant) *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}
