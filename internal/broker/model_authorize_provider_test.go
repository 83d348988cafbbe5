package broker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// delivery is what the provider does with an authorize request of the server.
type delivery uint8

const (
	redirects   delivery = iota
	callsFirst           // it calls the callback, then answers
	callsLater           // it answers first
	callsNever           // it says that it will
	redirectsTo          // it redirects and calls as well
	showsPage            // as for a wrong password
	deniesFirst          // it calls with an error, then answers
)

var deliveries = []delivery{redirects, callsFirst, callsLater, callsNever, redirectsTo, showsPage, deniesFirst}

func (d delivery) String() string {
	return [...]string{"redirects", "calls first", "calls later", "calls never", "redirects and calls", "shows a page", "denies first"}[d]
}

// mode is what becomes of one authorize request, and which node is called.
type mode struct {
	delivery
	node int
}

// plans decides about the next authorize request that nothing was decided
// about.
func (m *model) plans(next mode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.modes = append(m.modes, next)
}

// way is how a callback arrives.
type way uint8

const (
	whole way = iota
	astray
	codeless
	denied
)

var ways = []way{whole, whole, whole, astray, codeless, denied}

func (w way) String() string { return [...]string{"whole", "astray", "codeless", "denied"}[w] }

// asked takes an authorize request apart.
func (m *model) asked(r *request, query url.Values) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.app, r.secret = query.Get("client_id"), query.Get("login")
	r.asks = &authorization{ref: m.refOf[r.app], app: r.app, state: query.Get("state"), login: r.secret, byServer: true}
	m.remember(r.asks)
}

// answer is what the provider decides and says.
func (m *model) answer(r *request, w http.ResponseWriter, req *http.Request) {
	if r.asks == nil {
		m.provider.ServeHTTP(w, req)
		return
	}
	m.mu.Lock()
	if len(m.modes) > 0 {
		r.asks.mode, m.modes = m.modes[0], m.modes[1:]
	}
	page := r.asks.mode.delivery == showsPage || r.asks.login != m.logins[r.app]
	m.locked = m.locked || page || r.asks.mode.delivery == deniesFirst
	m.mu.Unlock()
	if page {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html><h1>The user name or the password is wrong.</h1></html>"))
		return
	}
	if r.asks.mode.delivery == deniesFirst {
		_, _ = w.Write([]byte("{}"))
		return
	}
	to := m.consent(r.asks, req.URL)
	if d := r.asks.mode.delivery; d == redirects || d == redirectsTo {
		m.mu.Lock()
		r.asks.arrived = true // as soon as a byte of it has gone out
		m.mu.Unlock()
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
		return
	}
	_, _ = w.Write([]byte("{}"))
}

// consent lets a user of the provider in, and returns where he is sent.
func (m *model) consent(a *authorization, link *url.URL) string {
	form := url.Values{"username": {"user"}, "password": {"password"}, "consent": {"allow"}}
	req := httptest.NewRequest(http.MethodPost, link.RequestURI(), strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	m.provider.ServeHTTP(w, req)
	to, err := url.Parse(w.Header().Get("Location"))
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.code = to.Query().Get("code"); err != nil || a.code == "" || to.Query().Get("state") != a.state {
		m.fail("the model", "the provider gives no code: %d %s", w.Code, w.Body)
	}
	m.codes[a.code] = a
	return to.String()
}

// callFirst calls the callback before the answer goes out.
func (m *model) callFirst(r *request) {
	if r.asks == nil {
		return
	}
	var v *visitor
	switch r.asks.mode.delivery { //nolint:exhaustive // the others do not
	case callsFirst, redirectsTo:
		v = m.deliver(m.node(r.asks.mode.node), r.asks, whole)
	case deniesFirst:
		v = m.deliver(m.node(r.asks.mode.node), r.asks, denied)
	}
	if v == nil || r.asks.mode.delivery == redirectsTo {
		return
	}
	select {
	case <-v.done:
	case <-r.gone:
	}
}

func (m *model) callLater(r *request) {
	if r.asks != nil && r.asks.mode.delivery == callsLater {
		m.deliver(m.node(r.asks.mode.node), r.asks, whole)
	}
}

func (m *model) node(i int) *modelNode {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes[i]
}

// visitor is who brings a callback.
type visitor struct {
	call
	of   *authorization
	way  way
	done chan struct{}
}

// deliver brings a callback to a node; nil where there is none, or nobody to
// take it.
func (m *model) deliver(n *modelNode, a *authorization, w way) *visitor {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a == nil || !n.up || a.code == "" && w == whole {
		return nil
	}
	id, cb := a.ref.Realm, grant.Callback{Code: realm.Hidden(a.code), State: realm.Hidden(a.state)}
	switch w {
	case whole:
		a.arrived = true
	case astray:
		for _, other := range m.refs {
			if other.Realm != a.ref.Realm {
				id = other.Realm
			}
		}
	case codeless:
		cb.Code = ""
	case denied:
		cb.Code, cb.Error = "", "access_denied"
		m.locked = m.locked || a.byServer
	}
	v := &visitor{call: m.newCall(n, a.ref), of: a, way: w, done: make(chan struct{})}
	m.visits = append(m.visits, v)
	go func() {
		_, err := n.view.Callback(context.Background(), id, cb)
		m.visited(v, err)
		close(v.done)
	}()
	return v
}

// opens lets a person ask for a link, and open it.
func (m *model) opens(n *modelNode, i int) {
	m.person(n, nil, i)
}

// person lets somebody authorize, and brings the callback to a node; nil for
// later.
func (m *model) person(begins, ends *modelNode, i int) {
	if m.plan.codes == byItself {
		return
	}
	go func() {
		link, err := begins.view.AuthorizeURL(context.Background(), m.refs[i])
		if err != nil {
			return
		}
		if a := m.follows(begins, i, link); ends != nil {
			m.deliver(ends, a, whole)
		}
	}()
}

// follows is a person who opens a link, and is let in.
func (m *model) follows(n *modelNode, i int, link string) *authorization {
	u, err := url.Parse(link)
	if err != nil {
		m.fail("the model", "%v", err)
		return nil
	}
	a := &authorization{ref: m.refs[i], app: app(i), state: u.Query().Get("state")}
	m.db.mu.Lock()
	state := tokenstore.HashState(realm.Hidden(a.state))
	_, durable := m.db.authorizations[state]
	durable = durable || m.db.superseded[state] // it was, until somebody asked for another link
	m.db.mu.Unlock()
	m.mu.Lock()
	m.remember(a)
	if n.up && !durable {
		m.fail("C4", "a person gets a link whose state is not stored")
	}
	m.mu.Unlock()
	m.consent(a, u)
	return a
}
