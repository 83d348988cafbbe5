package broker

import (
	"cmp"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/internal/claim"
	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ViewConfig is what one configuration says.
type ViewConfig struct {
	Definitions []catalog.Definition
	// Client makes the token requests of this configuration.
	Client *grant.Client
	// Proxied: the configuration has a proxy for realms that name none.
	Proxied bool
	// Before is how long ahead of its end a token is renewed, where the realm
	// says nothing; the zero value: 10% of its life.
	Before realm.Lead
	// Jitter is the share of a token's life over which renewals are spread,
	// ahead of that; nil: 0.1.
	Jitter *float64
	// Concurrency is how many calls of a realm may be under way, over all
	// nodes, where the realm says nothing; 0: 4.
	Concurrency int
	// Cron is when all tokens are renewed besides; "" for never. See
	// ParseCron.
	Cron string
	// OnDemand: no loop renews tokens. One that is due is renewed beside a request
	// for it, or by whoever asks IsDue. There is no Cron then.
	OnDemand bool
	// Timeout of one token request where the realm says none; 0: 10s.
	Timeout time.Duration
}

// View is one configuration's face of a pool. All errors of its methods that
// a caller can do something about are *realm.Error or *realm.FieldError.
type View struct {
	pool        *Pool
	catalog     *catalog.Catalog
	client      *grant.Client
	before      realm.Lead
	jitter      float64
	concurrency int
	callTimeout time.Duration
	cron        cron.Schedule // nil for none
	onDemand    bool
}

const (
	// defaultTimeout of one token request.
	defaultTimeout = 10 * time.Second
	// defaultConcurrency is how many calls of a realm may be under way.
	defaultConcurrency = 4
	// defaultBackoffCap is the longest wait between two calls that fail, unless
	// the provider asks for more.
	defaultBackoffCap = time.Minute
)

// View makes the face of the pool for one configuration. Errors name the
// realm and field that is wrong. Nothing is opened or started.
func (p *Pool) View(cfg ViewConfig) (*View, error) {
	v := &View{
		pool: p, client: cfg.Client, callTimeout: cfg.Timeout, before: cfg.Before, onDemand: cfg.OnDemand,
		jitter: defaultJitter, concurrency: cmp.Or(cfg.Concurrency, defaultConcurrency),
	}
	if v.before.IsZero() {
		v.before.Share = defaultBefore
	}
	if cfg.Jitter != nil {
		v.jitter = *cfg.Jitter
	}
	if v.callTimeout == 0 {
		v.callTimeout = defaultTimeout
	}
	var err error
	if cfg.Cron != "" {
		if v.cron, err = ParseCron(cfg.Cron); err != nil {
			return nil, err
		}
	}
	if v.catalog, err = catalog.New(p.cache, cfg.Definitions, cfg.Proxied); err != nil {
		return nil, err
	}
	return v, nil
}

// Catalog is which realms, secrets and companies this configuration sees.
func (v *View) Catalog() *catalog.Catalog { return v.catalog }

// terms are what a realm says about calls to its provider.
func (v *View) terms(c *catalog.Realm) claim.Terms {
	l, semantics := &c.Config.Limits, c.Program.RefreshSemantics()
	return claim.Terms{
		CanFetch: c.Program.CanFetch(), CanRefresh: c.Program.CanRefresh(), Unattended: c.Program.Unattended(),
		MayResend:   semantics == realm.RefreshStable || semantics == realm.RefreshGrace,
		Concurrency: cmp.Or(l.Concurrency, v.concurrency), MinInterval: l.MinInterval.Std(),
		BackoffCap: l.BackoffCap.Or(defaultBackoffCap), Windows: l.Windows, Timeout: l.Timeout.Or(v.callTimeout),
	}
}
