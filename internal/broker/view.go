// Package broker answers "the token of (realm, key)": from memory, from the
// store, or by one fetch for everybody who asks. Realms and secrets are saved
// through it, so that what memory holds is invalidated in one place.
//
// A Pool is what outlives a configuration: the store's handles, the memory
// level, the flights. A View is one configuration's face of it: it adds the
// realms and secrets that the configuration defines.
package broker

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Pool is shared by all configurations that use the same store.
type Pool struct{}

// New makes a pool over a store, which it owns from then on. Nothing is
// opened yet. now is the clock (nil: time.Now).
func New(store tokenstore.Store, log *zap.Logger, now func() time.Time) *Pool { panic("unwritten") }

// Open prepares the store (schema, keys), once; requests that come before it
// has succeeded call it themselves and wait for it. After a failure the next
// call tries again.
func (p *Pool) Open(ctx context.Context) error { panic("unwritten") }

// Close ends what is under way (it waits for flights, at most as long as
// their deadlines) and closes the store. It has caddy.Destructor's form.
func (p *Pool) Destruct() error { panic("unwritten") }

// View makes the face of the pool for one configuration. Errors name the
// realm and field that is wrong. Nothing is opened or started.
func (p *Pool) View(cfg ViewConfig) (*View, error) { panic("unwritten") }

// Definition is a realm that a configuration defines, with its secrets. It is
// read-only for the API.
type Definition struct {
	Realm   realm.Realm
	Secrets []realm.Secret
}

// ViewConfig is what one configuration says.
type ViewConfig struct {
	Definitions []Definition
	// Client makes the token requests of this configuration.
	Client *grant.Client
	// Before is how long ahead of its end a token is renewed: a share of its
	// life (0.1), or a duration where BeforeFixed is set.
	Before      float64
	BeforeFixed time.Duration
	// Timeout of one token request where the realm says none; 0: 10s.
	Timeout time.Duration
}

// View is one configuration's face of a pool. All errors of its methods that
// a caller can do something about are *realm.Error or *realm.FieldError.
type View struct{}

// RealmInfo is a realm as the API shows it.
type RealmInfo struct {
	realm.Realm
	ReadOnly     bool     // defined in the Caddyfile
	NotYetActive []string // fields whose behaviour is not built yet
}

// SecretInfo is a secret as the API shows it: its Fields print masked.
type SecretInfo struct {
	realm.Secret
	ReadOnly bool
}

// SecretUpdate is a change of a secret; what is nil or absent stays.
type SecretUpdate struct {
	Ref realm.Ref
	// Fields to set; a nil pointer removes the field. A value equal to
	// realm.Mask leaves the stored one.
	Fields map[string]*realm.Hidden
	// Token is imported as the secret's token; with a static grant it becomes
	// the field "token".
	Token *realm.Hidden
	// ExpiresAt is the end of the imported token (zero: none).
	ExpiresAt *time.Time
	// DropRefreshToken drops the refresh token too when a value changes.
	DropRefreshToken bool
}

// Token returns the live token of (realm, key): from memory without a lock or
// an allocation, else from the store, else by one fetch for all who wait.
func (v *View) Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error) { panic("unwritten") }

// Flush fetches anew and returns the new token. For a fixed token:
// CodeFixedToken.
func (v *View) Flush(ctx context.Context, ref realm.Ref) (*realm.Lease, error) { panic("unwritten") }

// Proxyable returns the lease for a proxied request: Token, and an error with
// CodeNotProxyable where the realm cannot be proxied.
func (v *View) Proxyable(ctx context.Context, ref realm.Ref) (*realm.Lease, error) {
	panic("unwritten")
}

// Realm returns one realm. CodeRealmNotFound (404).
func (v *View) Realm(ctx context.Context, id string) (RealmInfo, error) { panic("unwritten") }

// Realms lists a page of the realms whose id or comment contains the keyword:
// those of the configuration first, then the stored ones, newest first.
func (v *View) Realms(ctx context.Context, page tokenstore.Page, keyword string) ([]RealmInfo, int, error) {
	panic("unwritten")
}

// SaveRealm creates or updates a realm: change gets the stored one (found
// false and only the id set where there is none) and returns what is to be
// stored. It is validated and compiled before it is saved. CodeReadOnly.
func (v *View) SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (RealmInfo, error) {
	panic("unwritten")
}

// DeleteRealm deletes a realm, with cascade also its secrets and tokens.
// CodeRealmNotFound, CodeConflict (it has secrets), CodeReadOnly.
func (v *View) DeleteRealm(ctx context.Context, id string, cascade bool) error { panic("unwritten") }

// Secret returns one secret. CodeSecretNotFound.
func (v *View) Secret(ctx context.Context, ref realm.Ref) (SecretInfo, error) { panic("unwritten") }

// Secrets lists a page of one realm's secrets ("" for all).
func (v *View) Secrets(ctx context.Context, page tokenstore.Page, realmID string) ([]SecretInfo, int, error) {
	panic("unwritten")
}

// SaveSecret creates or updates a secret. CodeRealmNotFound (with status 400)
// for an unknown realm, CodeReadOnly.
func (v *View) SaveSecret(ctx context.Context, u SecretUpdate) (SecretInfo, error) {
	panic("unwritten")
}

// DeleteSecret deletes a secret and its token. CodeSecretNotFound, CodeReadOnly.
func (v *View) DeleteSecret(ctx context.Context, ref realm.Ref) error { panic("unwritten") }

// Test makes a token request and tells what happened, without saving or
// publishing anything. With config, that one is used instead of the realm's.
func (v *View) Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error) {
	panic("unwritten")
}

// Status tells the health of the stores and the state of every token that
// memory knows.
func (v *View) Status(ctx context.Context) Status { panic("unwritten") }

// Status is the answer of GET /api/status.
type Status struct {
	Stores []StoreStatus `json:"stores"`
	Tokens []TokenStatus `json:"tokens"`
}

// StoreStatus is the health of one level.
type StoreStatus struct {
	Name  string `json:"name"` // sqlite, mysql, redis
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// TokenStatus is the state of one (realm, key).
type TokenStatus struct {
	Realm     string     `json:"realm"`
	Key       string     `json:"key"`
	State     string     `json:"state"` // live, expired, failing, idle
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	LastFetch *time.Time `json:"last_fetch,omitempty"`
	LastError string     `json:"last_error,omitempty"`
	// NextRefresh is when the next call to the provider may or will happen.
	NextRefresh *time.Time `json:"next_refresh,omitempty"`
	Fetches     int64      `json:"fetches"`
}
