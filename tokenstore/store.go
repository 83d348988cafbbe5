// Package tokenstore is where realms, secrets, tokens, authorizations, companies
// and clients lie. It defines the interface that every store fulfils, the errors
// they return, the sealing of what is confidential, and the levels (a shared
// cache in front of a database). The databases are in sqlstore, the shared
// cache is redisstore; storetest is the one suite that all of them pass.
//
// A store never talks to a provider and knows nothing of recipes.
package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Errors of every store. Callers use errors.Is.
var (
	ErrRealmNotFound   = errors.New("realm not found")
	ErrSecretNotFound  = errors.New("secret not found")
	ErrTokenNotFound   = errors.New("token not found")
	ErrRealmHasSecrets = errors.New("realm still has secrets")
	ErrCompanyNotFound = errors.New("company not found")
	// ErrAuthorizationNotFound: no authorization with this state is under way.
	// It is unknown, was taken before, or ended.
	ErrAuthorizationNotFound = errors.New("authorization not found")
	// ErrUnavailable wraps every failure to reach or use the store itself.
	ErrUnavailable = errors.New("store unavailable")
	// ErrKey: what is stored was sealed with a key that was not given.
	ErrKey = errors.New("stored data was sealed with another encryption key")
	// ErrGap: the changes since the cursor are no longer known.
	ErrGap = errors.New("the changes since then are no longer known")
)

// TwinError is the error of a new realm or secret whose id or key equals another
// one but for case.
type TwinError struct {
	// Other is the id or key that is there.
	Other string
}

// Error implements error.
func (e *TwinError) Error() string { return fmt.Sprintf("differs from %q in case only", e.Other) }

// Page is a page of a list. Number starts at 1; Size is 1 to 1000.
type Page struct {
	Number int
	Size   int
}

// Store keeps realms, secrets, tokens and what belongs to them. All methods are
// safe for concurrent use; every write is durable when it returns. Identifiers
// are compared as bytes.
type Store interface {
	RealmStore
	SecretStore
	PushedStore
	TokenStore
	Coordinator
	AuthorizationStore
	CompanyStore
	ClientStore
	AuditStore

	// Open prepares the store for use: it connects, migrates the schema under
	// a lock, and checks that the encryption keys are those that sealed what
	// is stored (ErrKey). It may be called again after a failure.
	Open(ctx context.Context) error
	// Ping reports whether the store can be used now.
	Ping(ctx context.Context) error
	// Close releases everything. The store cannot be used afterwards.
	Close() error
}

// RealmStore keeps realms. Their shared fields are sealed.
type RealmStore interface {
	Realm(ctx context.Context, id string) (realm.Realm, error)
	// Realms lists a page, newest first, of the realms that a filter leaves, and
	// counts them all. Only those of the page are opened.
	Realms(ctx context.Context, page Page, f RealmFilter) ([]realm.Realm, int, error)
	// UpdateRealm reads the realm (a zero one with its id, and found false,
	// where there is none), lets change alter it and writes what it returns,
	// in one transaction, so that two updates at once cannot lose one. change
	// may be called several times (a transaction that lost against another
	// one is run again); its error is returned as it is, and nothing is
	// written then. A new id that equals another but for case (realm.FoldCase)
	// is a *TwinError, also when both are created at once.
	UpdateRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (realm.Realm, error)
	// DeleteRealm deletes a realm, and with cascade its secrets, tokens
	// and pushed values.
	// ErrRealmHasSecrets without.
	DeleteRealm(ctx context.Context, id string, cascade bool) error
}

// RealmFilter leaves some of the realms.
type RealmFilter struct {
	// Keyword is a part of the id or the comment (case-insensitively; % and _ are
	// plain characters); "" for all realms.
	Keyword string
	// Keep reports whether a realm is left; nil for all. It may be called more than
	// once for each.
	Keep func(id string) bool
}

