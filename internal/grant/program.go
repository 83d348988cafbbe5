package grant

import (
	"context"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Program is a compiled realm: immutable and safe for concurrent use.
type Program struct{}

// Bound is a program with one secret's values. Making one is cheap; it holds
// the values in clear and is not kept.
type Bound struct{}

// Request says how a token is to be fetched.
type Request struct {
	// Force asks the provider for a new token even where it would give the
	// old one again ({force} in the recipe).
	Force bool
	// Report, when set, is filled with what happened, redacted.
	Report *Report
}

// Result is what a provider gave.
type Result struct {
	// Token has Access, ExpiresAt, IssuedAt (the moment at which the request
	// was sent), Refresh, RefreshExpiresAt and Fingerprint; not Lineage.
	Token realm.Token
	// Once: the provider gave a life of zero or less. The token serves the
	// callers that wait for it, and the next fetch is not before a second
	// has passed.
	Once bool
	// Took is how long the call lasted.
	Took time.Duration
	// Warnings are for the log: an expiry that was absent or clamped. They
	// hold nothing confidential.
	Warnings []string
}

// Compile gives meaning to a realm whose shape is valid: it parses templates,
// checks answer paths and expands the grant. Errors are *realm.FieldError.
//
// trusted says that the operator named the realm's hosts in the configuration
// file: token requests and API requests may then go to any address, else only
// where netguard lets them.
func Compile(r realm.Realm, trusted bool) (*Program, error) { panic("unwritten") }

// Realm is what was compiled.
func (p *Program) Realm() realm.Realm { panic("unwritten") }

// Fetches says whether the realm has a way to get a token at all; a realm
// with a fixed token (static) has none.
func (p *Program) Fetches() bool { panic("unwritten") }

// NotProxyable returns why requests cannot be proxied with this realm ("" if
// they can): it has no api, or no inject.
func (p *Program) NotProxyable() string { panic("unwritten") }

// Inactive is the reason why the realm cannot get a token yet, "" if it can:
// it uses a field whose behaviour is not built.
func (p *Program) Inactive() string { panic("unwritten") }

// Timeout is the deadline of one call.
func (p *Program) Timeout() time.Duration { panic("unwritten") }

// Bind fills the program with a secret. A field of the secret that is missing
// is a *realm.FieldError that names it.
func (p *Program) Bind(s realm.Secret) (*Bound, error) { panic("unwritten") }

// Fingerprint identifies recipe and secret together.
func (b *Bound) Fingerprint() realm.Fingerprint { panic("unwritten") }

// Target says where the token may go. It is the same pointer for every secret
// of a program whose api and hosts hold no {secret.x}.
func (b *Bound) Target() (*realm.Target, error) { panic("unwritten") }

// Place fills the injections with a token: one value for each of
// Target.Inject, as realm.Lease.Values wants them. The returned access token
// shares its memory with a value, where it can.
func (b *Bound) Place(token realm.Hidden) (values []string, access realm.Hidden, err error) {
	panic("unwritten")
}

// Fixed is the token of a static grant.
func (b *Bound) Fixed() (realm.Token, error) { panic("unwritten") }

// Fetch asks the provider for a token: one HTTP call, bounded by ctx, the
// realm's timeout and 1 MiB, without redirects and without a retry. Errors
// are *Error.
func (b *Bound) Fetch(ctx context.Context, c *Client, req Request) (Result, error) {
	panic("unwritten")
}

// Client makes the calls to token endpoints.
type Client struct{}

// NewClient makes a client. guard dials for realms that are not trusted (see
// netguard); now is the clock (nil: time.Now).
func NewClient(guard netguard.Dialer, now func() time.Time) *Client { panic("unwritten") }
