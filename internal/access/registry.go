package access

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// retryMin and retryMax bound the waits between tries to read the store.
	retryMin = time.Second
	retryMax = 30 * time.Second
	// readyPatience is how long a caller waits for the clients to be known.
	readyPatience = 2 * time.Second
	// usedInterval is how often the store is told when clients were last seen.
	usedInterval = time.Minute
)

// RegistryConfig is what a registry needs.
type RegistryConfig struct {
	// Store keeps the clients; nil where there is none, as on an edge.
	Store tokenstore.ClientStore
	// Open prepares the store for use, if that was not done yet. It is called
	// before each use of the store; nil for nothing to do.
	Open func(context.Context) error
	// Deaf returns since when this node has not heard what others change, the
	// zero time if it hears; nil for always.
	Deaf func() time.Time
	// Now is the clock, nil for time.Now.
	Now func() time.Time
	Log *zap.Logger
}

// Registry knows the clients of a store. It is shared by all configurations
// that use the store, and outlives them, so that what it counts does not begin
// anew with each reload.
//
// While the store does not answer, the last known clients stay as they are.
// Before it has answered for the first time nobody is known, and everything
// stays closed.
type Registry struct {
	store tokenstore.ClientStore
	open  func(context.Context) error
	deaf  func() time.Time
	now   func() time.Time
	log   *zap.Logger

	// stored are the clients of the store. Only who has loading replaces it, so
	// that what was read later is published later.
	stored  atomic.Pointer[table]
	loading chan struct{} // a semaphore of one
	// required: the store says that there has been a client. It never goes back.
	required atomic.Bool
	// staleSince is since when the store could not be read, in Unix nanoseconds;
	// 0 while it can. failed is when it was tried last, and cause the error.
	staleSince, failed atomic.Int64
	cause              atomic.Pointer[error]

	mu      sync.Mutex
	tallies map[string]*tally
	// defined are the lives of the identities of Caddyfile clients, with how
	// many views have each.
	defined map[identity]*definedLife
	// changed are the clients that have to be read again; all means each of
	// them. mark: the store has to note that clients are required.
	changed   map[string]bool
	all, mark bool

	wake   chan struct{}
	start  sync.Once
	base   context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

type definedLife struct {
	life  *life
	views int
}

// NewRegistry makes a registry. It does nothing before Start.
func NewRegistry(c RegistryConfig) *Registry {
	r := &Registry{
		store: c.Store, open: c.Open, deaf: c.Deaf, now: c.Now, log: c.Log,
		loading: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		tallies: make(map[string]*tally), defined: make(map[identity]*definedLife), changed: make(map[string]bool),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	t := newTable()
	t.loaded = r.store == nil
	r.stored.Store(t)
	r.base, r.cancel = context.WithCancel(context.Background())
	return r
}

// Start begins to load the clients and to keep them fresh. It may be called
// more than once.
func (r *Registry) Start() {
	if r.store == nil {
		return
	}
	r.start.Do(func() {
		r.Changed("")
		r.work.Go(func() { r.run(r.base) })
	})
}

// Close ends the work of Start, tells the store when clients were last seen, and
// ends everything that waits for a client's end: nobody would hear of it any
// more. The store must still be open.
func (r *Registry) Close() {
	r.start.Do(func() {}) // none after this
	r.cancel()
	r.work.Wait()
	if r.store != nil {
		ctx, cancel := context.WithTimeout(context.Background(), tokenstore.Timeout)
		defer cancel()
		if err := r.flushUsed(ctx); err != nil {
			r.log.Warn("cannot note when clients were last seen", zap.Error(err))
		}
	}
	for _, p := range r.stored.Load().policies {
		p.endWithout(nil)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.defined {
		d.life.end()
	}
}

// Changed has a client read again, in the background: another node changed it.
// An empty id stands for all of them, and for the mark that clients are required.
func (r *Registry) Changed(id string) {
	r.mu.Lock()
	if id == "" {
		r.all = true
	} else {
		r.changed[id] = true
	}
	r.mu.Unlock()
	r.wakeUp()
}

func (r *Registry) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// require has the store note, for ever, that there was a client.
func (r *Registry) require() {
	r.required.Store(true)
	r.mu.Lock()
	r.mark = true
	r.mu.Unlock()
	r.wakeUp()
}

// Since returns since when changes of clients may have gone unnoticed, the zero
// time if they have not.
func (r *Registry) Since() time.Time {
	var since time.Time
	if at := r.staleSince.Load(); at != 0 {
		since = time.Unix(0, at)
	}
	if r.deaf != nil {
		if deaf := r.deaf(); !deaf.IsZero() && (since.IsZero() || deaf.Before(since)) {
			since = deaf
		}
	}
	return since
}

// Ready waits until the clients were loaded for the first time, and loads them
// if nobody does, for two seconds at most. It does not wait if that failed
// within the last second. Call it before Identify and ignore its error: Identify
// knows what it means for the caller.
func (r *Registry) Ready(ctx context.Context) error {
	if r.stored.Load().loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	return r.inTurn(ctx, func(ctx context.Context) error {
		if r.stored.Load().loaded {
			return nil
		}
		if cause := r.cause.Load(); cause != nil && r.now().UnixNano()-r.failed.Load() < int64(retryMin) {
			return *cause
		}
		return r.load(ctx)
	})
}

// Reload reads all clients.
func (r *Registry) Reload(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	return r.inTurn(ctx, r.load)
}

// inTurn runs f while nobody else reads clients, within the store's time.
func (r *Registry) inTurn(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	defer cancel()
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
		return f(ctx)
	case <-ctx.Done():
		return storeError(ctx.Err())
	}
}

// load reads all clients, for who has the turn.
func (r *Registry) load(ctx context.Context) error {
	list, required, err := r.list(ctx)
	if err != nil {
		r.stale(err)
		return storeError(err)
	}
	if required || len(list) > 0 {
		r.required.Store(true)
	}
	r.replaceAll(list)
	r.staleSince.Store(0)
	return nil
}

func (r *Registry) list(ctx context.Context) ([]tokenstore.Client, bool, error) {
	if err := r.prepare(ctx); err != nil {
		return nil, false, err
	}
	return r.store.Clients(ctx)
}

// prepare opens the store, if need be.
func (r *Registry) prepare(ctx context.Context) error {
	if r.open == nil {
		return nil
	}
	return r.open(ctx)
}

// loadOne reads one client, for who has the turn.
func (r *Registry) loadOne(ctx context.Context, id string) error {
	c, err := r.read(ctx, id)
	if err != nil {
		return err
	}
	r.replace(map[string]*tokenstore.Client{id: c})
	return nil
}

// read reads one client, nil where there is none.
func (r *Registry) read(ctx context.Context, id string) (*tokenstore.Client, error) {
	err := r.prepare(ctx)
	var c tokenstore.Client
	if err == nil {
		c, err = r.store.Client(ctx, id)
	}
	switch {
	case err == nil:
		r.required.Store(true)
		return &c, nil
	case errors.Is(err, tokenstore.ErrClientNotFound):
		return nil, nil //nolint:nilnil // see above
	case isDamaged(err): // what is stored cannot be trusted, so it lets nobody in
		r.log.Error("a stored client is damaged; it has no rights", zap.String("client", id), zap.Error(err))
		return &tokenstore.Client{ID: id, Damaged: true}, nil
	}
	r.stale(err)
	return nil, storeError(err)
}

// stale notes that the store could not be read. That a caller went away says
// nothing about the store.
func (r *Registry) stale(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now := r.now().UnixNano()
	known := storeError(err)
	r.cause.Store(&known)
	r.failed.Store(now)
	if r.staleSince.CompareAndSwap(0, now) {
		r.log.Warn("cannot read the clients; what is known of them stays as it is", zap.Error(err))
	}
}

// replaceAll publishes another table. Clients that are as they were are not
// made again: there may be ten thousand, and one of them has changed.
func (r *Registry) replaceAll(list []tokenstore.Client) {
	old, next := r.stored.Load(), newTable()
	next.loaded = true
	r.mu.Lock()
	for i := range list {
		c := &list[i]
		if was := old.policies[c.ID]; was == nil || !isSame(was.written, *c) {
			r.addLocked(next, was, c)
			continue
		}
		next.adopt(old.policies[c.ID])
	}
	for id, was := range old.policies {
		if next.policies[id] != was {
			r.releaseLocked(id)
		}
	}
	r.mu.Unlock()
	r.stored.Store(next.index())
	for id, was := range old.policies {
		if next.policies[id] != was {
			was.endWithout(next.policies[id])
		}
	}
}

// isSame reports whether two clients differ in nothing that counts.
func isSame(a, b tokenstore.Client) bool {
	a.UsedAt, b.UsedAt = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}

// replace publishes another table in which some clients are other ones, or gone
// where they are nil.
func (r *Registry) replace(changed map[string]*tokenstore.Client) {
	old := r.stored.Load()
	if !old.loaded {
		return // all of them will be read
	}
	// A copy of ten thousand entries takes a few milliseconds, which a change of a
	// client may take, and a request would notice a lock.
	next := old.clone()
	for id := range changed {
		next.remove(id) // all first: an identity may go from one to another
	}
	r.mu.Lock()
	for id, c := range changed {
		if c != nil {
			r.addLocked(next, old.policies[id], c)
		}
		if _, was := old.policies[id]; was {
			r.releaseLocked(id)
		}
	}
	r.mu.Unlock()
	r.stored.Store(next.index())
	for id := range changed {
		if p := old.policies[id]; p != nil {
			p.endWithout(next.policies[id])
		}
	}
}

// addLocked adds a client to a table that is being made. was is the client in
// the table before, or nil: what identifies it still goes on living.
func (r *Registry) addLocked(next *table, was *policy, c *tokenstore.Client) {
	lives := was.lives()
	next.add(r.newPolicyLocked(*c), func(by identity, expires int64) *life { return r.carryOn(lives[by], expires) })
}

// lives are those of a client's identities; p may be nil.
func (p *policy) lives() map[identity]*life {
	all := make(map[identity]*life)
	if p != nil {
		for _, face := range p.faces {
			all[face.by] = face.life
		}
	}
	return all
}

// endWithout ends the identities of a client that its successor, which may be
// nil, does not have.
func (p *policy) endWithout(next *policy) {
	left := next.lives()
	for _, face := range p.faces {
		if left[face.by] != face.life {
			face.life.end()
		}
	}
}

// carryOn returns the life of an identity: the one that it had, or a new one.
func (r *Registry) carryOn(l *life, expires int64) *life {
	if l != nil && l.renew(expires) {
		return l
	}
	return newLife(r.now, expires)
}

// newPolicyLocked makes the policy of a client, with the counters of its id.
func (r *Registry) newPolicyLocked(c tokenstore.Client) *policy {
	p := &policy{written: c, log: r.log, concurrency: int64(c.Limits.Concurrency)}
	requests, errRequests := ParseLimit(c.Limits.Requests)
	fetches, errFetches := ParseLimit(c.Limits.Fetches)
	p.badLimits = errors.Join(errRequests, errFetches)
	// The counters may be there already: of this client before its change, or of
	// another configuration.
	t := r.tallies[c.ID]
	if t == nil {
		t = &tally{}
		r.tallies[c.ID] = t
	}
	t.holders++
	t.requests, t.fetches = bucketFor(t.requests, requests), bucketFor(t.fetches, fetches)
	p.tally, p.requests, p.fetches = t, t.requests, t.fetches
	return p
}

// releaseLocked drops the counters of a client that nobody has any more.
func (r *Registry) releaseLocked(id string) {
	if t := r.tallies[id]; t != nil {
		if t.holders--; t.holders == 0 {
			delete(r.tallies, id)
		}
	}
}

// storeError is the error of a store as a caller sees it.
func storeError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if isDamaged(err) {
		return &realm.Error{
			Code: realm.CodeDamaged, Status: http.StatusServiceUnavailable,
			Detail: "what is stored is damaged: it was altered, or an old version of it was put back; delete it and create it again, or restore the database",
			Err:    err,
		}
	}
	detail := "the store cannot be used now"
	if errors.Is(err, tokenstore.ErrKey) {
		detail = "the store was sealed with another encryption key"
	}
	return &realm.Error{
		Code: realm.CodeUnavailable, Status: http.StatusServiceUnavailable,
		Detail: detail, RetryAfter: time.Second, Err: err,
	}
}

// isDamaged reports whether a row is damaged. A database that is broken as a
// whole is unavailable.
func isDamaged(err error) bool {
	return errors.Is(err, tokenstore.ErrDamaged) && !errors.Is(err, tokenstore.ErrUnavailable)
}
