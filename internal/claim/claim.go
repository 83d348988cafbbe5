// Package claim decides about the calls to a provider: whether one may be made
// now, what it sends, and what its outcome means for all nodes.
//
// A call is made under a claim: a row of the store that is written durably
// before any byte goes out, by compare-and-swap, and that is void after a
// deadline which the call itself does not outlive. The row also remembers the
// calls before: their failures, refresh tokens whose use had no answer, and
// what was refused. [Request.Decide] reads and writes that row before a call,
// [Outcome.Settle] after it; both run inside a transaction of the store that
// holds the row (tokenstore.Coordinator).
//
// Everything here is a function of what the nodes share, tokenstore.State, and
// of nothing else: no clock of this machine, no I/O, no goroutine. All instants
// are the store's. docs/design.md has the table of the states of a claim and
// the invariants that this package keeps: I1 to I5, I7, I10 and I11.
package claim

import (
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Margin is how much longer a claim lives than the call that it is for: time
// for a packet that is under way, and for a provider that is still busy with
// it.
const Margin = 5 * time.Second

// MaxClockSkew is how far the clocks of two nodes may differ.
const MaxClockSkew = 5 * time.Minute

// Purpose is what a token is wanted for.
type Purpose uint8

// The purposes. Their words stand in logs, metrics and events.
const (
	Load      Purpose = iota // any live token: of memory, the store, or the provider
	Renew                    // a newer token, before the live one ends
	Heal                     // a token other than the one that the API refused
	Flush                    // a new token from the provider, now, although one may live
	Verify                   // a comparison of memory with the store; the provider is never asked
	Authorize                // a token by a new authorization, now
	Exchange                 // a token for the code of an authorization
)

// String is the word for the purpose.
func (p Purpose) String() string {
	return [...]string{"load", "renew", "heal", "flush", "verify", "authorize", "exchange"}[p]
}

// IsForced reports whether the provider is asked although a token may live.
func (p Purpose) IsForced() bool { return p == Flush || p == Authorize }

// Terms are what a realm says about the calls to its provider.
type Terms struct {
	CanFetch   bool
	CanRefresh bool
	// Unattended: the server authorizes without a person, so that a fetch is
	// two calls: one for a code, and the exchange of the code.
	Unattended bool
	// MayResend: a refresh token may be sent again after an uncertain outcome
	// (refresh_semantics stable and grace). Otherwise a second use may cost
	// every token of the family.
	MayResend bool
	// Concurrency is how many calls of the realm may be under way, over all
	// nodes.
	Concurrency int
	// MinInterval is the least time between two calls for one key.
	MinInterval time.Duration
	// BackoffCap is the longest wait after calls that failed, unless the
	// provider asks for more.
	BackoffCap time.Duration
	Windows    []realm.Window
	// Timeout is that of one call.
	Timeout time.Duration
}

// Life is how long a claim lives.
func (t *Terms) Life() time.Duration { return t.Timeout + Margin }

// Bounds returns by when a call has to be sent, and to end, whose claim was
// asked for at began. Whoever got the claim late has less time.
func (t *Terms) Bounds(began time.Time) (sendBy, endBy time.Time) {
	return began.Add(t.Timeout), began.Add(t.Timeout + Margin/2)
}

// Source is where what a call sends comes from.
type Source uint8

// The sources.
const (
	NoRefreshToken Source = iota // no refresh token is sent: the fetch recipe is used
	FromToken                    // the stored token's refresh token
	FromSecret                   // the refresh token that the secret itself holds
	FromCandidate                // a refresh token that arrived too late once
	FromCode                     // an authorization code is exchanged
)

// SendsRefreshToken reports whether a refresh token is sent.
func (s Source) SendsRefreshToken() bool { return s != NoRefreshToken && s != FromCode }

// Digests identify what would be sent now, for each recipe. *grant.Bound
// implements it.
type Digests interface {
	// Digest covers the recipe, how its answer is read, and the values of all
	// fields that it reads. A failure of the key belongs to it.
	Digest(kind grant.RecipeKind) realm.Digest
	// RecipeDigest covers the recipe alone. A failure of the realm, which holds
	// for all its keys, belongs to it.
	RecipeDigest(kind grant.RecipeKind) realm.Digest
}

// FixedDigest stands for all digests of something that is not here any more. The
// zero value is not known: a failure of it belongs to whatever is sent next.
type FixedDigest realm.Digest

// Digest implements Digests.
func (d FixedDigest) Digest(grant.RecipeKind) realm.Digest { return realm.Digest(d) }

// RecipeDigest implements Digests.
func (d FixedDigest) RecipeDigest(grant.RecipeKind) realm.Digest { return realm.Digest(d) }

// recipes are the words for the recipes in the store.
var recipes = [...]string{
	grant.FetchRecipe: "fetch", grant.RefreshRecipe: "refresh", grant.AuthorizeRecipe: "authorize", grant.ExchangeRecipe: "exchange",
}

// digestOf is the digest of what the recipe of a failure would send now; zero
// if that is not known.
func (r *Request) digestOf(f tokenstore.Failure, digest func(grant.RecipeKind) realm.Digest) realm.Digest {
	kind := slices.Index(recipes[:], f.Recipe)
	if kind < 0 {
		return realm.Digest{}
	}
	return digest(grant.RecipeKind(kind)) // #nosec G115 -- the index of a short list
}

// Acceptance tells whether the API had accepted a token before it refused it.
type Acceptance uint8

// What a node knows about that.
const (
	AcceptanceUnknown Acceptance = iota
	Accepted
	NeverAccepted
)

// Request is what a node wants of the provider.
type Request struct {
	Terms
	// ID names the call, should it be made.
	ID   tokenstore.CallID
	Node string
	// Key is that of the (realm, key).
	Key     string
	Purpose Purpose
	// NewerThan is the lineage that a token has to be newer than to serve
	// (Renew, Flush, Authorize).
	NewerThan int64
	// Failed is the token that the API refused (Heal).
	Failed realm.Hidden
	// Acceptance tells whether the API had accepted Failed before it refused it.
	Acceptance Acceptance
	// Initial is the refresh token that the secret itself holds. IsReseeded
	// reports whether it was replaced since the token with this fingerprint was
	// obtained.
	Initial    realm.Hidden
	IsReseeded func(realm.Fingerprint) bool
	// Fingerprint is that of the realm's recipe and the secret: a token with
	// another one was obtained for something else.
	Fingerprint realm.Fingerprint
	Digests     Digests
	// IsUsable reports whether a stored token may be used now.
	IsUsable func(realm.Token) bool
	// MayRefresh reports whether a refresh can bring a usable token, by what was
	// kept with the one that is refreshed; nil: it always can.
	MayRefresh func(realm.Kept) bool
	// CodeCall is the call that asked for the code (Exchange); zero if a person
	// brought it.
	CodeCall tokenstore.CallID
	// IsParentRenewed: the last call failed because the token of another credential
	// was dead that it sent, and that one was renewed since.
	IsParentRenewed bool
	// MayPay returns why whoever causes the call may not cause one now, nil if he
	// may, and then notes it. It is asked when nothing else is in the way; nil:
	// nobody is asked.
	MayPay func() error
	// Random spreads waits.
	Random Random
}

// continuesCall reports whether the request exchanges the code that the call
// with this id asked for.
func (r *Request) continuesCall(id tokenstore.CallID) bool {
	return r.Purpose == Exchange && r.CodeCall != tokenstore.CallID{} && r.CodeCall == id
}

// IsByPerson reports whether a person brought the code that is exchanged. When
// that exchange fails, the token that is there goes on as if nothing had
// happened.
func (r *Request) IsByPerson() bool {
	return r.Purpose == Exchange && r.CodeCall == tokenstore.CallID{}
}

// BeginOfLife is when the life of a token begins. Before that, the clock must
// have gone back since the token was issued, and nobody knows any more when the
// token ends.
func BeginOfLife(t realm.Token) time.Time {
	return t.IssuedAt.Add(-min(MaxClockSkew, max(t.ExpiresAt.Sub(t.IssuedAt), 0)))
}
