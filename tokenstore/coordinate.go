package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Coordinator is how the nodes agree on who calls a provider, and when: by one
// row for each (realm, key) and one for each realm, beside the tokens.
type Coordinator interface {
	// Coordinate reads what the nodes share about a (realm, key), lets decide
	// alter it, and writes what it altered, in one transaction that is durable
	// when Coordinate returns, and that others may share. Of all transactions of
	// one realm, one runs at a time. decide may be called several times (a
	// transaction that lost against another one is run again) and does no I/O; its
	// error is returned as it is, and nothing is written then.
	//
	// The State that is returned is as it was written; a token that was saved
	// has its lineage.
	Coordinate(ctx context.Context, ref realm.Ref, decide func(*State) error) (State, error)
	// Peek reads the same without a lock.
	Peek(ctx context.Context, ref realm.Ref) (State, error)
	// Once answers true to one of all nodes that ask it about the same name
	// and time, such as a run of a schedule, and false to the others.
	Once(ctx context.Context, name string, at time.Time) (bool, error)
}

// State is what the nodes share about one (realm, key).
type State struct {
	// Now is the time of the store, which all nodes share.
	Now time.Time
	// Token is the stored token, the zero one where there is none.
	Token realm.Token
	// Save, when decide sets it, becomes the child of Token: its lineage is
	// one more than that of any token before.
	Save *realm.Token
	// Announce, when decide sets it, tells the other nodes that something about
	// the (realm, key) changed although no token is saved (ChangeFeed).
	Announce bool
	// Claim and Budget are written when decide alters them.
	Claim  Claim
	Budget Budget
	// Open counts the claims of the realm's other keys under which a call is
	// made (PhaseCalling), and whose deadline has not passed.
	Open int
}

// queuedKey is the context key of WithQueued.
type queuedKey struct{}

// WithQueued has queued called as soon as a Coordinate with the context has its
// place in the order of decisions: those that are asked for afterwards are made
// after it, unless the store hangs or fails. A store that has no such order calls
// nothing.
func WithQueued(ctx context.Context, queued func()) context.Context {
	return context.WithValue(ctx, queuedKey{}, queued)
}

// Queued calls what WithQueued put into the context.
func Queued(ctx context.Context) {
	if queued, ok := ctx.Value(queuedKey{}).(func()); ok {
		queued()
	}
}

// CallID names one call to a provider.
type CallID [16]byte

// NewCallID returns a random id.
func NewCallID() (id CallID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// String is the id in hex.
func (id CallID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id CallID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *CallID) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(id) { // more would not fit
		return errCallID
	}
	_, err := hex.Decode(id[:], text)
	return err
}

var errCallID = errors.New("is not the id of a call")

// Phase is what a claim is held for.
type Phase uint8

// The phases of a claim. PhaseNone is left out of JSON.
const (
	PhaseNone     Phase = iota // nobody holds the claim
	PhaseCalling               // a call to the provider is under way
	PhaseAwaiting              // the call for a code has ended; the claim is kept for the callback
)

var phaseWords = []string{PhaseNone: "none", PhaseCalling: "calling", PhaseAwaiting: "awaiting_callback"}

// errPhase: a newer version of the program may have phases that this one does
// not know. To take one of them for PhaseNone would let a second call begin.
var errPhase = errors.New("is not a phase of a claim")

// String is the phase's word.
func (p Phase) String() string {
	if int(p) >= len(phaseWords) {
		return "unknown"
	}
	return phaseWords[p]
}

// MarshalText is String, for the phases that there are.
func (p Phase) MarshalText() ([]byte, error) {
	if int(p) >= len(phaseWords) {
		return nil, errPhase
	}
	return []byte(phaseWords[p]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phaseWords, string(text))
	if i < 0 {
		return errPhase
	}
	*p = Phase(i) // #nosec G115 -- there are three
	return nil
}

