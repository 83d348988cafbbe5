package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What is asserted here is said in the words of the invariants: each failure
// begins with the one that was broken.

// issue is a token that the provider made.
type issue struct {
	app     string
	seq     int64
	at      time.Time
	access  string
	refresh string
	parent  string // the refresh token that was spent for it; "" for a fetch
}

// oracle is what the provider's ledger and the commits of the store say.
type oracle struct {
	read      int    // events of the ledger
	redeeming string // the code that was spent last
	spending  map[string]string
	issues    map[string]*issue // by access token
	children  map[string]*issue // by refresh token
	spent     map[string]bool

	durable  map[string]bool // refresh tokens that were ever stored
	received map[string]*modelNode
	excused  map[string]bool // received, and died with its node before any disk had it
	claims   map[tokenstore.CallID]*request
	// givenUp are the secrets for which a node concluded that a person has to
	// authorize again, and nothing has come since that changes it.
	givenUp  map[realm.Ref]bool
	sent     map[string][]*request // by refresh token
	certain  map[string]int64      // refresh tokens whose use has a known end, by the secret's version
	arrivals map[string][]time.Time
	open     []*request
	lossy    bool // something happened that may cost a refresh token
}

func newOracle() oracle {
	return oracle{
		spending: map[string]string{}, issues: map[string]*issue{}, children: map[string]*issue{}, spent: map[string]bool{},
		durable: map[string]bool{}, received: map[string]*modelNode{}, excused: map[string]bool{},
		claims: map[tokenstore.CallID]*request{}, givenUp: map[realm.Ref]bool{}, sent: map[string][]*request{}, certain: map[string]int64{},
		arrivals: map[string][]time.Time{},
	}
}

// fail notes the first invariant that was broken. The caller holds the lock.
func (m *model) fail(invariant, format string, args ...any) {
	if m.broken == "" {
		m.broken = invariant + ": " + fmt.Sprintf(format, args...)
	}
}

// learn reads what is new in the ledger. The caller holds the lock.
func (m *model) learn() {
	events := m.provider.Events()
	for _, e := range events[m.read:] {
		switch e.Kind { //nolint:exhaustive // the others tell nothing of refresh tokens
		case fakeprovider.Spent, fakeprovider.Reused:
			m.spending[e.Ref], m.spent[e.Refresh] = e.Refresh, true
		case fakeprovider.CodeSpent:
			m.redeeming = e.Code
		case fakeprovider.Refused:
			delete(m.spending, e.Ref)
		case fakeprovider.Issued:
			i := &issue{app: e.Ref, seq: e.Seq, at: e.At, access: e.Token, refresh: e.Refresh, parent: m.spending[e.Ref]}
			delete(m.spending, e.Ref)
			m.issues[i.access] = i
			if m.redeeming != "" { // what follows a code is what it gave
				m.issueOf[m.redeeming], m.redeeming = i, ""
			}
			if i.refresh != "" {
				m.children[i.refresh] = i
			}
		}
	}
	m.read = len(events)
}

// arrived judges a request that reaches the provider, and says what becomes of
// it.
func (m *model) arrived(r *request) fate {
	ref := m.refOf[r.app]
	m.db.mu.Lock()
	row := m.db.state(ref)
	durable := r.asks != nil && m.db.authorizations[tokenstore.HashState(realm.Hidden(r.asks.state))].Ref == ref
	m.db.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learn()
	m.judgeCode(r, durable)
	a := row.Claim
	claimed := a.ID != (tokenstore.CallID{}) && a.Node == r.node.name && a.Deadline.After(row.Now)
	_, isSilent := r.node.pool.callers.silentSince(ref.Realm) // its store did not answer in time
	r.free = m.plan.kind == none && m.plan.codes == "" && (r.node.away || isSilent || microsOf(r.node.trouble).Equal(row.Now))
	switch {
	case claimed && m.claims[a.ID] != nil && !r.free: // a free one needs none, whatever is still open
		m.fail("I2", "two requests under one claim on %s", ref)
	case claimed && r.refresh != "" && !a.SendsRefresh:
		m.fail("I2", "a refresh token is spent under a claim that does not say so")
	case claimed:
		m.claims[a.ID] = r
	case !r.free:
		m.fail("I2", "a request of %s for %s without a durable claim of its own", r.node.name, ref)
	}
	for _, other := range m.open {
		if other.app == r.app && other.node.up && !other.caller.closed.Load() && !r.free && !other.free && !other.calledBack() {
			m.fail("I1", "%s asks for %s while the request of %s is open", r.node.name, ref, other.node.name)
		}
	}
	m.judgeReuse(r, row)
	if !r.free {
		m.judgeBudget(ref.Realm, row.Now)
	}
	m.open = append(m.open, r)
	if r.refresh != "" {
		m.sent[r.refresh] = append(m.sent[r.refresh], r)
	}
	if len(m.fates) == 0 {
		return answered
	}
	f := m.fates[0]
	m.fates = m.fates[1:]
	return f
}

