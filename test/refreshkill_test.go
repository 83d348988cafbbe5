package test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/fakeprovider"
)

// killPoint is a moment of a refresh at which the node is killed.
type killPoint struct {
	name string
	// failpoint at which the node kills itself; "" where the test does, while
	// the provider holds its answer back.
	failpoint string
	// lossy: the provider may have taken the refresh token, and the answer is
	// not on a disk. lossyHere is the same where no spool is: what is saved
	// last is the database itself.
	lossy, lossyHere bool
}

// killPoints are all moments that differ in who knows what.
var killPoints = []killPoint{
	{name: "K1 before the claim", failpoint: "before_claim"},
	{name: "K2 claimed", failpoint: "claimed"},
	{name: "K3 connected", failpoint: "connected"},
	{name: "K4 request written", failpoint: "request_written", lossy: true, lossyHere: true},
	{name: "K5 answer unread", lossy: true, lossyHere: true},
	{name: "K6 answer begun", failpoint: "answer_begun", lossy: true, lossyHere: true},
	{name: "K7 spooled", failpoint: "spooled", lossyHere: true},
	{name: "K8 saved", failpoint: "saved"},
	{name: "K9 published", failpoint: "published"},
}

// toll is what the kills of a test have cost.
type toll struct {
	mu sync.Mutex
	// kills, and how many of them lost a refresh token; replays are refresh
	// tokens that were sent again after the provider had taken them.
	kills, lost, replays int
	slowest              time.Duration
}

func (c *toll) add(lost bool, replays int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kills++
	c.replays += replays
	if lost {
		c.lost++
	}
	c.slowest = max(c.slowest, took)
}

func (c *toll) String() string {
	return fmt.Sprintf("%d kills, %d refresh tokens lost, %d replays, back after at most %v",
		c.kills, c.lost, c.replays, c.slowest.Round(time.Millisecond))
}

// killAt lets a refresh come to a kill point and waits for the node's end.
func (r *rotation) killAt(k killPoint) {
	r.t.Helper()
	if k.failpoint == "" {
		r.killUnread()
		return
	}
	r.arm(k.failpoint)
	var asking sync.WaitGroup
	asking.Go(func() { r.refresh() })
	r.waitEnd()
	asking.Wait()
	r.disarm()
}

// killUnread kills the node when the provider has decided and not answered.
func (r *rotation) killUnread() {
	r.t.Helper()
	release, issued := r.provider.HoldAnswers(1), len(r.provider.Issued())
	defer release()
	var asking sync.WaitGroup
	asking.Go(func() { r.refresh() })
	eventually(r.t, "the provider commits", func() bool { return len(r.provider.Issued()) > issued })
	r.kill()
	asking.Wait()
}

// judge starts a node that was killed and lets the ledger say what that cost.
// Whatever was lost is given anew.
func (r *rotation) judge(issued, reused int, lossy bool, c *toll) {
	r.t.Helper()
	r.start()
	asked := r.provider.Fetches()
	o := r.recovers(issued)
	lost, replays := o.token == "", len(r.provider.Reuses())-reused
	c.add(lost, replays, o.took)
	switch {
	case lost && (r.tolerant() || !lossy):
		r.t.Errorf("a refresh token was lost:\n%s", r.story())
	case lost && r.provider.Fetches() > asked+1:
		r.t.Errorf("%d attempts with what is lost:\n%s", r.provider.Fetches()-asked, r.story())
	case replays > 1 || replays > 0 && !lossy && !r.tolerant():
		r.t.Errorf("%d refresh tokens were sent again:\n%s", replays, r.story())
	case !lost && !r.provider.Live(o.token):
		r.t.Errorf("the token after the restart is dead:\n%s", r.story())
	}
	if lost {
		issued := len(r.provider.Issued()) + 1 // the person's
		r.authorize()
		if r.recovers(issued).token == "" {
			r.t.Fatalf("a new authorization does not help:\n%s", r.story())
		}
	}
}

