package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-tokens/caddy-tokens/internal/edge"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// otherInstance is what an edge asks, in the test's hands. What it does not answer by
// itself is refused by the store of an edge.
type otherInstance struct {
	*edge.Store

	mu     sync.Mutex
	realms map[string]realm.Realm
	// gives answers a question; asked are the questions.
	gives func(want tokenstore.Wanted) (tokenstore.Given, error)
	asked []tokenstore.Wanted
	// isAway: it does not answer.
	isAway atomic.Bool
	// holdRealm, unless it is nil, lasts as long as a question about a realm.
	holdRealm func()
	// hold, unless it is nil, lasts as long as a question.
	hold func(context.Context)
	// reads counts the questions about realms, pings whether there is an answer at
	// all; at -1 there is none.
	reads, pings atomic.Int64
	// refusesRealm, unless it is nil, is what questions about realms get.
	refusesRealm atomic.Pointer[realm.Error]
	listener     chan tokenstore.UpstreamListener
}

func (o *otherInstance) Realm(_ context.Context, id string) (realm.Realm, error) {
	o.reads.Add(1)
	if o.holdRealm != nil {
		o.holdRealm()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.realms[id]
	switch {
	case o.isAway.Load():
		return r, tokenstore.ErrUnavailable
	case o.refusesRealm.Load() != nil:
		return r, o.refusesRealm.Load()
	case !ok:
		return r, tokenstore.ErrRealmNotFound
	}
	return r, nil
}

func (*otherInstance) Close() error { return nil }

func (o *otherInstance) Ping(context.Context) error {
	if o.isAway.Load() || o.pings.Load() < 0 {
		return tokenstore.ErrUnavailable
	}
	o.pings.Add(1)
	return nil
}

func (o *otherInstance) Obtain(ctx context.Context, _ realm.Ref, want tokenstore.Wanted) (tokenstore.Given, error) {
	o.mu.Lock()
	o.asked = append(o.asked, want)
	gives := o.gives
	o.mu.Unlock()
	if o.hold != nil {
		o.hold(ctx)
	}
	if o.isAway.Load() || ctx.Err() != nil {
		return tokenstore.Given{}, tokenstore.ErrUnavailable
	}
	return gives(want)
}

func (o *otherInstance) Listen(ctx context.Context, to tokenstore.UpstreamListener) {
	o.listener <- to
	<-ctx.Done()
}

// questions is how often a token was asked for.
func (o *otherInstance) questions() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

func (o *otherInstance) then(gives func(tokenstore.Wanted) (tokenstore.Given, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gives = gives
}

// givesToken answers with one token.
func givesToken(access string, lineage int64, left time.Duration) func(tokenstore.Wanted) (tokenstore.Given, error) {
	return func(tokenstore.Wanted) (tokenstore.Given, error) {
		return tokenstore.Given{Access: realm.Hidden(access), Lineage: lineage, Left: left, HasEnd: true, Source: realm.FromMemory}, nil
	}
}

// refusesToken answers with a refusal.
func refusesToken(code realm.Code, status int, after time.Duration) func(tokenstore.Wanted) (tokenstore.Given, error) {
	return func(tokenstore.Wanted) (tokenstore.Given, error) {
		return tokenstore.Given{}, &realm.Error{Code: code, Status: status, Detail: "told by the other", RetryAfter: after}
	}
}

// edgeNode is a pool of an edge that hears of changes.
type edgeNode struct {
	*View
	pool  *Pool
	clock *clock
	other *otherInstance
	hears tokenstore.UpstreamListener
}

func newEdge(t *testing.T, change ...func(*realm.Config)) *edgeNode {
	t.Helper()
	config := realm.Config{
		API: "https://api.example.com", Inject: []realm.Injection{{Place: realm.PlaceURL, Name: "access_token"}},
		Semantics: realm.SemanticsRotate,
	}
	for _, f := range change {
		f(&config)
	}
	n := &edgeNode{clock: newClock(), other: &otherInstance{
		realms: map[string]realm.Realm{"wx": {ID: "wx", Config: config}}, listener: make(chan tokenstore.UpstreamListener, 1),
		gives: givesToken("T-1", 1, 2*time.Hour),
	}}
	n.pool = New(n.other, zaptest.NewLogger(t), n.clock.now, WithPatience(longPatience))
	t.Cleanup(func() {
		if err := n.pool.Destruct(); err != nil {
			t.Error(err)
		}
	})
	var err error
	if n.View, err = n.pool.View(ViewConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := n.pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.hears = <-n.other.listener
	n.hears.Hears()
	n.pool.link.heard.Clear() // as if that were a while ago
	return n
}

// asksFor wants so many questions to have been asked.
func (n *edgeNode) asksFor(t *testing.T, want int) {
	t.Helper()
	if got := n.other.questions(); got != want {
		t.Errorf("%d questions, want %d", got, want)
	}
}

// refused wants a token to be refused with a code.
func (n *edgeNode) refused(t *testing.T, code realm.Code) *realm.Error {
	t.Helper()
	_, err := n.Token(t.Context(), wx)
	var refused *realm.Error
	if !errors.As(err, &refused) || refused.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return refused
}

// Callers of an edge that come at once are one question, and so are those that come
// later, until the token ends by the clock of the edge.
func TestEdgeAsksOnce(t *testing.T) {
	n := newEdge(t)
	gate := make(chan struct{})
	n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
		<-gate
		return givesToken("T-1", 1, 2*time.Hour)(w)
	})
	var callers sync.WaitGroup
	var begun atomic.Int64
	n.other.holdRealm = func() { // until all are there
		eventually(t, "all callers have begun", func() bool { return begun.Load() == 300 })
	}
	for range 300 {
		callers.Go(func() {
			begun.Add(1)
			want(t, n.View, wx, "T-1", realm.FromMemory)
		})
	}
	eventually(t, "the question is asked", func() bool { return n.other.questions() == 1 })
	n.hears.Changed(wx, 1, StateLive) // told before the answer
	close(gate)
	callers.Wait()
	n.hears.Changed(wx, 1, StateLive)
	n.clock.advance(time.Hour)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	n.asksFor(t, 1)
	if reads := n.other.reads.Load(); reads != 1 {
		t.Errorf("%d questions about the realm, want 1", reads)
	}
	n.clock.advance(time.Hour - time.Second)
	n.other.then(givesToken("T-2", 2, time.Hour))
	want(t, n.View, wx, "T-2", realm.FromMemory)
	n.asksFor(t, 2)
}

// A token that a notice says is dead, replaced or gone is not handed out after the
// notice, even if the other instance is away by then. One of which that is not
// certain is.
func TestEdgeAfterANotice(t *testing.T) {
	for name, tt := range map[string]struct {
		tell   func(n *edgeNode)
		config func(*realm.Config)
		away   realm.Code // while the other is away; "" for the token
	}{
		"dead":         {func(n *edgeNode) { n.hears.Changed(wx, 1, stateDead) }, nil, realm.CodeUnavailable},
		"replaced":     {func(n *edgeNode) { n.hears.Changed(wx, 2, StateLive) }, nil, realm.CodeUnavailable},
		"deleted":      {func(n *edgeNode) { n.hears.Changed(wx, 0, stateDeleted) }, nil, realm.CodeUnavailable},
		"realm gone":   {func(n *edgeNode) { n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateDeleted) }, nil, realm.CodeUnavailable},
		"older dead":   {func(n *edgeNode) { n.hears.Changed(wx, 0, stateDead) }, nil, ""},
		"beside it":    {func(n *edgeNode) { n.hears.Changed(wx, 2, StateLive) }, func(c *realm.Config) { c.Semantics = realm.SemanticsParallel }, ""},
		"secret saved": {func(n *edgeNode) { n.hears.Changed(wx, 0, StateIdle) }, nil, ""},
		"realm saved":  {func(n *edgeNode) { n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged) }, nil, ""},
		"a gap":        {func(n *edgeNode) { n.hears.Hears() }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.config == nil {
				tt.config = func(*realm.Config) {}
			}
			n := newEdge(t, tt.config)
			want(t, n.View, wx, "T-1", realm.FromMemory)
			n.other.isAway.Store(true)
			tt.tell(n)
			if tt.away != "" {
				n.refused(t, tt.away)
			} else {
				want(t, n.View, wx, "T-1", realm.FromMemory)
			}

			n = newEdge(t, tt.config)
			want(t, n.View, wx, "T-1", realm.FromMemory)
			n.other.then(refusesToken(realm.CodeSecretNotFound, http.StatusNotFound, 0))
			code := realm.CodeSecretNotFound
			if name == "realm gone" {
				code = realm.CodeRealmNotFound
				n.other.mu.Lock()
				clear(n.other.realms)
				n.other.mu.Unlock()
			}
			tt.tell(n)
			if name != "older dead" {
				n.refused(t, code)
			}
		})
	}
}

