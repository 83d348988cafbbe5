// Package fakeprovider is a simulated provider of tokens: the token endpoint
// and the API of WeChat, WeCom, DingTalk, Feishu, Douyin, JD, Suning or a plain
// OAuth2 server, as their documentation describes them, and as strict. Those
// that let an account in by an authorization code have that endpoint as well;
// a Person walks through it.
//
// It keeps a ledger of every token and code that was asked for, issued, spent
// and revoked, in the order in which the provider decided. Tests believe the
// ledger and not the program under test. Every fault that a token endpoint is
// known to have can be switched on, see Faults and Malformed.
package fakeprovider

import (
	"crypto/rsa"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Options say what is simulated.
type Options struct {
	// Style is the provider; OAuth by default.
	Style Style
	// Credentials are the secrets by app id (appid, corpid, appkey, app_id,
	// client_id).
	Credentials map[string]string
	// Rule says how tokens live; nil for the documented one of the style. Of
	// a rule that is given, only a Life of zero is taken from the style.
	Rule *Rule
	// Refresh says how refresh tokens behave; the zero value issues none.
	Refresh RefreshRule
	// Users are the passwords by user name, of the accounts that may let an
	// app in.
	Users map[string]string
	// Redirects are the redirect URIs that the apps registered, by app id.
	Redirects map[string]string
	// Keys are the RSA keys that the apps registered, by app id (JDVOP).
	Keys map[string]*rsa.PublicKey
	// Codes says how authorization codes live and arrive.
	Codes CodeRule
	// Quotas replace the documented limits of the token endpoint; an empty,
	// non-nil slice means that there are none.
	Quotas []Quota
	// Total limits the token endpoints together, over all apps. Refused
	// requests do not count.
	Total []Quota
	// Mint makes the n-th token; by default 32 random characters.
	Mint func(n int64) string
	// API serves the calls that carried a live token; by default they are
	// answered with the provider's form of "ok".
	API http.Handler
	// Now is the provider's clock; time.Now by default.
	Now func() time.Time
}

// Provider is one simulated provider. It is safe for concurrent use.
type Provider struct {
	opts  Options
	speak dialect

	mu         sync.Mutex
	secrets    map[string]string
	users      map[string]string
	redirects  map[string]string
	codes      map[string]*codeRecord
	tickets    map[string]string
	lives      map[string]time.Duration
	book       book
	mint       mint
	refresh    refreshBook
	windows    map[string][]time.Time
	faults     Faults
	gate       chan struct{} // before a decision; nil while it is open
	answerGate chan struct{} // between a decision and its answer
	toHold     int           // how many answers have to wait there
	open       traffic

	// address is that of the server, connections are those that it has.
	address     string
	connections *connections
}

// New makes a provider.
func New(opts Options) *Provider {
	if opts.Style == "" {
		opts.Style = OAuth
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Mint == nil {
		opts.Mint = randomToken
	}
	p := &Provider{
		opts: opts, speak: dialects[opts.Style],
		secrets: map[string]string{}, users: map[string]string{}, redirects: map[string]string{}, codes: map[string]*codeRecord{},
		tickets: map[string]string{},
		lives:   map[string]time.Duration{}, windows: map[string][]time.Time{},
		mint: newMint(), refresh: newRefreshBook(), open: newTraffic(), book: newBook(),
		connections: newConnections(),
	}
	maps.Copy(p.secrets, opts.Credentials)
	maps.Copy(p.users, opts.Users)
	maps.Copy(p.redirects, opts.Redirects)
	return p
}

// Start serves the provider on a free loopback port until the test ends, and
// returns its base URL.
func (p *Provider) Start(tb testing.TB) string {
	tb.Helper()
	srv := httptest.NewUnstartedServer(p)
	srv.Config.ConnState = p.connections.note
	srv.Start()
	p.address = srv.Listener.Addr().String()
	tb.Cleanup(func() {
		srv.CloseClientConnections() // an answer that is held would keep Close waiting
		srv.Close()
	})
	return srv.URL
}

// SetSecret replaces the secret of an app, or adds an app. The tokens that it
// has stay as they are.
func (p *Provider) SetSecret(id, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets[id] = secret
}

// SetUser replaces the password of a user, or adds a user. The tokens of his
// account stay as they are.
func (p *Provider) SetUser(name, password string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users[name] = password
}

// SetRedirect registers the redirect URI of an app, in place of the one before.
func (p *Provider) SetRedirect(id, uri string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.redirects[id] = uri
}

// SetLife lets the tokens that an app gets from now on live for d, instead of
// the rule's Life; 0 goes back to that.
func (p *Provider) SetLife(id string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lives[id] = d
}

// ServeHTTP answers the token and authorization endpoints; every other path is
// the API.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<20)
	if e, ok := p.speak.endpoints[r.URL.Path]; ok {
		p.serveToken(w, r, e)
		return
	}
	if d, ok := p.speak.doors[r.URL.Path]; ok {
		p.serveDoor(w, r, d)
		return
	}
	p.serveAPI(w, r)
}

func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request, e endpoint) {
	a, refusal := e.ask(r)
	a.user = p.account(a)
	p.serve(w, r, Event{Kind: Asked, Ref: a.ref, User: a.user, Code: a.code}, func(now time.Time) reply {
		return p.decide(e, a, refusal, now)
	})
}