// story is the end of the ledger, without the tokens.
func (r *rotation) story() (text string) {
	events := r.provider.Events()
	names := map[string]int{}
	name := func(token string) string {
		if token == "" {
			return "-"
		}
		if names[token] == 0 {
			names[token] = len(names) + 1
		}
		return fmt.Sprint("#", names[token])
	}
	for i, e := range events {
		line := fmt.Sprintf("%s %-12s access %-4s refresh %-4s %s\n", e.At.Format("05.000"), e.Kind, name(e.Token), name(e.Refresh), e.Reason)
		if i >= len(events)-20 {
			text += line
		}
	}
	return text
}

// stores that a node with refresh tokens is killed on.
var rotationStores = map[string]func(*testing.T) store{"sqlite": sqlite, "mariadb": mariaDBAndRedis}

var rotationKinds = []fakeprovider.RefreshSemantics{
	fakeprovider.Stable, fakeprovider.Grace, fakeprovider.Strict, fakeprovider.Family,
}

// Killed at each moment of a refresh, a node loses a refresh token only where
// that cannot be helped: the provider spends it for ever with its answer, and
// that answer is on no disk yet. KILLS is how often each node is killed at each
// point.
func TestKilledAtEachPointOfARefresh(t *testing.T) {
	t.Parallel()
	kills := figure(t, "KILLS", 1)
	tolls := map[string]*toll{}
	all := newAbreast(t, 16)
	for _, semantics := range rotationKinds {
		for _, k := range killPoints {
			tolls[string(semantics)+" "+k.name] = &toll{}
		}
		for name, on := range rotationStores {
			for half, points := range [][]killPoint{killPoints[:5], killPoints[5:]} {
				all.run(fmt.Sprint(semantics, " ", name, " ", half), func(t *testing.T) {
					r := newRotation(t, on, semantics)
					for i := range kills * len(points) {
						k := points[i%len(points)]
						issued, reused := len(r.provider.Issued()), len(r.provider.Reuses())
						r.killAt(k)
						lossy := k.lossy || name == "sqlite" && k.lossyHere
						r.judge(issued, reused, lossy, tolls[string(semantics)+" "+k.name])
					}
				})
			}
		}
	}
	all.wait()
	for _, semantics := range rotationKinds {
		for _, k := range killPoints {
			t.Logf("%s, %s: %v", semantics, k.name, tolls[string(semantics)+" "+k.name])
		}
	}
}

// Killed at random while it refreshes without a pause, a node loses nothing
// with a provider that takes a retry, and is never silent about a loss with
// another. RANDOM_KILLS is the number for all nodes together.
func TestKilledAtRandomWhileRefreshing(t *testing.T) {
	t.Parallel()
	kills := figure(t, "RANDOM_KILLS", 24) / (len(rotationKinds) * len(rotationStores))
	costs := map[fakeprovider.RefreshSemantics]*toll{}
	all := newAbreast(t, 8)
	for _, semantics := range rotationKinds {
		cost := &toll{}
		costs[semantics] = cost
		for name, on := range rotationStores {
			all.run(string(semantics)+" "+name, func(t *testing.T) {
				r := newRotation(t, on, semantics)
				for range kills {
					r.killSometime(cost)
				}
			})
		}
	}
	all.wait()
	for _, semantics := range rotationKinds {
		t.Logf("%s, killed at random: %v", semantics, costs[semantics])
	}
}

// killSometime kills the node after some refreshes, and a moment.
func (r *rotation) killSometime(c *toll) {
	r.t.Helper()
	enough := len(r.provider.Issued()) + 1 + rand.IntN(20) // #nosec G404 -- a moment, not a key
	moment := time.Duration(rand.IntN(20)) * time.Millisecond
	var answered string
	var asking sync.WaitGroup
	asking.Go(func() {
		for status := -1; status != 0; {
			var token string
			if status, token = r.refresh(); token != "" {
				answered = token
			}
		}
	})
	eventually(r.t, "the node refreshes", func() bool { return len(r.provider.Issued()) >= enough })
	<-time.After(moment)
	reused := len(r.provider.Reuses())
	r.kill()
	asking.Wait()
	r.provider.Settle(r.t)
	// Whatever a client was told of is on a disk.
	r.judge(len(r.provider.Issued()), reused, answered != r.provider.Newest(), c)
}
