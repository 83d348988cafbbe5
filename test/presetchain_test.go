package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
	"github.com/caddy-tokens/caddy-tokens/internal/presets"
)

// callersOfEach is how many callers each node has at once.
const callersOfEach = 50

// chainBench is a chain of presets on two nodes with a MariaDB and a Redis.
type chainBench struct {
	*presetChain
	t         *testing.T
	a, b      *node
	redirects *strings.Replacer
	secrets   int // of the last level, beside main
	// before are the token requests of each level when it was looked last.
	before []int
}

func newChainBench(t *testing.T, c *presetChain) *chainBench {
	t.Helper()
	s, public := mariaDBAndRedis(t), gateway+"\ntoken_callback\nlog"
	if c.push != nil {
		public += "\ntoken_push /ticket " + c.root().preset + " main"
	}
	start := func() *node {
		return launch(t, config{tokens: s.config + "allow_private 127.0.0.1", proxy: public}.caddyfile, s.env...)
	}
	b := &chainBench{presetChain: c, t: t, a: start(), b: start(), before: make([]int, len(c.levels))}
	var pairs []string
	for name, handler := range c.hosts {
		server := httptest.NewServer(handler)
		t.Cleanup(func() {
			server.CloseClientConnections() // an answer that is held would keep Close waiting
			server.Close()
		})
		pairs = append(pairs, "https://"+name, server.URL, `"`+name+`"`, `"`+host(server.URL)+`"`)
	}
	b.redirects = strings.NewReplacer(pairs...)
	for _, n := range b.nodes() {
		n.neverLogs(b.confidential)
	}
	for _, l := range c.levels {
		b.a.post("/api/realm", b.realm(l))
		b.a.post("/api/secret", map[string]any{"realm": l.preset, "key": "main", "fields": l.fields})
	}
	for _, n := range b.nodes() {
		eventually(t, "the chain is known", func() bool {
			status, _ := n.try(n.admin + "/api/secret/" + c.leaf().preset + "/main")
			return status == http.StatusOK
		})
	}
	return b
}

func (b *chainBench) nodes() []*node { return []*node{b.a, b.b} }

// confidential is what no log may have.
func (b *chainBench) confidential() []string {
	values := []string{chainSecret, pushKeys.Token, pushKeys.AESKey, firstTicket, secondTicket}
	for _, l := range b.levels {
		values = append(values, l.provider.Issued()...)
		for _, e := range l.provider.Events() {
			if e.Refresh != "" {
				values = append(values, e.Refresh)
			}
		}
		values = append(values, l.provider.Codes()...)
	}
	return values
}

// realm is the realm of a preset. What of the preset names a host of the provider is
// said once more with another scheme, host and port; nothing else is.
func (b *chainBench) realm(l chainLevel) map[string]any {
	b.t.Helper()
	p, err := presets.Get(l.preset)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := json.Marshal(p.Config)
	if err != nil {
		b.t.Fatal(err)
	}
	here := map[string]any{"preset": l.preset, "allow_http": true, "default_key": "main"}
	for name, value := range decode[map[string]json.RawMessage](b.t, text) {
		if moved := b.redirects.Replace(string(value)); moved != string(value) {
			here[name] = json.RawMessage(moved)
		}
	}
	if l.shared != nil {
		shared := maps.Clone(l.shared)
		shared["redirect_uri"] = b.callbackURL() // the person comes back to the other node
		here["shared"] = shared
	}
	return map[string]any{"id": l.preset, "config": here}
}

func (b *chainBench) callbackURL() string {
	return b.b.proxy + "/" + b.leaf().preset + "-account/callback-token"
}

// The tickets that are pushed.
const (
	firstTicket  = "ticket@@@first-s3cret"
	secondTicket = "ticket@@@second-s3cret"
)

// pushTo sends a ticket to a node as the provider does.
func (b *chainBench) pushTo(n *node, ticket string) {
	b.t.Helper()
	p := b.push(ticket)
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, n.proxy+"/ticket"+p.Query, strings.NewReader(p.Body))
	if err != nil {
		b.t.Fatal(err)
	}
	maps.Copy(req.Header, p.Header)
	if status, answer := send(req); status != http.StatusOK {
		b.t.Fatalf("the push: %d %s", status, answer)
	}
}

