package claim

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/quota"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// clampToNow dates back to now what the store's clock, which went back since,
// had dated later. Otherwise a claim would stay open, and a quota be spent,
// until the clock is there again. Both count for no less time than they were
// meant to.
func clampToNow(s *tokenstore.State) {
	c := &s.Claim
	if ahead := c.Started.Sub(s.Now); ahead > 0 {
		c.Started = s.Now
		if !c.Deadline.IsZero() {
			c.Deadline = c.Deadline.Add(-ahead)
		}
	}
	if c.Doubt.At.After(s.Now) {
		c.Doubt.At = s.Now
	}
	quota.ClampToNow(&s.Budget, s.Now)
}

// closeExpired closes a claim whose deadline has passed: its process died or
// was stopped, and nobody knows what became of the call.
func closeExpired(s *tokenstore.State) {
	c := &s.Claim
	endCall(s, c.Deadline)
	switch {
	case c.SendsRefresh && c.Parent == s.Token.Lineage:
		addDoubt(c, c.Deadline)
	case c.SendsRefresh:
		// The refresh token is not the stored one. But the answer to this call
		// may hold the only one that is good, see nothingLeft.
		c.Doubt.At = c.Deadline
	}
	closeClaim(c)
}

// endCall notes in the quota that the call of the claim has ended. In
// PhaseAwaiting it had ended before.
func endCall(s *tokenstore.State, at time.Time) {
	if s.Claim.Phase != tokenstore.PhaseAwaiting {
		quota.Ended(&s.Budget, s.Claim.Started, at)
	}
}

// closeClaim gives the claim back. Started, Node and Purpose stay, for people
// and for MinInterval.
func closeClaim(c *tokenstore.Claim) {
	c.Phase, c.ID, c.Deadline, c.SendsRefresh = tokenstore.PhaseNone, tokenstore.CallID{}, time.Time{}, false
}

// addDoubt notes that the refresh token of the claim's parent was sent, and
// that no answer tells what became of it.
func addDoubt(c *tokenstore.Claim, at time.Time) {
	if c.Doubt.Lineage != c.Parent {
		c.Doubt.Count, c.Doubt.Lineage = 0, c.Parent
	}
	c.Doubt.Count++
	c.Doubt.At = at
}

// AwaitCallback keeps the claim of the call that asked for a code, for wait,
// until the provider calls the callback. It reports whether the claim was still
// that call's: otherwise the callback has come already, and whoever took it
// went on with the claim.
func AwaitCallback(s *tokenstore.State, id tokenstore.CallID, wait time.Duration) bool {
	c := &s.Claim
	if c.ID != id {
		return false
	}
	endCall(s, s.Now)
	c.Phase, c.Deadline = tokenstore.PhaseAwaiting, s.Now.Add(wait)
	return true
}

// TakeCall takes one call from the quota, without a claim; it is for a dry run,
// of which nothing is kept. It returns how long to wait if the quota allows no
// call now.
func (t *Terms) TakeCall(s *tokenstore.State) (wait time.Duration) {
	clampToNow(s)
	wait = quota.WaitFor(&s.Budget, t.Windows, s.Now, quota.InFlight{Calls: s.Open, Longest: t.Life()})
	if wait == 0 {
		quota.Record(&s.Budget, t.Windows, s.Now)
	}
	return wait
}

// ForgetFailures ends the failures of the (realm, key) and of the realm, after
// a call that is known to have succeeded. A pause that the provider asked for
// stays.
func ForgetFailures(s *tokenstore.State) {
	s.Announce = s.Claim.Failure != tokenstore.Failure{} || s.Budget.Failure != tokenstore.Failure{}
	s.Claim.Failure = tokenstore.Failure{}
	endRealmFailure(s)
}
