package broker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// What the realms of the model say.
const (
	tokenLife   = time.Minute
	callTime    = 4 * time.Second
	graceTime   = time.Minute
	budgetCalls = 8
	budgetPer   = time.Minute
)

// kinds of providers; none gives no refresh tokens.
const (
	none   = "none"
	stable = "stable"
	grace  = "grace"
	strict = "strict"
	family = "family"
)

// plan is what stays the same in one run of the model.
type plan struct {
	kind string
	// fetches: a token can be got without a refresh token, too.
	fetches bool
	// codes says who authorizes, by codes; "" for nobody.
	codes string
	// remote: the store is on another machine, so that answers are spooled.
	remote bool
	skews  []time.Duration // of the nodes' clocks
}

func draftPlan(t *rapid.T) plan {
	p := plan{
		kind:    rapid.SampledFrom([]string{strict, family, grace, none, stable}).Draw(t, "kind"),
		fetches: rapid.IntRange(0, 3).Draw(t, "fetches") == 3,
		remote:  rapid.Bool().Draw(t, "remote"),
		skews:   rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, -90 * time.Second, 20 * time.Second}), 2, 3).Draw(t, "clocks"),
	}
	p.fetches = p.fetches || p.kind == none
	return p
}

// seeded reports whether the secrets hold the refresh token of a consent.
func (p plan) seeded() bool { return !p.fetches && p.codes == "" }

// model is the world of one run: the real engine on several nodes, and a
// store, a provider and a clock that do what the run says.
type model struct {
	plan     plan
	dir      string
	keys     *tokenstore.Keyring
	db       *memory
	provider *fakeprovider.Provider
	refs     []realm.Ref
	refOf    map[string]realm.Ref // by app
	nodes    []*modelNode
	booted   int

	mu sync.Mutex
	oracle
	authorizations
	broken       string // the invariant that was broken; "" while all hold
	providerDown bool
	fates        []fate // of the next requests
	calls        []*call
	lineages     map[realm.Ref]int64
	seeds        map[realm.Ref]string // the refresh tokens that the secrets hold
	consents     map[string]bool      // those that they have ever held
	changed      map[realm.Ref]int64  // where the ledger was when the secret changed last
	changedAt    map[realm.Ref]time.Time
	digests      map[realm.Ref]realm.Digest // of what a refresh sends with the secrets as they are
	versions     int
}

// call is one call of a client.
type call struct {
	node    *modelNode
	ref     realm.Ref
	at      time.Time
	current int64 // the newest change of the secret that the node must know of
	cancel  context.CancelFunc

	left, done bool
	token      realm.Hidden
	err        error
}

// newModel makes the world, within the bubble. The names of the realms are
// such that joined strings would confuse them.
func newModel(p plan, dir string) *model {
	m := &model{
		plan: p, dir: dir, db: newMemory(time.Now), refOf: map[string]realm.Ref{}, oracle: newOracle(), authorizations: newAuthorizations(),
		lineages: map[realm.Ref]int64{}, seeds: map[realm.Ref]string{}, consents: map[string]bool{}, changed: map[realm.Ref]int64{}, changedAt: map[realm.Ref]time.Time{},
		digests: map[realm.Ref]realm.Digest{},
		refs:    []realm.Ref{{Realm: "a|b", Key: "c"}, {Realm: "a", Key: "b|c"}, {Realm: "a|b", Key: "c|"}},
	}
	m.keys, _ = tokenstore.NewKeyring(realm.Hidden(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))))
	m.db.committed, m.db.took = m.committed, m.took
	m.lossy = p.codes == byPerson // it begins without a token
	opts := fakeprovider.Options{
		Credentials: map[string]string{}, Quotas: []fakeprovider.Quota{}, Redirects: map[string]string{}, Users: map[string]string{"user": "password"},
		Rule: &fakeprovider.Rule{Semantics: fakeprovider.Parallel, Life: tokenLife},
		Mint: func(n int64) string { return fmt.Sprint("T", n) },
	}
	if p.kind == none {
		opts.Rule.Semantics = fakeprovider.Rotate
	} else {
		opts.Refresh = fakeprovider.RefreshRule{Semantics: fakeprovider.RefreshSemantics(p.kind), Grace: graceTime}
	}
	for i, ref := range m.refs {
		m.refOf[app(i)] = ref
		opts.Credentials[app(i)], opts.Redirects[app(i)] = "v0", modelCallback
	}
	m.provider = fakeprovider.New(opts)
	for index := range p.skews {
		m.nodes = append(m.nodes, m.boot(index))
	}
	for i, ref := range m.refs {
		_, err := m.nodes[0].view.Catalog().SaveRealm(context.Background(), ref.Realm, func(r realm.Realm, _ bool) (realm.Realm, error) {
			r.Config = m.config()
			return r, nil
		})
		if err != nil {
			m.fail("the model", "%v", err)
		}
		m.changeSecret(m.nodes[0], i, p.seeded())
	}
	return m
}