// wantFetches expects so many further token requests at each level.
func (b *chainBench) wantFetches(what string, want ...int) {
	b.t.Helper()
	got := make([]int, len(want))
	for i, l := range b.levels {
		got[i] = l.provider.Fetches() - b.before[i]
		b.before[i] += got[i]
		if n := l.provider.Refusals(); n > 0 {
			b.t.Errorf("%s: %s: %d token requests were refused", what, l.preset, n)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s: token requests %v, want %v", what, got, want)
	}
}

// wantLive expects that the newest token of each level lives, that nobody is asked
// for anything, and that no refresh token was lost or sent twice.
func (b *chainBench) wantLive(what string, nodes ...*node) {
	b.t.Helper()
	for _, l := range b.levels {
		if l.provider.Newest() == "" || !l.provider.Live(l.provider.Newest()) {
			b.t.Errorf("%s: %s has no live token", what, l.preset)
		}
		if len(l.provider.Reuses()) > 0 || len(l.provider.CodeReuses()) > 0 {
			b.t.Errorf("%s: %s: a refresh token or a code was sent twice", what, l.preset)
		}
		for _, n := range nodes {
			if state := n.stateOf(l.preset, "main"); state == "reauth_required" || state == "failing" {
				b.t.Errorf("%s: %s is %s", what, l.preset, state)
			}
		}
	}
	if b.account == "" {
		return
	}
	issued := b.leaf().provider.Events()
	var newest string
	for _, e := range issued {
		if e.Kind == fakeprovider.Issued {
			newest = e.Refresh
		}
	}
	if !b.leaf().provider.LiveRefresh(newest) {
		b.t.Errorf("%s: the refresh token is lost", what)
	}
}

// ask is a call of the chain's user through a node: of the API, or for the token.
// secret is the key of the last level.
func (b *chainBench) ask(n *node, key string) error {
	if b.api == "" {
		status, body := n.try(n.admin + "/api/token?realm=" + b.leaf().preset + "&key=" + key)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	}
	status, body := n.try(n.proxy + "/any/" + b.leaf().preset + "/" + key + b.api)
	if !isServed(status, body) {
		return fmt.Errorf("%d %s", status, body)
	}
	return nil
}

// askedAtOnce has the callers of each node make a call at once. Between two nodes,
// and when all callers are there, the functions are called.
func (b *chainBench) askedAtOnce(call func(n *node) error, between, all func()) {
	b.t.Helper()
	var asking atomic.Int64
	var answered sync.WaitGroup
	for i, n := range []*node{b.b, b.a} {
		for range callersOfEach {
			answered.Go(func() {
				asking.Add(1)
				if err := call(n); err != nil {
					b.t.Error(err)
				}
			})
		}
		if i == 0 && between != nil {
			between()
		}
	}
	eventually(b.t, "everybody asks", func() bool { return asking.Load() == 2*callersOfEach })
	if all != nil {
		all()
	}
	answered.Wait()
}

// cold is the first token of the chain: whoever asks, each level is asked once. The
// ticket comes to the first node, and the second one sends it.
func (b *chainBench) cold() {
	b.t.Helper()
	if b.push != nil {
		for _, n := range b.nodes() {
			if status, body := n.try(n.admin + "/api/token?key=main&realm=" + b.root().preset); status != http.StatusServiceUnavailable || !strings.Contains(string(body), "no current value of the field") {
				b.t.Errorf("without a ticket: %d %s", status, body)
			}
		}
		b.pushTo(b.a, firstTicket)
	}
	call := func(n *node) error { return b.ask(n, "main") }
	if b.account != "" {
		call = func(n *node) error { _, err := b.link(n); return err }
	}
	release := b.root().provider.Hold()
	defer release()
	b.askedAtOnce(call, func() {
		eventually(b.t, "the second node asks", func() bool { return b.root().provider.Fetches() == 1 })
	}, release)
	if b.account == "" {
		b.wantFetches("cold", 1, 1)
		return
	}
	b.wantFetches("cold", 1, 1, 0)
	b.authorize()
	b.askedAtOnce(func(n *node) error { return b.ask(n, "main") }, nil, nil)
	b.wantFetches("authorized", 0, 0, 1)
}

// link is the link of an authorization, with the code that was got for it.
func (b *chainBench) link(n *node) (state string, err error) {
	status, body := n.try(n.admin + "/api/secret/" + b.leaf().preset + "/main/authorize")
	if status != http.StatusOK {
		return "", fmt.Errorf("%d %s", status, body)
	}
	var answer struct{ URL string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	to, err := url.Parse(answer.URL)
	if err != nil {
		return "", err
	}
	back, err := url.Parse(to.Query().Get("redirect_uri"))
	if err != nil {
		return "", err
	}
	if code := to.Query().Get("pre_auth_code"); code == "" || code != b.levels[1].provider.Newest() {
		return "", errors.New("the link has another code than the newest")
	}
	return back.Query().Get("state"), nil
}

// authorize is a person's consent: the link is of the first node, and the browser
// comes back to the second.
func (b *chainBench) authorize() {
	b.t.Helper()
	state, err := b.link(b.a)
	if err != nil {
		b.t.Fatal(err)
	}
	query := url.Values{"state": {state}, "auth_code": {b.leaf().provider.Consent("wxcomponent1", b.account)}, "expires_in": {"3600"}}
	b.b.get(b.callbackURL()+"?"+query.Encode(), http.StatusOK)
}

// chainLoad is constant load on the nodes. It notes what was not served.
type chainLoad struct {
	served atomic.Int64
	ended  chan struct{}
	end    func()
	loops  sync.WaitGroup
}

func (b *chainBench) startLoad() *chainLoad {
	l := &chainLoad{ended: make(chan struct{})}
	l.end = sync.OnceFunc(func() { close(l.ended) })
	b.t.Cleanup(l.stop)
	for _, n := range b.nodes() {
		for range 2 {
			l.loops.Go(func() {
				for {
					select {
					case <-l.ended:
						return
					default:
					}
					if err := b.ask(n, "main"); err != nil {
						b.t.Errorf("under load: %v", err)
						return
					}
					l.served.Add(1)
				}
			})
		}
	}
	return l
}

// goesOn waits until some further calls were served.
func (l *chainLoad) goesOn(t *testing.T) {
	t.Helper()
	enough := l.served.Load() + 20
	eventually(t, "calls are served", func() bool { return t.Failed() || l.served.Load() >= enough })
}

func (l *chainLoad) stop() {
	l.end()
	l.loops.Wait()
}

// revoke ends the token of the root, and the last level's where the API shows that
// it is dead. Where it is not shown, a call of a further secret needs the parent.
func (b *chainBench) revoke() (key string) {
	b.t.Helper()
	b.root().provider.Revoke(b.root().provider.Newest())
	if b.api != "" {
		b.leaf().provider.Revoke(b.leaf().provider.Newest())
		return "main"
	}
	b.secrets++
	return fmt.Sprint("further-", b.secrets)
}

// addSecrets stores the further secrets that revoke needs.
func (b *chainBench) addSecrets() {
	b.t.Helper()
	for i := 1; b.api == "" && i <= 2; i++ {
		key := fmt.Sprint("further-", i)
		b.a.post("/api/secret", map[string]any{"realm": b.leaf().preset, "key": key, "fields": b.leaf().fields})
		eventually(b.t, "the further secret is known", func() bool {
			status, _ := b.b.try(b.b.admin + "/api/secret/" + b.leaf().preset + "/" + key)
			return status == http.StatusOK
		})
	}
}

// onceMore are the requests that the replacement of the root's token and of the last
// level's takes.
func (b *chainBench) onceMore(ofRoot int) []int {
	want := make([]int, len(b.levels))
	want[0], want[len(want)-1] = ofRoot, 1
	return want
}

// revokedUnderLoad lets the provider end the tokens while calls go on: nobody notices,
// and each level is asked once more.
func (b *chainBench) revokedUnderLoad() {
	b.t.Helper()
	if b.push != nil {
		b.pushTo(b.b, secondTicket)
	}
	load := b.startLoad()
	load.goesOn(b.t)
	key := b.revoke()
	b.askedAtOnce(func(n *node) error { return b.ask(n, key) }, nil, nil)
	load.goesOn(b.t)
	load.stop()
	b.wantFetches("revoked under load", b.onceMore(1)...)
	b.wantLive("revoked under load", b.nodes()...)
	if n := len(b.root().provider.DeadCalls()); n == 0 || n > len(b.nodes()) { // a node may send what it does not know to be dead yet
		b.t.Errorf("%d requests with a dead token of the root", n)
	}
}

// killedWhileItRenews kills the first node when the provider has decided about its
// request for the root's token, and not answered. The second one goes on, and asks
// once more.
func (b *chainBench) killedWhileItRenews() {
	b.t.Helper()
	root := b.root().provider
	key := b.revoke()
	issued := len(root.Issued())
	release := root.HoldAnswers(1)
	defer release()
	var asking sync.WaitGroup
	asking.Go(func() { // until nobody is there
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for b.a.isUp() {
			if err := b.ask(b.a, key); err != nil {
				b.t.Logf("the first node: %v", err)
			}
			<-tick.C
		}
	})
	eventually(b.t, "the first node renews the root's token", func() bool { return len(root.Issued()) > issued })
	b.a.kill()
	asking.Wait()
	eventually(b.t, "the second node goes on", func() bool { return b.ask(b.b, key) == nil })
	var callers sync.WaitGroup
	for range callersOfEach {
		callers.Go(func() {
			if err := b.ask(b.b, key); err != nil {
				b.t.Errorf("after the kill: %v", err)
			}
		})
	}
	callers.Wait()
	b.wantFetches("killed", b.onceMore(2)...)
	b.wantLive("killed", b.b)
}

// The presets that need each other, on two nodes, as a user writes them.
func TestPresetChains(t *testing.T) {
	t.Parallel()
	for name, build := range presetChains {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newChainBench(t, build())
			b.addSecrets()
			for _, phase := range []func(){b.cold, b.revokedUnderLoad, b.killedWhileItRenews} {
				if phase(); t.Failed() {
					return
				}
			}
			b.a.start()
			if err := b.ask(b.a, "main"); err != nil {
				t.Errorf("the first node, after its restart: %v", err)
			}
			for _, n := range b.nodes() { // the root's own API
				if status, body := n.try(n.proxy + "/any/" + b.root().preset + "/main" + b.rootAPI); !isServed(status, body) {
					t.Errorf("the API of %s: %d %s", b.root().preset, status, body)
				}
			}
			b.wantFetches("restarted", make([]int, len(b.levels))...)
			b.wantLive("restarted", b.nodes()...)
		})
	}
}
