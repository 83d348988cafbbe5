// Package broker answers "the token of (realm, key)": from memory, from the
// store, or by one fetch for everybody who asks. Realms and secrets are saved
// through it, so that what memory holds is invalidated in one place.
//
// A Pool is what outlives a configuration: the store's handles, the memory
// level, the flights. A View is one configuration's face of it: it adds the
// realms and secrets that the configuration defines.
package broker

import (
	"cmp"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

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
	// Before is how long ahead of its end a token is renewed, where the realm
	// says nothing; the zero value: 10% of its life.
	Before realm.Lead
	// Jitter is the share of a token's life over which renewals are spread,
	// ahead of that; nil: 0.1.
	Jitter *float64
	// Concurrency is how many calls of a realm may be under way, over all
	// nodes, where the realm says nothing; 0: 4.
	Concurrency int
	// Cron is when all tokens are renewed, as well; "" for never. See
	// ParseCron.
	Cron string
	// Timeout of one token request where the realm says none; 0: 10s.
	Timeout time.Duration
}

// View is one configuration's face of a pool. All errors of its methods that
// a caller can do something about are *realm.Error or *realm.FieldError.
type View struct {
	pool        *Pool
	client      *grant.Client
	before      realm.Lead
	jitter      float64
	concurrency int
	callTimeout time.Duration
	cron        cron.Schedule // nil for none

	defined map[string]*compiled
	order   []string // the ids of defined, as they were written
}

const (
	// defaultTimeout of one token request.
	defaultTimeout = 10 * time.Second
	// defaultConcurrency is how many calls of a realm may be under way.
	defaultConcurrency = 4
)

// View makes the face of the pool for one configuration. Errors name the
// realm and field that is wrong. Nothing is opened or started.
func (p *Pool) View(cfg ViewConfig) (*View, error) {
	v := &View{
		pool: p, client: cfg.Client, callTimeout: cfg.Timeout, before: cfg.Before,
		jitter: defaultJitter, concurrency: cmp.Or(cfg.Concurrency, defaultConcurrency),
		defined: make(map[string]*compiled, len(cfg.Definitions)),
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
	if cfg.Cron != "" {
		var err error
		if v.cron, err = ParseCron(cfg.Cron); err != nil {
			return nil, err
		}
	}
	for _, d := range cfg.Definitions {
		c, err := define(d)
		if err != nil {
			return nil, fmt.Errorf("realm %q: %w", d.Realm.ID, err)
		}
		if _, twice := v.defined[d.Realm.ID]; twice {
			return nil, fmt.Errorf("realm %q: defined twice", d.Realm.ID)
		}
		v.defined[d.Realm.ID], v.order = c, append(v.order, d.Realm.ID)
	}
	return v, nil
}

// define compiles a realm of a configuration. Its secrets are bound once, so
// that a missing field stops the start and not the first request.
func define(d Definition) (*compiled, error) {
	c, err := compile(d.Realm, true)
	if err != nil {
		return nil, err
	}
	c.secrets = make(map[string]realm.Secret, len(d.Secrets))
	for _, s := range d.Secrets {
		s.Realm = d.Realm.ID
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if _, err := c.program.Bind(s); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if _, twice := c.secrets[s.Key]; twice {
			return nil, fmt.Errorf("secret %q: defined twice", s.Key)
		}
		c.secrets[s.Key] = s
	}
	return c, nil
}

// terms are what a realm says about calls to its provider.
func (v *View) terms(c *compiled) terms {
	l, semantics := &c.config.Limits, c.program.RefreshSemantics()
	return terms{
		canFetch: c.program.CanFetch(), canRefresh: c.program.CanRefresh(), unattended: c.program.Unattended(),
		keeps:       semantics == realm.RefreshStable || semantics == realm.RefreshGrace,
		concurrency: cmp.Or(l.Concurrency, v.concurrency), minInterval: l.MinInterval.Std(),
		backoffCap: l.BackoffCap.Or(defaultCap), windows: l.Windows, timeout: l.Timeout.Or(v.callTimeout),
	}
}

// exclusive says whether a new token ends the one before at once.
func (c *compiled) exclusive() bool {
	return c.config.Semantics == realm.SemanticsRotate && c.config.Overlap == 0
}
