// Package catalog knows which realms, secrets and companies there are. It
// compiles realms, and it creates, changes, deletes and lists all three.
//
// A Cache is what outlives a configuration: the realms of the store as they
// were compiled, and the secrets that were used last. A Catalog is what one
// configuration sees: the realms and secrets that it defines, which the API
// cannot change, and behind them those of the store.
//
// The package neither holds tokens nor asks providers for them, and it knows
// nothing of the flights and claims by which the broker does so. The broker
// learns of each change by one callback, Config.Changed, and drops what its
// memory knows.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// Definition is a realm that a configuration defines, with its secrets, and with
// where the values of their fields come from that do not stand in it.
type Definition struct {
	Realm   realm.Realm
	Secrets []realm.Secret
	Sources Sources
}

// Catalog is what one configuration sees of the realms, secrets and companies.
// All errors of its methods that a caller can do something about are
// *realm.Error or *realm.FieldError.
type Catalog struct {
	cache   *Cache
	defined map[string]*Realm
	order   []string // the ids of defined, as they were written
	// ownSecrets are the secrets of defined, by realm as they were written, and by key.
	ownSecrets []realm.Ref
	// proxied: realms that say nothing about a proxy have that of the configuration.
	proxied bool
}

// New makes the catalog of a configuration. proxied: it has a proxy for realms that
// name none, to which no token may go in clear. Errors name the realm and the
// field that is wrong. The store is neither opened nor read.
func New(cache *Cache, definitions []Definition, proxied bool) (*Catalog, error) {
	c := &Catalog{cache: cache, defined: make(map[string]*Realm, len(definitions)), proxied: proxied}
	for _, d := range definitions {
		r, err := d.compile()
		if err == nil {
			err = c.checkProxied(r)
		}
		if err != nil {
			return nil, fmt.Errorf("realm %q: %w", d.Realm.ID, err)
		}
		if _, twice := c.defined[d.Realm.ID]; twice {
			return nil, fmt.Errorf("realm %q: defined twice", d.Realm.ID)
		}
		c.defined[d.Realm.ID], c.order = r, append(c.order, d.Realm.ID)
		for _, key := range slices.Sorted(maps.Keys(r.Secrets)) {
			c.ownSecrets = append(c.ownSecrets, realm.Ref{Realm: d.Realm.ID, Key: key})
		}
		d.Sources.tell(d.Realm.ID, cache.changed)
	}
	for _, id := range c.order {
		if err := checkParents(context.Background(), c.definedOnly(), c.defined[id]); err != nil {
			return nil, fmt.Errorf("realm %q: %w", id, err)
		}
	}
	return c, nil
}

// checkProxied refuses a realm that would send a token to the configuration's proxy
// in clear.
func (c *Catalog) checkProxied(r *Realm) error {
	field := r.Program.WithoutTLS()
	if !c.proxied || r.Config.Proxy != "" || field == "" {
		return nil
	}
	return realm.Fieldf(field, "must be https: the proxy of the tokens block would see the token; proxy off goes without it")
}

// compile compiles the realm. Its secrets are bound once, so that a missing
// field stops the start and not the first request.
func (d Definition) compile() (*Realm, error) {
	d.Realm.Config.Shared = withNames(d.Realm.Config.Shared, d.Sources.Shared)
	r, err := compile(d.Realm, true)
	if err != nil {
		return nil, err
	}
	r.sources = d.Sources
	r.Secrets = make(map[string]realm.Secret, len(d.Secrets))
	for _, s := range d.Secrets {
		s.Realm, s.Defined = d.Realm.ID, true
		s.Fields = withNames(s.Fields, d.Sources.Secrets[s.Key])
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if err := r.checkDefined(s); err != nil {
			return nil, fmt.Errorf("secret %q: %w", s.Key, err)
		}
		if _, twice := r.Secrets[s.Key]; twice {
			return nil, fmt.Errorf("secret %q: defined twice", s.Key)
		}
		r.Secrets[s.Key] = s
	}
	return r, nil
}

// Realm returns the compiled realm: the configuration's own, else the store's.
// A stored realm never shadows a defined one. CodeRealmNotFound; CodeNotActive
// for a stored realm that this version does not understand.
func (c *Catalog) Realm(ctx context.Context, id string) (*Realm, error) {
	if r, ok := c.Remembered(id); ok {
		return r, nil
	}
	return c.cache.loadRealm(ctx, id)
}

// Remembered is Realm as far as memory knows. It takes no lock and allocates
// nothing.
func (c *Catalog) Remembered(id string) (*Realm, bool) {
	if r, ok := c.defined[id]; ok {
		return r, true
	}
	return c.cache.realms.Load(id)
}

// IsDefined reports whether the configuration defines a realm of this id.
func (c *Catalog) IsDefined(id string) bool {
	_, ok := c.defined[id]
	return ok
}

// Defined are the ids of the realms that the configuration defines, as they
// were written. The caller must not change the slice.
func (c *Catalog) Defined() []string { return c.order }

// Secret returns a credential set of a realm of this catalog, with what was
// pushed to it: the configuration's own, else the store's, else, while the store
// cannot be used, the one that was read last. CodeSecretNotFound.
func (c *Catalog) Secret(ctx context.Context, r *Realm, ref realm.Ref) (realm.Secret, error) {
	s, err := c.ownSecret(ctx, r, ref)
	if err != nil {
		return s, err
	}
	return c.withPushed(ctx, r, s)
}

// KnownSecret is Secret with what is known of the values of sources: none is asked.
// isWhole is false if there is one of which nothing is known.
func (c *Catalog) KnownSecret(ctx context.Context, r *Realm, ref realm.Ref) (_ realm.Secret, isWhole bool, _ error) {
	s, err := c.writtenSecret(ctx, r, ref)
	if err != nil {
		return s, false, err
	}
	s, isWhole = r.fillKnown(s)
	s, err = c.withPushed(ctx, r, s)
	return s, isWhole, err
}

// ownSecret is Secret without what was pushed to it.
func (c *Catalog) ownSecret(ctx context.Context, r *Realm, ref realm.Ref) (realm.Secret, error) {
	s, err := c.writtenSecret(ctx, r, ref)
	if err != nil {
		return s, err
	}
	return r.fill(ctx, s)
}

// writtenSecret is a secret as the configuration or the store has it.
func (c *Catalog) writtenSecret(ctx context.Context, r *Realm, ref realm.Ref) (realm.Secret, error) {
	if s, ok := r.Secrets[ref.Key]; ok {
		return s, nil
	}
	return c.cache.loadSecret(ctx, ref)
}

// withPushed lays what was pushed to a secret over it, where the realm takes any.
func (c *Catalog) withPushed(ctx context.Context, r *Realm, s realm.Secret) (realm.Secret, error) {
	if len(r.Config.Volatile) == 0 {
		return s, nil
	}
	return c.layPushed(ctx, r, s)
}

// checkDefined reports whether a secret of the configuration fits the realm. What a
// source has not been asked for yet is found out by the first call.
func (r *Realm) checkDefined(s realm.Secret) error {
	known, ok := r.fillKnown(s)
	if !ok {
		for _, name := range r.Program.MissingFields(s) {
			return realm.Fieldf(name, "the secret has no such field")
		}
		return nil
	}
	_, err := r.Program.Bind(known)
	if err != nil {
		err = cmp.Or(r.Program.CheckSecret(known), err) // which knows the field, and not only the place in the realm
	}
	return err
}