// Where the other instance has several nodes, one of them may answer that has not read
// yet of what a notice told. What it gave is not kept.
func TestEdgeIsAnsweredByANodeThatHasNotHeard(t *testing.T) {
	for name, tell := range map[string]func(*edgeNode){
		"dead":       func(n *edgeNode) { n.hears.Changed(wx, 1, stateDead) },
		"replaced":   func(n *edgeNode) { n.hears.Changed(wx, 2, StateLive) },
		"deleted":    func(n *edgeNode) { n.hears.Changed(wx, 0, stateDeleted) },
		"saved":      func(n *edgeNode) { n.hears.Changed(wx, 0, stateChanged) },
		"realm gone": func(n *edgeNode) { n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateDeleted) },
		"anything":   func(n *edgeNode) { n.hears.Hears() }, // a change of the edge's rights is told so
		"saved, and lives": func(n *edgeNode) {
			n.hears.Changed(wx, 0, stateChanged)
			n.hears.Changed(wx, 1, StateLive)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newEdge(t)
				want(t, n.View, wx, "T-1", realm.FromMemory)
				tell(n)
				for range 3 { // that node hears nothing until it counts as deaf
					want(t, n.View, wx, "T-1", realm.FromMemory)
					time.Sleep(feedInterval - time.Millisecond)
					synctest.Wait()
				}
				want(t, n.View, wx, "T-1", realm.FromMemory)
				n.other.then(givesToken("T-2", 2, time.Hour))
				time.Sleep(feedInterval)
				synctest.Wait()
				want(t, n.View, wx, "T-2", realm.FromMemory)
				asked := n.other.questions()
				time.Sleep(time.Minute)
				want(t, n.View, wx, "T-2", realm.FromMemory)
				n.asksFor(t, asked)
			})
		})
	}
}