func app(i int) string { return fmt.Sprint("app", i) }

// config is the realm, as a user would write it.
func (m *model) config() realm.Config {
	const endpoint = "http://login.example.com/oauth2/token"
	c := realm.Config{
		API: "http://api.example.com", AllowHTTP: realm.On,
		Inject: []realm.Injection{{Place: realm.PlaceHeader, Name: "Authorization", Value: "Bearer {token}"}},
		Grant:  &realm.Grant{Name: "refresh_token", TokenURL: endpoint, TokenEndpointAuthMethod: "client_secret_post"},
		Limits: realm.Limits{
			Timeout: realm.Duration(callTime), BackoffCap: realm.Duration(8 * time.Second),
			Windows: []realm.Window{{Calls: budgetCalls, Per: realm.Duration(budgetPer)}},
		},
	}
	if m.plan.codes == "" && m.plan.remote && len(m.plan.skews) == 3 {
		c.Limits.Concurrency = 1 // the keys of a realm wait for each other's places
	}
	switch {
	case m.plan.codes != "":
		m.authorizes(&c)
	case m.plan.fetches:
		c.Grant.Name = "client_credentials"
	}
	if m.plan.kind == none {
		c.Semantics = realm.SemanticsRotate
		return c
	}
	c.RefreshSemantics = m.plan.kind
	if m.plan.kind == grace {
		c.RefreshGrace = realm.Duration(graceTime)
	}
	if m.plan.fetches && m.plan.codes == "" {
		c.RefreshTokenPath = "refresh_token"
		c.Refresh = &realm.Recipe{URL: endpoint, Method: "POST", ContentType: realm.ContentForm}
		for name, value := range map[string]string{
			"grant_type": "refresh_token", "refresh_token": "{refresh_token}",
			"client_id": "{secret.client_id}", "client_secret": "{secret.client_secret}",
		} {
			c.Refresh.Arguments = append(c.Refresh.Arguments, realm.Argument{Name: name, Place: realm.PlaceBody, Value: value})
		}
	}
	return c
}

// changeSecret gives an app another secret, and with authorize a refresh token
// of a person's new consent.
func (m *model) changeSecret(n *modelNode, i int, authorize bool) {
	ref := m.refs[i]
	m.versions++
	id, secret := realm.Hidden(app(i)), realm.Hidden(fmt.Sprint("v", m.versions))
	u := catalog.SecretUpdate{Ref: ref, Fields: map[string]*realm.Hidden{"client_id": &id, "client_secret": &secret}}
	if m.plan.codes != "" {
		u.Fields["login"] = &secret
	}
	var seed realm.Hidden
	if authorize {
		seed = realm.Hidden(m.provider.Authorize(app(i)).Refresh)
		u.Fields["refresh_token"] = &seed
	}
	saved, err := n.view.Catalog().SaveSecret(context.Background(), u)
	if err != nil {
		return // the store is away
	}
	c, err := n.view.catalog.Realm(context.Background(), ref.Realm)
	if err != nil {
		m.fail("the model", "%v", err)
		return
	}
	bound, err := c.Program.Bind(saved.Secret)
	if err != nil {
		m.fail("the model", "%v", err)
		return
	}
	m.provider.SetSecret(app(i), secret.Reveal())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.logins[app(i)] = secret.Reveal()
	m.learn()
	m.changed[ref], m.changedAt[ref] = int64(m.read), time.Now()
	n.noticed[ref] = m.changed[ref]
	m.digests[ref] = bound.Digest(grant.RefreshRecipe)
	if authorize {
		m.seeds[ref] = seed.Reveal()
		m.consents[seed.Reveal()] = true
	}
}

