package broker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Pool is shared by all configurations that use the same store. It holds what
// must outlive a configuration: the store's handles, the memory level, the
// flights.
type Pool struct {
	store tokenstore.Store
	// upstream is the store of an edge: another instance; nil for any other. link is
	// what is known of the connection to it.
	upstream tokenstore.Upstream
	link     *upstreamLink
	// callers is the store for what somebody waits for.
	callers *patientStore
	log     *zap.Logger
	now     func() time.Time
	sleep   func(ctx context.Context, d time.Duration) error
	// waits is how long a caller waits for the store, as a time.Duration.
	waits atomic.Int64
	node  string // names this process in claims
	// random spreads waits. A test repeats what happened with another one.
	random claim.Random
	// concluded is told, within the transaction, that a person has to authorize;
	// nil for nobody. The model judges the state that this was concluded from.
	concluded func(realm.Ref)
	spool     *tokenstore.Spool // nil for none

	observer atomic.Pointer[Observer]
	// clientChanged is told of changes of clients; nil for nobody.
	clientChanged atomic.Pointer[func(id string)]
	// ahead is how far the store's clock is ahead of this machine's.
	ahead atomic.Int64

	// entries is the memory level. Nothing is evicted: there is an entry for
	// no more than the secrets that exist.
	entries *xsync.Map[realm.Ref, *entry]
	// cache holds the realms and secrets of the store.
	cache *catalog.Cache

	schedule *schedule
	// budgets is what the realms' tightest windows allowed when this node
	// looked last; -1 for no windows.
	budgets *xsync.Map[string, budgetLeft]
	// histories are the last calls to the providers.
	histories histories
	outage    perKeyLimit
	ready     readiness
	// watchers are told what becomes of tokens; unseen are changes of other nodes
	// that have to be looked at first.
	watchers watchers
	unseen   chan realm.Ref
	// hearsUntil is until when this node counts as informed about what the
	// others do, as a realm.Instant.
	hearsUntil atomic.Int64

	opening       chan struct{} // a semaphore of one
	callbackSlots chan struct{} // a semaphore of those that take their state
	opened        atomic.Bool

	// base is the context of everything that runs for nobody in particular;
	// work counts the goroutines that use it. closing guards its start.
	base    context.Context
	cancel  context.CancelFunc
	closing sync.RWMutex
	closed  bool
	work    sync.WaitGroup
}

// budgetLeft is what a realm's limits allowed when this node looked last.
type budgetLeft struct {
	left  int  // by the tightest window; -1 for no windows
	isLow bool // one of the windows is nearly used up
}

// Option changes a pool that is being made.
type Option func(*Pool)

// WithSpool keeps answers with a refresh token on this machine's disk until
// the store has them. It is for stores on other machines.
func WithSpool(s *tokenstore.Spool) Option { return func(p *Pool) { p.spool = s } }

// WithPatience sets how long a caller waits for the store, in place of two seconds.
// A test that is not about a store that hangs waits longer: its machine may be busy.
func WithPatience(d time.Duration) Option { return func(p *Pool) { p.waits.Store(int64(d)) } }

// New makes a pool over a store, which it owns from then on. Nothing is
// opened yet. now is the clock (nil: time.Now).
func New(store tokenstore.Store, log *zap.Logger, now func() time.Time, opts ...Option) *Pool {
	if now == nil {
		now = time.Now
	}
	p := &Pool{
		store: store, log: log, now: now, sleep: sleep, node: tokenstore.NodeID(), random: claim.Uniform,
		entries: xsync.NewMap[realm.Ref, *entry](),
		budgets: xsync.NewMap[string, budgetLeft](),
		unseen:  make(chan realm.Ref, unseenBuffer),
		opening: make(chan struct{}, 1), callbackSlots: make(chan struct{}, callbackSlots),
	}
	p.hearsUntil.Store(int64(neverDeaf))
	p.waits.Store(int64(defaultPatience))
	p.callers = newPatientStore(store, p)
	if p.upstream, _ = store.(tokenstore.Upstream); p.upstream != nil {
		p.link = newUpstreamLink(p)
	}
	p.cache = catalog.NewCache(catalog.Config{
		Store: p.callers, Open: p.awaitOpen, Now: now, Changed: p.catalogChanged, UseOnly: p.upstream != nil,
	})
	p.schedule = newSchedule(p)
	for _, opt := range opts {
		opt(p)
	}
	p.base, p.cancel = context.WithCancel(context.Background())
	return p
}

// Now is the time by the clock of the pool, by which its tokens end.
func (p *Pool) Now() time.Time { return p.now() }

