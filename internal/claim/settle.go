package claim

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

const (
	// maxCandidates bounds the refresh tokens that are kept beside the stored
	// one.
	maxCandidates = 8
	// maxSettled bounds the list of calls whose outcome was saved.
	maxSettled = 16
	// sameEnd is how far two answers may be apart that tell the same end.
	sameEnd = 2 * time.Second
	// lifelessWait is how soon the provider may be asked again after a token
	// whose life was zero or less.
	lifelessWait = time.Second
	// lockoutWait is how long the server does not log in by itself after a
	// login that was refused: some providers lock an account after a few.
	// Whoever asks for a login by name, or changes the secret, does not wait.
	lockoutWait = time.Hour
)

// Stage says which step of getting a token a call was.
type Stage uint8

// The stages.
const (
	TokenCall Stage = iota // it asked for a token, under a claim
	// CodeRequest: it asked for an authorization code. Whoever takes the code
	// goes on with the claim.
	CodeRequest
	// BeforeForce: it gave the token again that the API refuses, and another
	// call follows at once, by force.
	BeforeForce
	// Unclaimed: it was made while no claim could be written.
	Unclaimed
)

// Use says whom a token serves that a call gave.
type Use uint8

// The uses.
const (
	ForAll     Use = iota // everybody, until its end
	ForWaiters            // those who wait for it: it has no life left for others
	// OnlyRefreshToken: nobody, because the secret changed meanwhile. The
	// refresh token that came with it is kept.
	OnlyRefreshToken
)

// Outcome is what became of a call.
type Outcome struct {
	Request *Request
	// Parent, Source and RefreshToken are those of the Decision that allowed
	// the call.
	Parent       int64
	Source       Source
	RefreshToken realm.Hidden
	Stage        Stage
	// Token is what the provider gave, with the store's times, and Use whom it
	// serves. Beside a Cause, it is a refresh token alone. Took is how long the provider took.
	Token realm.Token
	Use   Use
	Took  time.Duration
	// Cause is why the provider gave nothing; nil if it gave a token.
	Cause *grant.Error
}

// NewOutcome returns the outcome, still empty, of the call that d allowed.
func NewOutcome(r *Request, d Decision) *Outcome {
	return &Outcome{Request: r, Parent: d.Parent, Source: d.Source, RefreshToken: d.RefreshToken}
}

// recipe is the recipe that the call used.
func (o *Outcome) recipe() grant.RecipeKind {
	switch {
	case o.Stage == CodeRequest:
		return grant.AuthorizeRecipe
	case o.Source == FromCode:
		return grant.ExchangeRecipe
	case o.Source.SendsRefreshToken():
		return grant.RefreshRecipe
	default:
		return grant.FetchRecipe
	}
}

// isSameToken reports whether the provider gave the token again that its API
// refused.
func (o *Outcome) isSameToken() bool {
	return o.Request.Purpose == Heal && o.Token.Access == o.Request.Failed
}

// Settle closes the claim of the call and records its outcome in s. It may run
// long after the claim became void, on a state that others have changed since:
// what was received is never dropped (I5), and what somebody else has saved is
// never overwritten by something older.
//
// Settle does not change the outcome: a transaction may run several times.
func (o *Outcome) Settle(s *tokenstore.State) {
	c, id := &s.Claim, o.Request.ID
	if c.Started.IsZero() && o.Stage != Unclaimed {
		return // the secret was deleted meanwhile, with all that belonged to it
	}
	if slices.Contains(c.Settled, id) {
		return // it was saved already, and the store's answer was lost
	}
	endCall(s, s.Now)
	switch {
	case c.Dropped == id: // together with the refresh token that was dropped
	case o.Cause != nil:
		o.recordFailure(s)
		o.saveRefreshToken(s)
	default:
		o.recordToken(s)
	}
	if c.ID == id {
		closeClaim(c)
	}
	if o.Source.SendsRefreshToken() || o.Token.Refresh != "" {
		c.Settled = append(c.Settled, id)
		c.Settled = c.Settled[max(len(c.Settled)-maxSettled, 0):]
	}
}

