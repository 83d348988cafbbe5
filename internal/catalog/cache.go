package catalog

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Store is what a Cache needs of a tokenstore.Store.
type Store interface {
	tokenstore.RealmStore
	tokenstore.SecretStore
	tokenstore.PushedStore
	tokenstore.CompanyStore
}

// Config says what a Cache works with. All fields but UseOnly are needed.
type Config struct {
	// UseOnly: the store is another instance, which says of its realms only how
	// their tokens are used.
	UseOnly bool
	Store   Store
	// Open prepares the store for use, if that was not done yet. It is called
	// before each use of the store.
	Open func(context.Context) error
	// Now is the clock.
	Now func() time.Time
	// Changed is called after each change of a realm or secret, when the cache
	// itself has taken notice. It is called by the goroutine that made or
	// reported the change.
	Changed func(Change)
}

// Change is a change of a realm or secret.
type Change struct {
	// Ref is what changed; its Key is empty where that is the realm itself.
	Ref   realm.Ref
	Event Event
}

// Event is what happened.
type Event uint8

const (
	// Saved: this node created or updated it.
	Saved Event = iota
	// Deleted: this node deleted it. A realm's secrets are deleted with it,
	// without changes of their own.
	Deleted
	// Pushed: this node took a value that was pushed to it. Its token stays, and
	// what failed may work now.
	Pushed
	// Sourced: a source gave another value of one of its fields, or of a field that
	// the realm shares. What was obtained with the old one does not count any more.
	Sourced
	// Reported: the store's feed says that something about it changed. That
	// may be the secret or its token, and the work of any node, this one
	// included.
	Reported
)

// Cache is what all configurations that use one store share: the compiled
// realms of the store, and the secrets that were read last.
type Cache struct {
	store   Store
	open    func(context.Context) error
	now     func() time.Time
	changed func(Change)
	compile func(realm.Realm) (*Realm, error)
	useOnly bool
	asked   underWay // of another instance

	realms *xsync.Map[string, *Realm]
	// epoch grows with every invalidation of a stored realm. A realm that was
	// read before the epoch changed is not remembered.
	epoch   atomic.Int64
	secrets recent[realm.Secret]
	pushed  recent[readPushed]
}

// NewCache makes an empty cache. The store is not opened.
func NewCache(config Config) *Cache {
	c := &Cache{
		store: config.Store, open: config.Open, now: config.Now, changed: config.Changed,
		realms: xsync.NewMap[string, *Realm](), useOnly: config.UseOnly,
		compile: func(r realm.Realm) (*Realm, error) { return compile(r, false) },
	}
	if config.UseOnly {
		c.compile = compileUse
	}
	return c
}

// Recheck takes notice of a change that the store's feed reports. Most are our
// own: a realm is compared with the store and dropped only if it is another.
func (c *Cache) Recheck(ctx context.Context, ref realm.Ref) {
	if ref.Key == "" {
		c.recheckRealm(ctx, ref.Realm)
	} else {
		c.secrets.drop(ref)
	}
	c.changed(Change{Ref: ref, Event: Reported})
}

// recheckRealm drops a realm, unless the store has the very one that memory
// has. Whoever is reading it right now does not remember it.
func (c *Cache) recheckRealm(ctx context.Context, id string) {
	c.epoch.Add(1)
	r, ok := c.realms.Load(id)
	if !ok {
		return
	}
	if stored, err := c.store.Realm(ctx, id); err == nil && stored.UpdatedAt.Equal(r.Written.UpdatedAt) {
		return
	}
	c.invalidateRealm(id)
}

// Clear forgets all realms of the store: the next use of each reads it anew.
func (c *Cache) Clear() {
	c.epoch.Add(1)
	c.realms.Clear()
}

// realmChanged takes notice of what this node did to a realm.
func (c *Cache) realmChanged(id string, e Event) {
	c.invalidateRealm(id)
	if e == Deleted {
		c.secrets.dropRealm(id)
		c.pushed.dropRealm(id)
	}
	c.changed(Change{Ref: realm.Ref{Realm: id}, Event: e})
}

// secretChanged takes notice of what this node did to a secret.
func (c *Cache) secretChanged(ref realm.Ref, e Event) {
	c.secrets.drop(ref)
	if e == Deleted {
		c.pushed.drop(ref)
	}
	c.changed(Change{Ref: ref, Event: e})
}

// invalidateRealm forgets a stored realm.
func (c *Cache) invalidateRealm(id string) {
	c.epoch.Add(1)
	c.realms.Delete(id)
}

// loadRealm is the realm of the store.
func (c *Cache) loadRealm(ctx context.Context, id string) (*Realm, error) {
	if c.useOnly {
		return c.loadUse(ctx, id)
	}
	return c.readRealm(ctx, id)
}

// readRealm reads a realm from the store and remembers it, unless it was
// changed while it was read.
func (c *Cache) readRealm(ctx context.Context, id string) (*Realm, error) {
	ctx, cancel, err := c.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, StoreError(err)
	}
	epoch := c.epoch.Load()
	stored, err := c.store.Realm(ctx, id)
	switch {
	case errors.Is(err, tokenstore.ErrRealmNotFound):
		return nil, realmNotFound()
	case err != nil:
		return nil, StoreError(err)
	}
	r, err := c.compile(stored)
	if err != nil {
		// It was compiled when it was saved: another version saved it.
		return nil, &realm.Error{
			Code: realm.CodeNotActive, Status: http.StatusConflict,
			Detail: "the stored realm is not understood: " + err.Error(), Err: err,
		}
	}
	kept, _ := c.realms.Compute(id, func(old *Realm, loaded bool) (*Realm, xsync.ComputeOp) {
		if loaded || c.epoch.Load() != epoch {
			return old, xsync.CancelOp
		}
		return r, xsync.UpdateOp
	})
	if kept != nil {
		return kept, nil
	}
	return r, nil
}

// loadSecret reads a secret from the store and remembers it. While the store
// cannot be used, the secret that was read last is good.
func (c *Cache) loadSecret(ctx context.Context, ref realm.Ref) (realm.Secret, error) {
	ctx, cancel, err := c.begin(ctx)
	defer cancel()
	var s realm.Secret
	if err == nil {
		s, err = c.store.Secret(ctx, ref)
	}
	switch {
	case errors.Is(err, tokenstore.ErrSecretNotFound):
		c.secrets.drop(ref)
		return s, secretNotFound()
	case err != nil:
		if s, ok := c.secrets.find(ref); ok && tokenstore.IsUnavailable(err) {
			return s, nil
		}
		return s, StoreError(err)
	}
	c.secrets.keep(ref, s)
	return s, nil
}

// begin opens the store for one use of it, and bounds what the caller waits.
func (c *Cache) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout)
	return ctx, cancel, c.open(ctx)
}
