package broker

import (
	"context"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
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
	Name  string `json:"name"` // sqlite, mysql, redis, upstream
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
	// State is live, expired, failing (there is no live token: the last call to the
	// provider was refused, or a fault stands in the way of it, such as a secret
	// that does not fit the realm), reauth_required (a person has to
	// authorize again) or idle.
	State     string     `json:"state"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Lineage   int64      `json:"lineage,omitempty"`
	// Note says what an operator should look at.
	Note        string     `json:"note,omitempty"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	// Failure is what kind of failure the last error is, for programs: see
	// failure.kind. Code is the provider's own code, where it gave one.
	Failure string `json:"failure,omitempty"`
	Code    string `json:"code,omitempty"`
	// Address is the address that the provider saw, where it takes calls from
	// listed addresses only and says it.
	Address string `json:"address,omitempty"`
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
	// Sources tell where the fields of the secret come from that do not stand in the
	// Caddyfile.
	Sources []catalog.SourceStatus `json:"sources,omitempty"`
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

// storesStatus is a status without tokens.
func (v *View) storesStatus(ctx context.Context) Status {
	return Status{
		Stores: v.health(ctx), Tokens: []TokenStatus{}, Damaged: v.damaged(ctx),
		WithoutClaims: v.pool.outage.count(realm.InstantOf(v.pool.now())),
	}
}

// describe is the status of an entry, with what only the view and the pool know.
func (v *View) describe(ref realm.Ref, e *entry, now realm.Instant, isDeaf bool) TokenStatus {
	t := v.describeEntry(ref, e, now)
	if l := e.live.Load(); l != nil && t.Note == "" && isDeaf && v.pool.upstream == nil && mayEndPrevious(l.owner) {
		t.Note = "this node does not hear of the other nodes, one of which may have replaced this token; the store is asked before it is served, and it is served to its end if the store does not answer"
	}
	if b, ok := v.pool.budgets.Load(ref.Realm); ok && b.left >= 0 {
		t.BudgetLeft = &b.left
	}
	t.Parents = v.parentStatus(ref.Realm)
	v.addSources(ref, &t)
	return t
}

// addSources tells of the sources of the fields, and notes one that gives no value.
func (v *View) addSources(ref realm.Ref, t *TokenStatus) {
	t.Sources = v.catalog.SourcesOf(ref)
	for _, s := range t.Sources {
		if s.Error != "" && t.Note == "" {
			t.Note = "the field " + s.Field + " gets no value from " + s.Source + ": " + s.Error
		}
	}
}

// StatusOf tells the state of one token. Ok is false where memory knows nothing
// of it.
func (v *View) StatusOf(ref realm.Ref) (t TokenStatus, ok bool) {
	e, ok := v.pool.entries.Load(ref)
	if !ok {
		return t, false
	}
	t = v.describeEntry(ref, e, realm.InstantOf(v.pool.now()))
	t.Parents = v.parentStatus(ref.Realm)
	v.addSources(ref, &t)
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
	if v.pool.upstream != nil {
		return []StoreStatus{v.pool.upstreamStatus()}
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

// upstreamStatus is the state of the instance that an edge takes its tokens from, as
// far as the edge knows it: nothing is asked.
func (p *Pool) upstreamStatus() StoreStatus {
	s := StoreStatus{Name: "upstream", OK: true}
	deaf := p.link.deaf()
	if since, isSilent := p.callers.silentSince(""); isSilent {
		s.OK, s.Error = false, "it has not answered since "+since.UTC().Format(time.RFC3339)+"; tokens are served to their end"
	} else if !deaf.IsZero() {
		s.OK, s.Error = false, "it has told of no change since "+deaf.Format(time.RFC3339)+"; it is asked about each token before that is served"
	}
	return s
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

// describeEntry is the status of an entry, as far as that knows it.
func (v *View) describeEntry(ref realm.Ref, e *entry, now realm.Instant) TokenStatus {
	e.mu.Lock()
	var a activity
	if e.activity != nil {
		a = *e.activity
	}
	fetches := e.fetches
	e.mu.Unlock()
	l, f := e.live.Load(), v.standing(ref.Realm, a.failure, now)
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
		s.Failure = string(realm.CodeUnavailable)
	}
	if f.isTold() {
		s.LastError, s.LastErrorAt, s.NextRefresh = f.detail(), timeOf(f.at), timeOf(f.until)
		s.Failure = f.kind()
		if f.cause != nil {
			s.LastError, s.Code = f.cause.Error(), f.cause.ProviderCode
			unlisted, _ := f.cause.UnlistedAddress()
			s.Address = unlisted.Seen
		}
		if f.needsPerson() || f.isFault() {
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
	case l != nil && l.isUsable(now) && (!f.isFault() || f.of.realm == l.owner):
		return stateLive // with a fault of another realm than its own, nobody gets it
	case f.isTold():
		return stateFailing
	case l != nil:
		return stateExpired
	}
	return stateIdle
}

// standing is the failure as it counts for this configuration; nil for none. A fault
// ends with the realm that it was found in: whether the one that came after it has
// the same, the next attempt finds out.
func (v *View) standing(id string, f *failure, now realm.Instant) *failure {
	if !f.isFault() {
		return f
	}
	if f.faultEnds != 0 && now >= f.faultEnds {
		return nil
	}
	if c, ok := v.catalog.Remembered(id); ok && c == f.of.realm {
		return f
	}
	return nil
}

func timeOf(i realm.Instant) *time.Time {
	if i == 0 {
		return nil
	}
	t := i.Time()
	return &t
}
