// Package caddymodule makes Caddy modules of the packages below: the app tokens,
// the transport token, the handlers token_gateway, token_admin, token_console,
// token_callback and token_health, and the Caddyfile directives for them. It is the only package
// that knows Caddy; what the modules do is done elsewhere.
package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/audit"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/internal/inject"
	"github.com/caddy-tokens/caddy-tokens/internal/netguard"
	"github.com/caddy-tokens/caddy-tokens/internal/session"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// appName is the id of the app, and the name of its global option.
const appName = "tokens"

// startTimeout bounds how long a start waits for the store.
const startTimeout = 30 * time.Second

// dialTimeout bounds one connection to a token endpoint.
const dialTimeout = 5 * time.Second

func init() {
	caddy.RegisterModule((*App)(nil))
}

// App keeps the tokens of third-party APIs: it knows the realms and secrets,
// fetches their tokens and hands them to the transport and the handlers.
//
// {env.NAME} and {file./absolute/path} are replaced in every value below when
// the configuration is loaded; an unset variable is an error. That way no
// secret stands in the configuration itself.
type App struct {
	// Where realms, secrets and tokens are kept, or which other instance has them.
	// Default: SQLite, in the file tokens.db in Caddy's data directory.
	Storage *Storage `json:"storage,omitempty"`

	// A cache in front of the storage, shared by several nodes. Default: none.
	Cache *Cache `json:"cache,omitempty"`

	// The keys that seal secrets and tokens in the storage: 32 bytes each, in
	// base64. The first one seals, all of them open, so that a new key is put
	// in front of the old one. Default with SQLite: a key file beside the
	// database, made on the first start. Required with MySQL.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	// Prefixes, addresses and host names that realms of the database may
	// reach although they are not public: for token requests and as upstream
	// of the gateway. Default: none.
	AllowPrivate []string `json:"allow_private,omitempty"`

	// The http, https or socks5 URL of a proxy for token requests and API calls, with
	// a user and a password where it wants them. Behind it, resolve lets the proxy look
	// the names up; they are looked up, and their addresses checked, here without it.
	// Realms may have one of their own, or go without. What is not https does not
	// go through a proxy. Default: none; HTTP_PROXY and its kin are not used.
	Proxy string `json:"proxy,omitempty"`

	// When and how tokens are renewed.
	Refresh *Refresh `json:"refresh,omitempty"`

	// Callers have to be clients, also while there is none. Default: from the
	// first client on.
	RequireClient bool `json:"require_client,omitempty"`

	// The clients of this configuration: who may use what. More can be made by
	// the admin API. Default: none.
	Clients []Client `json:"clients,omitempty"`

	// What fields that name a source of this name have in common: the connection, and
	// who is signed in. Default: none.
	SourcesRaw caddy.ModuleMap `json:"sources,omitempty" caddy:"namespace=tokens.sources"`

	// What is written down of who did what.
	Audit *Audit `json:"audit,omitempty"`

	// The realms of this configuration. More can be made by the admin API.
	Realms []Realm `json:"realms,omitempty"`

	log  *zap.Logger
	id   *storeID // of the pool that is held; nil for none
	pool *broker.Pool
	view *broker.View
	// registry has the clients of the store; clients are those that this
	// configuration sees.
	registry *access.Registry
	clients  *access.View
	events   *events
	guard    netguard.Policy
	// sources are the fields whose values come from elsewhere.
	sources *fieldSources
	// proxy is that of the configuration; nil for none.
	proxy *realm.Proxy
	// remote: the store is on another machine, so that a start does not fail
	// where it cannot be reached.
	remote bool
	// apiAddresses are the host:port by realm, see literalAPIs.
	apiAddresses map[string]string
	// named are the realms that handlers name in plain words, each once.
	named map[string]bool
	// ending ends what Start began in the background; ended is closed when it
	// has ended.
	ending context.CancelFunc
	ended  chan struct{}
	// started counts the configurations that use the pool, this one as long as
	// isStarted.
	started   *atomic.Int32
	isStarted bool
	// recorder writes the audit, as auditSettings say; nil on an edge.
	recorder      *audit.Recorder
	auditSettings audit.Settings
	// sessions are those of the console; nil on an edge.
	sessions *session.Sessions
	// adminFile has the admin token, unless a handler has one of its own.
	adminFile *adminFile
	// apiFile tells commands where the API is.
	apiFile *apiFile
	ctx     caddy.Context
	// tokenFailures counts wrong admin tokens, and keyFailures wrong API keys,
	// whichever handler they were sent to.
	tokenFailures, keyFailures *failures
	// history is what all transports of this configuration remember of answers.
	history *inject.History
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  appName,
		New: func() caddy.Module { return new(App) },
	}
}

// Provision fills in what comes from the environment, checks the realms and
// takes hold of the pool. Nothing is opened: `caddy validate` provisions too.
func (a *App) Provision(ctx caddy.Context) error {
	err := a.provision(ctx)
	return withoutValues(a, a.sources.values(), err)
}

