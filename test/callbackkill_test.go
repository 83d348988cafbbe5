package test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http/httptest"
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

// calledBench is a fleet and what its kills have cost.
type calledBench struct {
	*fleet
	t   *testing.T
	key *rsa.PrivateKey

	mu sync.Mutex
	// kills, the codes of all, and how often there was a second one.
	kills, codes, again int
	// slowest is how long it took at most, slowestHeld the same where the claim
	// may have waited for the callback.
	slowest, slowestHeld time.Duration
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

func (b *calledBench) add(c *calledTrial, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills++
	b.codes += len(c.provider.Codes())
	if len(c.provider.Codes()) > 1 {
		b.again++
	}
	if c.held {
		b.slowestHeld = max(b.slowestHeld, took)
	} else {
		b.slowest = max(b.slowest, took)
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
		b.kills, b.codes, b.again, b.slowest.Round(time.Millisecond), b.slowestHeld.Round(time.Millisecond))
}
