package realm

import (
	"fmt"
	"time"
)

// Secret is one credential set of a realm.
type Secret struct {
	Ref
	// Fields by name: "appid", "key_1", "private_key"; each up to 64 KiB.
	Fields map[string]Hidden
	// Shared are the realm's shared fields as their sources give them now; nil where
	// all of them stand in the realm itself. No store keeps them.
	Shared map[string]Hidden
	// InjectOnly is Config.InjectOnly for the tokens of this secret alone.
	InjectOnly bool
	// Hosts are those that the fields were entered for: they are sent to no
	// other.
	Hosts []string
	// Defined: it stands in the configuration file. No store keeps this, so that
	// what a store gives is never taken for the operator's.
	Defined bool
	// CreatedAt and UpdatedAt are set by the store.
	CreatedAt time.Time
	UpdatedAt time.Time
	// Damaged is set in lists: what is stored cannot be opened, and only the
	// reference is known.
	Damaged bool
}

// Fingerprint is a digest of everything a token depends on: the recipe and
// the values of the secret. A token is good for a request only if it was
// obtained with the fingerprint that is current. It is stored
// inside the seal only: outside, it would let a reader of the database test
// guesses.
type Fingerprint [16]byte

// String is Mask: printed, a fingerprint would serve a guesser as well.
func (f Fingerprint) String() string { return Mask }

// Format is String, for every verb.
func (f Fingerprint) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Mask)) }

// MarshalText is String, for encoders that would list the bytes.
func (f Fingerprint) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// Digest identifies what one kind of call sends to a provider, or which client
// asks it: see grant.Bound.Digest and grant.Bound.ClientDigest. Like a
// Fingerprint, it is stored inside a seal only, and never shown.
type Digest [16]byte

// String is Mask, for the reason that Fingerprint.String has.
func (d Digest) String() string { return Mask }

// Format is String, for every verb.
func (d Digest) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Mask)) }

// MarshalText is String, for encoders that would list the bytes.
func (d Digest) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// Token is what the provider gave for a secret.
type Token struct {
	// Access is the token that is injected.
	Access Hidden
	// ExpiresAt is its end; zero for a token without one.
	ExpiresAt time.Time
	// IssuedAt is the moment at which its request was sent.
	IssuedAt time.Time
	// Refresh is the refresh token, where there is one, and RefreshExpiresAt
	// its end (zero for none known).
	Refresh          Hidden
	RefreshExpiresAt time.Time
	// Lineage grows by one with each token of a (realm, key); the first has 1.
	Lineage int64
	// Fingerprint of the recipe and secret that obtained it.
	Fingerprint Fingerprint
	// Kept is what the realm reads of the answer and of the callback that
	// brought it. A token that somebody else got has none.
	Kept Kept
}

// Expired reports whether the token has ended at the instant now.
func (t *Token) Expired(now time.Time) bool {
	return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}