// Whoever knows of a notice is asked once, and what a notice took away is taken away
// once: what came after it is served, also when the other instance has gone.
func TestEdgeIsAnsweredByANodeThatHasHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		tell []Change
		// given is the lineage of what the node gives.
		given int64
		// asked is how often, also while the node might not know of a notice.
		asked int
	}{
		"dead":                 {[]Change{{Lineage: 1, State: stateDead}}, 2, 1},
		"dead, and lives":      {[]Change{{Lineage: 1, State: stateDead}, {Lineage: 1, State: StateLive}}, 1, 4},
		"replaced":             {[]Change{{Lineage: 2, State: StateLive}}, 2, 1},
		"replaced twice":       {[]Change{{Lineage: 3, State: StateLive}, {Lineage: 2, State: StateLive}}, 3, 1},
		"failing":              {[]Change{{Lineage: 1, State: stateFailing.String()}}, 1, 1},
		"older":                {[]Change{{Lineage: 1, State: StateLive}}, 1, 0},
		"deleted, and is anew": {[]Change{{State: stateDeleted}, {Lineage: 2, State: StateLive}}, 2, 4},
	} {
		for _, goes := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " goes ", goes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newEdge(t)
					want(t, n.View, wx, "T-1", realm.FromMemory)
					asked := n.other.questions()
					token := fmt.Sprint("T-", tt.given)
					n.other.then(givesToken(token, tt.given, time.Hour))
					for _, c := range tt.tell {
						n.hears.Changed(wx, c.Lineage, c.State)
					}
					want(t, n.View, wx, token, realm.FromMemory)
					n.other.isAway.Store(goes)
					for range 10 {
						time.Sleep(feedInterval)
						synctest.Wait()
						want(t, n.View, wx, token, realm.FromMemory)
					}
					if got := n.other.questions() - asked; !goes && got != tt.asked {
						t.Errorf("%d questions, want %d", got, tt.asked)
					}
				})
			})
		}
	}
}

