package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// eachPage is how many realms or secrets are read at a time.
const eachPage = 500

// EachSecret calls do for every secret of the realms that are wanted, those of
// the configuration first, and counts them. It goes on after an error with what
// can be read; the error is the store's own.
func (c *Catalog) EachSecret(ctx context.Context, wanted func(*Realm) bool, do func(realm.Ref)) (n int, err error) {
	for _, id := range c.order {
		if r := c.defined[id]; wanted(r) {
			for key := range r.Secrets {
				do(realm.Ref{Realm: id, Key: key})
				n++
			}
		}
	}
	if err := c.cache.open(ctx); err != nil {
		return n, err
	}
	realms, err := c.storedRealms(ctx)
	for _, id := range realms {
		r, failed := c.Realm(ctx, id)
		if failed != nil || !wanted(r) {
			continue
		}
		more, failed := c.eachStored(ctx, id, func(s realm.Secret) { do(s.Ref) })
		n, err = n+more, errors.Join(err, failed)
	}
	return n, err
}

// RealmsWithTokens are the ids of the realms that get tokens, those of the
// configuration first.
func (c *Catalog) RealmsWithTokens(ctx context.Context) ([]string, error) {
	if err := c.cache.open(ctx); err != nil {
		return nil, StoreError(err)
	}
	ids, err := c.storedRealms(ctx)
	if err != nil {
		return nil, StoreError(err)
	}
	return slices.DeleteFunc(ids, func(id string) bool {
		r, err := c.Realm(ctx, id)
		return err != nil || !r.GetsTokens()
	}), nil
}

// storedRealms are the ids of all realms that may have secrets in the store.
func (c *Catalog) storedRealms(ctx context.Context) ([]string, error) {
	ids := slices.Clone(c.order)
	for page := 1; ; page++ {
		list, total, err := c.cache.store.Realms(ctx, tokenstore.Page{Number: page, Size: eachPage}, tokenstore.RealmFilter{})
		for _, r := range list {
			if !c.IsDefined(r.ID) {
				ids = append(ids, r.ID)
			}
		}
		if err != nil || len(list) == 0 || page*eachPage >= total {
			return ids, err
		}
	}
}

// eachStored calls do for the secrets of a realm that the store has.
func (c *Catalog) eachStored(ctx context.Context, id string, do func(realm.Secret)) (n int, err error) {
	for page := 1; ; page++ {
		list, total, err := c.cache.store.Secrets(ctx, tokenstore.Page{Number: page, Size: eachPage}, tokenstore.SecretFilter{Realm: id})
		for _, s := range list {
			do(s)
			n++
		}
		if err != nil || len(list) == 0 || page*eachPage >= total {
			return n, err
		}
	}
}

// Keys are the keys of all secrets of a realm, sorted. CodeRealmNotFound.
func (c *Catalog) Keys(ctx context.Context, realmID string) ([]string, error) {
	r, err := c.Realm(ctx, realmID)
	if err != nil {
		return nil, err
	}
	var keys []string
	for key := range r.Secrets {
		keys = append(keys, key)
	}
	if err := c.cache.open(ctx); err != nil {
		return nil, StoreError(err)
	}
	if _, err := c.eachStored(ctx, realmID, func(s realm.Secret) { keys = append(keys, s.Key) }); err != nil {
		return nil, StoreError(err)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