// Claim is the row of a (realm, key): the right to make the one call to the
// provider that may be under way, and what is remembered of the calls before
// it. The zero value stands for "nothing has happened yet". Times are the
// store's.
type Claim struct {
	Phase Phase `json:"phase,omitempty"`
	// ID names the call that is under way, or whose callback is awaited; zero
	// in PhaseNone.
	ID CallID `json:"id,omitzero"`
	// Node is the process that makes the call, Purpose what it is made for.
	// Both are for people and stay after the call, with one exception: a
	// renewed token counts as rejected early only if Purpose says that it was
	// got by a renewal (see internal/claim).
	Node    string `json:"node,omitempty"`
	Purpose string `json:"purpose,omitempty"`
	// Parent is the lineage of the token that the call is to replace.
	Parent int64 `json:"parent,omitempty"`
	// SendsRefresh: the call sends a refresh token.
	SendsRefresh bool `json:"sends_refresh,omitempty"`
	// Started is when the last claim was granted. After Deadline the claim is
	// void: its process is gone, and nobody knows what became of the call.
	Started  time.Time `json:"started,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`

	// Failure is about the calls for this key that failed.
	Failure  Failure  `json:"failure,omitzero"`
	Doubt    Doubt    `json:"doubt,omitzero"`
	Rejected Rejected `json:"rejected,omitzero"`

	// Dropped is the call that was under way when the refresh token was
	// dropped: nobody wants any more what it brings.
	Dropped CallID `json:"dropped,omitzero"`
	// Settled are the last calls with a refresh token whose outcome was saved.
	Settled []CallID `json:"settled,omitempty"`
	// Candidates are tokens with a refresh token that arrived after another
	// token had taken their place. Sealed.
	Candidates []realm.Token `json:"-"`
}

// Failure is what is remembered of calls that failed.
type Failure struct {
	// Count is the number of failures since the last success.
	Count int `json:"count,omitempty"`
	// At is when the last call failed. The provider is left alone until Until.
	At    time.Time `json:"at,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Cause is the last failure, as a JSON document without anything
	// confidential.
	Cause string `json:"cause,omitempty"`
	// Key is the key whose call failed; only in a Budget.
	Key string `json:"key,omitempty"`
	// Recipe names the recipe that was sent: "fetch", "refresh", "authorize" or
	// "exchange".
	Recipe string `json:"recipe,omitempty"`
	// Digest is of what was sent: the failure belongs to it, and is void as
	// soon as something else would be sent. Zero where it is not known. Sealed.
	Digest realm.Digest `json:"-"`
}

// Doubt is what is not known about a refresh token that was sent without an
// answer that tells what became of it.
type Doubt struct {
	// Count is how often the refresh token of the token with this Lineage was
	// sent like that.
	Count   int   `json:"count,omitempty"`
	Lineage int64 `json:"lineage,omitempty"`
	// At is the last time that a refresh token, be it this one or an earlier
	// one, was sent without an answer.
	At time.Time `json:"at,omitzero"`
}

// Rejected is what was refused for certain.
type Rejected struct {
	// Refresh is the lineage whose refresh token the provider refused; 0 for none.
	Refresh int64 `json:"refresh,omitempty"`
	// Initial: the provider refused the refresh token that the secret itself
	// holds, or took it for its one use.
	Initial bool `json:"initial,omitempty"`
	// Access is the lineage whose access token the API refused before any call
	// succeeded with it.
	Access int64 `json:"access,omitempty"`
	// Digest is of the recipe and the fields that Refresh and Initial were
	// refused with. Zero where it is not known. Sealed.
	Digest realm.Digest `json:"-"`
}

// Budget is the row of a realm: how often its provider was called, over all
// keys and nodes, and whether it is to be left alone.
type Budget struct {
	// Failure is about a token endpoint that fails, or asked for a pause. Its
	// Digest is sealed in the budget's row.
	Failure Failure `json:"failure,omitzero"`
	// Windows are the calls that count towards the realm's quotas.
	Windows []Spending `json:"windows,omitempty"`
}

// Spending are the calls of the last Per.
type Spending struct {
	Per   time.Duration `json:"per"`
	Calls []Calls       `json:"calls,omitempty"`
	// Named is when a realm last had a window of Per. Nodes with another
	// configuration, and one that is changed back, count on it.
	Named time.Time `json:"named,omitzero"`
}

// Calls are N calls of about the same time; they count until Last + Per.
type Calls struct {
	First time.Time `json:"f"`
	Last  time.Time `json:"l"`
	N     int       `json:"n"`
}

// Waker is implemented by stores whose cache can tell the other nodes at once
// that something happened to a (realm, key). It is a hint: it may be lost.
type Waker interface {
	// Wakes calls woken for what other nodes did, until ctx ends.
	Wakes(ctx context.Context, woken func(realm.Ref))
}

// Leaser is implemented by stores whose cache can hold a lease while the
// database cannot be written. It is no replacement for a claim.
type Leaser interface {
	// Lease takes the right to a call of (realm, key) for d, unless another
	// node has it. known is false where the cache cannot tell.
	Lease(ctx context.Context, ref realm.Ref, d time.Duration) (granted, known bool)
}
