package broker

import (
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// maxRefused is how many refusals an edge remembers. Callers may make up any number of
// keys, of which the other instance only says that they are refused.
const maxRefused = 4096

// refusals are the entries that an edge keeps for nothing but a refusal, the oldest
// first. The zero value is ready.
type refusals struct {
	mu  sync.Mutex
	all []refusal
}

type refusal struct {
	ref   realm.Ref
	e     *entry
	until realm.Instant
}

// add notes one more, and takes out those in front that are over, or too many.
func (r *refusals) add(one refusal, now realm.Instant) (over []refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
	n := max(len(r.all)-maxRefused, 0)
	for n < len(r.all) && r.all[n].until <= now {
		n++
	}
	over, r.all = r.all[:n:n], r.all[n:]
	return over
}

// rememberRefusal keeps what the flight of an entry was refused with, unless something
// was heard of after the question: that may work now.
func (a *attempt) rememberRefusal(f *failure) {
	a.entry.mu.Lock()
	isOld := a.entry.revision != a.revision || a.flight.isOvertaken(0)
	if !isOld {
		a.entry.activityLocked().failure = f
	}
	a.entry.mu.Unlock()
	if isOld {
		return
	}
	now := a.now()
	for _, old := range a.pool.link.refused.add(refusal{a.ref, a.entry, f.until}, now) {
		if old.until <= now { // it may have been refused again since
			a.pool.forgetUnused(old.ref, old.e)
		} else {
			a.pool.discardIdle(old.ref, old.e)
		}
	}
}

// forgetUnused removes an entry of an edge after a flight, if it holds no token, and
// nothing that is to be remembered.
func (p *Pool) forgetUnused(ref realm.Ref, e *entry) {
	if failed, _ := e.state(); e.live.Load() == nil && !failed.isActive(realm.InstantOf(p.now())) {
		p.discardIdle(ref, e)
	}
}
