// Package adminapi is the admin HTTP API: realms, secrets, tokens, companies,
// accounts and status, on net/http and nothing else. The shapes of realms,
// secrets, tokens and accounts are a contract with the clients of the earlier
// token cache and account services; openapi.json describes them all.
//
// One generic function reads requests, refuses what comes from other sites,
// bounds bodies and turns errors into problem documents (RFC 9457); the
// handlers only say what is done. Who may call at all is decided before this
// handler.
package adminapi

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Broker is what the API needs of a broker.View; its methods are documented
// there.
type Broker interface {
	account.Broker

	Realm(ctx context.Context, id string) (broker.RealmInfo, error)
	Realms(ctx context.Context, page tokenstore.Page, keyword string) ([]broker.RealmInfo, int, error)
	SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (broker.RealmInfo, error)
	DeleteRealm(ctx context.Context, id string, cascade bool) error
	Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error)

	Secret(ctx context.Context, ref realm.Ref) (broker.SecretInfo, error)
	Secrets(ctx context.Context, page tokenstore.Page, realmID string) ([]broker.SecretInfo, int, error)
	SaveSecret(ctx context.Context, u broker.SecretUpdate) (broker.SecretInfo, error)
	DeleteSecret(ctx context.Context, ref realm.Ref) error
	AuthorizeURL(ctx context.Context, ref realm.Ref) (string, error)

	Status(ctx context.Context) broker.Status
}

var _ Broker = (*broker.View)(nil)

// Options of the API; the zero value is usable.
type Options struct {
	// Log gets internal errors, and a line for each request that Conceals
	// keeps out of an access log; nothing confidential goes to it. Nil: none.
	Log *zap.Logger
	// Now is the clock that the life left to a token is measured with. Nil:
	// time.Now.
	Now func() time.Time
}

// api answers its routes.
type api struct {
	routes   []route
	broker   Broker
	accounts *account.Service
	log      *zap.Logger
	sampled  *zap.Logger
	now      func() time.Time
}

// New makes the handler of everything that Serves says. Any other path is
// answered with 404.
func New(b Broker, opts Options) http.Handler { return newAPI(routes, b, opts) }

// NewCallback makes the handler of the providers' callbacks, which anybody may
// call, and of nothing else. Any other path is answered with 404.
func NewCallback(b Broker, opts Options) http.Handler { return newAPI(callbacks, b, opts) }

func newAPI(routes []route, b Broker, opts Options) *api {
	a := &api{routes: routes, broker: b, log: opts.Log, now: opts.Now}
	if a.log == nil {
		a.log = zap.NewNop()
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.sampled = Sampled(a.log)
	a.accounts = account.New(b, a.log)
	return a
}
