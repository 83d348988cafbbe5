package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Change is what became of a token, as a watch tells it. One of a realm has no key.
type Change struct {
	Realm   string `json:"realm"`
	Key     string `json:"key,omitempty"`
	Lineage int64  `json:"lineage"`
	// State is that of TokenStatus, or dead (the provider's API refused the
	// token), deleted (there is no such secret any more) or changed (the realm or
	// the secret says something else, or may).
	State string `json:"state"`
}

// Ref is what changed.
func (c Change) Ref() realm.Ref { return realm.Ref{Realm: c.Realm, Key: c.Key} }

// More words of Change.State.
const (
	stateDead    = "dead"
	stateDeleted = "deleted"
	stateChanged = "changed"
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
	// saved is when the secrets that were looked at last were saved.
	saved map[realm.Ref]time.Time
}

// Watch is one who watches. What nobody takes in time is dropped, and nobody
// waits for it. A watch is closed with Close.
type Watch struct {
	from *watchers
	// link is what an edge hears by itself; nil elsewhere.
	link *upstreamLink
	wake chan struct{}

	mu      sync.Mutex
	pending []Change
	isLossy bool
}

// Watch begins to tell what changes from now on.
func (p *Pool) Watch() *Watch {
	w := &Watch{from: &p.watchers, link: p.link, wake: make(chan struct{}, 1)}
	p.watchers.mu.Lock()
	defer p.watchers.mu.Unlock()
	if p.watchers.all == nil {
		p.watchers.all, p.watchers.last = map[*Watch]struct{}{}, map[realm.Ref]Change{}
		p.watchers.saved = map[realm.Ref]time.Time{}
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

// IsDeaf reports whether an edge hears of no changes, and so has none to tell. Wake
// gets a value when that begins.
func (w *Watch) IsDeaf() bool { return w.link != nil && !w.link.deaf().IsZero() }

// Close ends the watch. It may be called more than once.
func (w *Watch) Close() {
	w.from.mu.Lock()
	defer w.from.mu.Unlock()
	delete(w.from.all, w)
	w.from.count.Store(int32(len(w.from.all))) // #nosec G115 -- as in Watch
	if len(w.from.all) == 0 {
		w.from.all, w.from.last, w.from.saved = nil, nil, nil
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
	w.rouse()
}

func (w *Watch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// rouse has everybody who watches look whether this node is deaf.
func (w *watchers) rouse() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		one.rouse()
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
	w.tellLocked(c)
}

func (w *watchers) tellLocked(c Change) {
	// Two changes are two, although they are told in the same words. And whoever was
	// told that something is gone may have got it since from a node that had not heard
	// of that.
	isEvent := c.State == stateChanged || c.State == stateDeleted
	if w.last[c.Ref()] == c && !isEvent || w.all == nil {
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

// tellSeen is tell of what somebody sees of a token in memory or in the store. Between
// the refusal of a token and the end of its heal that may still be a live one, which is
// no news: the end of the heal tells what came of it (isHealed). Of what is seen in
// memory, older things are not told after newer ones, because nobody else tells meanwhile.
func (w *watchers) tellSeen(see func() Change, isHealed bool) {
	if !w.isWatched() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := see()
	last := w.last[c.Ref()]
	if !isHealed && c.State == StateLive && last.State == stateDead && c.Lineage <= last.Lineage {
		return
	}
	w.tellLocked(c)
}

// noteSaved notes when a secret was saved, and reports whether that is, or may be, news.
func (w *watchers) noteSaved(ref realm.Ref, at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saved == nil || w.saved[ref].Equal(at) {
		return false
	}
	if len(w.saved) >= rememberedChanges {
		clear(w.saved)
	}
	w.saved[ref] = at
	return true
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

// tellState tells what memory has of a token. No lock of the entry is held.
func (p *Pool) tellState(ref realm.Ref, e *entry) {
	p.watchers.tellSeen(func() Change { return p.stateNow(ref, e) }, false)
}

// tellHealed tells what came of a heal. Where it got no other token, the refused one
// may still be there, and is given.
func (p *Pool) tellHealed(ref realm.Ref, e *entry) {
	p.watchers.tellSeen(func() Change { return p.stateNow(ref, e) }, true)
}

// stateNow is what memory has of a token.
func (p *Pool) stateNow(ref realm.Ref, e *entry) Change {
	c := Change{Realm: ref.Realm, Key: ref.Key}
	l, now := e.live.Load(), realm.InstantOf(p.now())
	f, _ := e.state()
	if l != nil {
		c.Lineage = l.lease.Lineage
	}
	c.State = stateOf(l, f, now).String()
	return c
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
		p.watchers.tell(Change{Realm: c.Ref.Realm, State: stateChanged})
	default:
		// The token may be there again already, and be the same: who holds it has to
		// compare what may be done with it.
		p.watchers.tell(Change{Realm: c.Ref.Realm, Key: c.Ref.Key, State: stateChanged})
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