// While nothing is heard, and the other instance answers, it is asked before a token
// is served; while it does not, the token is served to its end and nobody waits.
func TestEdgeThatHearsNothing(t *testing.T) {
	n := newEdge(t)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	n.hears.IsDeaf()
	n.other.then(givesToken("T-2", 2, time.Hour))
	want(t, n.View, wx, "T-2", realm.FromMemory)
	since := n.clock.now()
	if got := n.pool.Deaf(); !got.Equal(since) {
		t.Errorf("deaf since %v, want %v", got, since)
	}
	if s := n.pool.upstreamStatus(); s.OK || !strings.Contains(s.Error, since.Format(time.RFC3339)) {
		t.Errorf("the status: %+v", s)
	}
	n.other.isAway.Store(true)
	n.pool.sleep = func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() } // no probe
	want(t, n.View, wx, "T-2", realm.FromMemory)
	asked := n.other.questions()
	for range 20 {
		want(t, n.View, wx, "T-2", realm.FromMemory)
	}
	n.asksFor(t, asked)
	if s := n.pool.upstreamStatus(); s.OK || !strings.Contains(s.Error, "has not answered since "+since.Format(time.RFC3339)) {
		t.Errorf("the status: %+v", s)
	}
	// Once it is heard again, what is suspect is compared at once.
	n.other.isAway.Store(false)
	n.other.then(givesToken("T-3", 3, time.Hour))
	n.hears.Hears()
	want(t, n.View, wx, "T-3", realm.FromMemory)
	n.other.isAway.Store(true)
	n.hears.IsDeaf()
	want(t, n.View, wx, "T-3", realm.FromMemory)
	n.clock.advance(time.Hour - time.Second)
	if e := n.refused(t, realm.CodeUnavailable); e.Status != http.StatusServiceUnavailable || e.RetryAfter == 0 {
		t.Errorf("%+v", e)
	}
}

// A refusal goes to the callers in the words of the other instance, and is not asked
// for again as long as it says; a notice ends that.
func TestEdgePassesRefusalsOn(t *testing.T) {
	for _, code := range []realm.Code{realm.CodeRateLimited, realm.CodeReauthRequired, realm.CodeTokenUnavailable, realm.CodeBudgetSpent, realm.CodeForbidden} {
		t.Run(string(code), func(t *testing.T) {
			n := newEdge(t)
			n.other.then(refusesToken(code, http.StatusServiceUnavailable, 30*time.Second))
			for range 3 {
				e := n.refused(t, code)
				if e.Detail != "told by the other" || e.RetryAfter != 30*time.Second {
					t.Errorf("%+v", e)
				}
			}
			n.asksFor(t, 1)
			n.clock.advance(20 * time.Second)
			if e := n.refused(t, code); e.RetryAfter != 10*time.Second {
				t.Errorf("after 20 s: %s", e.RetryAfter)
			}
			n.other.then(givesToken("T-1", 1, time.Hour))
			n.hears.Changed(wx, 1, StateLive)
			want(t, n.View, wx, "T-1", realm.FromMemory)
		})
	}
}

// A token that the API refuses is replaced by the other instance, which is told
// which one; a token that it gives again helps nobody. A refused heal leaves the
// token where it is.
func TestEdgeHeals(t *testing.T) {
	n := newEdge(t)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	heal := func(token string) (*realm.Lease, bool, error) {
		return n.Heal(t.Context(), wx, realm.Hidden(token), realm.BlameToken)
	}
	n.other.then(refusesToken(realm.CodeTokenUnavailable, http.StatusServiceUnavailable, 7*time.Second))
	var refused *realm.Error
	if _, _, err := heal("T-1"); !errors.As(err, &refused) || refused.RetryAfter != 7*time.Second {
		t.Errorf("under the floor of the other: %v", err)
	}
	want(t, n.View, wx, "T-1", realm.FromMemory)
	n.clock.advance(8 * time.Second)
	n.other.then(givesToken("T-1", 1, time.Hour))
	if _, _, err := heal("T-1"); err == nil {
		t.Error("the same token heals")
	}
	n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
		if w.Rejected != "T-1" {
			t.Errorf("another token was rejected: %v", w)
		}
		n.hears.Changed(wx, 1, stateDead)
		n.hears.Changed(wx, 2, StateLive)
		g, err := givesToken("T-2", 2, time.Hour)(w)
		g.Source = realm.FromUpstream
		return g, err
	})
	before := n.other.questions()
	lease, isBought, err := heal("T-1")
	if err != nil || lease.Access != "T-2" || !isBought {
		t.Fatalf("%v %v %v", lease, isBought, err)
	}
	if lease, isBought, err = heal("T-1"); err != nil || lease.Access != "T-2" || isBought {
		t.Errorf("a token that was replaced already: %v %v %v", lease, isBought, err)
	}
	want(t, n.View, wx, "T-2", realm.FromMemory)
	n.asksFor(t, before+1)
}

// inject_only is kept on the edge: a request gets the token, and nobody reads it.
func TestEdgeKeepsInjectOnly(t *testing.T) {
	n := newEdge(t)
	n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
		g, err := givesToken("T-1", 1, time.Hour)(w)
		g.InjectOnly = true
		return g, err
	})
	for range 2 {
		var refused *realm.Error
		if _, err := n.Read(t.Context(), wx); !errors.As(err, &refused) || refused.Code != realm.CodeForbidden {
			t.Errorf("read: %v", err)
		}
		if _, err := n.ReadBy(t.Context(), wx, n.Flush); !errors.As(err, &refused) || refused.Code != realm.CodeForbidden {
			t.Errorf("flushed: %v", err)
		}
		if lease, err := n.Proxyable(t.Context(), wx); err != nil || lease.Access != "T-1" {
			t.Errorf("proxied: %v %v", lease, err)
		}
	}
	n.asksFor(t, 1)
}