// recordToken records a token: the failures before it are over, and it is
// saved if it is of use to anybody.
func (o *Outcome) recordToken(s *tokenstore.State) {
	r, c, t := o.Request, &s.Claim, o.Token
	switch {
	case o.isSameToken() && o.Stage != BeforeForce:
		c.Failure = r.failureAfter(c.Failure, ErrSameToken, s.Now, o.recipe())
	case r.Acceptance != NeverAccepted || IsOfDeadParent(CauseOf(c.Failure)): // otherwise the new token has to prove itself first
		c.Failure = tokenstore.Failure{}
	}
	endRealmFailure(s)
	if o.Source == FromCandidate {
		// It was good. It stays so unless another one came with the answer.
		c.Candidates = without(c.Candidates, o.RefreshToken)
		t.Refresh = cmp.Or(t.Refresh, o.RefreshToken)
	}
	if o.Use == ForWaiters {
		c.Failure = tokenstore.Failure{At: s.Now, Until: latest(t.ExpiresAt, s.Now.Add(lifelessWait))}
	}
	// Without a refresh token, an access token that serves nobody is not saved,
	// and neither is the one that is stored already. A token that came for a
	// code is always saved: whom it serves is seen later, and there will be no
	// other one.
	// The same one with something else to be kept is another one.
	isStored := t.Access == s.Token.Access && t.Fingerprint == s.Token.Fingerprint && t.Kept == s.Token.Kept && isNear(t.ExpiresAt, s.Token.ExpiresAt)
	if t.Refresh != "" || o.Source == FromCode && o.Use != ForWaiters || o.Use == ForAll && !isStored {
		o.save(s, t)
	}
}

// save makes t the stored token if it is the child of that. An answer without a
// refresh token leaves the old one good (RFC 6749 section 6).
func (o *Outcome) save(s *tokenstore.State, t realm.Token) {
	r, c := o.Request, &s.Claim
	if o.Source == FromSecret && t.Refresh != "" && t.Refresh != o.RefreshToken && !r.MayResend {
		// The secret's refresh token was good for one use. The provider would
		// take a second one for a theft.
		o.rejectInitial(c)
	}
	// A token that was obtained meanwhile from an earlier consent gives way to a
	// person's new one.
	if s.Token.Lineage != o.Parent && !r.IsByPerson() {
		saveLate(s, t)
		return
	}
	if o.Source == FromCode {
		// What was authorized before may be somebody else's.
		c.Candidates = nil
		put(s, t)
		return
	}
	// A token that was fetched takes the place of a refresh token that was
	// refused. The secret's own refresh token stays in the secret.
	wasRefused := o.Source == NoRefreshToken && c.Rejected.Refresh == s.Token.Lineage
	if t.Refresh == "" && !wasRefused && o.Source != FromSecret {
		t.Refresh = s.Token.Refresh
		if t.RefreshExpiresAt.IsZero() { // the answer may tell its end anew (JD)
			t.RefreshExpiresAt = s.Token.RefreshExpiresAt
		}
	}
	put(s, t)
}

// saveRefreshToken saves what is good of an answer whose access token cannot be
// used. The token that a new consent was to replace goes on, and has the other
// one beside it. One that was renewed ahead of its end is served until then.
func (o *Outcome) saveRefreshToken(s *tokenstore.State) {
	have := s.Token
	switch {
	case o.Token.Refresh == "":
	case o.Source == FromCode:
		saveLate(s, o.Token)
	case o.Request.Purpose == Renew && have.Access != "" && have.Lineage == o.Parent:
		have.Refresh, have.RefreshExpiresAt = o.Token.Refresh, o.Token.RefreshExpiresAt
		kept := make(map[string]string) // the answer may lack what the access token is used with
		maps.Copy(kept, have.Kept.Reveal())
		maps.Copy(kept, o.Token.Kept.Reveal())
		have.Kept = realm.KeptOf(kept)
		o.save(s, have)
	default:
		o.save(s, o.Token)
	}
}

// saveLate finds a place for a token although somebody else was faster. Of two
// access tokens the one that was asked for later is the newer. Of two refresh
// tokens nobody knows which one lives, so that both are kept.
func saveLate(s *tokenstore.State, t realm.Token) {
	c, have := &s.Claim, s.Token
	isNewer := have.Access == "" || t.Access != "" && t.IssuedAt.After(have.IssuedAt)
	switch {
	case t.Refresh == "" && !isNewer:
	case t.Refresh == "":
		t.Refresh, t.RefreshExpiresAt = have.Refresh, have.RefreshExpiresAt
		put(s, t)
	case have.Refresh != "" && have.Refresh != t.Refresh:
		c.Candidates = append([]realm.Token{t}, c.Candidates...)
		c.Candidates = c.Candidates[:min(len(c.Candidates), maxCandidates)]
	case isNewer:
		put(s, t)
	default:
		have.Refresh, have.RefreshExpiresAt = t.Refresh, t.RefreshExpiresAt
		have.Kept = cmp.Or(have.Kept, t.Kept)
		put(s, have)
	}
}

// put saves a token. Doubts about the token before it, and the refusal of its
// refresh token, are over.
func put(s *tokenstore.State, t realm.Token) {
	s.Save = &t
	s.Claim.Doubt = tokenstore.Doubt{}
	s.Claim.Rejected.Refresh = 0
}

// endRealmFailure ends the failure of the realm: its provider answers. A pause
// that the provider asked for stays.
func endRealmFailure(s *tokenstore.State) {
	f := &s.Budget.Failure
	if isThrottled(*f) && IsPaused(*f, s.Now) {
		f.Count = 0
		return
	}
	*f = tokenstore.Failure{}
}

