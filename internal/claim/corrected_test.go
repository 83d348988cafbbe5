package claim

import (
	"testing"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A realm or a secret that was corrected got the old error until the back-off
// was over, up to an hour. A failure belongs to what was sent: what is sent for
// the first time is tried at once.
func TestCorrectedIsTried(t *testing.T) {
	refusal := func(class grant.Class) *grant.Error {
		return &grant.Error{Class: class, Kind: grant.KindRefused, Status: 400, RetryAfter: time.Minute}
	}
	for name, c := range map[string]struct {
		cause *grant.Error
		then  digests // what is sent next
		by    string  // the key that it is sent for
		want  Verdict
	}{
		"the same again":                    {refusal(grant.Hopeless), current, "k", Wait},
		"another secret":                    {refusal(grant.Hopeless), digests{2, 1}, "k", Go},
		"another recipe":                    {refusal(grant.Hopeless), digests{1, 2}, "k", Go},
		"a failing provider":                {refusal(grant.Retryable), current, "k", Wait},
		"a failing provider, other secret":  {refusal(grant.Retryable), digests{2, 1}, "k", Go},
		"a failing provider, other recipe":  {refusal(grant.Retryable), digests{1, 2}, "k", Go},
		"another key of a failing provider": {refusal(grant.Retryable), digests{2, 1}, "other", Wait},
		"another key, another recipe":       {refusal(grant.Retryable), digests{2, 2}, "other", Go},
		"a pause":                           {refusal(grant.Throttled), current, "k", Wait},
		"a pause, another secret":           {refusal(grant.Throttled), digests{2, 1}, "k", Wait},
		"a pause, another recipe":           {refusal(grant.Throttled), digests{1, 2}, "k", Go},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(Load)
			s, d := claimed(t, r, realm.Token{})
			settle(s, r, d, func(o *Outcome) { o.Cause = c.cause })
			next := request(Load)
			next.Digests, next.Key = c.then, c.by
			if c.by != "k" {
				s.Claim = tokenstore.Claim{}
			}
			if d := next.Decide(s); d.Verdict != c.want {
				t.Errorf("verdict %d, want %d; wait %v for %d", d.Verdict, c.want, d.Wait, d.Scope)
			}
		})
	}
}

// A refresh token that was refused with a wrong recipe is sent once more with
// the corrected one; a corrected fetch recipe does not concern it.
func TestCorrectedRefreshRecipe(t *testing.T) {
	r := refreshRequest(Load)
	s, d := claimed(t, r, tokenOf("A1", "R1", 7, -time.Minute))
	settle(s, r, d, func(o *Outcome) { o.Cause = failure(grant.Hopeless, grant.KindInvalidGrant, false) })
	if d := r.Decide(s); d.Verdict != NeedsAuthorization {
		t.Fatalf("verdict %d", d.Verdict)
	}
	r.Digests = digests{1, 2}
	if d := r.Decide(s); d.Verdict != Go || d.Source != FromToken {
		t.Errorf("verdict %d, source %d", d.Verdict, d.Source)
	}
}

// A failure of a version that stored no digest belongs to whatever is sent.
func TestFailureWithoutADigest(t *testing.T) {
	s := &tokenstore.State{Now: noon, Claim: tokenstore.Claim{
		Failure: tokenstore.Failure{Count: 1, At: noon, Until: noon.Add(time.Minute)},
	}}
	if d := request(Load).Decide(s); d.Verdict != Wait {
		t.Errorf("verdict %d", d.Verdict)
	}
}

// What was corrected at the provider is seen by nothing that is sent: a flush
// tries it, a moment after the failure, and its success ends the failure for
// everybody.
func TestFlushTriesAgain(t *testing.T) {
	for name, c := range map[string]struct {
		class grant.Class
		after time.Duration
		want  Verdict
	}{
		"at once":            {grant.Hopeless, 0, Wait},
		"a wrong secret":     {grant.Hopeless, RetryFloor, Go},
		"an unknown refusal": {grant.Retryable, RetryFloor, Go},
		"a pause":            {grant.Throttled, RetryFloor, Wait},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(Load)
			s, d := claimed(t, r, realm.Token{})
			cause := &grant.Error{Class: c.class, Kind: grant.KindRefused, Status: 400, RetryAfter: time.Minute}
			settle(s, r, d, func(o *Outcome) { o.Cause = cause })
			s.Now = s.Now.Add(c.after)
			flush := request(Flush)
			d = flush.Decide(s)
			if d.Verdict != c.want {
				t.Fatalf("verdict %d, want %d", d.Verdict, c.want)
			}
			if c.want != Go {
				return
			}
			settle(s, flush, d, func(o *Outcome) { o.Token = tokenOf("A1", "", 0, time.Hour) })
			if s.Claim.Failure != (tokenstore.Failure{}) || s.Budget.Failure != (tokenstore.Failure{}) {
				t.Errorf("%+v, realm %+v", s.Claim.Failure, s.Budget.Failure)
			}
		})
	}
}
