package redisstore

import (
	"sync"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// settleBatch bounds what one operation makes up for within its budget.
const settleBatch = 20

// missed are the tokens whose change did not reach Redis, with their lineage.
// They are no more than the secrets that exist. The zero value is ready.
type missed struct {
	mu   sync.Mutex
	refs map[realm.Ref]int64
}

func (m *missed) add(ref realm.Ref, lineage int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs == nil {
		m.refs = map[realm.Ref]int64{}
	}
	m.refs[ref] = max(m.refs[ref], lineage)
}

// settle buries some of them; an error leaves the rest for the next time.
func (m *missed) settle(bury func(ref realm.Ref, lineage int64) error) error {
	for ref, lineage := range m.some() {
		if err := bury(ref, lineage); err != nil {
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
	some := make(map[realm.Ref]int64, settleBatch)
	for ref, lineage := range m.refs {
		if len(some) == settleBatch {
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

// holds says whether a token's change did not reach Redis yet.
func (m *missed) holds(ref realm.Ref) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.refs[ref]
	return ok
}