// What the realm makes of the secret comes with the token; without it, and where each
// request needs the secret, the token can be read and not used.
func TestEdgePlacesWhatItIsGiven(t *testing.T) {
	placed := &realm.Placed{API: "https://eu.example.com/v1", Hosts: []string{"eu.example.com"}, Values: []realm.Hidden{"app T-1"}}
	give := func(p *realm.Placed) func(tokenstore.Wanted) (tokenstore.Given, error) {
		return func(w tokenstore.Wanted) (tokenstore.Given, error) {
			g, err := givesToken("T-1", 1, time.Hour)(w)
			g.Placed = p
			return g, err
		}
	}
	bySecret := func(c *realm.Config) {
		c.API = "https://{secret.host}/v1"
		c.Inject = []realm.Injection{{Place: realm.PlaceHeader, Name: "X-Auth", Value: "{secret.app} {token}"}}
	}
	perRequest := func(c *realm.Config) {
		c.Inject = []realm.Injection{{Place: realm.PlaceHeader, Name: "X-Auth", Expr: "token + hex(hmac('sha256', secret.key, path))"}}
	}
	certificate := func(c *realm.Config) { c.ClientCertificate, c.ClientKey = "cert", "key" }
	for name, tt := range map[string]struct {
		config func(*realm.Config)
		placed *realm.Placed
		refuse string
	}{
		"given":       {bySecret, placed, ""},
		"not given":   {bySecret, nil, "edge on"},
		"changed":     {bySecret, &realm.Placed{API: placed.API, Hosts: placed.Hosts}, "changed meanwhile"},
		"in clear":    {bySecret, &realm.Placed{API: "http://eu.example.com", Hosts: placed.Hosts, Values: placed.Values}, "not https"},
		"per request": {perRequest, &realm.Placed{API: "https://api.example.com", Values: []realm.Hidden{""}}, "for each request"},
		"certificate": {certificate, placed, "client certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newEdge(t, tt.config)
			n.other.then(give(tt.placed))
			if lease, err := n.Read(t.Context(), wx); err != nil || lease.Access != "T-1" {
				t.Errorf("read: %v %v", lease, err)
			}
			lease, err := n.Proxyable(t.Context(), wx)
			var refused *realm.Error
			switch {
			case tt.refuse != "":
				if !errors.As(err, &refused) || refused.Code != realm.CodeNotProxyable || !strings.Contains(refused.Detail, tt.refuse) {
					t.Errorf("proxied: %v", err)
				}
			case err != nil:
				t.Error(err)
			case lease.Values[0] != "app T-1" || lease.Target.API.String() != placed.API || !lease.Target.Hosts[0].Match("eu.example.com:443", "https"):
				t.Errorf("placed: %v", lease.Target)
			}
		})
	}
}

// A renewal asks ahead of the end. If there is nothing new, it is asked again at half
// of what is left, and the token is served meanwhile.
func TestEdgeAsksAheadOfTheEnd(t *testing.T) {
	n := newEdge(t)
	n.pool.schedule.driver.Add(n.View)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	renewal := func() time.Duration {
		e, _ := n.pool.entries.Load(wx)
		return e.live.Load().renewAt.Sub(realm.InstantOf(n.clock.now()))
	}
	n.clock.advance(renewal())
	left := 30 * time.Minute
	n.other.then(givesToken("T-1", 1, left))
	want(t, n.View, wx, "T-1", realm.FromMemory)
	eventually(t, "it is asked again later", func() bool { return renewal() == left/2 })
	n.clock.advance(left / 2)
	n.other.then(givesToken("T-2", 2, time.Hour))
	want(t, n.View, wx, "T-1", realm.FromMemory)
	eventually(t, "the new token is there", func() bool {
		lease, err := n.Token(t.Context(), wx)
		return err == nil && lease.Access == "T-2"
	})
}

// Nothing that an edge is given stands in what it prints.
func TestPlacedIsNotPrinted(t *testing.T) {
	g := tokenstore.Given{Access: "SECRET", Placed: &realm.Placed{Values: []realm.Hidden{"SECRET"}}}
	if text := fmt.Sprintf("%v %+v %v %+v", g, g, *g.Placed, g.Placed); strings.Contains(text, "SECRET") {
		t.Error(text)
	}
}