func (a *App) provision(ctx caddy.Context) error {
	a.log, a.ctx = ctx.Logger(), ctx
	var err error
	if a.sources, err = newFieldSources(ctx, a.SourcesRaw); err != nil {
		return err
	}
	if err := registerMetrics(ctx); err != nil {
		return err
	}
	defs, err := definitions(a.Realms, a.sources)
	if err != nil {
		return err
	}
	if a.isEdge() {
		if err := a.checkEdge(); err != nil {
			return err
		}
	}
	a.apiAddresses = literalAPIs(defs)
	if a.events, err = newEvents(ctx); err != nil {
		return err
	}
	if a.guard, err = a.policy(); err != nil {
		return err
	}
	if err := a.provisionProxy(); err != nil {
		return err
	}
	cfg := broker.ViewConfig{
		Definitions: defs, Proxied: a.proxy != nil,
		Client: grant.NewNetworkClient(a.network(&net.Dialer{Timeout: dialTimeout, KeepAlive: -1}), nil),
	}
	if err := a.Refresh.apply(&cfg); err != nil {
		return err
	}
	if a.auditSettings, err = a.Audit.settings(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := a.acquirePool(); err != nil {
		return err
	}
	a.history = new(inject.History)
	a.tokenFailures, a.keyFailures = newFailures("admin token, link or session", a.log, time.Now), newFailures("API key", a.log, time.Now)
	if a.view, err = a.pool.View(cfg); err != nil {
		return err
	}
	a.clients, err = a.clientView()
	return err
}

// Start opens the store. A wrong or missing encryption key and a damaged
// database are refusals; a database server that cannot be reached is not,
// because requests open the store themselves when it is back.
func (a *App) Start() error {
	a.keepMemoryPrivate()
	newestApp.Add(a)
	a.events.work.Go(func() { a.events.run(a) })
	a.warnResolving()
	a.sources.start()
	a.view.Drive()
	a.clients.Start()
	if a.recorder != nil { // an edge has none
		a.recorder.Apply(a.auditSettings)
		a.recorder.Start()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := a.open(ctx); err != nil {
		return err
	}
	a.adminFile.start(a.log)
	a.apiFile.write(a.ctx, a.adminFile.path, a.log)
	looking, end := context.WithCancel(context.Background())
	a.ending, a.ended = end, make(chan struct{})
	go func() {
		defer close(a.ended)
		sampling := make(chan struct{})
		go func() { defer close(sampling); recentActivity.run(looking) }()
		defer func() { <-sampling }()
		a.warnUnknown(looking)
		a.warnUnknownRules(looking)
		a.warnShadowed(looking)
	}()
	a.isStarted = true
	a.started.Add(1)
	return nil
}

// keepMemoryPrivate protects the memory of the process, and says so. It stays so
// until the process ends.
func (a *App) keepMemoryPrivate() {
	switch err := protectMemory(); {
	case err == nil:
		a.log.Info("the process writes no core dump, and others of its user cannot attach to it")
	case errors.Is(err, errors.ErrUnsupported):
		a.log.Info("core dumps are not switched off on this system; they would hold secrets and tokens")
	default:
		a.log.Warn("core dumps, which would hold secrets and tokens, could not be switched off", zap.Error(err))
	}
}

func (a *App) open(ctx context.Context) error {
	err := a.pool.Open(ctx)
	away := errors.Is(err, tokenstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	if away && a.remote {
		a.log.Error("the store cannot be reached; it is tried again with the next requests", zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	return nil
}

// Stop ends the events of this configuration. Requests may still be under way,
// perhaps of a configuration that lives on because another app failed to
// start; the pool is released by Cleanup.
func (a *App) Stop() error {
	newestApp.Remove(a)
	if a.isStarted {
		a.isStarted = false
		a.started.Add(-1)
	}
	if a.ending != nil {
		a.ending()
		<-a.ended
	}
	a.sources.stop()
	a.events.close()
	return nil
}

// Cleanup releases the pool.
func (a *App) Cleanup() error {
	newestApp.Remove(a)
	if a.sources != nil {
		a.sources.close()
	}
	if a.events != nil { // it is not stopped where it was not started
		a.events.close()
	}
	if a.id == nil {
		return nil
	}
	if a.view != nil {
		a.view.Rest()
	}
	if a.clients != nil {
		a.clients.Close()
	}
	_, err := pools.Delete(*a.id)
	a.id = nil
	return err
}

// policy says which addresses may be dialled for realms of the database, which
// the operator did not write.
func (a *App) policy() (netguard.Policy, error) {
	entries, err := resolveAll(a.AllowPrivate)
	if err != nil {
		return netguard.Policy{}, fmt.Errorf("allow_private: %w", err)
	}
	return netguard.Parse(entries)
}

// nameRealm notes that a handler names a realm. A template is no name.
func (a *App) nameRealm(t refTemplate) {
	if t.realm == "" || strings.Contains(t.realm, "{") {
		return
	}
	if a.named == nil {
		a.named = make(map[string]bool)
	}
	a.named[t.realm] = true
}

// warnUnknown names the realms that handlers name and nobody defined: most
// likely a slip, which would otherwise show with the first request only. It is
// no error, because the API may define them later. A store that cannot be
// reached knows of none, and nothing is said.
func (a *App) warnUnknown(ctx context.Context) {
	for _, id := range slices.Sorted(maps.Keys(a.named)) {
		if a.isUnknownRealm(ctx, id) {
			a.log.Warn("a handler names a realm that is neither in the configuration nor in the database; its requests are "+
				"answered with 404 until the realm is created", zap.String("realm", id))
		}
	}
}

// isUnknownRealm reports whether there certainly is no realm with this id.
func (a *App) isUnknownRealm(ctx context.Context, id string) bool {
	_, err := a.view.Catalog().RealmInfo(ctx, id)
	var unknown *realm.Error
	return errors.As(err, &unknown) && unknown.Code == realm.CodeRealmNotFound
}

// appOf returns the app, with default settings where the configuration has
// none.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App(appName)
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// Interface guards
var (
	_ caddy.Module       = (*App)(nil)
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ inject.Source      = (*broker.View)(nil)
)
