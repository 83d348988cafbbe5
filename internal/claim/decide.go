package claim

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/quota"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Verdict is the kind of a decision.
type Verdict uint8

// The verdicts.
const (
	Go                 Verdict = iota // make the call: the claim is written
	UseStored                         // somebody else was faster: Decision.Token serves
	InProgress                        // somebody else is making the call
	Wait                              // not before Decision.Wait has passed
	NeedsAuthorization                // nothing that is stored works: a person has to authorize
	NoSlot                            // calls for other keys take all places of the realm
	Refused                           // the call could be made, but not for whoever causes it
)

// Scope says what has to wait.
type Scope uint8

// The scopes.
const (
	KeyScope   Scope = iota // the (realm, key): its last call failed
	RealmScope              // the realm: its provider fails, or asked for a pause
	QuotaScope              // the realm's quota is spent, or the least time between two calls has not passed
)

// Decision is the answer to a Request.
type Decision struct {
	Verdict Verdict
	// Token serves (UseStored).
	Token realm.Token
	// Parent is the lineage of the token that the call is to replace. Source
	// and RefreshToken are what it sends.
	Parent       int64
	Source       Source
	RefreshToken realm.Hidden
	// Kept is what was kept with the token that the refresh token belongs to.
	Kept realm.Kept
	// Holder is the call that somebody else is making (InProgress).
	Holder tokenstore.CallID
	// Wait is how long it is useless to ask again, and Scope what has to wait.
	// Cause is the failure that is waited for, nil for none; Failures is how
	// many there were in a row.
	Wait     time.Duration
	Scope    Scope
	Cause    *grant.Error
	Failures int
	// RoomForOne: the quota would allow one call, but the request needs two.
	RoomForOne bool
	// Refusal is why whoever causes the call may not (Refused).
	Refusal error
	// PreviousTokens are tokens that the provider gave before. It may quote
	// them when it refuses, and they must not get into a log.
	PreviousTokens []realm.Hidden
}

// Decide decides whether the call may be made, and writes the claim into s if
// so. What is found out about earlier calls is written in any case.
func (r *Request) Decide(s *tokenstore.State) Decision {
	if r.isServedBy(s.Token) {
		return Decision{Verdict: UseStored, Token: s.Token}
	}
	clampToNow(s)
	c := &s.Claim
	if c.Phase != tokenstore.PhaseNone {
		left := c.Deadline.Sub(s.Now)
		switch {
		case r.continuesCall(c.ID):
			r.takeOver(s)
		case left > 0:
			return Decision{Verdict: InProgress, Wait: left, Holder: c.ID}
		default:
			closeExpired(s)
		}
	}
	r.forgetOutdated(s)
	r.countEarlyRefusal(s)

	d := Decision{Parent: s.Token.Lineage, PreviousTokens: previousTokens(s)}
	d.Source, d.RefreshToken = r.chooseSource(s)
	d.Kept = keptBeside(s, d)
	if d.Source == NoRefreshToken && !r.CanFetch {
		return r.nothingLeft(s)
	}
	if r.setWait(s, &d); d.Wait > 0 {
		d.Verdict = Wait
		return d
	}
	places := r.Concurrency
	if s.Budget.Failure.Count > 0 {
		places = 1 // one call tries whether the provider is back
	}
	if s.Open >= places && r.Purpose != Exchange {
		return Decision{Verdict: NoSlot}
	}
	if r.MayPay != nil {
		if d.Refusal = r.MayPay(); d.Refusal != nil {
			d.Verdict = Refused
			return d
		}
	}
	r.writeClaim(s, d)
	return d
}

// isServedBy reports whether a stored token is what the request is for.
func (r *Request) isServedBy(t realm.Token) bool {
	if t.Access == "" || !r.IsUsable(t) {
		return false
	}
	switch r.Purpose {
	case Renew, Flush, Authorize:
		return t.Lineage > r.NewerThan
	case Exchange: // a code gives a token of its own
		return false
	case Heal:
		return t.Access != r.Failed
	default:
		return true
	}
}

// takeOver goes on with the claim under which the code was asked for. If what
// that call brings was dropped, what this one brings is dropped, too.
func (r *Request) takeOver(s *tokenstore.State) {
	endCall(s, s.Now)
	if s.Claim.Dropped == s.Claim.ID {
		s.Claim.Dropped = r.ID
	}
}

// forgetOutdated forgets failures of what is not sent any more: a recipe or a
// field that was corrected is tried by the next call, whatever failed before.
// A digest that is not known (zero, of an older version) counts as the current
// one.
//
// A pause that the provider asked for outlives a corrected field: it is about
// the caller's address or app, not about what was sent. It ends when the recipe
// changes, which may lead to another provider.
func (r *Request) forgetOutdated(s *tokenstore.State) {
	c, b := &s.Claim, &s.Budget
	if isOutdated(c.Failure.Digest, r.digestOf(c.Failure, r.Digests.Digest)) {
		if b.Failure.Key == r.Key && !isThrottled(b.Failure) {
			b.Failure = tokenstore.Failure{}
		}
		c.Failure = tokenstore.Failure{}
	}
	if isOutdated(b.Failure.Digest, r.digestOf(b.Failure, r.Digests.RecipeDigest)) {
		b.Failure = tokenstore.Failure{}
	}
	if isOutdated(c.Rejected.Digest, r.Digests.Digest(grant.RefreshRecipe)) {
		c.Rejected = tokenstore.Rejected{Access: c.Rejected.Access}
	}
}