// The life of a token is counted from when it was asked for, however long the answer
// takes. One that is older than what was told meanwhile is asked about again.
func TestEdgeWithASlowAnswer(t *testing.T) {
	n := newEdge(t)
	n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
		n.clock.advance(10 * time.Minute)
		n.hears.Changed(wx, 2, StateLive)
		return givesToken("T-1", 1, time.Hour)(w)
	})
	asked := n.clock.now()
	lease, err := n.Token(t.Context(), wx)
	if err != nil || lease.Expires.Time() != asked.Add(time.Hour+10*time.Minute) {
		t.Fatalf("%v %v, asked for the second time at %s", lease, err, asked.Add(10*time.Minute))
	}
	n.other.then(givesToken("T-2", 2, time.Hour))
	want(t, n.View, wx, "T-2", realm.FromMemory)
	n.asksFor(t, 3)
}

// hangs answers a question only when it is given up, and tells why.
func (o *otherInstance) hangs(began chan<- struct{}, why chan<- error) {
	o.hold = func(ctx context.Context) {
		began <- struct{}{}
		<-ctx.Done()
		why <- ctx.Err()
	}
}

// A question that takes long is given up if the other instance does not answer at
// all, long before its time is over; if it does, a provider is slow, and is waited for.
func TestEdgeWaitsForAProviderOnly(t *testing.T) { synctest.Test(t, testWaitsForAProviderOnly) }

func testWaitsForAProviderOnly(t *testing.T) {
	n := newEdge(t)
	began, why := make(chan struct{}, 1), make(chan error, 1)
	n.other.hangs(began, why)
	n.pool.sleep = func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() } // no probe
	n.pool.waits.Store(int64(2 * time.Millisecond))
	n.other.pings.Store(-1)
	n.refused(t, realm.CodeUnavailable)
	<-began
	if err := <-why; !errors.Is(err, context.Canceled) {
		t.Errorf("the question ended with %v", err)
	}

	n = newEdge(t)
	n.pool.waits.Store(int64(2 * time.Millisecond))
	n.other.hold = func(context.Context) {
		eventually(t, "it is looked at", func() bool { return n.other.pings.Load() > 0 })
	}
	want(t, n.View, wx, "T-1", realm.FromMemory)
}

// A question that gets an odd answer, or none, is the error of its key alone, while the
// other instance answers others.
func TestEdgeGoesOnAfterAnOddAnswer(t *testing.T) {
	n := newEdge(t)
	n.pool.sleep = func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() } // no probe
	n.other.then(func(tokenstore.Wanted) (tokenstore.Given, error) {
		return tokenstore.Given{}, fmt.Errorf("%w: with status 431", tokenstore.ErrUnavailable)
	})
	n.refused(t, realm.CodeUnavailable)
	n.other.then(givesToken("T-1", 1, time.Hour))
	want(t, n.View, realm.Ref{Realm: "wx", Key: "other"}, "T-1", realm.FromMemory)
	want(t, n.View, wx, "T-1", realm.FromMemory)
}

// Keys that callers make up leave nothing behind, whether the other instance is away,
// answers oddly or refuses them; and refusals are remembered to their end as before.
func TestEdgeForgetsMadeUpKeys(t *testing.T) {
	const keys = 10_000
	ask := func(n *edgeNode, code realm.Code) {
		t.Helper()
		for i := range keys {
			_, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: fmt.Sprintf("made-up-%d", i)})
			var refused *realm.Error
			if !errors.As(err, &refused) || refused.Code != code {
				t.Fatalf("got %v, want %s", err, code)
			}
		}
	}
	isLeft := func(n *edgeNode, most int) func() bool {
		return func() bool { return n.pool.entries.Size() <= most }
	}
	t.Run("away", func(t *testing.T) {
		n := newEdge(t)
		want(t, n.View, wx, "T-1", realm.FromMemory)
		n.other.isAway.Store(true)
		ask(n, realm.CodeUnavailable)
		eventually(t, "only the token is left", isLeft(n, 1))
		want(t, n.View, wx, "T-1", realm.FromMemory)
	})
	t.Run("refuses", func(t *testing.T) {
		n := newEdge(t)
		want(t, n.View, wx, "T-1", realm.FromMemory)
		n.other.then(refusesToken(realm.CodeForbidden, http.StatusForbidden, time.Hour))
		ask(n, realm.CodeForbidden)
		eventually(t, "a bounded number is left", isLeft(n, maxRefused+1))
		asked := n.other.questions()
		if _, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: fmt.Sprintf("made-up-%d", keys-1)}); err == nil {
			t.Error("not refused")
		}
		n.asksFor(t, asked)
		n.clock.advance(time.Hour)
		_, _ = n.Token(t.Context(), realm.Ref{Realm: "wx", Key: "one more"})
		eventually(t, "what has passed is gone", isLeft(n, 2))
		want(t, n.View, wx, "T-1", realm.FromMemory)
	})
}

