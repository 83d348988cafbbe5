package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Coordinator is how the nodes agree on who calls a provider, and when: by one
// row for each (realm, key) and one for each realm, beside the tokens.
type Coordinator interface {
	// Coordinate reads what the nodes share about a (realm, key), lets decide
	// alter it, and writes what it altered, in one transaction that is durable
	// when Coordinate returns. Of all transactions of one realm, one runs at a
	// time. decide may be called several times (a transaction that lost
	// against another one is run again) and does no I/O; its error is returned
	// as it is, and nothing is written then.
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
	// Attempt and Budget are written when decide alters them.
	Attempt Attempt
	Budget  Budget
	// Open counts the claims of the realm's other keys under which a call is
	// made, and whose deadline has not passed.
	Open int
}

// AttemptID names one call to a provider.
type AttemptID [16]byte

// NewAttemptID returns a random id.
func NewAttemptID() (id AttemptID) {
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	return id
}

// String is the id in hex.
func (id AttemptID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id AttemptID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *AttemptID) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(id) { // more would not fit
		return errAttemptID
	}
	_, err := hex.Decode(id[:], text)
	return err
}

var errAttemptID = errors.New("is not the id of an attempt")

// Attempt is the row of a (realm, key): the claim on the one call to the
// provider that may be under way, and what became of those before. A zero one
// stands for "nothing happened yet". Times are the store's.
type Attempt struct {
	// ID names the call that is under way; zero for none.
	ID AttemptID `json:"id,omitzero"`
	// Node is the process that makes it, Why what for; both for people.
	Node string `json:"node,omitempty"`
	Why  string `json:"why,omitempty"`
	// Parent is the lineage of the token that it is to replace.
	Parent int64 `json:"parent,omitempty"`
	// Spends says that a refresh token is sent.
	Spends bool `json:"spends,omitempty"`
	// Started is when the last claim was granted. After Deadline the claim is
	// void: its process is gone, and what became of the call is not known.
	Started  time.Time `json:"started,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	// Waits: the call has ended, and the claim is kept for whoever brings what
	// it asked for. It is not counted in State.Open.
	Waits bool `json:"waits,omitempty"`

	// Trouble is about the calls for this key that failed.
	Trouble Trouble `json:"trouble,omitzero"`

	// Uncertain counts how often the refresh token of the lineage UncertainOf
	// was sent without an answer that tells what became of it. UncertainAt is
	// the last time.
	Uncertain   int       `json:"uncertain,omitempty"`
	UncertainOf int64     `json:"uncertain_of,omitempty"`
	UncertainAt time.Time `json:"uncertain_at,omitzero"`
	// Refused is the lineage whose refresh token the provider refused; 0 for
	// none. RefusedAt is when.
	Refused   int64     `json:"refused,omitempty"`
	RefusedAt time.Time `json:"refused_at,omitzero"`
	// InitialRefused: the provider refused the refresh token that the secret
	// itself holds, or took it for its one use.
	InitialRefused bool `json:"initial_refused,omitempty"`
	// Refuted is the lineage whose access token the API refused before any
	// call succeeded with it.
	Refuted int64 `json:"refuted,omitempty"`
	// Reauth is the lineage for which nothing that is stored works any more: a
	// person has to authorize again. 0 for none; then -1 stands for the
	// lineage 0.
	Reauth int64 `json:"reauth,omitempty"`

	// Dropped is the call that was under way when the refresh token was
	// dropped: what it brings is not wanted any more.
	Dropped AttemptID `json:"dropped,omitzero"`
	// Settled are the last calls with a refresh token whose outcome was saved.
	Settled []AttemptID `json:"settled,omitempty"`

	// Candidates are tokens with a refresh token that arrived after another
	// one had taken their place. Sealed.
	Candidates []realm.Token `json:"-"`
	// Fingerprint is of the recipe and secret that Trouble, Refused and Reauth
	// are about. Sealed.
	Fingerprint realm.Fingerprint `json:"-"`
}

// Trouble is what is remembered of calls that failed.
type Trouble struct {
	// Fails counts the failures since the last success.
	Fails int `json:"fails,omitempty"`
	// At is the last one. The provider is left alone until Until.
	At    time.Time `json:"at,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Cause is the last one, as a JSON document without anything confidential.
	Cause string `json:"cause,omitempty"`
}

// Budget is the row of a realm: how often its provider was called, over all
// keys and nodes, and whether it is to be left alone.
type Budget struct {
	// Trouble is about a token endpoint that fails, or asked for a pause.
	Trouble Trouble `json:"trouble,omitzero"`
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
