package broker

import (
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
)

// actions are what can happen next. do takes a step within the bubble.
func (m *model) actions(do func(func())) map[string]func(*rapid.T) {
	node := func(t *rapid.T) *modelNode { return m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(t, "node")] }
	key := func(t *rapid.T) int { return max(rapid.IntRange(-1, len(m.refs)-1).Draw(t, "key"), 0) }
	ask := func(t *rapid.T, what claim.Purpose) {
		n, i := node(t), key(t)
		var c *call
		do(func() {
			if what == claim.Heal {
				c = m.beginHeal(n, i)
			} else {
				c = m.begin(n, i, what, "")
			}
		})
		do(func() { m.notice(c) })
	}
	return map[string]func(*rapid.T){
		"token":   func(t *rapid.T) { ask(t, claim.Load) },
		"token 2": func(t *rapid.T) { ask(t, claim.Load) }, // twice as often
		"flush":   func(t *rapid.T) { ask(t, claim.Flush) },
		"killed":  func(t *rapid.T) { ask(t, claim.Heal) },
		// What comes together too seldom by chance: an outcome that is saved
		// after the claim has run out and somebody else was there.
		"overtaken": func(t *rapid.T) {
			slow, fast, i := node(t), node(t), key(t)
			do(func() { m.stopSaving(slow) })
			do(func() { m.begin(slow, i, claim.Flush, "") })
			do(func() { time.Sleep(callTime + claim.Margin + time.Second) })
			do(func() { m.beginHeal(fast, i) })
			do(slow.goOn)
		},
		"impatient": func(t *rapid.T) {
			n, i := node(t), key(t)
			for range budgetCalls {
				do(func() { m.begin(n, i, claim.Flush, "") })
			}
		},
		"time": func(t *rapid.T) {
			d := rapid.SampledFrom([]time.Duration{
				10 * time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second, 10 * time.Second, 25 * time.Second, 50 * time.Second,
			}).Draw(t, "advance")
			do(func() { time.Sleep(d) })
		},
		"time 2": func(t *rapid.T) {
			d := rapid.IntRange(1, 60).Draw(t, "seconds")
			do(func() { time.Sleep(time.Duration(d) * time.Second) })
		},
		"fate": func(t *rapid.T) {
			f := rapid.SampledFrom(fates).Draw(t, "fate")
			do(func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				m.fates = append(m.fates, f)
			})
		},
		"go on": func(t *rapid.T) {
			f := rapid.SampledFrom(fates).Draw(t, "fate")
			do(func() { m.goOn(f) })
		},
		"provider down": func(*rapid.T) { do(func() { m.down(true) }) },
		"provider up":   func(*rapid.T) { do(func() { m.down(false) }) },
		"harm": func(t *rapid.T) {
			n, h, saves := node(t), rapid.SampledFrom(harms).Draw(t, "harm"), rapid.Bool().Draw(t, "saves")
			do(func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				n.harm, n.harmSaves = h, saves
			})
		},
		"resume": func(t *rapid.T) { n := node(t); do(n.goOn) },
		"store": func(t *rapid.T) {
			n, away := node(t), rapid.Bool().Draw(t, "away")
			do(func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				n.away, n.trouble = away, time.Now()
				m.lossy = m.lossy || away
			})
		},
		"crash":   func(t *rapid.T) { n := node(t); do(func() { m.kill(n) }) },
		"restart": func(t *rapid.T) { n := node(t); do(func() { m.restart(n) }) },
		"leave":   func(t *rapid.T) { i := rapid.IntRange(0, 3).Draw(t, "caller"); do(func() { m.leave(i) }) },
		"steal": func(t *rapid.T) {
			i := key(t)
			do(func() {
				if m.plan.kind == none {
					m.provider.Steal(app(i))
				}
			})
		},
		"secret": func(t *rapid.T) {
			n, i, authorize := node(t), key(t), rapid.Bool().Draw(t, "authorize")
			do(func() { m.changeSecret(n, i, authorize && m.plan.seeded()) })
		},
	}
}

// beginHeal lets the provider end the stored token, and a client say so.
func (m *model) beginHeal(n *modelNode, i int) *call {
	m.db.mu.Lock()
	failed := m.db.token(m.refs[i]).Access
	m.db.mu.Unlock()
	m.provider.Revoke(failed.Reveal())
	return m.begin(n, i, claim.Heal, failed)
}

// stopSaving stops a process when it is about to save its next token.
func (m *model) stopSaving(n *modelNode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n.harm, n.harmSaves = stopped, true
}

// goOn decides about the request that has waited longest.
func (m *model) goOn(f fate) {
	m.mu.Lock()
	waiting := m.waiting()
	m.mu.Unlock()
	if len(waiting) > 0 {
		select {
		case waiting[0].fate <- f:
		case <-waiting[0].gone:
		}
	}
}

func (m *model) down(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.providerDown = down
}

func (m *model) kill(n *modelNode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n.crash()
}

// restart starts a process that died, or replaces one that ends as it should.
func (m *model) restart(n *modelNode) {
	m.mu.Lock()
	up := n.up
	n.harm = unharmed
	m.mu.Unlock()
	if up {
		n.goOn()
		_ = n.pool.Destruct()
		m.kill(n)
	}
	m.bury()
	m.place(n.index)
}

// place starts a process in the place of one that is gone.
func (m *model) place(index int) {
	n := m.boot(index)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[index] = n
}

// leave lets a caller that waits give up.
func (m *model) leave(i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		if c.done || c.left {
			continue
		}
		if i--; i < 0 {
			c.left = true
			c.cancel()
			return
		}
	}
}
