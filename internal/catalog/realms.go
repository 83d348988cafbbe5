package catalog

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// RealmInfo is a realm as the API shows it.
type RealmInfo struct {
	realm.Realm
	// ReadOnly: it is defined in the Caddyfile.
	ReadOnly bool
	// NeedsValues are the keys of the stored secrets that are not sent any more
	// since the realm was saved, because they were not entered for one of its
	// hosts; NeedsShared are the shared fields, for the same reason. Only
	// SaveRealm tells.
	NeedsValues, NeedsShared []string
	// Warnings are about what was saved, and may be a slip. Only SaveRealm tells.
	Warnings []string
}

func infoOf(r realm.Realm, defined bool) RealmInfo {
	return RealmInfo{Realm: r, ReadOnly: defined}
}

// SecretFields are the fields that a secret of the realm has, sorted; none where this
// version does not understand the realm.
func (i RealmInfo) SecretFields() []string {
	compiled, err := compile(i.Realm, i.ReadOnly)
	if err != nil {
		return nil
	}
	return compiled.Program.SecretFields()
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

// Realms lists a page of the realms that a filter leaves: those of the
// configuration first, then the stored ones, newest first.
func (c *Catalog) Realms(ctx context.Context, page tokenstore.Page, f tokenstore.RealmFilter) ([]RealmInfo, int, error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, 0, StoreError(err)
	}
	var own []string
	for _, id := range c.order {
		r := c.defined[id].Written
		if (contains(r.ID, f.Keyword) || contains(r.Comment, f.Keyword)) && (f.Keep == nil || f.Keep(id)) {
			own = append(own, id)
		}
	}
	show := func(id string) RealmInfo { return infoOf(c.defined[id].Written, true) }
	list, total, err := paged(page, own, show, func(p tokenstore.Page) ([]RealmInfo, int, error) {
		stored, n, err := c.cache.store.Realms(ctx, p, f)
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
// compiled before it is saved. What is stored of it, secrets and shared fields,
// is not sent to hosts that are new: the answer tells what is concerned.
// CodeReadOnly, CodeConflict.
func (c *Catalog) SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (RealmInfo, error) {
	saved, err := c.saveRealm(ctx, id, change)
	if err != nil {
		return RealmInfo{}, err
	}
	info := infoOf(saved.Written, false)
	if _, isNew := saved.newSharedHost(realm.Secret{}); isNew {
		info.NeedsShared = slices.Sorted(maps.Keys(saved.Written.Config.Shared))
	}
	info.NeedsValues, info.Warnings, err = c.survey(ctx, saved)
	return info, err
}

// SaveRealmKeepingValues is SaveRealm for a caller who may decide that all that
// is stored of the realm goes to its new hosts.
func (c *Catalog) SaveRealmKeepingValues(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (RealmInfo, error) {
	saved, err := c.saveRealm(ctx, id, func(r realm.Realm, found bool) (realm.Realm, error) {
		r, err := change(r, found)
		r.SharedHosts = nil
		return r, err
	})
	if err != nil {
		return RealmInfo{}, err
	}
	// The list is read to its end first: each update moves a secret to its begin.
	keys, _, err := c.survey(ctx, saved)
	if err != nil {
		return RealmInfo{}, err
	}
	for _, key := range keys {
		if err := c.keepValues(ctx, saved, key); err != nil && !IsNotFound(err) {
			return RealmInfo{}, err
		}
	}
	info := infoOf(saved.Written, false)
	_, info.Warnings, err = c.survey(ctx, saved)
	return info, err
}

// maxRealm is the longest realm that is saved, as the API shows it: a list of 20 has less
// than 1 MiB. One that was saved by an earlier version may be longer.
const maxRealm = realm.Size(48 << 10)

// refuseLong refuses a realm that is longer. What is shown masked does not count.
func refuseLong(r realm.Realm) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if n := realm.Size(len(text)); n > maxRealm {
		return realm.Fieldf("config", "makes the realm %d bytes of JSON long; %s is the limit", int64(n), maxRealm)
	}
	return nil
}

// saveRealm creates or updates a realm, and returns it as it was compiled.
func (c *Catalog) saveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (*Realm, error) {
	if err := realm.ValidateID("id", id); err != nil {
		return nil, err
	}
	if c.IsDefined(id) {
		return nil, readOnly("the realm")
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, StoreError(err)
	}
	// What other realms say is read before the transaction, which must not wait for
	// another read.
	checked, err := c.checkSaved(ctx, id, change)
	if err != nil {
		return nil, err
	}
	var compiled *Realm
	saved, err := c.cache.store.UpdateRealm(ctx, id, func(r realm.Realm, found bool) (realm.Realm, error) {
		if !found {
			if err := realm.ValidateNewID("id", id); err != nil {
				return r, err
			}
			if err := refuseDefinedTwin(id, c.order); err != nil {
				return r, err
			}
		}
		r, err := change(r, found)
		if err != nil {
			return r, err
		}
		r.ID = id
		if err := refuseLong(r); err != nil {
			return r, err
		}
		if compiled, err = compile(r, false); err != nil {
			return r, err
		}
		if err := c.checkProxied(compiled); err != nil {
			return r, err
		}
		if !slices.Equal(compiled.Program.Parents(), checked) {
			return r, changedMeanwhile()
		}
		if r.SharedHosts == nil || len(r.Config.Shared) == 0 {
			r.SharedHosts = compiled.sharedHosts()
		}
		return r, nil
	})
	if err != nil {
		return nil, changeError(err)
	}
	compiled.Written = saved
	c.cache.realmChanged(id, Saved)
	return compiled, nil
}

// refuseDefinedTwin refuses a new id or key that equals one of the
// configuration's but for case. The store does so for its own.
func refuseDefinedTwin(id string, defined []string) error {
	for _, other := range defined {
		if realm.FoldCase(other) == realm.FoldCase(id) {
			return twinOf(other)
		}
	}
	return nil
}

// DeleteRealm deletes a realm, with cascade also its secrets and tokens.
// CodeRealmNotFound, CodeConflict (it has secrets, or it is the parent of others:
// ChildrenError), CodeReadOnly.
func (c *Catalog) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	if c.IsDefined(id) {
		return readOnly("the realm")
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return StoreError(err)
	}
	if err := c.refuseWithChildren(ctx, id); err != nil {
		return err
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
