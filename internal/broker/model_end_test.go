package broker

import (
	"errors"
	"testing/synctest"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// heal ends all faults: everything that waits goes on, everybody is there.
func (m *model) heal() {
	m.mu.Lock()
	m.providerDown, m.fates, m.modes = false, nil, nil
	waiting := m.waiting()
	m.mu.Unlock()
	for _, r := range waiting {
		select {
		case r.fate <- answered:
		case <-r.gone:
		}
	}
	for _, n := range m.nodes {
		m.mu.Lock()
		n.away, n.harm = false, unharmed
		m.mu.Unlock()
		n.goOn()
	}
	synctest.Wait() // what has gone on may have died of its harm
	m.bury()
	for i, n := range m.nodes {
		m.mu.Lock()
		up := n.up
		m.mu.Unlock()
		if !up {
			m.place(i)
		}
	}
}

// waiting are the requests whose fate is open. The caller holds the lock.
func (m *model) waiting() []*request {
	var list []*request
	for _, r := range m.open {
		if r.waits {
			list = append(list, r)
		}
	}
	return list
}

// recovered reports whether every secret has a token, or needs a person, and asks
// for all of them.
func (m *model) recovered() bool {
	ok := true
	for _, n := range m.nodes {
		for i := range m.refs {
			served, lapsed := m.looks(n, i)
			if lapsed && !m.lapsed(i) { // told by what the node remembers, which has yet to hear of it
				time.Sleep(2 * feedInterval)
				if served, lapsed = m.looks(n, i); lapsed && !m.lapsed(i) {
					m.mu.Lock()
					m.fail("I7", "%s says that a person is needed for %s, and the store does not", n.name, m.refs[i])
					m.mu.Unlock()
				}
			}
			ok = ok && (served || lapsed)
		}
	}
	return ok
}

// looks asks a node for a token, and reports whether there is one or a person is
// needed.
func (m *model) looks(n *modelNode, i int) (served, lapsed bool) {
	c := m.begin(n, i, claim.Load, "")
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	var e *realm.Error
	return c.done && c.err == nil, c.done && errors.As(c.err, &e) && e.Code == realm.CodeReauthRequired
}

// lapsed reports whether the store has given a secret up, which is judged.
func (m *model) lapsed(i int) bool {
	m.db.mu.Lock()
	s := m.db.state(m.refs[i])
	m.db.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.givenUp[m.refs[i]] {
		return false
	}
	m.judgeDead(m.refs[i], s)
	return true
}

// judgeEnd is I10: the faults have stopped. Every secret has a token again, or
// needs a person; and once more when those tokens are over, so that no claim is
// left from before.
func (m *model) judgeEnd() {
	m.mu.Lock()
	locked := m.locked
	m.mu.Unlock()
	if locked { // somebody has to ask by name, see lockoutWait
		for i := range m.refs {
			m.askByName(i)
		}
	}
	for range 2 {
		if !m.recovers() {
			return
		}
		time.Sleep(tokenLife)
	}
	if m.recovers() {
		m.judgeClaims()
		m.judgeConsents()
	}
}

// askByName has somebody ask for a login until there is room for it.
func (m *model) askByName(i int) {
	for range 5 {
		time.Sleep(budgetPer)
		c := m.begin(m.nodes[0], i, claim.Authorize, "")
		time.Sleep(2 * callTime)
		m.mu.Lock()
		done := c.done && c.err == nil
		m.mu.Unlock()
		if done {
			return
		}
	}
}

// recovers waits until the world has recovered.
func (m *model) recovers() bool {
	const rounds, pause = 40, 6 * time.Second
	for range rounds {
		time.Sleep(pause)
		if m.recovered() {
			return true
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls[len(m.calls)-len(m.nodes)*len(m.refs):] {
		if c.err != nil || !c.done {
			m.fail("I10", "no token of %s on %s %v after the faults stopped: %v", c.ref, c.node.name, rounds*pause, c.err)
		}
	}
	m.fail("I10", "a node says that a person is needed, and the store does not")
	return false
}

func (m *model) judgeClaims() {
	m.db.mu.Lock()
	defer m.db.mu.Unlock()
	for ref, a := range m.db.attempts {
		if a.ID != (tokenstore.CallID{}) && !a.Deadline.Add(pollMax).After(time.Now()) {
			m.mu.Lock()
			m.fail("I10", "the claim on %s is past its deadline", ref)
			m.mu.Unlock()
		}
	}
}
