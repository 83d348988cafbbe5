// Package adminapi is the admin HTTP API: realms, secrets, tokens, companies,
// accounts and status, on net/http and nothing else. The shapes of realms,
// secrets, tokens and accounts are a contract with the clients of the earlier
// token cache and account services; openapi.json describes them all.
//
// One generic function reads requests, refuses what comes from other sites,
// bounds bodies and turns errors into problem documents (RFC 9457); the
// handlers only say what is done. Who the caller is, is found out before this
// handler (WithCaller); what he may do is decided here, for each route.
package adminapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/account"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Broker is what the API needs of a broker.View; its methods are documented
// there.
type Broker interface {
	account.Broker

	Token(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	Heal(ctx context.Context, ref realm.Ref, refused realm.Hidden, blame realm.Blame) (_ *realm.Lease, isBought bool, _ error)
	Test(ctx context.Context, ref realm.Ref, config *realm.Config) (grant.Report, error)
	AuthorizeURL(ctx context.Context, ref realm.Ref) (string, error)
	Proxyable(ctx context.Context, ref realm.Ref) (*realm.Lease, error)
	ReportAnswer(ctx context.Context, ref realm.Ref, lease *realm.Lease, a grant.APIAnswer) (*grant.ReportResponse, error)

	StatusPage(ctx context.Context, q broker.StatusQuery) (broker.Status, int)
	Counts(realms []string, may func(realm.Ref) bool) map[string]broker.RealmCounts
	Watch() *broker.Watch
	Outlook(from time.Time, steps int, step time.Duration, may func(realm.Ref) bool) (byState map[string]int, renewals []int)
	RotateKeys(ctx context.Context, progress func(tokenstore.TableProgress)) (tokenstore.Rotation, error)
	Backup(ctx context.Context, w io.Writer) error
	StatusOf(ref realm.Ref) (broker.TokenStatus, bool)
	ListedStatusOf(ref realm.Ref) (broker.TokenStatus, bool)
	CheckProxyable(ctx context.Context, ref realm.Ref) error
	Examine(ctx context.Context, ref realm.Ref)
}

// Catalog is what the API needs of a catalog.Catalog; its methods are
// documented there.
type Catalog interface {
	account.Catalog

	Realm(ctx context.Context, id string) (*catalog.Realm, error)
	RealmInfo(ctx context.Context, id string) (catalog.RealmInfo, error)
	Realms(ctx context.Context, page tokenstore.Page, f tokenstore.RealmFilter) ([]catalog.RealmInfo, int, error)
	SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (catalog.RealmInfo, error)
	SaveRealmKeepingValues(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (catalog.RealmInfo, error)
	DeleteRealm(ctx context.Context, id string, cascade bool) error
	ParentsToRead(ctx context.Context, r realm.Realm) ([]realm.Ref, error)
	TestedParents(ctx context.Context, ref realm.Ref, config *realm.Config) ([]realm.Ref, error)

	SecretInfo(ctx context.Context, ref realm.Ref) (catalog.SecretInfo, error)
	SourcesOf(ref realm.Ref) []catalog.SourceStatus
	Secrets(ctx context.Context, page tokenstore.Page, f tokenstore.SecretFilter) ([]catalog.SecretInfo, int, error)
	CountSecrets(ctx context.Context, realms []string, keep func(realm.Ref) bool) (map[string]int, error)
	SaveSecret(ctx context.Context, u catalog.SecretUpdate) (catalog.SecretInfo, error)
	DeleteSecret(ctx context.Context, ref realm.Ref) error
	Push(ctx context.Context, ref realm.Ref, field string, value realm.Hidden, life time.Duration) (tokenstore.PushedValue, error)
}

var (
	_ Broker  = (*broker.View)(nil)
	_ Catalog = (*catalog.Catalog)(nil)
)

// Options of the API; the zero value is usable.
type Options struct {
	// Clients are who may use what. New needs them, NewCallback does not.
	Clients Clients
	// Audit has what is done, and is shown by the API. Nil: nothing is written,
	// and there is nothing to show.
	Audit *audit.Recorder
	// Log gets internal errors, and a line for each request that IsConfidential
	// keeps out of an access log; nothing confidential goes to it. Nil: none.
	Log *zap.Logger
	// APIs sends the calls of dry runs. Nil: there are none.
	APIs APIs
	// Activities is what GET /api/activity shows of the past. Nil: nothing.
	Activities Activities
	// Ending is closed when answers that go on for ever have to end. Nil: never.
	Ending <-chan struct{}
	// Edge is why routes are refused that need a database. Nil: there is one.
	Edge *realm.Error
	// Now is the clock that the life left to a token is measured with. Nil:
	// time.Now.
	Now func() time.Time
}

// api answers its routes.
type api struct {
	routes   []route
	broker   Broker
	clients  Clients
	catalog  Catalog
	audit    *audit.Recorder
	accounts *account.Service
	apis     APIs
	log      *zap.Logger
	sampled  *zap.Logger
	ending   <-chan struct{}
	// activities may be nil.
	activities Activities
	streams    streams
	// edge is Options.Edge.
	edge *realm.Error
	now  func() time.Time
}

// New makes the handler of everything that Serves says. Any other path is
// answered with 404.
func New(b Broker, c Catalog, opts Options) http.Handler { return newAPI(routes, b, c, opts) }

// NewCallback makes the handler of the providers' callbacks, which anybody may
// call, and of nothing else. Any other path is answered with 404.
func NewCallback(b Broker, c Catalog, opts Options) http.Handler {
	return newAPI(callbackRoutes, b, c, opts)
}

func newAPI(routes []route, b Broker, c Catalog, opts Options) *api {
	if opts.Audit != nil {
		b = auditedBroker{b, opts.Audit}
	}
	a := &api{routes: routes, broker: b, catalog: c, clients: opts.Clients, audit: opts.Audit, apis: opts.APIs, log: opts.Log, ending: opts.Ending, activities: opts.Activities, edge: opts.Edge, now: opts.Now}
	if a.log == nil {
		a.log = zap.NewNop()
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.sampled = Sampled(a.log)
	a.accounts = account.New(b, c, a.log)
	return a
}
