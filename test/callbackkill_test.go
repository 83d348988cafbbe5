package test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// calledPoint is a moment of an authorization whose code the provider brings by
// a call of its own.
type calledPoint struct {
	name string
	// failpoint at which the node kills itself; "" where the test does, while
	// the provider holds its answer to the exchange back.
	failpoint string
	// asking: the killed node asked for the code, and did not get it. At the
	// other points it has taken the callback.
	asking bool
	// kept: the token is in the store, and is the one that is served.
	kept bool
	// held: the claim may wait for a callback that does not come any more.
	held bool
}

var calledPoints = []calledPoint{
	{name: "asked", failpoint: "request_written", asking: true},
	{name: "answer begun", failpoint: "answer_begun", asking: true},
	{name: "callback awaited", failpoint: "callback_awaited", asking: true, held: true},
	{name: "state taken", failpoint: "state_taken", held: true},
	{name: "code claimed", failpoint: "code_claimed"},
	{name: "connected", failpoint: "connected"},
	{name: "exchange written", failpoint: "request_written"},
	{name: "decided"},
	{name: "exchange's answer begun", failpoint: "answer_begun"},
	{name: "spooled", failpoint: "spooled"},
	{name: "saved", failpoint: "saved", kept: true},
	{name: "published", failpoint: "published", kept: true},
}

// calledKill is one kill: where, and how the provider calls.
type calledKill struct {
	calledPoint
	delivery fakeprovider.Delivery
	// again: the provider calls once more, where nobody took the call.
	again bool
	// asks: the killed node asked for the code, else the other one did.
	asks bool
	// elsewhere: the call comes to the other node. Else it comes to the killed
	// one, which is dead where it did not take it.
	elsewhere bool
}

// kills are all kills at a point.
func (p calledPoint) kills() (all []calledKill) {
	for _, delivery := range []fakeprovider.Delivery{fakeprovider.CallsFirst, fakeprovider.CallsLater} {
		for _, again := range []bool{false, true} {
			for _, other := range []bool{false, true} {
				k := calledKill{calledPoint: p, delivery: delivery, again: again, asks: p.asking || !other, elsewhere: p.asking && other}
				switch {
				case k.elsewhere && again: // the call is taken
				case k.elsewhere && delivery == fakeprovider.CallsFirst && p.failpoint == "callback_awaited": // it has come
				default:
					all = append(all, k)
				}
			}
		}
	}
	return all
}

func (k calledKill) String() string {
	return fmt.Sprintf("%s, %s, again %t, asks %t, elsewhere %t", k.name, k.delivery, k.again, k.asks, k.elsewhere)
}

// place is the failpoint. Where the killed node asked as well, it passed some
// of them before.
func (k calledKill) place() string {
	passed := k.failpoint == "connected" || k.failpoint == "request_written" ||
		k.failpoint == "answer_begun" && k.delivery == fakeprovider.CallsLater
	if k.asks && !k.asking && passed {
		return k.failpoint + ":2"
	}
	return k.failpoint
}

const (
	// calledLease is how long a claim of the realm lives: timeout + 5 s.
	calledLease = 7 * time.Second
	// callbackWait is how long a claim waits for a callback.
	callbackWait = time.Minute
)

// bound is how long a claim may keep others from asking, after its node died.
func (k calledKill) bound() time.Duration {
	if k.held {
		return calledLease + callbackWait
	}
	return calledLease
}

// calledTrial is a kill that is under way: an account with a provider of its
// own, whose calls come by a front that stands before both nodes.
type calledTrial struct {
	calledKill
	id            string
	killed, other member
	dead          <-chan struct{} // closed when the killed node is gone
	provider      *fakeprovider.Provider
	waiters       []chan calledWaiter

	mu    sync.Mutex
	calls []string // what the provider called, without the front
}

// calledWaiter is what became of somebody who waits for the token at the node
// that lives.
type calledWaiter struct {
	token string
	at    time.Time
	told  []int // the statuses before
	err   error
}

// calledBench is a fleet and what its kills have cost.
type calledBench struct {
	*fleet
	t   *testing.T
	key *rsa.PrivateKey

	mu                  sync.Mutex
	kills, codes, again int
	slowest, slowestOf  time.Duration // where a claim was held for the callback, and elsewhere
}