// Open prepares the store (schema, keys), once; requests that come before it
// has succeeded call it themselves and wait for it. After a failure the next
// call tries again.
func (p *Pool) Open(ctx context.Context) error {
	if p.opened.Load() {
		return nil
	}
	select {
	case p.opening <- struct{}{}:
		defer func() { <-p.opening }()
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for it to open: %w", tokenstore.ErrUnavailable, ctx.Err())
	}
	if p.opened.Load() {
		return nil
	}
	if err := p.store.Open(ctx); err != nil {
		return err
	}
	if p.upstream != nil {
		p.link.IsDeaf()
		p.start(func(ctx context.Context) { p.upstream.Listen(ctx, p.link) })
	} else if err := p.joinNodes(ctx); err != nil {
		return err
	}
	p.start(p.schedule.run)
	p.start(p.lookAtUnseen)
	p.opened.Store(true)
	return nil
}

// joinNodes makes this node one of those that share the store.
func (p *Pool) joinNodes(ctx context.Context) error {
	if err := p.settleClock(ctx); err != nil {
		return err
	}
	if err := p.replay(ctx); err != nil {
		return err
	}
	return p.listen(ctx)
}

// listen lets the pool hear from other nodes, where there may be some.
func (p *Pool) listen(ctx context.Context) error {
	if feed, ok := p.store.(tokenstore.ChangeFeed); ok {
		p.hears(p.now())
		_, cursor, err := feed.Changes(ctx, "")
		if err != nil {
			return err
		}
		p.start(func(ctx context.Context) { p.follow(ctx, feed, cursor) })
	}
	if w, ok := p.store.(tokenstore.Waker); ok {
		p.start(func(ctx context.Context) { w.Wakes(ctx, p.storeChanged) })
	}
	return nil
}

// Destruct ends what is under way and closes the store. It waits for the calls
// to providers, which have deadlines, and for their outcome to be saved: what
// a provider gave is not lost. It has the form of caddy.Destructor.
func (p *Pool) Destruct() error {
	p.closing.Lock()
	p.closed = true
	p.closing.Unlock()
	flights := make(chan struct{})
	go func() { p.work.Wait(); close(flights) }()
	p.cancel()
	<-flights
	return p.store.Close()
}

// start runs f with the pool's own context, unless the pool is closed.
func (p *Pool) start(f func(context.Context)) bool {
	p.closing.RLock()
	defer p.closing.RUnlock()
	if p.closed {
		return false
	}
	p.work.Go(func() { f(p.base) })
	return true
}

// catalogChanged takes notice of a change of a realm or a secret. A realm that
// was saved, here or elsewhere, needs nothing: a lease is good only for the
// compiled realm that it was made for. What the feed reports may be our own
// change: what memory has is compared when it is used next, and not dropped.
func (p *Pool) catalogChanged(c catalog.Change) {
	if c.Event != catalog.Reported && c.Event != catalog.Pushed {
		defer p.tellCatalogChange(c)
	}
	if c.Event == catalog.Deleted {
		p.histories.forget(c.Ref)
	}
	ofRealm := c.Ref.Key == ""
	switch {
	case c.Event == catalog.Sourced:
		p.entries.Range(func(ref realm.Ref, e *entry) bool {
			if ref == c.Ref || ofRealm && ref.Realm == c.Ref.Realm {
				p.sourceChanged(ref, e)
			}
			return true
		})
	case ofRealm && c.Event == catalog.Deleted:
		p.entries.Range(func(ref realm.Ref, e *entry) bool {
			if ref.Realm == c.Ref.Realm {
				e.forget()
				p.discard(ref, e)
			}
			return true
		})
	case ofRealm && c.Event == catalog.Reported:
		p.noteUnseen(c.Ref)
	case ofRealm:
	case c.Event == catalog.Reported, c.Event == catalog.Pushed:
		p.storeChanged(c.Ref)
	default:
		e, ok := p.entries.Load(c.Ref)
		if !ok {
			return
		}
		e.forget()
		if c.Event == catalog.Deleted {
			p.discard(c.Ref, e)
		}
	}
}

// sourceChanged drops what was obtained with the old value of a field. What was
// refused with it is tried at once, but where nothing happens without a request. It goes
// by the configuration of now: the one that it was refused for may be an earlier one,
// which sends the secret elsewhere.
func (p *Pool) sourceChanged(ref realm.Ref, e *entry) {
	failed, _ := e.state()
	e.forget()
	v := p.schedule.driver.Load()
	if !failed.isTold() || v == nil || v.onDemand {
		return
	}
	if c, ok := v.catalog.Remembered(ref.Realm); ok {
		v.joinOrStart(c, ref, goal{purpose: claim.Load}, nil)
	}
}
