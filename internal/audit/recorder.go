package audit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// DefaultRetain is how long entries are kept.
	DefaultRetain = 365 * 24 * time.Hour
	// patience is how long somebody waits for the entry without which nothing
	// is done.
	patience = 2 * time.Second
	// tick is how often it is looked whether something is to be written; window
	// is how long equal events are counted for one entry.
	tick   = time.Second
	window = time.Minute
	// pruneEvery is how often it is looked for entries that are too old.
	pruneEvery = time.Hour
	// maxLate is how many entries wait for a store that does not answer.
	maxLate = 10_000
	// batch is how many entries are written in one call of the store.
	batch = 500
)

// Config is what a Recorder is made of.
type Config struct {
	Store Store
	// Open opens the store, if that was not done yet; nil for one that is open.
	Open func(ctx context.Context) error
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	Log *zap.Logger
	// Dropped is told how many proxied requests got no entry; nil for nobody.
	Dropped func(n int64)
}

// Settings are what a configuration says.
type Settings struct {
	// Requests writes an entry for each proxied request.
	Requests bool
	// Retain is how long entries are kept. 0: DefaultRetain.
	Retain time.Duration
}

// Recorder writes entries. All configurations with the same store share it. The
// methods that write do nothing where it is nil.
type Recorder struct {
	store   Store
	open    func(ctx context.Context) error
	now     func() time.Time
	log     *zap.Logger
	dropped func(n int64)

	settings atomic.Pointer[Settings]
	reads    reads
	refusals refusals
	requests requests

	mu   sync.Mutex
	late []*tokenstore.AuditEntry // to be written as soon as possible
	lost int64                    // how many did not fit into late

	wake   chan struct{}
	cancel context.CancelFunc // nil before Start
	work   sync.WaitGroup
}

// New makes a Recorder. It writes what is written later once Start is called.
func New(c Config) *Recorder {
	r := &Recorder{store: c.Store, open: c.Open, now: c.Now, log: c.Log, dropped: c.Dropped, wake: make(chan struct{}, 1)}
	if r.open == nil {
		r.open = func(context.Context) error { return nil }
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	if r.dropped == nil {
		r.dropped = func(int64) {}
	}
	r.reads.init()
	r.refusals.init()
	r.requests.init()
	r.Apply(Settings{})
	return r
}

// Apply changes the settings, to those of the newest configuration.
func (r *Recorder) Apply(s Settings) {
	if s.Retain == 0 {
		s.Retain = DefaultRetain
	}
	r.settings.Store(&s)
}

// Start begins the work in the background, once.
func (r *Recorder) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.work.Go(func() { r.run(ctx) })
	r.work.Go(func() { r.prune(ctx) })
}

// Close ends the work in the background, and writes what is still to be
// written. The store is closed behind it.
func (r *Recorder) Close() {
	r.mu.Lock()
	cancel := r.cancel
	r.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	r.work.Wait()
	ctx, done := context.WithTimeout(context.Background(), patience)
	defer done()
	r.flush(ctx, r.now().Add(window)) // as if the minute were over
}

// run writes what is to be written, until ctx ends.
func (r *Recorder) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		r.flush(ctx, r.now())
	}
}

// flush writes what is due at a time, dated now. What cannot be written is due again.
func (r *Recorder) flush(ctx context.Context, at time.Time) {
	for _, write := range []func(ctx context.Context, at time.Time) error{r.writeLate, r.writeRefusals, r.writeReads, r.writeRequests} {
		if err := write(ctx, at); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("entries of the audit wait for the store", zap.Error(err))
			}
			return
		}
	}
}

// prune deletes what is too old, until ctx ends.
func (r *Recorder) prune(ctx context.Context) {
	// Not at once: a start has more urgent things to do.
	for wait := time.Minute; ; wait = pruneEvery {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		err := r.open(ctx)
		n := 0
		if err == nil {
			n, err = r.store.PruneAudit(ctx, r.now().Add(-r.settings.Load().Retain))
		}
		if err != nil && ctx.Err() == nil {
			r.log.Error("old entries of the audit could not be deleted", zap.Error(err))
		}
		if n > 0 {
			r.log.Info("deleted entries of the audit that were older than they are kept", zap.Int("entries", n))
		}
	}
}

// append writes entries, within patience.
func (r *Recorder) append(ctx context.Context, entries ...*tokenstore.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := r.open(ctx); err != nil {
		return err
	}
	return r.store.AppendAudit(ctx, entries...)
}

// Begun is an act that was written down before it is done.
type Begun struct {
	recorder *Recorder
	event    Event
	id       string
}

// Begin writes that an act is allowed and begins. Without an entry there is no
// act: the error is what the caller answers.
func (r *Recorder) Begin(ctx context.Context, e Event) (Begun, error) {
	if r == nil {
		return Begun{}, nil
	}
	entry := e.entry(tokenstore.AuditOK, r.now())
	if err := r.append(ctx, entry); err != nil {
		return Begun{}, Unavailable(err)
	}
	return Begun{recorder: r, event: e, id: entry.ID()}, nil
}

// Failed notes that the act failed, with the code of the error. The entry names
// the one of Begin. Nobody waits for it.
func (b Begun) Failed(code string) {
	if b.recorder == nil {
		return
	}
	e := b.event
	e.Code, e.Detail = code, "began with the entry "+b.id
	b.recorder.later(e.entry(tokenstore.AuditFailed, b.recorder.now()))
}

// Done notes that something was done of which it was not known before what it
// would be about. Nobody waits for the entry.
func (r *Recorder) Done(e Event) {
	if r != nil {
		r.later(e.entry(tokenstore.AuditOK, r.now()))
	}
}

// later has an entry written as soon as the store answers.
func (r *Recorder) later(entry *tokenstore.AuditEntry) {
	r.mu.Lock()
	if len(r.late) < maxLate {
		r.late = append(r.late, entry)
	} else {
		r.lost++
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

// writeLate writes what is to be written as soon as possible.
func (r *Recorder) writeLate(ctx context.Context, _ time.Time) error {
	for {
		r.mu.Lock()
		entries := append([]*tokenstore.AuditEntry(nil), r.late[:min(len(r.late), batch)]...)
		lost := r.lost
		r.mu.Unlock()
		n := len(entries)
		if lost > 0 {
			e := Event{Actor: Actor{Kind: KindSystem}, Act: tokenstore.ActCheckpoint, Detail: "so many entries were lost while the store did not answer"}
			sum := e.entry(tokenstore.AuditFailed, r.now())
			sum.Count = lost
			entries = append(entries, sum)
		}
		if err := r.append(ctx, entries...); err != nil || n == 0 {
			return err
		}
		r.mu.Lock()
		r.late, r.lost = r.late[n:], r.lost-lost
		r.mu.Unlock()
	}
}

// List lists entries, see tokenstore.AuditStore.
func (r *Recorder) List(ctx context.Context, filter tokenstore.AuditFilter, page tokenstore.Page) ([]tokenstore.AuditEntry, int, error) {
	if err := r.open(ctx); err != nil {
		return nil, 0, err
	}
	return r.store.Audit(ctx, filter, page)
}

// Walk calls each for entries, oldest first.
func (r *Recorder) Walk(ctx context.Context, filter tokenstore.AuditFilter, each func(tokenstore.AuditEntry) error) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	return r.store.WalkAudit(ctx, filter, each)
}

// Verify verifies all chains.
func (r *Recorder) Verify(ctx context.Context, each func(tokenstore.AuditChain)) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	return r.store.VerifyAudit(ctx, each)
}
