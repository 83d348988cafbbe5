package catalog

import (
	"maps"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxRecent bounds each generation of what is recent.
const maxRecent = 5000

// recent is what was read last about secrets, for when the store cannot be read.
// There are two generations: when the young one is full it becomes the previous
// one, and what the previous one held is forgotten. The zero value is ready.
type recent[V any] struct {
	mu       sync.Mutex
	young    map[realm.Ref]V
	previous map[realm.Ref]V
}

func (r *recent[V]) keep(ref realm.Ref, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= maxRecent {
		r.previous, r.young = r.young, map[realm.Ref]V{}
	}
	r.young[ref] = v
}

func (r *recent[V]) find(ref realm.Ref) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.young[ref]
	if !ok {
		v, ok = r.previous[ref]
	}
	return v, ok
}

func (r *recent[V]) drop(ref realm.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, ref)
	delete(r.previous, ref)
}

func (r *recent[V]) dropRealm(id string) {
	ofRealm := func(ref realm.Ref, _ V) bool { return ref.Realm == id }
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.young, ofRealm)
	maps.DeleteFunc(r.previous, ofRealm)
}
