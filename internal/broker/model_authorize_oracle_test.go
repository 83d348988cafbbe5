package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// authorization is one, as the provider knows it.
type authorization struct {
	ref         realm.Ref
	app         string
	state, code string
	login       string // who logged in, for the server
	byServer    bool
	mode        mode

	arrived bool // a callback with the code came to the realm, or could have
	taken   bool
	awaited time.Time // the provider has said that it will call
	by      *modelNode
	handed  int // the claim was handed over
	sent    int // the code came to the token endpoint
	worked  int // callbacks that were answered with success
}

// authorizations is what the model knows of codes.
type authorizations struct {
	modes  []mode // of the next authorize requests
	states map[tokenstore.StateHash]*authorization
	codes  map[string]*authorization
	newest []*authorization
	visits []*visitor
	logins map[string]string // by app
	// issueOf is what a code gave; aside are the refresh tokens that are kept
	// beside another one.
	issueOf map[string]*issue
	aside   map[realm.Ref][]string
	locked  bool // a password was refused
}

func newAuthorizations() authorizations {
	return authorizations{states: map[tokenstore.StateHash]*authorization{}, codes: map[string]*authorization{}, logins: map[string]string{}, issueOf: map[string]*issue{}, aside: map[realm.Ref][]string{}}
}

// remember: the caller holds the lock.
func (m *model) remember(a *authorization) {
	m.states[tokenstore.HashState(realm.Hidden(a.state))] = a
	m.newest = append(m.newest, a)
}

// recent is an authorization of before; nil for none.
func (m *model) recent(back int) *authorization {
	m.mu.Lock()
	defer m.mu.Unlock()
	if back >= len(m.newest) {
		return nil
	}
	return m.newest[len(m.newest)-1-back]
}

// took notes that a state was consumed.
func (m *model) took(a tokenstore.Authorization) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.states[a.State]
	if known == nil {
		m.fail("C4", "a state of %s was consumed that nobody heard of", a.Ref)
		return
	}
	known.taken = true
}

// judgeCode judges an authorize request, or an exchange, that arrives. The
// caller holds the lock.
func (m *model) judgeCode(r *request, durable bool) {
	if r.asks != nil && !durable {
		m.fail("C4", "%s asks for a code of %s with a state that is not stored", r.node.name, r.asks.ref)
	}
	if r.asks != nil {
		m.judgeAsking(r)
	}
	if r.code == "" {
		return
	}
	a := m.codes[r.code]
	if a == nil {
		m.fail("C2", "%s exchanges a code that nobody was given", r.node.name)
		return
	}
	if a.sent++; a.sent > 1 {
		m.fail("C1", "%s sends a code of %s once more", r.node.name, a.ref)
	}
	switch {
	case a.app != r.app:
		m.fail("C2", "a code of %s is exchanged for another", a.ref)
	case !a.taken:
		m.fail("C2", "a code of %s is exchanged whose state was not consumed", a.ref)
	case !a.arrived:
		m.fail("C2", "a code of %s is exchanged whose callback went astray", a.ref)
	case a.byServer && a.login != r.secret:
		m.fail("C2", "a code of %s is exchanged with another secret than it was asked for with", a.ref)
	}
}

// judgeAsking is C3: while a callback is awaited nobody asks once more. The
// caller holds the lock.
func (m *model) judgeAsking(r *request) {
	for _, a := range m.newest {
		if a.ref == r.asks.ref && a.by != nil && !a.taken && a.by.trouble.Before(a.awaited) && time.Since(a.awaited) < callbackWait-time.Second { // the store's times are cut
			m.fail("C3", "%s asks for a code of %s, whose callback %s awaits since %v", r.node.name, a.ref, a.by.name, time.Since(a.awaited))
		}
	}
}

// awaits notes that a node was told to wait for the callback. The caller holds
// the lock.
func (m *model) awaits(r *request) {
	if a := r.asks; a != nil && a.code != "" && !a.taken && (a.mode.delivery == callsLater || a.mode.delivery == callsNever) {
		a.awaited, a.by = time.Now(), r.node
	}
}

// calledBack reports whether an authorize request came to its end elsewhere.
func (r *request) calledBack() bool { return r.asks != nil && r.asks.taken }

// handsOver reports whether a claim may go over to another call before it ends:
// to the exchange of the code that was asked for under it. The caller holds
// the lock.
func (m *model) handsOver(id tokenstore.CallID) bool {
	r := m.claims[id]
	if r == nil || !r.calledBack() {
		return false
	}
	if r.asks.handed++; r.asks.handed > 1 {
		m.fail("C3", "the claim on %s is handed over twice", r.asks.ref)
	}
	return true
}

