package broker

import (
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// How long a call has to wait, and for what.

// held finds out how long the call has to wait, and for what.
func (w *asks) held(s *tokenstore.State, v *verdict) {
	a, now := &s.Claim, s.Now
	wait := func(d time.Duration, what scope, t tokenstore.Failure) {
		if d > v.wait {
			v.wait, v.scope, v.cause, v.fails = d, what, causeOf(t), t.Count
		}
	}
	if waits(a.Failure, now) && !w.insists(a.Failure, now) && w.kind != exchange {
		wait(a.Failure.Until.Sub(now), scopeKey, a.Failure)
	}
	if waits(s.Budget.Failure, now) && !w.presses(s.Budget.Failure) {
		wait(s.Budget.Failure.Until.Sub(now), scopeRealm, s.Budget.Failure)
	}
	if !a.Started.IsZero() && w.kind != exchange {
		wait(a.Started.Add(w.minInterval).Sub(now), scopeBudget, tokenstore.Failure{})
	}
	wait(spent(&s.Budget, w.windows, now, underWay{s.Open, w.lease()}), scopeBudget, tokenstore.Failure{})
	if v.source == noRefresh && w.unattended {
		w.leaveRoom(s, v)
	}
	if v.source.refreshes() && !w.keeps && w.inDoubt(s) {
		if left := w.repeatAt(s).Sub(now); left > v.wait {
			wait(left, scopeKey, a.Failure)
			v.uncertain = true
		}
	}
}

// leaveRoom has a call that asks for a code wait until there is room for its
// exchange, too: a code does not live long.
func (w *asks) leaveRoom(s *tokenstore.State, v *verdict) {
	windows := slices.Clone(w.windows)
	for i := range windows {
		windows[i].Calls--
	}
	if d := spent(&s.Budget, windows, s.Now, underWay{s.Open, w.lease()}); d > v.wait {
		v.tight = v.wait == 0
		v.wait, v.scope, v.cause, v.fails = d, scopeBudget, nil, 0
	}
}

// insist is how soon a flush may try a hopeless call again: somebody may have
// put right at the provider what no change here would show.
const insist = time.Second

func (w *asks) insists(t tokenstore.Failure, now time.Time) bool {
	cause := causeOf(t)
	return w.kind.forced() && cause != nil && cause.Class == grant.Hopeless && !now.Before(t.At.Add(insist))
}

// presses says whether the call is made although the provider fails: a code
// does not wait. A pause that the provider asked for counts all the same.
func (w *asks) presses(t tokenstore.Failure) bool {
	cause := causeOf(t)
	return w.kind == exchange && (cause == nil || cause.Class != grant.Throttled)
}

// repeatAt is when a refresh token may be sent again whose use is not known to
// have failed: once shortly before the access token ends (if it was consumed
// nothing more is lost than the rest of that life; if not, it succeeds), and
// then not before that end.
func (w *asks) repeatAt(s *tokenstore.State) time.Time {
	t := s.Token
	if t.Access == "" || w.kind == heal && t.Access == w.failed || t.Fingerprint != w.fingerprint || s.Now.Before(begins(t)) {
		return time.Time{}
	}
	if s.Claim.Doubt.Count > 1 {
		return t.ExpiresAt
	}
	lead := min(w.timeout+claimMargin, t.ExpiresAt.Sub(t.IssuedAt)/4)
	return t.ExpiresAt.Add(-lead)
}
