package broker

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// maxCandidates bounds the refresh tokens that are kept beside the stored one.
const maxCandidates = 8

// maxSettled bounds the list of calls whose outcome was saved.
const maxSettled = 16

// sameEnd is how far two answers may be apart that tell the same end.
const sameEnd = 2 * time.Second

// ended is how a claimed call ended.
type ended struct {
	*asks
	verdict
	token realm.Token // what the provider gave, in the store's time
	took  time.Duration
	once  bool         // the token serves those who wait, nobody else
	cause *grant.Error // why it gave nothing
	// unclaimed: the call was made while no claim could be written.
	unclaimed bool
	// harder: the provider gave the token again that its API refuses, and is
	// asked once more, by force.
	harder bool
	// discard: the secret changed meanwhile; only a refresh token is kept.
	discard bool
	// asked: the call asked for a code. Whoever takes the code goes on with
	// the claim.
	asked bool
}

// settle closes the claim and takes down what came of it. It may run long
// after the claim became void, on a state that others have changed since: what
// was received is never dropped, and what somebody else has is never
// overwritten by what is older.
func (e *ended) settle(s *tokenstore.State) {
	if s.Claim.Started.IsZero() && !e.unclaimed {
		return // the secret was deleted meanwhile, with all that belonged to it
	}
	if slices.Contains(s.Claim.Settled, e.id) {
		return // it was saved, and the store's answer was lost
	}
	a := &s.Claim
	callOver(s, s.Now)
	switch {
	case a.Dropped == e.id: // with the refresh token that was dropped
	case e.cause != nil:
		e.fail(s)
	default:
		e.accept(s)
	}
	if a.ID == e.id {
		closeClaim(a)
	}
	if e.source.refreshes() || e.token.Refresh != "" {
		a.Settled = append(a.Settled, e.id)
		a.Settled = a.Settled[max(len(a.Settled)-maxSettled, 0):]
	}
}

// accept takes down a token.
func (e *ended) accept(s *tokenstore.State) {
	a := &s.Claim
	same := e.token.Access == s.Token.Access && e.token.Fingerprint == s.Token.Fingerprint
	insists := e.kind == heal && e.token.Access == e.failed
	if insists && !e.harder {
		a.Failure = e.draw.after(a.Failure, errSame, s.Now, e.backoffCap)
	} else if !e.refuted {
		a.Failure = tokenstore.Failure{}
	}
	e.healthy(s)
	if e.source == fromCandidate {
		// It was good, and stays so where no other came with the answer.
		a.Candidates = without(a.Candidates, e.refresh)
		e.token.Refresh = cmp.Or(e.token.Refresh, e.refresh)
	}
	if e.once {
		a.Failure = tokenstore.Failure{At: s.Now, Until: later(e.token.ExpiresAt, s.Now.Add(lifelessWait))}
	}
	// Without a refresh token, an access token that serves nobody any more is
	// not saved, nor the one that is there already. Whom a code's serves is seen
	// later: there will be no other.
	known := same && near(e.token.ExpiresAt, s.Token.ExpiresAt) && e.source != fromCode
	if e.token.Refresh != "" || (!e.discard || e.source == fromCode) && !e.once && !known {
		e.save(s)
	}
}

// lockoutWait is how long nobody logs in by himself, for the server, after a
// login that was refused: some providers lock an account after a few. Whoever
// asks for it by name, or changes the secret, does not wait.
const lockoutWait = time.Hour

// errSame is the failure of a call that gave the very token that the API had
// refused.
var errSame = &grant.Error{
	Class: grant.Retryable, Kind: grant.KindRefused,
	Detail: "the provider gave the token again that its API refuses",
}

// save makes the token the stored one, if it is the child of that. An answer
// without a refresh token leaves the old one good (RFC 6749 section 6).
func (e *ended) save(s *tokenstore.State) {
	t := e.token
	if e.source == fromSecret && t.Refresh != "" && t.Refresh != e.refresh && !e.keeps {
		// It was good for one use. A second one would be taken for a theft.
		s.Claim.Rejected.Initial = true
	}
	// What was made meanwhile of the consent of before gives way to a new one.
	if s.Token.Lineage != e.parent && !e.code.byPerson() {
		e.late(s)
		return
	}
	if e.source == fromCode {
		// What was authorized before may be somebody else's.
		s.Claim.Candidates = nil
		put(s, t)
		return
	}
	// What was fetched takes the place of a refresh token that was refused, and
	// the secret's own stays where it is.
	refused := e.source == noRefresh && s.Claim.Rejected.Refresh == s.Token.Lineage
	if t.Refresh == "" && !refused && e.source != fromSecret {
		t.Refresh = s.Token.Refresh
		if t.RefreshExpiresAt.IsZero() { // its end may be told anew (JD)
			t.RefreshExpiresAt = s.Token.RefreshExpiresAt
		}
	}
	put(s, t)
}