func newCalledBench(t *testing.T) *calledBench {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := launchFleet(t, fleetOptions{nodes: 2, program: withFailpoints(t), proxy: "token_callback"})
	f.members[0].kill()
	return &calledBench{fleet: f, t: t, key: key}
}

// begin makes the account and starts the node that will be killed.
func (b *calledBench) begin(id string, k calledKill) *calledTrial {
	b.t.Helper()
	c := &calledTrial{calledKill: k, id: id, killed: b.members[0], other: b.members[1]}
	if k.failpoint == "" {
		c.killed.start()
	} else {
		c.killed.start("TOKENS_FAILPOINT=" + k.place())
	}
	c.dead = c.killed.done
	front := httptest.NewServer(c)
	b.t.Cleanup(front.Close)
	callback := front.URL + "/" + id + "-account/callback-token"
	rule := fakeprovider.CodeRule{Delivery: k.delivery}
	if k.again {
		rule.CallsAgain = time.Second
	}
	c.provider = fakeprovider.New(vopOptions(callback, &b.key.PublicKey, rule))
	config := vopRealm(b.t, c.provider.Start(b.t), callback, b.key)
	config["keep_warm"], config["default_key"] = false, "main" // nobody asks but those who wait
	c.other.post("/api/realm", map[string]any{"id": id, "config": config})
	c.other.post("/api/secret", map[string]any{
		"realm": id, "key": "main", "fields": map[string]any{"username": "buyer", "password": "password-01"},
	})
	return c
}

// ServeHTTP is the front: the first call goes where the kill wants it, all
// others to the node that lives.
func (c *calledTrial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.calls = append(c.calls, r.URL.RequestURI())
	first := len(c.calls) == 1
	c.mu.Unlock()
	to := c.other
	switch {
	case !first:
	case c.asking && !c.elsewhere: // it is dead, or as good as that
		w.WriteHeader(http.StatusBadGateway)
		return
	case c.failpoint == "callback_awaited":
		<-c.dead
	case !c.asking:
		to = c.killed
	}
	if first && c.failpoint == "" {
		defer c.provider.HoldAnswers(1)()
	}
	status, _ := call(r.Context(), http.MethodGet, to.proxy+r.URL.RequestURI(), nil)
	if status == 0 {
		status = http.StatusBadGateway
	}
	w.WriteHeader(status)
}

func (c *calledTrial) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// kill lets the authorization come to its point. Those who wait at the other
// node have begun before, if it is theirs.
func (c *calledTrial) kill(t *testing.T) (at time.Time) {
	t.Helper()
	var asking sync.WaitGroup
	if c.asks {
		asking.Go(func() { c.killed.try(c.killed.admin + c.ask()) })
	} else {
		c.wait(t.Context())
	}
	if c.failpoint == "" {
		eventually(t, "the provider decides", func() bool { return len(c.provider.Issued()) > 0 })
		c.killed.kill()
	}
	c.killed.waitEnd()
	asking.Wait()
	at = time.Now()
	if c.asks {
		c.wait(t.Context())
	}
	return at
}

func (c *calledTrial) ask() string { return "/api/token?realm=" + c.id + "&key=main" }

// wait has two wait at the node that lives: one for as long as it takes, and one
// of the earlier service's clients, who leaves after a second and comes again.
func (c *calledTrial) wait(ctx context.Context) {
	for _, ask := range []func(context.Context) (int, []byte){
		func(ctx context.Context) (int, []byte) {
			return patientCall(ctx, http.MethodGet, c.other.admin+c.ask())
		},
		func(ctx context.Context) (int, []byte) {
			return patientCall(ctx, http.MethodPost, c.other.admin+"/"+c.id+"-account/get-access-token?timeout=1")
		},
	} {
		served := make(chan calledWaiter, 1)
		c.waiters = append(c.waiters, served)
		go func() { served <- waitFor(ctx, ask) }()
	}
}

// patientCall is call without an end of its own.
func patientCall(ctx context.Context, method, url string) (int, []byte) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, []byte(err.Error())
	}
	return sendBy(&http.Client{Transport: client.Transport}, req)
}

// tokenIn is the token of an answer of the one interface or the other.
func tokenIn(body []byte) string {
	var answer tokenAnswer
	if json.Unmarshal(body, &answer) == nil {
		return answer.Token
	}
	return string(body)
}

