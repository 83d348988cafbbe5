package claim

import (
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/quota"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// RetryFloor is how soon a flush may repeat a call that failed: somebody may
// have corrected at the provider what no change here would show (an address
// list, a locked account).
const RetryFloor = time.Second

// setWait finds out how long the call has to wait, and for what: the longest
// wait counts.
func (r *Request) setWait(s *tokenstore.State, d *Decision) {
	c, now := &s.Claim, s.Now
	waitFor := func(wait time.Duration, scope Scope, f tokenstore.Failure) {
		if wait > d.Wait {
			d.Wait, d.Scope, d.Cause, d.Failures = wait, scope, CauseOf(f), f.Count
		}
	}
	if IsPaused(c.Failure, now) && !r.mayRetry(c.Failure, now) && !r.hasNewParent(c.Failure) && r.Purpose != Exchange {
		waitFor(c.Failure.Until.Sub(now), KeyScope, c.Failure)
	}
	if IsPaused(s.Budget.Failure, now) && !r.mayRetry(s.Budget.Failure, now) && !r.ignoresRealmFailure(s.Budget.Failure) {
		waitFor(s.Budget.Failure.Until.Sub(now), RealmScope, s.Budget.Failure)
	}
	if !c.Started.IsZero() && r.Purpose != Exchange {
		waitFor(c.Started.Add(r.MinInterval).Sub(now), QuotaScope, tokenstore.Failure{})
	}
	inFlight := quota.InFlight{Calls: s.Open, Longest: r.Life()}
	waitFor(quota.WaitFor(&s.Budget, r.Windows, now, inFlight), QuotaScope, tokenstore.Failure{})
	if d.Source == NoRefreshToken && r.Unattended {
		// A code does not live long: the call that asks for it waits until its
		// exchange has room in the windows, too.
		windows := slices.Clone(r.Windows)
		for i := range windows {
			windows[i].Calls--
		}
		if wait := quota.WaitFor(&s.Budget, windows, now, inFlight); wait > d.Wait {
			d.RoomForOne = d.Wait == 0
			waitFor(wait, QuotaScope, tokenstore.Failure{})
		}
	}
	if d.Source.SendsRefreshToken() && !r.MayResend && isInDoubt(s) {
		waitFor(r.resendAt(s).Sub(now), KeyScope, c.Failure)
	}
}

// hasNewParent reports whether a failure is that of a dead parent, which was
// renewed. The call is made once more without a wait.
func (r *Request) hasNewParent(f tokenstore.Failure) bool {
	return r.IsParentRenewed && IsOfDeadParent(CauseOf(f))
}

// mayRetry reports whether a forced call is made although a call failed a
// moment ago. A pause that the provider asked for counts nevertheless.
func (r *Request) mayRetry(f tokenstore.Failure, now time.Time) bool {
	return r.Purpose.IsForced() && f.Cause != "" && !isThrottled(f) && !now.Before(f.At.Add(RetryFloor))
}

// ignoresRealmFailure reports whether the call is made although the provider
// fails: a code cannot wait. A pause that the provider asked for counts.
func (r *Request) ignoresRealmFailure(f tokenstore.Failure) bool {
	return r.Purpose == Exchange && !isThrottled(f)
}

func isThrottled(f tokenstore.Failure) bool {
	cause := CauseOf(f)
	return cause != nil && cause.Class == grant.Throttled
}

// resendAt is when a refresh token may be sent again that was sent without an
// answer. Once shortly before the access token ends: if the provider had
// consumed the refresh token, no more is lost than the rest of that life; if
// not, the call succeeds. After that, not before the access token has ended.
func (r *Request) resendAt(s *tokenstore.State) time.Time {
	t := s.Token
	isUseless := t.Access == "" || r.Purpose == Heal && t.Access == r.Failed ||
		t.Fingerprint != r.Fingerprint || s.Now.Before(BeginOfLife(t))
	if isUseless { // there is no access token whose life could be lost
		return time.Time{}
	}
	if s.Claim.Doubt.Count > 1 {
		return t.ExpiresAt
	}
	lead := min(r.Timeout+Margin, t.ExpiresAt.Sub(t.IssuedAt)/4)
	return t.ExpiresAt.Add(-lead)
}