// visited judges what a callback was answered with.
func (m *model) visited(v *visitor, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.call.done, v.err = true, err
	if !v.node.up {
		return
	}
	var known *realm.Error
	switch {
	case err != nil && !errors.As(err, &known):
		m.fail("C7", "a callback is answered with an error of no kind: %T", err)
	case err != nil && (strings.Contains(err.Error(), v.of.state) || v.of.code != "" && strings.Contains(err.Error(), v.of.code)):
		m.fail("C7", "the answer to a callback quotes it")
	case err != nil:
	case v.way != whole:
		m.fail("C2", "a callback of %s that is %s is answered with success", v.of.ref, v.way)
	default:
		m.judgeSuccess(v)
	}
}

// judgeSuccess: what a person is told to have worked did. The caller holds the
// lock.
func (m *model) judgeSuccess(v *visitor) {
	if v.of.worked++; v.of.worked > 1 {
		m.fail("C2", "two callbacks of %s with one state are answered with success", v.of.ref)
	}
	i := m.issueOf[v.of.code]
	if i == nil || i.refresh != "" && !m.durable[i.refresh] {
		m.fail("C7", "a callback of %s is answered with success, and its token is not saved", v.of.ref)
		return
	}
	if !v.of.byServer && slices.Contains(m.aside[v.of.ref], i.refresh) {
		m.fail("C7", "a consent for %s is set aside for what was before", v.of.ref)
	}
}

// judgeWaits is C6.
func (m *model) judgeWaits() {
	m.mu.Lock()
	defer m.mu.Unlock()
	const atMost = codePatience + 2*tokenstore.Timeout + callTime + claim.Margin + 3*tokenstore.Timeout
	for _, v := range m.visits {
		if v.hangs(atMost) {
			m.fail("C6", "a callback of %s on %s is not answered for %v", v.ref, v.node.name, time.Since(v.at))
		}
	}
	if m.plan.codes == "" {
		return
	}
	const flights = 3 * (callTime + claim.Margin + callTime + tokenstore.Timeout + callbackWait + callTime)
	for _, c := range m.calls {
		if c.hangs(flights) {
			m.fail("C6", "a call of %s on %s is not answered for %v", c.ref, c.node.name, time.Since(c.at))
		}
	}
}

// hangs reports whether a call that nothing disturbed takes longer than it may.
func (c *call) hangs(atMost time.Duration) bool {
	since := c.at
	if c.node.trouble.After(since) {
		since = c.node.trouble
	}
	return !c.done && !c.left && c.node.up && c.node.resume == nil && time.Since(since) > atMost
}

// judgeConsent is C5: of what was authorized before a person's consent nothing
// is kept. The caller holds the lock.
func (m *model) judgeConsent(ref realm.Ref, before, after tokenstore.State) {
	m.aside[ref] = nil
	for _, c := range after.Claim.Candidates {
		m.aside[ref] = append(m.aside[ref], c.Refresh.Reveal())
	}
	child := m.children[after.Token.Refresh.Reveal()]
	if m.plan.codes == byPerson && after.Token != before.Token && child != nil && child.parent == "" && len(m.aside[ref]) > 0 &&
		before.Token.Refresh != after.Token.Refresh {
		m.fail("C5", "beside a new consent for %s a refresh token of before is kept", ref)
	}
}

// newCall is a call that begins now.
func (m *model) newCall(n *modelNode, ref realm.Ref) call {
	return call{node: n, ref: ref, at: time.Now(), cancel: func() {}}
}

// judgeConsents is C7: a person who authorizes on one node, and is sent to
// another, is served by all.
func (m *model) judgeConsents() {
	if m.plan.codes != byPerson {
		return
	}
	for i, ref := range m.refs {
		time.Sleep(budgetPer + time.Second)
		for _, n := range m.nodes { // all say that nobody has authorized
			_, _ = n.view.Token(context.Background(), ref)
		}
		first, last := m.nodes[0], m.nodes[len(m.nodes)-1]
		link, err := first.view.AuthorizeURL(context.Background(), ref)
		if err != nil {
			m.failing("C7", "nobody can authorize %s: %v", ref, err)
			return
		}
		v := m.deliver(last, m.follows(first, i, link), whole)
		if <-v.done; v.err != nil {
			m.failing("C7", "the consent for %s fails: %v", ref, v.err)
			return
		}
		time.Sleep(2 * feedInterval)
		for _, n := range m.nodes {
			if _, err := n.view.Token(context.Background(), ref); err != nil {
				m.failing("C7", "%s was authorized, and %s says: %v", ref, n.name, err)
			}
		}
	}
}

// failing is fail for those who do not hold the lock.
func (m *model) failing(invariant, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail(invariant, format, args...)
}
