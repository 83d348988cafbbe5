package catalog

import (
	"maps"
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxRecent bounds each generation of the recent secrets.
const maxRecent = 5000

// recentSecrets are the secrets that were read last, for when the store cannot
// be read. There are two generations: when the young one is full it becomes
// the previous one, and what the previous one held is forgotten. The zero
// value is ready.
type recentSecrets struct {
	mu       sync.Mutex
	young    map[realm.Ref]realm.Secret
	previous map[realm.Ref]realm.Secret
}

func (r *recentSecrets) keep(s realm.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= maxRecent {
		r.previous, r.young = r.young, map[realm.Ref]realm.Secret{}
	}
	r.young[s.Ref] = s
}

func (r *recentSecrets) find(ref realm.Ref) (realm.Secret, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.young[ref]
	if !ok {
		s, ok = r.previous[ref]
	}
	return s, ok
}

func (r *recentSecrets) drop(ref realm.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, ref)
	delete(r.previous, ref)
}

func (r *recentSecrets) dropRealm(id string) {
	ofRealm := func(ref realm.Ref, _ realm.Secret) bool { return ref.Realm == id }
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.young, ofRealm)
	maps.DeleteFunc(r.previous, ofRealm)
}
