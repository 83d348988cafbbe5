// Package broker answers "the token of (realm, key)": from memory, from the
// store, or by one fetch for everybody who asks. Realms and secrets are saved
// through it, so that what memory holds is invalidated in one place.
//
// A Pool is what outlives a configuration: the store's handles, the memory
// level, the flights. A View is one configuration's face of it: it adds the
// realms and secrets that the configuration defines.
package broker

import (
	"fmt"
	"time"

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
	// Before is how long ahead of its end a token is renewed: a share of its
	// life (0: 0.1), capped at ten minutes; or a duration, where BeforeFixed
	// is set.
	Before      float64
	BeforeFixed time.Duration
	// Timeout of one token request where the realm says none; 0: 10s.
	Timeout time.Duration
}

// View is one configuration's face of a pool. All errors of its methods that
// a caller can do something about are *realm.Error or *realm.FieldError.
type View struct {
	pool        *Pool
	client      *grant.Client
	before      float64
	beforeFixed time.Duration
	callTimeout time.Duration

	defined map[string]*compiled
	order   []string // the ids of defined, as they were written
}

// defaultTimeout of one token request.
const defaultTimeout = 10 * time.Second

// View makes the face of the pool for one configuration. Errors name the
// realm and field that is wrong. Nothing is opened or started.
func (p *Pool) View(cfg ViewConfig) (*View, error) {
	v := &View{
		pool: p, client: cfg.Client, before: cfg.Before, beforeFixed: cfg.BeforeFixed, callTimeout: cfg.Timeout,
		defined: make(map[string]*compiled, len(cfg.Definitions)),
	}
	if v.before == 0 {
		v.before = defaultBefore
	}
	if v.callTimeout == 0 {
		v.callTimeout = defaultTimeout
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
	if err := d.Realm.Validate(); err != nil {
		return nil, err
	}
	program, err := grant.Compile(d.Realm, true)
	if err != nil {
		return nil, err
	}
	c := &compiled{program: program, defined: true, secrets: make(map[string]realm.Secret, len(d.Secrets))}
	for _, s := range d.Secrets {
		s.Realm = d.Realm.ID
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if _, err := program.Bind(s); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if _, twice := c.secrets[s.Key]; twice {
			return nil, fmt.Errorf("secret %q: defined twice", s.Key)
		}
		c.secrets[s.Key] = s
	}
	return c, nil
}

// timeout of one token request of a realm.
func (v *View) timeout(c *compiled) time.Duration {
	return c.program.Realm().Config.Limits.Timeout.Or(v.callTimeout)
}
