package broker

import (
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// A call to a provider is made under a claim: a row that is written durably
// before any byte goes out, by compare-and-swap, and that is void after a
// deadline which the call itself does not outlive. What is decided about it is
// here, in hold.go and in settle.go, as functions of what the nodes share and
// of nothing else: no clock of this machine, no I/O.

// claimMargin is how much longer a claim lives than the call that it is for:
// time for a packet that is under way, and for a provider that is still busy
// with it.
const claimMargin = 5 * time.Second

// terms are what a realm says about calls to its provider.
type terms struct {
	canFetch   bool
	canRefresh bool
	// unattended: a fetch is two calls, one for a code and its exchange.
	unattended bool
	// keeps: the refresh token may be sent again after an uncertain outcome
	// (stable, grace). Else a second one may cost everything.
	keeps       bool
	concurrency int
	minInterval time.Duration
	backoffCap  time.Duration
	windows     []realm.Window
	timeout     time.Duration
}

// lease is how long a claim lives.
func (t terms) lease() time.Duration { return t.timeout + claimMargin }

// bounds are when a call has to be sent, and to end, whose claim was asked for
// at an instant.
func (t terms) bounds(began time.Time) (sendBy, endBy time.Time) {
	return began.Add(t.timeout), began.Add(t.timeout + claimMargin/2)
}

// asks is what a flight wants of the provider.
type asks struct {
	terms
	id   tokenstore.CallID
	node string
	kind kind
	// after is the lineage that a token must be newer than to serve (renew,
	// flush); failed is the token that the API refused (heal).
	after  int64
	failed realm.Hidden
	// refuted: the failed token was refused before any call succeeded with it.
	refuted bool
	// initial is the refresh token that the secret itself holds; reseeded says
	// whether it was replaced since a token was obtained.
	initial     realm.Hidden
	reseeded    func(realm.Fingerprint) bool
	fingerprint realm.Fingerprint
	// usable says whether a stored token may be used now.
	usable func(realm.Token) bool
	// code is what is exchanged; nil for any other call.
	code *code
	draw draw
}

// verdict is what was decided about a claim.
type verdict struct {
	ruling
	// token that serves.
	token realm.Token
	// parent is the lineage that the call is to replace, source where the
	// refresh token came from that is to be sent.
	parent  int64
	source  rtSource
	refresh realm.Hidden
	// known are the tokens that the provider's words may quote.
	known []realm.Hidden
	// holder is the call that another flight makes (busy).
	holder tokenstore.CallID
	// wait is how long asking again is useless; cause is why, where a call
	// failed; scope says what has to wait.
	wait  time.Duration
	cause *grant.Error
	fails int
	scope scope
	// tight: a call that is not followed by another one would fit in.
	tight bool
	// uncertain: the outcome of an earlier call is not known, and to send the
	// refresh token again now might cost more than it gives.
	uncertain bool
}

// ruling is the kind of a verdict.
type ruling uint8

const (
	granted  ruling = iota // make the call
	served                 // somebody else was faster
	busy                   // somebody else is at it
	refused                // not now
	lapsed                 // never: a person has to authorize again
	outpaced               // the calls for other keys take all places
)

// scope says what has to wait.
type scope uint8

const (
	scopeKey    scope = iota // this (realm, key): its last call failed
	scopeRealm               // the realm: its provider fails, or asked for a pause
	scopeBudget              // the realm's quota, or the least time between two calls
)

// rtSource is where a refresh token comes from.
type rtSource uint8

const (
	noRefresh     rtSource = iota // the fetch recipe is used
	fromToken                     // the stored token's
	fromSecret                    // the one that the secret holds
	fromCandidate                 // one that arrived too late once
	fromCode                      // none: a code is exchanged
)

// refreshes says whether a refresh token is sent.
func (r rtSource) refreshes() bool { return r != noRefresh && r != fromCode }

// decide says whether the call may be made, and writes the claim into s if so.
// What is found out about earlier calls is written in any case.
func (w *asks) decide(s *tokenstore.State) verdict {
	if w.serves(s.Token) {
		return verdict{ruling: served, token: s.Token}
	}
	rewind(s)
	a := &s.Claim
	if left := a.Deadline.Sub(s.Now); a.ID != (tokenstore.CallID{}) {
		switch {
		case w.code.askedBy(a.ID):
			w.takeOver(s)
		case left > 0:
			return verdict{ruling: busy, wait: left, holder: a.ID}
		default:
			w.expire(s)
		}
	}
	w.renounce(s)
	v := verdict{parent: s.Token.Lineage}
	v.source, v.refresh = w.means(s)
	if v.source == noRefresh && !w.canFetch {
		return w.exhausted(s)
	}
	if w.held(s, &v); v.wait > 0 {
		v.ruling = refused
		return v
	}
	places := w.concurrency
	if s.Budget.Failure.Count > 0 {
		places = 1 // one call tries whether the provider is back
	}
	if s.Open >= places && w.kind != exchange {
		return verdict{ruling: outpaced}
	}
	w.grant(s, v)
	return v
}

// serves says whether a stored token is what the flight is for.
func (w *asks) serves(t realm.Token) bool {
	if t.Access == "" || !w.usable(t) {
		return false
	}
	switch w.kind {
	case renew, flush, authorize:
		return t.Lineage > w.after
	case exchange: // it makes another
		return false
	case heal:
		return t.Access != w.failed
	default:
		return true
	}
}

// rewind dates back to now what the store's clock, which went back since, dated
// later: a claim would stay open, and a quota be spent, until the clock is there
// again. Both count for no less time than they were meant to.
func rewind(s *tokenstore.State) {
	a := &s.Claim
	if ahead := a.Started.Sub(s.Now); ahead > 0 {
		a.Started = s.Now
		if !a.Deadline.IsZero() {
			a.Deadline = a.Deadline.Add(-ahead)
		}
	}
	a.Doubt.At = minTime(a.Doubt.At, s.Now)
	for k, w := range s.Budget.Windows {
		s.Budget.Windows[k].Named = minTime(w.Named, s.Now)
		for i, c := range w.Calls {
			w.Calls[i].First, w.Calls[i].Last = minTime(c.First, s.Now), minTime(c.Last, s.Now)
		}
	}
}

// takeOver goes on with the claim under which the code was asked for. What was
// dropped of that is dropped of this.
func (w *asks) takeOver(s *tokenstore.State) {
	a := &s.Claim
	callOver(s, s.Now)
	if a.Dropped == a.ID {
		a.Dropped = w.id
	}
}

// expire takes down a claim whose time is over: its process died, or was
// stopped, and what became of the call is not known.
func (w *asks) expire(s *tokenstore.State) {
	a := &s.Claim
	callOver(s, a.Deadline)
	switch {
	case a.SendsRefresh && a.Parent == s.Token.Lineage:
		doubt(a, a.Deadline)
	case a.SendsRefresh: // its answer may be what is left of all, see exhausted
		a.Doubt.At = a.Deadline
	}
	closeClaim(a)
}

// callOver notes that the call of the claim has ended, unless it had ended before.
func callOver(s *tokenstore.State, at time.Time) {
	if s.Claim.Phase != tokenstore.PhaseAwaiting {
		done(&s.Budget, s.Claim.Started, at)
	}
}

// closeClaim ends a claim.
func closeClaim(a *tokenstore.Claim) {
	a.Phase, a.ID, a.Deadline, a.SendsRefresh = tokenstore.PhaseNone, tokenstore.CallID{}, time.Time{}, false
}

// doubt notes that a refresh token was sent and no answer tells what became of
// it.
func doubt(a *tokenstore.Claim, at time.Time) {
	if a.Doubt.Lineage != a.Parent {
		a.Doubt.Count, a.Doubt.Lineage = 0, a.Parent
	}
	a.Doubt.Count++
	a.Doubt.At = at
}

// renounce forgets what is known of another recipe or secret, and counts a
// healed token that no call succeeded with either as a call that failed. One
// that is older than the longest wait is not: it may have worked on another
// node, and a provider that refuses all is asked no more often.
func (w *asks) renounce(s *tokenstore.State) {
	a := &s.Claim
	if a.Rejected.Digest != w.fingerprint {
		a.Failure = tokenstore.Failure{}
		a.Rejected.Refresh, a.Rejected.Initial = 0, false
		a.Failure.Digest, a.Rejected.Digest = w.fingerprint, w.fingerprint
	}
	young := s.Now.Before(a.Started.Add(w.backoffCap))
	if w.kind == heal && w.refuted && young && a.Purpose == heal.String() && s.Token.Access == w.failed && a.Rejected.Access != s.Token.Lineage {
		a.Rejected.Access = s.Token.Lineage
		a.Failure = w.draw.after(a.Failure, errRefuted, a.Started, w.backoffCap)
	}
}

// errRefuted is the failure of a call that gave a token which the API refused
// at once.
var errRefuted = &grant.Error{
	Class: grant.Retryable, Kind: grant.KindRefused,
	Detail: "the API refused the new token before any call succeeded with it",
}

// means chooses what is sent: the stored refresh token, that of the secret,
// one that arrived too late once; else nothing, and the fetch recipe is used.
// A refresh token whose end has passed is tried all the same, unless there is
// another way: the provider's word counts.
func (w *asks) means(s *tokenstore.State) (rtSource, realm.Hidden) {
	switch {
	case w.kind == exchange:
		return fromCode, ""
	case w.kind == authorize, !w.canRefresh:
		return noRefresh, ""
	}
	a, t := &s.Claim, s.Token
	if w.initial != "" && !a.Rejected.Initial && w.reseeded(t.Fingerprint) {
		return fromSecret, w.initial
	}
	if t.Refresh != "" && (a.Rejected.Refresh == 0 || a.Rejected.Refresh != t.Lineage) {
		ended := !t.RefreshExpiresAt.IsZero() && !s.Now.Before(t.RefreshExpiresAt)
		unsafe := w.inDoubt(s) && !w.keeps
		if !w.canFetch || !ended && !unsafe {
			return fromToken, t.Refresh
		}
	}
	if w.initial != "" && w.initial != t.Refresh && !a.Rejected.Initial {
		return fromSecret, w.initial
	}
	if len(a.Candidates) > 0 {
		return fromCandidate, a.Candidates[0].Refresh
	}
	return noRefresh, ""
}

// inDoubt says whether the stored refresh token was sent without an answer.
func (w *asks) inDoubt(s *tokenstore.State) bool {
	return s.Claim.Doubt.Count > 0 && s.Claim.Doubt.Lineage == s.Token.Lineage
}

// exhausted is the verdict when nothing is left to send. A call whose outcome
// is not known may still come back with what everything hangs on: as long as
// that can be, nothing is given up.
func (w *asks) exhausted(s *tokenstore.State) verdict {
	a := &s.Claim
	if left := a.Doubt.At.Add(w.lease()).Sub(s.Now); !a.Doubt.At.IsZero() && left > 0 {
		return verdict{ruling: refused, wait: left, cause: causeOf(a.Failure), fails: a.Failure.Count, uncertain: true}
	}
	return verdict{ruling: lapsed, cause: causeOf(a.Failure)}
}

// grant writes the claim.
func (w *asks) grant(s *tokenstore.State, v verdict) {
	a := &s.Claim
	if !w.code.askedBy(a.ID) { // else it is for what its code was asked for
		a.Purpose = w.kind.String()
	}
	a.ID, a.Node, a.Parent, a.SendsRefresh = w.id, w.node, v.parent, v.source.refreshes()
	a.Started, a.Deadline, a.Phase = s.Now, s.Now.Add(w.lease()), tokenstore.PhaseCalling
	spend(&s.Budget, w.windows, s.Now)
}
