package tokenstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"
)

const (
	// MaxClientID is the longest id of a client, in bytes.
	MaxClientID = 255
	// MaxClientKeys is how many keys of a client are good at a time: two, so
	// that one can be replaced without a moment in which neither is.
	MaxClientKeys = 2
)

// ErrClientNotFound: no client has this id.
var ErrClientNotFound = errors.New("client not found")

// KeyDigest is the SHA-256 of an API key. Keys are random, so that nobody finds
// one by its digest.
type KeyDigest [sha256.Size]byte

// Client is who may use the proxy, read tokens or administrate.
type Client struct {
	ID, Comment string
	Rules       []Rule
	Limits      ClientLimits
	// Users, Subjects and Sources tell the client by another authenticator's
	// user, by the subject of an mTLS certificate, and by prefixes of addresses.
	Users, Subjects, Sources []string
	// Edge: the client is an instance that takes its tokens from this one.
	Edge bool
	// ExpiresAt is its end; zero for none.
	ExpiresAt time.Time
	// Keys are at most MaxClientKeys, the newest first.
	Keys                 []ClientKey
	CreatedAt, UpdatedAt time.Time
	// UsedAt is the hour in which it was last seen; zero for never. Nothing
	// decides by it, and only ClientsUsed changes it.
	UsedAt time.Time
	// Damaged is set in lists: what is stored cannot be trusted, and only the
	// id is known.
	Damaged bool
}

// ClientKey is one API key of a client. The key itself is shown once and not
// kept.
type ClientKey struct {
	Digest    KeyDigest
	CreatedAt time.Time
	// ExpiresAt is its end; zero for none.
	ExpiresAt time.Time
}

// Rule allows or denies rights. An entry of a list may hold globs. What a rule
// means is said by internal/access.
type Rule struct {
	Effect  string   `json:"effect"`
	Rights  []string `json:"rights"`
	Realms  []string `json:"realms"`
	Keys    []string `json:"keys,omitempty"`
	Methods []string `json:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty"`
}

// ClientLimits hold per node. An empty text or 0 is no limit.
type ClientLimits struct {
	// Requests and Fetches are "<calls>/<unit>", such as 100/s or 60/h.
	Requests    string `json:"requests,omitempty"`
	Concurrency int    `json:"concurrency,omitempty"`
	// Fetches are the token requests that the client causes.
	Fetches string `json:"fetches,omitempty"`
}

// IdentityTakenError is the error of an update after which two clients would be told
// by the same key, user, subject or prefix.
type IdentityTakenError struct {
	// Field is "keys", "users", "subjects" or "sources".
	Field string
	// Client is the id of the client that has it.
	Client string
}

// Error names the field and the other client.
func (e *IdentityTakenError) Error() string {
	return e.Field + ": client " + e.Client + " has the same one"
}

// ClientStore keeps clients. Each is sealed as a whole, but for its id and
// UsedAt. Times are kept to the microsecond, in UTC; empty lists come back as
// nil. It checks neither rules nor limits, and compares users, subjects and
// sources as bytes: the caller brings them into one form.
type ClientStore interface {
	// Client returns one client, ErrClientNotFound where there is none.
	Client(ctx context.Context, id string) (Client, error)
	// Clients lists all clients in the order of the bytes of their ids, and
	// reports whether there ever was one (see RequireClients). If that cannot be
	// known, because what is stored about it was lost or altered, there was one.
	Clients(ctx context.Context) (list []Client, required bool, err error)
	// UpdateClient is for clients what UpdateRealm is for realms. The id stays
	// as it is, whatever change returns. The first client of all has the effect
	// of RequireClients, in the same transaction. *IdentityTakenError where another
	// client has one of its keys, users, subjects or sources; a damaged client
	// keeps what it had until it is deleted.
	UpdateClient(ctx context.Context, id string, change func(c Client, found bool) (Client, error)) (Client, error)
	// DeleteClient deletes a client, also a damaged one. ErrClientNotFound where
	// there is none.
	DeleteClient(ctx context.Context, id string) error
	// RequireClients notes, for ever, that there was a client. Deleting the last
	// one does not open what clients had closed.
	RequireClients(ctx context.Context) error
	// ClientsUsed notes when clients were last seen, by the whole hour: it may be
	// called often, and seldom writes. An hour before the noted one is ignored,
	// and so is the id of a client that does not exist. It is no change: the other
	// nodes are not told.
	ClientsUsed(ctx context.Context, at map[string]time.Time) error
}