// judgeReuse is I3.
func (m *model) judgeReuse(r *request, row tokenstore.State) {
	if r.refresh == "" || m.plan.kind == stable {
		return
	}
	version := m.changed[m.refOf[r.app]]
	r.version = version
	again := m.plan.kind == grace && r.refresh == m.seeds[m.refOf[r.app]] // it may still be good
	if v, known := m.certain[r.refresh]; known && v == version && !again {
		m.fail("I3", "a refresh token is sent again whose use has a certain end")
	}
	if m.plan.kind == grace || row.Claim.Purpose == claim.Heal.String() || row.Token.Refresh.Reveal() != r.refresh {
		return
	}
	uncertain := 0
	for _, before := range m.sent[r.refresh] {
		if !before.refused {
			uncertain++
		}
	}
	t := row.Token
	i := m.issues[t.Access.Reveal()]
	if uncertain == 0 || i == nil || i.seq <= version || !row.Now.Before(t.ExpiresAt) {
		return
	}
	if uncertain > 1 {
		m.fail("I3", "a refresh token is sent a third time while the access token lives")
	}
	if left := t.ExpiresAt.Sub(row.Now); left > callTime+claim.Margin {
		m.fail("I3", "a refresh token is sent again %v before the access token ends", left)
	}
}

// judgeBudget is I11.
func (m *model) judgeBudget(id string, now time.Time) {
	m.arrivals[id] = append(m.arrivals[id], now)
	n := 0
	for _, at := range m.arrivals[id] {
		if now.Sub(at) < budgetPer {
			n++
		}
	}
	if n > budgetCalls {
		m.fail("I11", "%d calls of realm %s within %v", n, id, budgetPer)
	}
}

// decide lets the provider decide.
func (m *model) decide(r *request, serve func() int) {
	m.mu.Lock()
	m.learn()
	from := m.read
	m.mu.Unlock()
	status := serve()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learn()
	r.decided, r.status = true, status
	for _, e := range m.provider.Events()[from:] {
		if e.Kind == fakeprovider.Issued && e.Ref == r.app {
			r.issue = m.issues[e.Token]
		}
	}
}

// delivered notes that an answer was read to its end, or was not.
func (m *model) delivered(r *request, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || !r.node.up {
		return
	}
	r.delivered = true
	m.awaits(r)
	r.refused = r.status == 401
	if r.issue != nil && r.issue.refresh != "" {
		m.received[r.issue.refresh] = r.node
	}
}

// begunToAnswer notes that the status of an answer was read: a status 4xx says
// for itself that nothing was done.
func (m *model) begunToAnswer(r *request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.refused = r.status/100 == 4
}

// left notes that a request has ended. A node that lives does not cut off a
// call before its time is over.
func (m *model) left(r *request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = slices.DeleteFunc(m.open, func(o *request) bool { return o == r })
	if r.decided && !r.delivered {
		m.lossy = true
	}
	select {
	case <-r.gone:
		if lasted := time.Since(r.at); r.node.up && !r.delivered && !r.broken && lasted < callTime && r.at.Sub(r.node.trouble) > callTime {
			m.fail("I5", "%s cut a call off after %v, whose answer may hold the only token", r.node.name, lasted)
		}
	default:
	}
}

// lostWith excuses what died with a node before it could be on a disk. The
// caller holds the lock.
func (m *model) lostWith(n *modelNode) {
	m.lossy = true
	spooled := m.spooled()
	for refresh, by := range m.received {
		if by == n && !m.durable[refresh] && !spooled[refresh] {
			m.excused[refresh] = true
		}
	}
}

func (m *model) spooled() map[string]bool {
	found := map[string]bool{}
	for _, n := range m.nodes {
		if n.spool == nil {
			continue
		}
		entries, _ := n.spool.Entries(context.Background())
		for _, e := range entries {
			found[e.Token.Refresh.Reveal()] = true
		}
	}
	return found
}

// committed judges a transaction.
func (m *model) committed(ref realm.Ref, before, after tokenstore.State, lapses bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learn()
	old, now := before.Claim, after.Claim
	if old.ID != (tokenstore.CallID{}) && old.ID != now.ID && now.ID != (tokenstore.CallID{}) && old.Deadline.After(before.Now) && !m.handsOver(old.ID) {
		m.fail("I1", "the claim on %s was taken from who had it", ref)
	}
	if r := m.claims[old.ID]; r != nil && now.ID != old.ID && old.Deadline.After(before.Now) && r.delivered && (r.issue != nil || r.status == 400) {
		m.certain[r.refresh] = r.version
	}
	m.durable[after.Token.Refresh.Reveal()] = true
	for _, t := range now.Candidates {
		m.durable[t.Refresh.Reveal()] = true
	}
	m.judgeLineage(ref, before, after.Token)
	m.judgeConsent(ref, before, after)
	if after.Token != before.Token || len(now.Candidates) > len(old.Candidates) || now.Rejected.Digest != old.Rejected.Digest {
		delete(m.givenUp, ref)
	}
	if lapses && !m.givenUp[ref] {
		m.givenUp[ref] = true
		m.judgeDead(ref, after)
	}
}