// A refusal that passes, of a question about the realm, ends nothing: the realm and the
// tokens that are known go on.
func TestEdgeKeepsTheRealm(t *testing.T) {
	for _, code := range []realm.Code{realm.CodeUnavailable, realm.CodeAuditUnavailable, realm.CodeRateLimited, realm.CodeInternal} {
		t.Run(string(code), func(t *testing.T) {
			n := newEdge(t)
			want(t, n.View, wx, "T-1", realm.FromMemory)
			n.other.refusesRealm.Store(&realm.Error{Code: code, Status: http.StatusServiceUnavailable, RetryAfter: time.Minute})
			n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged)
			for range 3 {
				want(t, n.View, wx, "T-1", realm.FromMemory)
			}
			if n.other.questions() < 2 {
				t.Error("the token is not compared")
			}
			reads := n.other.reads.Load()
			eventually(t, "the realm is asked for again", func() bool {
				want(t, n.View, wx, "T-1", realm.FromMemory)
				return n.other.reads.Load() > reads
			})
			n.other.then(refusesToken(code, http.StatusServiceUnavailable, time.Minute))
			n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged)
			want(t, n.View, wx, "T-1", realm.FromMemory)
			n.other.refusesRealm.Store(&realm.Error{Code: realm.CodeForbidden, Status: http.StatusForbidden})
			n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged)
			n.refused(t, realm.CodeForbidden)
		})
	}
}

// What was asked for before a notice is not handed out after it: it is asked for once
// more. To flush is not done twice for that.
func TestEdgeWithANoticeBeforeTheAnswer(t *testing.T) {
	for name, tell := range map[string]func(*edgeNode){
		"dead":     func(n *edgeNode) { n.hears.Changed(wx, 1, stateDead) },
		"replaced": func(n *edgeNode) { n.hears.Changed(wx, 2, StateLive) },
		"changed":  func(n *edgeNode) { n.hears.Changed(wx, 0, stateChanged) },
		"a gap":    func(n *edgeNode) { n.hears.Hears() },
	} {
		for way, get := range map[string]func(*edgeNode) (*realm.Lease, error){
			"load":  func(n *edgeNode) (*realm.Lease, error) { return n.Token(t.Context(), wx) },
			"flush": func(n *edgeNode) (*realm.Lease, error) { return n.Flush(t.Context(), wx) },
		} {
			t.Run(name+" "+way, func(t *testing.T) {
				n := newEdge(t)
				n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
					tell(n)
					n.other.then(givesToken("T-2", 2, time.Hour))
					return givesToken("T-1", 1, time.Hour)(w)
				})
				if lease, err := get(n); err != nil || lease.Access != "T-2" {
					t.Errorf("%v %v", lease, err)
				}
				want(t, n.View, wx, "T-2", realm.FromMemory)
				n.asksFor(t, 2)
				if n.other.asked[1].Flush {
					t.Error("flushed twice")
				}

				n = newEdge(t)
				n.other.then(func(tokenstore.Wanted) (tokenstore.Given, error) {
					tell(n)
					n.other.then(givesToken("T-2", 2, time.Hour))
					return refusesToken(realm.CodeForbidden, http.StatusForbidden, time.Hour)(tokenstore.Wanted{})
				})
				if _, err := get(n); err == nil {
					t.Error("not refused")
				}
				want(t, n.View, wx, "T-2", realm.FromMemory) // the refusal is from before the notice
			})
		}
	}
}

// A token that ends just now takes the place of the one before: that is not served on.
func TestEdgeWithADyingToken(t *testing.T) {
	n := newEdge(t)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	n.hears.Changed(wx, 0, stateChanged)
	n.other.then(givesToken("T-2", 2, time.Second))
	_, _ = n.Token(t.Context(), wx)
	n.other.then(givesToken("T-3", 3, time.Hour))
	want(t, n.View, wx, "T-3", realm.FromMemory)
}