// waitFor asks until a token is given. Whatever else it is told has to say why
// there is none yet.
func waitFor(ctx context.Context, ask func(context.Context) (int, []byte)) (w calledWaiter) {
	for {
		status, body := ask(ctx)
		w.at = time.Now()
		switch status {
		case http.StatusOK:
			w.token = tokenIn(body)
			return w
		case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
			w.told = append(w.told, status)
		default:
			w.err = fmt.Errorf("told %d %s", status, body)
			return w
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return w
		}
	}
}

// judge waits until all who wait are served, and lets the ledger say what was
// sent.
func (c *calledTrial) judge(t *testing.T, died time.Time) (took time.Duration) {
	t.Helper()
	limit := time.After(time.Until(died.Add(c.bound() + patience)))
	for i, waiter := range c.waiters {
		select {
		case w := <-waiter:
			if w.err != nil || !c.provider.Live(w.token) || c.kept && w.token != c.provider.Issued()[0] {
				t.Errorf("waiter %d has token %d after %v: %v", i, c.provider.Rank(w.token), w.told, w.err)
			}
			took = max(took, w.at.Sub(died))
		case <-limit:
			t.Fatalf("waiter %d is not served %v after the kill: %d codes", i, c.bound()+patience, len(c.provider.Codes()))
		}
	}
	if c.kept && len(c.provider.Codes()) != 1 {
		t.Errorf("%d codes, and the first one's token was saved", len(c.provider.Codes()))
	}
	c.replay(t)
	for code, n := range c.sent() {
		if n > 1 {
			t.Errorf("a code was sent %d times: %.4s...", n, code)
		}
	}
	return took
}

// replay makes every call of the provider twice more. The state that was taken
// is gone at once, whatever became of its node, and any other after one call.
func (c *calledTrial) replay(t *testing.T) {
	t.Helper()
	for i, uri := range c.called() {
		first, _ := c.other.try(c.other.proxy + uri)
		second, _ := c.other.try(c.other.proxy + uri)
		lost := i == 0 && c.asking && !c.elsewhere
		if second != http.StatusBadRequest || first != http.StatusBadRequest && !lost {
			t.Errorf("call %d comes again: %d, then %d", i+1, first, second)
		}
	}
}

// sent is how often each code came to the token endpoint.
func (c *calledTrial) sent() map[string]int {
	times := map[string]int{}
	for _, e := range c.provider.Events() {
		if e.Kind == fakeprovider.Asked && e.Code != "" {
			times[e.Code]++
		}
	}
	return times
}

func (b *calledBench) add(c *calledTrial, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills++
	b.codes += len(c.provider.Codes())
	if len(c.provider.Codes()) > 1 {
		b.again++
	}
	if c.held {
		b.slowest = max(b.slowest, took)
	} else {
		b.slowestOf = max(b.slowestOf, took)
	}
}

// Killed at each moment of an authorization whose callback the provider calls
// itself, before or after its answer, at the node that asked or at the other
// one, a node sends no code twice; the state is used up, and those who wait at
// the other node are served when the claim has run out. AUTHORIZE_KILLS is how
// often a node is killed at each point.
func TestKilledAtEachPointOfACallback(t *testing.T) {
	t.Parallel()
	b := newCalledBench(t)
	waiting := newAbreast(t, 128)
	for i := range figure(t, "AUTHORIZE_KILLS", 1) * len(calledPoints) {
		round, at := i/len(calledPoints), i%len(calledPoints)
		kills := calledPoints[at].kills()
		c := b.begin(fmt.Sprint("jd-", i), kills[(round+at)%len(kills)])
		died := c.kill(t)
		waiting.run(strings.ReplaceAll(c.String(), ", ", "/"), func(t *testing.T) {
			if took := c.judge(t, died); !t.Failed() {
				b.add(c, took)
			}
		})
	}
	waiting.wait()
	t.Logf("killed %d times around a callback: %d codes, none sent twice; %d times another code was asked for; "+
		"the other node served after at most %v, and %v where the claim was kept for the callback",
		b.kills, b.codes, b.again, b.slowestOf.Round(time.Millisecond), b.slowest.Round(time.Millisecond))
}
