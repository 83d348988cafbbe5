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
	// Damaged are the rows of the database that cannot be opened. They are not
	// used; all others are.
	Damaged []tokenstore.Damage `json:"damaged,omitempty"`
	// WithoutClaims counts the (realm, key) for which this node asked the
	// provider a moment ago though the database could not be written: other
	// nodes may have done the same.
	WithoutClaims int `json:"without_claims,omitempty"`
}

// StoreStatus is the health of one level.
type StoreStatus struct {
	Name  string `json:"name"` // sqlite, mysql, redis
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Two of the words of TokenStatus.State.
const (
	StateIdle = "idle"
	StateLive = "live"
)

// TokenStatus is the state of one (realm, key) on this node.
type TokenStatus struct {
	Realm string `json:"realm"`
	Key   string `json:"key"`
	// State is live, expired, failing (the last call to the provider was
	// refused and there is no live token), reauth_required (a person has to
	// authorize again) or idle.
	State     string     `json:"state"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Lineage   int64      `json:"lineage,omitempty"`
	// Note says what an operator should look at.
	Note        string     `json:"note,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	// LastFetch is when the live token was asked for.
	LastFetch *time.Time `json:"last_fetch,omitempty"`
	// NextRefresh is the earliest time of the next call to the provider.
	NextRefresh *time.Time `json:"next_refresh,omitempty"`
	// Fetches are the calls to the provider that this node made. BudgetLeft is
	// how many more the realm's tightest window allowed when this node asked
	// last; absent without windows.
	Fetches    uint32 `json:"fetches"`
	BudgetLeft *int   `json:"budget_left,omitempty"`
	// Parents are the credentials whose tokens are needed to obtain this one, as
	// the realm names them.
	Parents []ParentStatus `json:"parents,omitempty"`
	// History are the last calls to the provider, the newest first. Only who asks
	// for one token gets it.
	History []Call `json:"history,omitempty"`
}

// ParentStatus names a parent.
type ParentStatus struct {
	Realm string `json:"realm"`
	// Key is absent where the secret or the default_key of the parent's realm says
	// it.
	Key string `json:"key,omitempty"`
}

// Status tells the health of the stores and the state of every token that
// memory knows.
func (v *View) Status(ctx context.Context) Status {
	s := v.storesStatus(ctx)
	now := realm.InstantOf(v.pool.now())
	isDeaf := v.pool.isDeaf(now)
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		s.Tokens = append(s.Tokens, v.describe(ref, e, now, isDeaf))
		return true
	})
	slices.SortFunc(s.Tokens, func(a, b TokenStatus) int {
		return cmp.Or(cmp.Compare(a.Realm, b.Realm), cmp.Compare(a.Key, b.Key))
	})
	return s
}

// storesStatus is a status without tokens.
func (v *View) storesStatus(ctx context.Context) Status {
	return Status{
		Stores: v.health(ctx), Tokens: []TokenStatus{}, Damaged: v.damaged(ctx),
		WithoutClaims: v.pool.outage.count(realm.InstantOf(v.pool.now())),
	}
}

// describe is the status of an entry, with what only the view and the pool know.
func (v *View) describe(ref realm.Ref, e *entry, now realm.Instant, isDeaf bool) TokenStatus {
	t := e.describe(ref, now)
	if l := e.live.Load(); l != nil && t.Note == "" && isDeaf && mayEndPrevious(l.owner) {
		t.Note = "this node does not hear of the other nodes, one of which may have replaced this token; the store is asked before it is served, and it is served to its end if the store does not answer"
	}
	if b, ok := v.pool.budgets.Load(ref.Realm); ok && b.left >= 0 {
		t.BudgetLeft = &b.left
	}
	t.Parents = v.parentStatus(ref.Realm)
	return t
}

// StatusOf tells the state of one token. Ok is false where memory knows nothing
// of it.
func (v *View) StatusOf(ref realm.Ref) (t TokenStatus, ok bool) {
	e, ok := v.pool.entries.Load(ref)
	if !ok {
		return t, false
	}
	t = e.describe(ref, realm.InstantOf(v.pool.now()))
	t.Parents = v.parentStatus(ref.Realm)
	return t, true
}

// parentStatus names the parents of a realm that memory knows.
func (v *View) parentStatus(id string) []ParentStatus {
	c, ok := v.catalog.Remembered(id)
	if !ok {
		return nil
	}
	var list []ParentStatus
	for _, u := range c.Program.Parents() {
		if p := (ParentStatus{u.Parent.Realm, u.Parent.Key}); !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

func (v *View) health(ctx context.Context) []StoreStatus {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
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

// damaged are the rows that cannot be opened, as far as the store can tell.
func (v *View) damaged(ctx context.Context) []tokenstore.Damage {
	d, ok := v.pool.store.(tokenstore.DamageReporter)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	found, err := d.Damaged(ctx)
	if err != nil { // the state of the stores tells why
		return nil
	}
	return found
}

func storeStatus(name string, err error) StoreStatus {
	s := StoreStatus{Name: name, OK: err == nil}
	if err != nil {
		s.Error = err.Error()
	}
	return s
}

func (e *entry) describe(ref realm.Ref, now realm.Instant) TokenStatus {
	e.mu.Lock()
	var a activity
	if e.activity != nil {
		a = *e.activity
	}
	fetches := e.fetches
	e.mu.Unlock()
	l, f := e.live.Load(), a.failure
	s := TokenStatus{Realm: ref.Realm, Key: ref.Key, State: stateOf(l, f, now).String(), Fetches: fetches}
	if a.earlyDeaths.isContended(now) {
		s.Note = contention + ": " + contentionAdvice
	}
	if l != nil {
		s.Lineage = l.lease.Lineage
		s.ExpiresAt, s.NextRefresh, s.LastFetch = timeOf(l.lease.Expires), timeOf(l.renewAt), timeOf(l.issued())
	}
	if a.unsaved != nil && f != nil {
		s.LastError, s.LastErrorAt = "the store did not take the new token yet", timeOf(f.at)
	}
	if f.isTold() {
		s.LastError, s.LastErrorAt, s.NextRefresh = f.detail(), timeOf(f.at), timeOf(f.until)
		if f.cause != nil {
			s.LastError = f.cause.Error()
		}
		if f.needsPerson() {
			s.NextRefresh = nil
		}
	}
	return s
}

// state is that of one (realm, key) on this node.
type state uint8

const (
	stateIdle state = iota
	stateLive
	stateExpired
	stateFailing
	stateReauth
	states // how many there are
)

// String is the word for it in the status and in metrics.
func (s state) String() string {
	return [states]string{StateIdle, StateLive, "expired", "failing", "reauth_required"}[s]
}

// stateOf is the state of an entry with this token and failure.
func stateOf(l *live, f *failure, now realm.Instant) state {
	switch {
	case f.needsPerson():
		return stateReauth
	case l != nil && l.isUsable(now):
		return stateLive
	case f.isTold():
		return stateFailing
	case l != nil:
		return stateExpired
	}
	return stateIdle
}

func timeOf(i realm.Instant) *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}