// Who watches an edge that hears nothing learns that at once.
func TestEdgeTellsThatItIsDeaf(t *testing.T) {
	n := newEdge(t)
	w := n.Watch()
	defer w.Close()
	if w.IsDeaf() {
		t.Error("deaf, and hears")
	}
	n.hears.IsDeaf()
	select {
	case <-w.Wake():
	case <-time.After(time.Minute):
		t.Error("not woken")
	}
	if !w.IsDeaf() {
		t.Error("not deaf")
	}
	n.hears.Hears()
	if w.IsDeaf() {
		t.Error("still deaf")
	}
}

// A notice about the realm that comes while it is asked for has it asked for again.
func TestEdgeAsksForTheRealmAgain(t *testing.T) {
	n := newEdge(t)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	changed := func() { n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged) }
	notices := 1
	n.other.holdRealm = func() {
		if notices--; notices >= 0 {
			changed()
		}
	}
	before := n.other.reads.Load()
	changed()
	want(t, n.View, wx, "T-1", realm.FromMemory)
	if reads := n.other.reads.Load() - before; reads < 2 || !n.pool.link.isCurrent("wx") {
		t.Errorf("%d questions about the realm", reads)
	}
	notices, before = 1_000, n.other.reads.Load()
	changed()
	want(t, n.View, wx, "T-1", realm.FromMemory) // while it keeps changing, nobody waits for ever
	if reads := n.other.reads.Load() - before; reads > 2*maxComparisons*maxComparisons {
		t.Errorf("%d questions about the realm", reads)
	}
}

// Of a realm, too, a node may say what it was before the change.
func TestEdgeAsksForTheRealmOfANodeThatHasNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newEdge(t)
		want(t, n.View, wx, "T-1", realm.FromMemory)
		n.hears.Changed(realm.Ref{Realm: "wx"}, 0, stateChanged)
		want(t, n.View, wx, "T-1", realm.FromMemory)
		n.other.mu.Lock()
		changed := n.other.realms["wx"]
		changed.Config.API = "https://new.example.com"
		n.other.realms["wx"] = changed
		n.other.mu.Unlock()
		time.Sleep(feedInterval)
		synctest.Wait()
		want(t, n.View, wx, "T-1", realm.FromMemory)
		if c, err := n.View.catalog.Realm(t.Context(), "wx"); err != nil || c.Config.API != changed.Config.API {
			t.Errorf("%q, %v", c.Config.API, err)
		}
	})
}

// Between the moment at which one flight has read a realm and that at which memory has
// it, others do not take the one before for it.
func TestEdgeWaitsForTheRealmThatWasRead(t *testing.T) {
	n := newEdge(t)
	want(t, n.View, wx, "T-1", realm.FromMemory)
	n.hears.Changed(wx, 0, stateChanged)
	said := n.other.realms["wx"]
	said.Config.API = "https://new.example.com"
	n.pool.link.read.Store("wx", readRealm{n.pool.link.generation.Load(), said})
	before := n.other.reads.Load()
	want(t, n.View, wx, "T-1", realm.FromMemory)
	if n.other.reads.Load() == before {
		t.Error("the realm was not asked for")
	}
}

// An answer that took longer than its token lives brings none: it is asked for again.
func TestEdgeWithAnAnswerThatTookTheLife(t *testing.T) {
	n := newEdge(t)
	var asked atomic.Int64
	n.other.then(func(w tokenstore.Wanted) (tokenstore.Given, error) {
		if asked.Add(1) == 1 {
			n.clock.advance(2 * time.Second)
			return givesToken("T-ended", 1, 1500*time.Millisecond)(w)
		}
		return givesToken("T-2", 2, time.Hour)(w)
	})
	want(t, n.View, wx, "T-2", realm.FromMemory)
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// A key that was refused again is left alone as long as the other instance says, also
// when its first refusal is over.
func TestEdgeKeepsTheRefusalThatCameAgain(t *testing.T) {
	n := newEdge(t)
	refuse := func(key string, after time.Duration) {
		t.Helper()
		n.other.then(refusesToken(realm.CodeForbidden, http.StatusForbidden, after))
		_, err := n.Token(t.Context(), realm.Ref{Realm: "wx", Key: key})
		wantError(t, err, realm.CodeForbidden, http.StatusForbidden)
	}
	refuse("in-front", time.Minute)
	refuse("again", time.Second)
	n.clock.advance(59 * time.Second)
	refuse("again", time.Minute)
	n.clock.advance(2 * time.Second)
	refuse("another", time.Minute) // takes out those that are over
	asked := n.other.questions()
	refuse("again", time.Minute)
	n.asksFor(t, asked)
}