// late finds a place for a token that somebody else was faster than: of two
// access tokens the one that was asked for later is the newer; of two refresh
// tokens nobody knows which one lives, so that both are kept.
func (e *ended) late(s *tokenstore.State) {
	t, have := e.token, s.Token
	newer := have.Access == "" || t.IssuedAt.After(have.IssuedAt)
	switch {
	case t.Refresh == "" && !newer:
	case t.Refresh == "":
		t.Refresh, t.RefreshExpiresAt = have.Refresh, have.RefreshExpiresAt
		put(s, t)
	case have.Refresh != "" && have.Refresh != t.Refresh:
		a := &s.Claim
		a.Candidates = append([]realm.Token{t}, a.Candidates...)
		a.Candidates = a.Candidates[:min(len(a.Candidates), maxCandidates)]
	case newer:
		put(s, t)
	default:
		have.Refresh, have.RefreshExpiresAt = t.Refresh, t.RefreshExpiresAt
		put(s, have)
	}
}

// put saves a token; what was in doubt about the one before is over.
func put(s *tokenstore.State, t realm.Token) {
	s.Save = &t
	a := &s.Claim
	a.Doubt = tokenstore.Doubt{}
	a.Rejected.Refresh = 0
}

// healthy ends the trouble of the realm: its provider answers. A pause that
// the provider asked for stays.
func (e *ended) healthy(s *tokenstore.State) {
	t := &s.Budget.Failure
	if cause := causeOf(*t); cause != nil && cause.Class == grant.Throttled && waits(*t, s.Now) {
		t.Count = 0
		return
	}
	*t = tokenstore.Failure{}
}

// fail takes down a call that gave nothing.
func (e *ended) fail(s *tokenstore.State) {
	a := &s.Claim
	if e.turnedDown() {
		e.denied(s)
		return
	}
	if (e.cause.NotSent || e.asked) && a.ID != e.id {
		return // it came too late to be sent, or somebody has the code
	}
	e.turnedAway(a.Failure)
	if e.source.refreshes() && e.cause.Uncertain() && e.parent == s.Token.Lineage && a.Parent == e.parent {
		doubt(a, s.Now)
	}
	if !e.code.byPerson() {
		a.Failure = e.draw.after(a.Failure, e.cause, s.Now, e.backoffCap)
	}
	if e.asked && e.cause.Class == grant.Hopeless {
		a.Failure.Until = s.Now.Add(max(e.lockout(s), e.cause.RetryAfter))
	}
	if e.cause.Class != grant.Hopeless && e.cause.Kind != grant.KindRequest && !e.personal() {
		s.Budget.Failure = e.draw.after(s.Budget.Failure, e.cause, s.Now, e.backoffCap)
	}
}

// personal says whether the provider turned down one login or code: that tells
// nothing about the realm's other accounts.
func (e *ended) personal() bool {
	return (e.asked || e.source == fromCode) && e.cause.Refusal()
}

// turnedAway takes a login for hopeless that the provider refused twice in a
// row in words that nobody knows: they may be about the password.
func (e *ended) turnedAway(before tokenstore.Failure) {
	last := causeOf(before)
	if !e.asked || last == nil || !last.Refusal() || !e.cause.Refusal() {
		return
	}
	cause := *e.cause
	cause.Class = grant.Hopeless
	e.cause = &cause
}

// lockout is how long a login that was refused keeps the account from being
// asked about again. With a good refresh token nobody has to log in: it was
// asked for by name, and must not keep that token from its work.
func (e *ended) lockout(s *tokenstore.State) time.Duration {
	next := *e.asks
	next.kind = load
	if source, _ := next.means(s); source.refreshes() {
		return insist
	}
	return lockoutWait
}

// turnedDown says whether the provider refused the refresh token. Some have no
// words for that, or unknown ones: where there is another way, whatever refuses
// the call for certain is taken for it.
func (e *ended) turnedDown() bool {
	c := e.cause
	if !e.source.refreshes() {
		return false
	}
	return c.Kind == grant.KindInvalidGrant ||
		e.canFetch && c.Kind == grant.KindRefused && c.Class == grant.Retryable && c.Status < http.StatusInternalServerError && !c.Uncertain()
}

// denied takes down that the provider refused a refresh token. Nothing is
// concluded from it here: the next decision looks for others.
func (e *ended) denied(s *tokenstore.State) {
	a := &s.Claim
	a.Failure.Cause, a.Failure.At = encodeCause(e.cause), s.Now
	e.healthy(s)
	switch e.source {
	case fromToken:
		if s.Token.Lineage == e.parent && s.Token.Refresh == e.refresh {
			a.Rejected.Refresh = e.parent
		}
	case fromSecret:
		a.Rejected.Initial = true
	case fromCandidate:
		a.Candidates = without(a.Candidates, e.refresh)
	case noRefresh, fromCode: // no refresh token was sent
	}
}

func without(tokens []realm.Token, refresh realm.Hidden) []realm.Token {
	var kept []realm.Token
	for _, t := range tokens {
		if t.Refresh != refresh {
			kept = append(kept, t)
		}
	}
	return kept
}

func near(a, b time.Time) bool { return a.Sub(b).Abs() < sameEnd }
