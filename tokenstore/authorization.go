package tokenstore

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// MaxAuthorizationLife bounds how long an authorization is kept. One that ends
// in more than twice that time was written before a clock went back, and counts
// as ended.
const MaxAuthorizationLife = time.Hour

// StateHash names an authorization: the SHA-256 of its state. Whoever reads a
// database learns no state from it.
type StateHash [sha256.Size]byte

// HashState is the name of the authorization with this state.
func HashState(state realm.Hidden) StateHash { return sha256.Sum256([]byte(state.Reveal())) }

// Authorization is what is remembered between the request to a provider's
// authorization endpoint and its callback (RFC 6749 section 4.1).
type Authorization struct {
	State StateHash
	Ref   realm.Ref
	// CallbackURL is the redirect_uri that was sent; the exchange of the code
	// repeats it (RFC 6749 section 4.1.3).
	CallbackURL string
	// Verifier is the PKCE verifier (RFC 7636 section 4.1).
	Verifier realm.Hidden
	// Call is the call whose claim awaits the code; zero where a person
	// authorizes.
	Call CallID
	// Fingerprint is of the recipe and secret that the request was made with.
	Fingerprint realm.Fingerprint
	// Client is of the client that the code was asked for; zero where it is
	// not known, in a row that an earlier version of the program wrote.
	Client realm.Digest
	// ExpiresAt is its end, by the store's clock. The store sets it.
	ExpiresAt time.Time
}

// AuthorizationStore keeps authorizations, sealed. They end with their secret
// or realm.
type AuthorizationStore interface {
	// BeginAuthorization saves an authorization that ends after life, which is
	// cut to MaxAuthorizationLife. One by a person (Call is zero) ends those by
	// persons that were begun before it for the same secret: a link that
	// somebody kept is good for nothing beside a newer one.
	BeginAuthorization(ctx context.Context, a Authorization, life time.Duration) error
	// TakeAuthorization removes the authorization with this state and returns
	// it: to one caller only, of all nodes. ErrAuthorizationNotFound for one
	// that is unknown, was taken before, or ended. After ErrUnavailable it may
	// be gone.
	TakeAuthorization(ctx context.Context, state StateHash) (Authorization, error)
}