// begin lets a client call a node.
func (m *model) begin(n *modelNode, i int, what claim.Purpose, failed realm.Hidden) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{node: n, ref: m.refs[i], at: time.Now(), cancel: cancel}
	m.mu.Lock()
	c.current = n.noticed[c.ref]
	m.calls = append(m.calls, c)
	m.mu.Unlock()
	go func() {
		var lease *realm.Lease
		var err error
		switch what {
		case claim.Flush:
			lease, err = n.view.Flush(ctx, c.ref)
		case claim.Heal:
			lease, err = n.view.heal(ctx, c.ref, failed)
		case claim.Authorize:
			lease, err = n.view.Authorize(ctx, c.ref)
		case claim.Renew:
			lease, _, err = n.view.RenewNow(ctx, c.ref)
		default:
			lease, err = n.view.Token(ctx, c.ref)
		}
		m.returned(c, lease, err)
	}()
	return c
}

// notice: a node whose store works cannot but know of a change after a poll,
// once a call has had it looked.
func (m *model) notice(c *call) {
	e, ok := c.node.pool.entries.Load(c.ref)
	looked := ok && e.currentFlight() == nil && !e.suspect.isRaised()
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.changedAt[c.ref]
	if looked && c.done && c.err == nil && time.Since(at) > 3*feedInterval && c.node.trouble.Before(at) {
		c.node.noticed[c.ref] = m.changed[c.ref]
	}
}

// settled is what follows every step.
func (m *model) settled() {
	m.bury()
	m.judgeOrphans()
	m.judgeWaits()
}

// end stops the world.
func (m *model) end() {
	m.mu.Lock()
	for _, n := range m.nodes {
		n.crash()
	}
	for _, c := range m.calls {
		c.cancel()
	}
	m.mu.Unlock()
	m.bury()
}

// TestProtocol lets the real engine run on several nodes, with faults at every
// turn, and holds it to the invariants I1 to I11. Each run has a clock, a store
// and a provider of its own; MODEL_CHECKS says how many there are.
func TestProtocol(t *testing.T) {
	setChecks(t, "400")
	rapid.Check(t, func(rt *rapid.T) { runModel(t, rt, draftPlan(rt), (*model).actions) })
}

// runModel is one run.
func runModel(t *testing.T, rt *rapid.T, p plan, actions func(m *model, do func(func())) map[string]func(*rapid.T)) {
	dir := t.TempDir()
	b := newBubble(t)
	defer b.end()
	var m *model
	b.do(func() { m = newModel(p, dir) })
	defer b.do(func() { m.end() })
	do := func(step func()) {
		b.do(step)
		b.do(m.settled)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.broken != "" {
			rt.Fatal(m.broken)
		}
	}
	rt.Repeat(actions(m, do))
	do(m.heal)
	do(m.judgeEnd)
}

// checksFlag is how many runs rapid makes; checksGiven reports whether the command
// line has it. It is asked once: whoever sets a flag makes it a given one.
const checksFlag = "rapid.checks"

var checksGiven = sync.OnceValue(func() (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == checksFlag })
	return given
})

// setChecks says how many runs there are, unless the flag does.
func setChecks(t *testing.T, few string) {
	t.Helper()
	if checksGiven() {
		return
	}
	before := flag.Lookup(checksFlag).Value.String()
	t.Cleanup(func() { _ = flag.Set(checksFlag, before) })
	if err := flag.Set(checksFlag, cmp.Or(os.Getenv("MODEL_CHECKS"), few)); err != nil {
		t.Fatal(err)
	}
}

// The second model of a process made a hundred runs, whatever it was told.
func TestEachModelHasItsChecks(t *testing.T) {
	given := checksGiven()
	for _, few := range []string{"7", "8"} {
		t.Run(few, func(t *testing.T) {
			setChecks(t, few)
			got, want := flag.Lookup(checksFlag).Value.String(), cmp.Or(os.Getenv("MODEL_CHECKS"), few)
			if got != want && !given {
				t.Errorf("%s runs instead of %s", got, want)
			}
		})
	}
}
