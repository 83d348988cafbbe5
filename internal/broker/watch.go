package broker

import (
	"sync"
	"sync/atomic"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Change is what became of a token, as a watch tells it. A deleted realm has no
// key.
type Change struct {
	Realm   string `json:"realm"`
	Key     string `json:"key,omitempty"`
	Lineage int64  `json:"lineage"`
	// State is that of TokenStatus, or dead (the provider's API refused the
	// token) or deleted (there is no such secret any more).
	State string `json:"state"`
}

// Ref is what changed.
func (c Change) Ref() realm.Ref { return realm.Ref{Realm: c.Realm, Key: c.Key} }

// Two more words of Change.State.
const (
	stateDead    = "dead"
	stateDeleted = "deleted"
)

const (
	// watchBuffer is how many changes wait for one reader at most. One who is
	// further behind asks for everything again.
	watchBuffer = 1024
	// rememberedChanges bounds what watchers remember, so that nothing is told
	// twice in a row.
	rememberedChanges = 16384
)

// watchers are those who watch the tokens of a pool. The zero value is ready.
// While there is none, whoever has something to tell reads one number. The way of
// a hit does not come here at all.
type watchers struct {
	count atomic.Int32

	mu  sync.Mutex
	all map[*Watch]struct{}
	// last is what was told last of each token.
	last map[realm.Ref]Change
}

// Watch is one who watches. What nobody takes in time is dropped, and nobody
// waits for it. A watch is closed with Close.
type Watch struct {
	from *watchers
	wake chan struct{}

	mu      sync.Mutex
	pending []Change
	isLossy bool
}

// Watch begins to tell what changes from now on.
func (p *Pool) Watch() *Watch {
	w := &Watch{from: &p.watchers, wake: make(chan struct{}, 1)}
	p.watchers.mu.Lock()
	defer p.watchers.mu.Unlock()
	if p.watchers.all == nil {
		p.watchers.all, p.watchers.last = map[*Watch]struct{}{}, map[realm.Ref]Change{}
	}
	p.watchers.all[w] = struct{}{}
	p.watchers.count.Store(int32(len(p.watchers.all))) // #nosec G115 -- as many as there are connections
	return w
}

// Watch is Pool.Watch.
func (v *View) Watch() *Watch { return v.pool.Watch() }

// Wake gets a value when there is something to take.
func (w *Watch) Wake() <-chan struct{} { return w.wake }

// Take returns what changed since the last call, in order. isLossy: there was
// more before that, and nobody knows what.
func (w *Watch) Take() (changes []Change, isLossy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes, isLossy = w.pending, w.isLossy
	w.pending, w.isLossy = nil, false
	return changes, isLossy
}

// Close ends the watch. It may be called more than once.
func (w *Watch) Close() {
	w.from.mu.Lock()
	defer w.from.mu.Unlock()
	delete(w.from.all, w)
	w.from.count.Store(int32(len(w.from.all))) // #nosec G115 -- as in Watch
	if len(w.from.all) == 0 {
		w.from.all, w.from.last = nil, nil
	}
}

// offer adds a change, or with nil notes that some were lost.
func (w *Watch) offer(c *Change) {
	w.mu.Lock()
	if c == nil || len(w.pending) == watchBuffer {
		// Whoever asks for everything again needs none of what came before.
		w.pending, w.isLossy = nil, true
	}
	if c != nil {
		w.pending = append(w.pending, *c)
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// isWatched reports whether anybody watches.
func (w *watchers) isWatched() bool { return w.count.Load() > 0 }

// tell tells everybody who watches of a change, unless that was the last thing
// that they were told of the token.
func (w *watchers) tell(c Change) {
	if !w.isWatched() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last[c.Ref()] == c || w.all == nil {
		return
	}
	if len(w.last) >= rememberedChanges {
		clear(w.last)
	}
	w.last[c.Ref()] = c
	for one := range w.all {
		one.offer(&c)
	}
}

// tellGap tells everybody that changes were missed.
func (w *watchers) tellGap() {
	if !w.isWatched() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.last)
	for one := range w.all {
		one.offer(nil)
	}
}

// tellState tells what became of a token in memory.
func (p *Pool) tellState(ref realm.Ref, e *entry) {
	if !p.watchers.isWatched() {
		return
	}
	c := Change{Realm: ref.Realm, Key: ref.Key}
	l, now := e.live.Load(), realm.InstantOf(p.now())
	f, _ := e.state()
	if l != nil {
		c.Lineage = l.lease.Lineage
	}
	c.State = stateOf(l, f, now).String()
	p.watchers.tell(c)
}

// tellCatalogChange tells of a realm or a secret that was changed through this
// node.
func (p *Pool) tellCatalogChange(c catalog.Change) {
	if !p.watchers.isWatched() {
		return
	}
	switch {
	case c.Event == catalog.Deleted:
		p.watchers.tell(Change{Realm: c.Ref.Realm, Key: c.Ref.Key, State: stateDeleted})
	case c.Ref.Key == "":
	default:
		p.tellState(c.Ref, p.knownEntry(c.Ref))
	}
}

// knownEntry is the entry of a reference; an empty one, which belongs to nobody,
// where there is none.
func (p *Pool) knownEntry(ref realm.Ref) *entry {
	if e, ok := p.entries.Load(ref); ok {
		return e
	}
	return new(entry)
}