// serve writes the arrival of an app's request into the ledger, and answers it
// with what decide says, which is called with the lock held.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request, arrival Event, decide func(now time.Time) reply) {
	p.mu.Lock()
	arrival.At = p.opts.Now()
	p.book.add(arrival)
	leave := p.open.enter(arrival.Ref)
	gate, latency := p.gate, p.faults.Latency
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		leave()
	}()
	if !pass(r.Context(), gate, latency) {
		return
	}
	p.mu.Lock()
	answer := decide(p.opts.Now())
	held, linger := p.answerHeld(), p.faults.Linger
	p.mu.Unlock()
	if pass(r.Context(), held, linger) {
		p.send(answer, w, r)
	}
}

// send lets an answer out. What it holds counts as returned from the first
// byte on: whoever knows a token has got it by an answer that was noted here.
func (p *Provider) send(answer reply, w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	for _, token := range answer.holds {
		p.book.returned[token] = true
	}
	pause := p.faults.Trickle
	p.mu.Unlock()
	answer.write(slowly(w, r, pause), r)
}

// decide is the moment at which the provider commits: what the ledger says
// from here on is true whether the answer arrives or not. The caller holds the
// lock.
func (p *Provider) decide(e endpoint, a ask, refusal Refusal, now time.Time) reply {
	retry := p.faults.RetryAfter
	if refusal == "" {
		refusal, retry = p.admit(e, a, now)
	}
	if refusal != "" {
		p.book.add(a.refused(refusal, now))
		return p.speak.refuse(refusal).retryAfter(retry)
	}
	given := p.give(e, a, now)
	if given.refusal != "" {
		p.book.add(a.refused(given.refusal, now))
		return p.speak.refuse(given.refusal)
	}
	if name := p.faults.next(); name != "" {
		return answerNamed(name).of(given.wire)
	}
	return given.wire.reply()
}

func (a ask) refused(why Refusal, now time.Time) Event {
	return Event{At: now, Kind: Refused, Ref: a.ref, User: a.user, Code: a.code, Reason: string(why)}
}

// admit checks everything that a request for a token must pass.
func (p *Provider) admit(e endpoint, a ask, now time.Time) (Refusal, time.Duration) {
	if p.faults.Refuse != "" {
		return p.faults.Refuse, p.faults.RetryAfter
	}
	secret, known := p.secrets[a.ref]
	if !known {
		return UnknownApp, 0
	}
	if secret != a.secret && !e.public {
		return WrongSecret, 0
	}
	if e.check != nil {
		if refusal := e.check(p, a, now); refusal != "" {
			return refusal, 0
		}
	}
	quotas := e.quotas
	if p.opts.Quotas != nil {
		quotas = p.opts.Quotas
	}
	if free := p.spend(e, a, quotas, now); free > 0 {
		return QuotaSpent, max(free, p.faults.RetryAfter)
	}
	return "", 0
}
