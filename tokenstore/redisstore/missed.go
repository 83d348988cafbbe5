package redisstore

import (
	"sync"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

const (
	// catchUpBatch bounds what one operation makes up for within its budget.
	catchUpBatch = 20
	// catchUpEvery is how soon it is tried when no operation comes.
	catchUpEvery = 100 * time.Millisecond
)

// missed are the tokens whose change did not reach Redis, with their lineage.
// They are no more than the secrets that exist. The zero value is ready.
type missed struct {
	mu       sync.Mutex
	refs     map[realm.Ref]int64
	settling bool // somebody is at it
	closed   bool
}

// add remembers a token. If it returns true, the caller starts catchUpAll.
func (m *missed) add(ref realm.Ref, lineage int64) (start bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs == nil {
		m.refs = map[realm.Ref]int64{}
	}
	m.refs[ref] = max(m.refs[ref], lineage)
	start = !m.settling && !m.closed
	m.settling = true
	return start
}

// finished reports whether nothing is left. Then the next add starts again.
func (m *missed) finished() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settling = len(m.refs) > 0
	return !m.settling
}

// close lets nothing be started any more.
func (m *missed) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// catchUp puts a tombstone for some of them; an error leaves the rest for the next time.
func (m *missed) catchUp(put func(ref realm.Ref, lineage int64) error) error {
	for ref, lineage := range m.some() {
		if err := put(ref, lineage); err != nil {
			return err
		}
		m.remove(ref, lineage)
	}
	return nil
}

func (m *missed) some() map[realm.Ref]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.refs) == 0 {
		return nil
	}
	some := make(map[realm.Ref]int64, catchUpBatch)
	for ref, lineage := range m.refs {
		if len(some) == catchUpBatch {
			break
		}
		some[ref] = lineage
	}
	return some
}

func (m *missed) remove(ref realm.Ref, lineage int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs[ref] == lineage {
		delete(m.refs, ref)
	}
}

// contains reports whether a token's change has not reached Redis yet.
func (m *missed) contains(ref realm.Ref) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.refs[ref]
	return ok
}