// judgeLineage is I4.
func (m *model) judgeLineage(ref realm.Ref, before tokenstore.State, t realm.Token) {
	was := m.lineages[ref]
	m.lineages[ref] = max(was, t.Lineage)
	if t == before.Token {
		return
	}
	if t.Lineage != was+1 {
		m.fail("I4", "the lineage of %s went from %d to %d", ref, was, t.Lineage)
	}
	have, got := before.Token.Refresh.Reveal(), t.Refresh.Reveal()
	child := m.children[got]
	if got != have && m.plan.codes != "" && child != nil && child.parent == "" { // a consent ends what was before
		m.excused[have] = true
		for _, c := range before.Claim.Candidates {
			m.excused[c.Refresh.Reveal()] = true
		}
		return
	}
	if got != have && m.plan.fetches && (before.Claim.Doubt.Count > 0 || child != nil && child.parent == "") {
		m.excused[have] = true // it was in doubt, and there is a way without it
		return
	}
	if got == have || child == nil || child.parent == "" || child.parent == have {
		return
	}
	if m.consents[child.parent] {
		m.excused[have] = true // somebody authorized anew: what was there before is given up
		return
	}
	// A child of another one may take the place of one that is no good.
	if have != "" && m.provider.LiveRefresh(have) {
		m.fail("I4", "the refresh token of lineage %d was not issued for that of %d, which is good", t.Lineage, was)
	}
}

// judgeDead is I7.
func (m *model) judgeDead(ref realm.Ref, s tokenstore.State) {
	stored := []string{s.Token.Refresh.Reveal()}
	if s.Claim.Rejected.Digest == m.digests[ref] { // else it is about the secret of before
		stored = append(stored, m.seeds[ref])
	}
	for _, t := range s.Claim.Candidates {
		stored = append(stored, t.Refresh.Reveal())
	}
	for _, refresh := range stored {
		if refresh != "" && m.provider.LiveRefresh(refresh) {
			m.fail("I7", "%s is given up, and the provider accepts a refresh token that is stored", ref)
		}
	}
	for _, r := range m.open {
		if m.refOf[r.app] == ref && r.node.up && r.code == "" && r.issue != nil && m.provider.LiveRefresh(r.issue.refresh) {
			m.fail("I7", "%s is given up while an answer with a good refresh token is on its way", ref)
		}
	}
	for refresh, n := range m.received {
		i := m.children[refresh]
		if m.refOf[i.app] == ref && i.parent != "" && n.up && n.resume != nil && !m.durable[refresh] && m.provider.LiveRefresh(refresh) &&
			time.Since(i.at) < callTime+claim.Margin+callTime { // who is later than that comes as a surprise
			m.fail("I7", "%s is given up while %s has a good refresh token in its hands", ref, n.name)
		}
	}
	if !m.lossy {
		m.fail("I7", "%s is given up, and nothing happened that could cost a refresh token", ref)
	}
}

// judgeOrphans is I5.
func (m *model) judgeOrphans() {
	kept := m.spooled()
	for _, n := range m.nodes {
		if !n.up {
			continue
		}
		n.pool.entries.Range(func(_ realm.Ref, e *entry) bool {
			if _, unsaved := e.state(); unsaved != nil {
				kept[unsaved.Token.Refresh.Reveal()] = true
			}
			return true
		})
	}
	m.db.mu.Lock()
	for ref := range m.db.tokens {
		s := m.db.state(ref)
		for _, t := range append(s.Claim.Candidates, s.Token) {
			kept[t.Refresh.Reveal()] = true
		}
	}
	m.db.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	for refresh, n := range m.received {
		pending := n.up && n.resume != nil
		if !kept[refresh] && !pending && !m.excused[refresh] && !m.spent[refresh] && m.provider.LiveRefresh(refresh) {
			m.fail("I5", "a refresh token that %s received, and which is good, is nowhere", n.name)
		}
	}
}

// returned judges what a caller got.
func (m *model) returned(c *call, lease *realm.Lease, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.done, c.err = true, err
	if !c.node.up {
		return
	}
	if err != nil {
		if errors.Is(err, context.Canceled) && !c.left {
			m.fail("I10", "a caller of %s who still waits is told that another one left", c.ref)
		}
		return
	}
	m.learn()
	c.token = lease.Access
	i := m.issues[lease.Access.Reveal()]
	switch {
	case i == nil:
		m.fail("I9", "a token that the provider never made")
	case m.refOf[i.app] != c.ref:
		m.fail("I9", "a call for %s got a token of %s", c.ref, m.refOf[i.app])
	case i.seq <= c.current:
		m.fail("I9", "a call for %s on %s got a token of an older secret", c.ref, c.node.name)
	case !time.Now().Before(i.at.Add(tokenLife)):
		m.fail("I8", "a call for %s got a token that ended %v ago", c.ref, time.Since(i.at.Add(tokenLife)))
	case i.refresh != "" && m.plan.kind != none && !m.durable[i.refresh]:
		m.fail("I6", "a call for %s got a token whose refresh token is not stored", c.ref)
	}
}
