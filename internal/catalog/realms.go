package catalog

import (
	"context"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// RealmInfo is a realm as the API shows it.
type RealmInfo struct {
	realm.Realm
	// ReadOnly: it is defined in the Caddyfile.
	ReadOnly bool
	// NotYetActive are the fields whose behaviour is not built yet.
	NotYetActive []string
}

func infoOf(r realm.Realm, defined bool) RealmInfo {
	return RealmInfo{Realm: r, ReadOnly: defined, NotYetActive: r.NotYetActive()}
}

// RealmInfo returns one realm as it was written, which this version need not
// understand. CodeRealmNotFound.
func (c *Catalog) RealmInfo(ctx context.Context, id string) (RealmInfo, error) {
	if r, ok := c.defined[id]; ok {
		return infoOf(r.Written, true), nil
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return RealmInfo{}, StoreError(err)
	}
	r, err := c.cache.store.Realm(ctx, id)
	if err != nil {
		return RealmInfo{}, changeError(err)
	}
	return infoOf(r, false), nil
}

// Realms lists a page of the realms whose id or comment contains the keyword:
// those of the configuration first, then the stored ones, newest first.
func (c *Catalog) Realms(ctx context.Context, page tokenstore.Page, keyword string) ([]RealmInfo, int, error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, 0, StoreError(err)
	}
	var own []RealmInfo
	for _, id := range c.order {
		if r := c.defined[id].Written; contains(r.ID, keyword) || contains(r.Comment, keyword) {
			own = append(own, infoOf(r, true))
		}
	}
	list, total, err := paged(page, own, func(p tokenstore.Page) ([]RealmInfo, int, error) {
		stored, n, err := c.cache.store.Realms(ctx, p, keyword)
		infos := make([]RealmInfo, len(stored))
		for i, r := range stored {
			infos[i] = infoOf(r, false)
		}
		return infos, n, err
	})
	if err != nil {
		return nil, 0, StoreError(err)
	}
	return list, total, nil
}

// contains compares without regard to case, as the stores do.
func contains(s, keyword string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(keyword))
}

// SaveRealm creates or updates a realm: change gets the stored one (found
// false and only the id set where there is none) and returns what is to be
// stored; it may be called more than once. The result is validated and
// compiled before it is saved. CodeReadOnly.
func (c *Catalog) SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (RealmInfo, error) {
	if err := realm.ValidateID("id", id); err != nil {
		return RealmInfo{}, err
	}
	if c.IsDefined(id) {
		return RealmInfo{}, readOnly("the realm")
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return RealmInfo{}, StoreError(err)
	}
	saved, err := c.cache.store.UpdateRealm(ctx, id, func(r realm.Realm, found bool) (realm.Realm, error) {
		if !found {
			if err := realm.ValidateNewID("id", id); err != nil {
				return r, err
			}
		}
		r, err := change(r, found)
		if err != nil {
			return r, err
		}
		r.ID = id
		_, err = compile(r, false)
		return r, err
	})
	if err != nil {
		return RealmInfo{}, changeError(err)
	}
	c.cache.realmChanged(id, Saved)
	return infoOf(saved, false), nil
}

// DeleteRealm deletes a realm, with cascade also its secrets and tokens.
// CodeRealmNotFound, CodeConflict (it has secrets), CodeReadOnly.
func (c *Catalog) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	if c.IsDefined(id) {
		return readOnly("the realm")
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return StoreError(err)
	}
	if err := c.cache.store.DeleteRealm(ctx, id, cascade); err != nil {
		return changeError(err)
	}
	c.cache.realmChanged(id, Deleted)
	return nil
}

// DefaultKey is the account that is meant where none is named; "" for none.
// CodeRealmNotFound.
func (c *Catalog) DefaultKey(ctx context.Context, realmID string) (string, error) {
	r, err := c.Realm(ctx, realmID)
	if err != nil {
		return "", err
	}
	return r.Config.DefaultKey, nil
}