// recordFailure records a call that gave nothing.
func (o *Outcome) recordFailure(s *tokenstore.State) {
	r, c, cause := o.Request, &s.Claim, o.Cause
	if o.IsRefreshTokenRefused() {
		o.rejectRefreshToken(s)
		return
	}
	if (cause.NotSent || o.Stage == CodeRequest) && c.ID != r.ID {
		return // it came too late to be sent, or somebody else has the code
	}
	if o.Source.SendsRefreshToken() && cause.Uncertain() && o.Parent == s.Token.Lineage && c.Parent == o.Parent {
		addDoubt(c, s.Now)
	}
	if cause.Kind == grant.KindForbidden {
		return // our own guard refused the address: nothing was sent, and the configuration may allow it a moment later
	}
	if o.Stage == CodeRequest {
		cause = refusedTwice(cause, CauseOf(c.Failure))
	}
	if !r.IsByPerson() {
		c.Failure = r.failureAfter(c.Failure, cause, s.Now, o.recipe())
	}
	if o.Stage == CodeRequest && cause.Class == grant.Hopeless {
		c.Failure.Until = s.Now.Add(max(o.lockout(s), cause.RetryAfter))
	}
	// A login or code that was refused tells nothing about other accounts.
	isPersonal := (o.Stage == CodeRequest || o.Source == FromCode) && cause.Refusal()
	// Nor does the dead token of a parent, which may be that of this key alone.
	if cause.Class != grant.Hopeless && cause.Kind != grant.KindRequest && !isPersonal && !IsOfDeadParent(cause) {
		s.Budget.Failure = r.failureAfter(s.Budget.Failure, cause, s.Now, o.recipe())
		s.Budget.Failure.Key, s.Budget.Failure.Digest = r.Key, r.Digests.RecipeDigest(o.recipe())
	}
}

// refusedTwice takes a login for hopeless that the provider refused twice in a
// row in words that nobody knows: they may be about the password, and another
// attempt may lock the account.
func refusedTwice(cause, before *grant.Error) *grant.Error {
	if before == nil || !before.Refusal() || !cause.Refusal() {
		return cause
	}
	hopeless := *cause
	hopeless.Class = grant.Hopeless
	return &hopeless
}

// lockout is how long a login that was refused keeps the account from being
// asked about again. With a good refresh token nobody has to log in: somebody
// asked for the login by name, and its refusal must not keep the refresh token
// from its work.
func (o *Outcome) lockout(s *tokenstore.State) time.Duration {
	next := *o.Request
	next.Purpose = Load
	if source, _ := next.chooseSource(s); source.SendsRefreshToken() {
		return RetryFloor
	}
	return lockoutWait
}

// IsRefreshTokenRefused reports whether the provider refused the refresh token.
// Some providers have no words for that, or unknown ones: if there is another
// way to a token, every certain refusal of the call is taken for it.
func (o *Outcome) IsRefreshTokenRefused() bool {
	c := o.Cause
	if !o.Source.SendsRefreshToken() || c == nil {
		return false
	}
	return c.Kind == grant.KindInvalidGrant || o.Request.CanFetch && c.Kind == grant.KindRefused &&
		c.Class == grant.Retryable && c.Status < http.StatusInternalServerError && !c.Uncertain()
}

// rejectRefreshToken records that the provider refused a refresh token. It
// concludes nothing from that: the next decision looks for other ones.
func (o *Outcome) rejectRefreshToken(s *tokenstore.State) {
	c := &s.Claim
	c.Failure.Cause, c.Failure.At = encodeCause(o.Cause), s.Now
	c.Failure.Recipe, c.Failure.Digest = recipes[grant.RefreshRecipe], o.Request.Digests.Digest(grant.RefreshRecipe)
	endRealmFailure(s)
	switch o.Source {
	case FromToken:
		if s.Token.Lineage == o.Parent && s.Token.Refresh == o.RefreshToken {
			c.Rejected.Refresh, c.Rejected.Digest = o.Parent, o.Request.Digests.Digest(grant.RefreshRecipe)
		}
	case FromSecret:
		o.rejectInitial(c)
	case FromCandidate:
		c.Candidates = without(c.Candidates, o.RefreshToken)
	case NoRefreshToken, FromCode: // no refresh token was sent
	}
}

// rejectInitial records that the refresh token of the secret is good no more.
func (o *Outcome) rejectInitial(c *tokenstore.Claim) {
	c.Rejected.Initial, c.Rejected.Digest = true, o.Request.Digests.Digest(grant.RefreshRecipe)
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

func isNear(a, b time.Time) bool { return a.Sub(b).Abs() < sameEnd }

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