// SecretStore keeps secrets, sealed. It does not check that their realm
// exists in it: the Caddyfile may define it.
type SecretStore interface {
	Secret(ctx context.Context, ref realm.Ref) (realm.Secret, error)
	// Secrets lists a page, newest first, of the secrets that a filter leaves, and
	// counts them all. Only those of the page are opened.
	Secrets(ctx context.Context, page Page, f SecretFilter) ([]realm.Secret, int, error)
	// CountSecrets counts the secrets of each of the realms that keep leaves (nil:
	// all), in one query. A realm without any is not in the answer.
	CountSecrets(ctx context.Context, realms []string, keep func(realm.Ref) bool) (map[string]int, error)
	// UpdateSecret is for secrets what UpdateRealm is for realms. change also
	// decides about the token, see TokenChange.
	UpdateSecret(ctx context.Context, ref realm.Ref, change func(s realm.Secret, found bool) (realm.Secret, TokenChange, error)) (realm.Secret, error)
	// DeleteSecret deletes a secret, its token and what was pushed to it.
	DeleteSecret(ctx context.Context, ref realm.Ref) error
}

// SecretFilter leaves some of the secrets.
type SecretFilter struct {
	// Realm is the realm that they are of; "" for all realms.
	Realm string
	// Keep reports whether one of them is left; nil for all. It may be called more
	// than once for each.
	Keep func(realm.Ref) bool
}

// TokenChange is what an update of a secret does to its token, in the same
// transaction.
type TokenChange struct {
	// DropAccess removes the access token; DropRefresh the refresh token, the
	// candidates beside it, and what the call that is under way will bring
	// (Claim.Dropped).
	DropAccess  bool
	DropRefresh bool
	// DropPushed removes the values that were pushed to the secret. They are
	// removed, too, if the secret is created: they were pushed to another one.
	DropPushed bool
	// Set is a token that somebody else got (its Lineage is set by the store:
	// one more than the stored one's). Of its access and its refresh token, what
	// it lacks stays as it was after the drops. What was kept with the stored
	// token stays with that one's refresh token, and goes with it: it may be
	// about another account than a refresh token that is new.
	Set *realm.Token
}

// Apply returns what becomes of a stored token, the zero one where there is
// none; not its lineage.
func (c TokenChange) Apply(t realm.Token) realm.Token {
	if c.DropAccess {
		t.Access, t.ExpiresAt = "", time.Time{}
	}
	if c.DropRefresh {
		t.Refresh, t.RefreshExpiresAt = "", time.Time{}
	}
	if t.Access == "" && t.Refresh == "" {
		t.Kept = ""
	}
	if c.Set == nil {
		return t
	}
	set := *c.Set
	if set.Refresh == "" {
		set.Refresh, set.RefreshExpiresAt, set.Kept = t.Refresh, t.RefreshExpiresAt, t.Kept
	}
	if set.Access == "" && t.Access != "" {
		set.Access, set.ExpiresAt, set.IssuedAt, set.Fingerprint = t.Access, t.ExpiresAt, t.IssuedAt, t.Fingerprint
	}
	return set
}

// TokenStore reads tokens, which are sealed. They are saved by
// Coordinator.Coordinate and SecretStore.UpdateSecret, each with the next
// lineage: a number never comes twice, even after a deletion. A stored token
// may have an empty Access (dropped) and still a refresh token. Its times are
// kept to the microsecond.
type TokenStore interface {
	// Token returns the stored token and the level that had it.
	// ErrTokenNotFound where there is none.
	Token(ctx context.Context, ref realm.Ref) (realm.Token, realm.Source, error)
}

// ChangeFeed is implemented by stores that several nodes share: it tells a
// node what the others changed.
type ChangeFeed interface {
	// Changes returns what changed since the cursor ("" for: from now on) and
	// the cursor to go on from. ErrGap when the cursor is too old: forget
	// everything and start again with "".
	Changes(ctx context.Context, since string) ([]Change, string, error)
}

// Change names what one committed write touched. An empty Key means the
// realm itself.
type Change struct {
	Ref realm.Ref
	// Client is the id of a client that was created, updated or deleted. Only a
	// change without a realm is one of clients; without an id as well, it may be
	// one of all of them: see RequireClients.
	Client string
	At     time.Time
}

// IsClient reports whether clients changed.
func (c Change) IsClient() bool { return c.Ref.Realm == "" }