// isOutdated reports whether something else would be sent now than what a
// digest was stored for.
func isOutdated(stored, now realm.Digest) bool {
	var unknown realm.Digest
	return stored != unknown && now != unknown && stored != now
}

// countEarlyRefusal counts a token that healing brought, and that the API
// refused before it accepted it even once, as a call that failed: a provider
// that refuses everything is asked with the same back-off as one that does not
// answer. A token older than the longest wait does not count: it may have
// worked on another node, and neither does one that a call has not replaced since.
// Once the API has accepted a token, the back-off is over.
func (r *Request) countEarlyRefusal(s *tokenstore.State) {
	c := &s.Claim
	if r.Purpose == Heal && r.Acceptance == Accepted && IsEarlyRefusal(CauseOf(c.Failure)) {
		c.Failure = tokenstore.Failure{}
	}
	isYoung := s.Now.Before(c.Started.Add(r.BackoffCap)) && c.Parent != s.Token.Lineage
	if r.Purpose != Heal || r.Acceptance != NeverAccepted || !isYoung || c.Purpose != Heal.String() ||
		s.Token.Access != r.Failed || c.Rejected.Access == s.Token.Lineage {
		return
	}
	c.Rejected.Access = s.Token.Lineage
	recipe := grant.RefreshRecipe
	if r.CanFetch {
		recipe = grant.FetchRecipe
	}
	c.Failure = r.failureAfter(c.Failure, errRefusedAtOnce, c.Started, recipe)
}

// chooseSource chooses what is sent: the stored refresh token, that of the
// secret, one that arrived too late once; otherwise nothing, and the fetch
// recipe is used. A refresh token whose end has passed is tried unless there is
// another way: only the provider's word counts.
func (r *Request) chooseSource(s *tokenstore.State) (Source, realm.Hidden) {
	switch {
	case r.Purpose == Exchange:
		return FromCode, ""
	case r.Purpose == Authorize, !r.CanRefresh:
		return NoRefreshToken, ""
	}
	c, t := &s.Claim, s.Token
	if r.Initial != "" && !c.Rejected.Initial && r.mayRefresh("") && r.IsReseeded(t.Fingerprint) {
		return FromSecret, r.Initial
	}
	if t.Refresh != "" && r.mayRefresh(t.Kept) && (c.Rejected.Refresh == 0 || c.Rejected.Refresh != t.Lineage) {
		hasEnded := !t.RefreshExpiresAt.IsZero() && !s.Now.Before(t.RefreshExpiresAt)
		isUnsafe := isInDoubt(s) && !r.MayResend
		if !r.CanFetch || !hasEnded && !isUnsafe {
			return FromToken, t.Refresh
		}
	}
	if r.Initial != "" && r.Initial != t.Refresh && !c.Rejected.Initial && r.mayRefresh("") {
		return FromSecret, r.Initial
	}
	for _, candidate := range c.Candidates {
		if r.mayRefresh(candidate.Kept) {
			return FromCandidate, candidate.Refresh
		}
	}
	return NoRefreshToken, ""
}

// mayRefresh reports whether a refresh can bring a usable token.
func (r *Request) mayRefresh(kept realm.Kept) bool { return r.MayRefresh == nil || r.MayRefresh(kept) }

// keptBeside is what was kept with the token that a refresh token came with.
// With that of the secret, nothing was.
func keptBeside(s *tokenstore.State, d Decision) realm.Kept {
	switch d.Source {
	case FromToken:
		return s.Token.Kept
	case FromCandidate:
		for _, candidate := range s.Claim.Candidates {
			if candidate.Refresh == d.RefreshToken {
				return candidate.Kept
			}
		}
	case NoRefreshToken, FromSecret, FromCode:
	}
	return ""
}

// isInDoubt reports whether the stored refresh token was sent and no answer
// tells what became of it.
func isInDoubt(s *tokenstore.State) bool {
	return s.Claim.Doubt.Count > 0 && s.Claim.Doubt.Lineage == s.Token.Lineage
}

// nothingLeft is the decision when there is nothing left to send. A call whose
// outcome is not known may still come back with a good refresh token: as long
// as that is possible, nobody is told that a person is needed.
func (r *Request) nothingLeft(s *tokenstore.State) Decision {
	c := &s.Claim
	if left := c.Doubt.At.Add(r.Life()).Sub(s.Now); !c.Doubt.At.IsZero() && left > 0 {
		return Decision{Verdict: Wait, Wait: left, Cause: CauseOf(c.Failure), Failures: c.Failure.Count}
	}
	return Decision{Verdict: NeedsAuthorization, Cause: CauseOf(c.Failure)}
}

// writeClaim writes the claim, and records the call in the quota's windows. A
// call that takes a claim over keeps the purpose that the code was asked for.
func (r *Request) writeClaim(s *tokenstore.State, d Decision) {
	c := &s.Claim
	if !r.continuesCall(c.ID) {
		c.Purpose = r.Purpose.String()
	}
	c.Phase, c.ID, c.Node = tokenstore.PhaseCalling, r.ID, r.Node
	c.Parent, c.SendsRefresh = d.Parent, d.Source.SendsRefreshToken()
	c.Started, c.Deadline = s.Now, s.Now.Add(r.Life())
	quota.Record(&s.Budget, r.Windows, s.Now)
}

// previousTokens are all tokens of the state.
func previousTokens(s *tokenstore.State) []realm.Hidden {
	tokens := []realm.Hidden{s.Token.Access, s.Token.Refresh}
	for _, c := range s.Claim.Candidates {
		tokens = append(tokens, c.Access, c.Refresh)
	}
	return tokens
}
