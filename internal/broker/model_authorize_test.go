package broker

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// who authorizes in a run of the model.
const (
	byItself = "by itself" // the server, without a person
	byPerson = "by a person"
)

const (
	modelDoor     = "/oauth2/authorize"
	modelCallback = "http://tokens.example.com/callback"
)

func draftAuthorizations(t *rapid.T) plan {
	p := plan{
		kind:   rapid.SampledFrom([]string{strict, stable, none, family}).Draw(t, "kind"),
		codes:  rapid.SampledFrom([]string{byItself, byItself, byPerson}).Draw(t, "authorized"),
		remote: rapid.Bool().Draw(t, "remote"),
		skews:  rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, -90 * time.Second, 20 * time.Second}), 2, 3).Draw(t, "clocks"),
	}
	p.fetches = p.codes == byItself
	return p
}

// authorizes makes a realm of the model one that authorizes.
func (m *model) authorizes(c *realm.Config) {
	c.Grant.Name, c.Grant.AuthorizeURL, c.CallbackURL = "authorization_code", "http://login.example.com"+modelDoor, modelCallback
	if c.Unattended = realm.SwitchOf(m.plan.codes == byItself); c.Unattended.IsOn() {
		c.Authorize = &realm.Recipe{Arguments: []realm.Argument{{Name: "login", Place: realm.PlaceURL, Value: "{secret.login}"}}}
	}
}

// TestAuthorizations is TestProtocol for realms whose tokens come from
// authorizations. To the invariants that hold there these are added:
//
//	C1 a code is sent to the token endpoint once
//	C2 a code is exchanged only for a state that was begun, was consumed by who
//	   exchanges it, and came to the realm and secret that it was begun for
//	C3 while the server's own authorization is under way no other one is, and
//	   its claim is handed over once, to who has the code
//	C4 a state is durable before anybody hears of it
//	C5 of what was authorized before a person's consent nothing is kept
//	C6 callers and callbacks are answered within their time
//	C7 a consent that was answered with success is saved, and serves every node
func TestAuthorizations(t *testing.T) {
	setChecks(t, "200")
	rapid.Check(t, func(rt *rapid.T) { runModel(t, rt, draftAuthorizations(rt), (*model).authorizeActions) })
}

// authorizeActions are what can happen next, besides what happens to every
// realm.
func (m *model) authorizeActions(do func(func())) map[string]func(*rapid.T) {
	all := m.actions(do)
	node := func(t *rapid.T) *modelNode { return m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(t, "node")] }
	key := func(t *rapid.T) int { return max(rapid.IntRange(-1, len(m.refs)-1).Draw(t, "key"), 0) }
	all["authorize"] = func(t *rapid.T) {
		n, i := node(t), key(t)
		do(func() { m.begin(n, i, claim.Authorize, "") })
	}
	all["renew"] = func(t *rapid.T) {
		n, i := node(t), key(t)
		do(func() { m.begin(n, i, claim.Renew, "") })
	}
	all["mode"] = func(t *rapid.T) {
		next := mode{rapid.SampledFrom(deliveries).Draw(t, "delivery"), rapid.IntRange(0, len(m.nodes)-1).Draw(t, "to")}
		do(func() { m.plans(next) })
	}
	all["callback"] = func(t *rapid.T) {
		n, back, way := node(t), rapid.IntRange(0, 3).Draw(t, "back"), rapid.SampledFrom(ways).Draw(t, "way")
		times := rapid.SampledFrom([]int{1, 1, 2}).Draw(t, "times")
		do(func() {
			for range times {
				m.deliver(n, m.recent(back), way)
			}
		})
	}
	all["person"] = func(t *rapid.T) {
		n, i := node(t), key(t)
		do(func() { m.opens(n, i) })
	}
	all["consent"] = func(t *rapid.T) {
		begins, ends, i := node(t), node(t), key(t)
		do(func() { m.person(begins, ends, i) })
	}
	// What comes together too seldom by chance: a consent that is saved after
	// its claim has run out and the one before was made use of.
	all["consent overtaken"] = func(t *rapid.T) {
		slow, fast, i := node(t), node(t), key(t)
		do(func() { m.stopSaving(slow) })
		do(func() { m.person(fast, slow, i) })
		do(func() { time.Sleep(callTime + claim.Margin + time.Second) })
		do(func() { m.begin(fast, i, claim.Flush, "") })
		do(slow.goOn)
	}
	all["secret replaced"] = func(t *rapid.T) { // while a callback is awaited
		asks, called, i := node(t), node(t), key(t)
		do(func() { m.plans(mode{callsNever, 0}) })
		do(func() { m.begin(asks, i, claim.Authorize, "") })
		do(func() { m.changeSecret(called, i, false) })
		do(func() { m.deliver(called, m.recent(0), whole) })
	}
	all["steal"] = func(*rapid.T) {}
	all["late"] = func(t *rapid.T) { // after the claim, the call, or the state has ended
		d := rapid.SampledFrom([]time.Duration{callbackWait - time.Second, callbackWait + time.Second, stateLife}).Draw(t, "advance")
		do(func() { time.Sleep(d) })
	}
	return all
}
