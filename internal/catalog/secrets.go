package catalog

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// SecretInfo is a secret as the API shows it: its Fields print masked.
type SecretInfo struct {
	realm.Secret
	// ReadOnly: it is defined in the Caddyfile.
	ReadOnly bool
	// NeedsValues: it is not sent any more, because the realm has a host that it
	// was not entered for. Only SaveSecret tells.
	NeedsValues bool
	// Warnings are about what was saved, and may be a slip. Only SaveSecret tells.
	Warnings []string
	// Sources tell where its fields come from that do not stand in the Caddyfile, and
	// those that its realm shares.
	Sources []SourceStatus
	// Pushed are the values that were pushed to it, those that have ended as
	// well, by the name of their field. A list does not tell.
	Pushed map[string]tokenstore.PushedValue
}

// SecretInfo returns one secret. CodeSecretNotFound.
func (c *Catalog) SecretInfo(ctx context.Context, ref realm.Ref) (SecretInfo, error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	s, isDefined := c.definedSecret(ref)
	if err == nil && !isDefined {
		s, err = c.cache.store.Secret(ctx, ref)
	}
	if err != nil && !isDefined {
		return SecretInfo{}, changeError(err)
	}
	info := SecretInfo{Secret: s, ReadOnly: isDefined, Sources: c.SourcesOf(ref)}
	if err == nil {
		var pushed tokenstore.Pushed
		pushed, err = c.cache.store.Pushed(ctx, ref)
		info.Pushed = pushed.Fields
	}
	if err != nil && !isDefined && !isDamaged(err) {
		return SecretInfo{}, StoreError(err)
	}
	return info, nil // a secret of the Caddyfile is shown without the store, too
}

func (c *Catalog) definedSecret(ref realm.Ref) (s realm.Secret, ok bool) {
	if r, defined := c.defined[ref.Realm]; defined {
		s, ok = r.Secrets[ref.Key]
	}
	return s, ok
}

// Secrets lists a page of the secrets that a filter leaves: those of the
// configuration first, then the stored ones, newest first.
func (c *Catalog) Secrets(ctx context.Context, page tokenstore.Page, f tokenstore.SecretFilter) ([]SecretInfo, int, error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, 0, StoreError(err)
	}
	own := c.ownSecrets
	if f.Realm != "" || f.Keep != nil {
		own = nil
		for _, ref := range c.ownSecrets {
			if (f.Realm == "" || ref.Realm == f.Realm) && (f.Keep == nil || f.Keep(ref)) {
				own = append(own, ref)
			}
		}
	}
	show := func(ref realm.Ref) SecretInfo {
		return SecretInfo{Secret: c.defined[ref.Realm].Secrets[ref.Key], ReadOnly: true, Sources: c.SourcesOf(ref)}
	}
	list, total, err := paged(page, own, show, func(p tokenstore.Page) ([]SecretInfo, int, error) {
		stored, n, err := c.cache.store.Secrets(ctx, p, f)
		infos := make([]SecretInfo, len(stored))
		for i, s := range stored {
			infos[i] = SecretInfo{Secret: s, Sources: c.SourcesOf(s.Ref)}
		}
		return infos, n, err
	})
	if err != nil {
		return nil, 0, StoreError(err)
	}
	return list, total, nil
}

// CountSecrets counts the secrets of each of the realms that keep leaves (nil: all),
// as Secrets lists them.
func (c *Catalog) CountSecrets(ctx context.Context, realms []string, keep func(realm.Ref) bool) (map[string]int, error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, StoreError(err)
	}
	counts, err := c.cache.store.CountSecrets(ctx, realms, keep)
	if err != nil {
		return nil, StoreError(err)
	}
	for _, id := range realms {
		if r, ok := c.defined[id]; ok {
			for _, s := range r.Secrets {
				if keep == nil || keep(s.Ref) {
					counts[id]++
				}
			}
		}
	}
	return counts, nil
}

// SaveSecret creates or updates a secret. When a value changes that is not
// volatile, its access token is dropped in the same transaction. CodeRealmNotFound (with status
// 400) for an unknown realm, CodeReadOnly, CodeConflict, CodeTokenUnavailable for a token
// whose realm has a field without a value.
func (c *Catalog) SaveSecret(ctx context.Context, u SecretUpdate) (SecretInfo, error) {
	if err := realm.ValidateID("key", u.Ref.Key); err != nil {
		return SecretInfo{}, err
	}
	asking := ctx                                               // for sources
	ctx, cancel := context.WithTimeout(ctx, tokenstore.Timeout) // for both uses of the store
	defer cancel()
	r, err := c.Realm(ctx, u.Ref.Realm)
	if IsNotFound(err) {
		return SecretInfo{}, &realm.Error{Code: realm.CodeRealmNotFound, Status: http.StatusBadRequest, Detail: "there is no such realm"}
	} else if err != nil {
		return SecretInfo{}, err
	}
	if _, ok := r.Secrets[u.Ref.Key]; ok {
		return SecretInfo{}, readOnly("the secret")
	}
	if err := u.validate(); err != nil {
		return SecretInfo{}, err
	}
	if err := c.checkNamedParent(ctx, r, u); err != nil {
		return SecretInfo{}, err
	}
	if err := c.cache.open(ctx); err != nil {
		return SecretInfo{}, StoreError(err)
	}
	shared, err := u.sharedFields(asking, r)
	if err != nil {
		return SecretInfo{}, err
	}
	saved, err := c.cache.store.UpdateSecret(ctx, u.Ref, func(s realm.Secret, found bool) (realm.Secret, tokenstore.TokenChange, error) {
		if !found {
			if err := realm.ValidateNewID("key", u.Ref.Key); err != nil {
				return s, tokenstore.TokenChange{}, err
			}
			if err := refuseDefinedTwin(u.Ref.Key, slices.Sorted(maps.Keys(r.Secrets))); err != nil {
				return s, tokenstore.TokenChange{}, err
			}
		}
		s.Shared = shared
		return u.apply(r, s, found, c.cache.now())
	})
	if err != nil {
		return SecretInfo{}, changeError(err)
	}
	c.cache.secretChanged(u.Ref, Saved)
	saved.Shared = shared
	_, isNew := r.newHost(saved)
	return SecretInfo{Secret: saved, NeedsValues: isNew && !r.Defined, Warnings: r.warnings(saved)}, nil
}

// DeleteSecret deletes a secret and its token. CodeSecretNotFound,
// CodeReadOnly.
func (c *Catalog) DeleteSecret(ctx context.Context, ref realm.Ref) error {
	if _, ok := c.definedSecret(ref); ok {
		return readOnly("the secret")
	}
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return StoreError(err)
	}
	if err := c.cache.store.DeleteSecret(ctx, ref); err != nil {
		return changeError(err)
	}
	c.cache.secretChanged(ref, Deleted)
	return nil
}
