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
	info := SecretInfo{Secret: s, ReadOnly: isDefined}
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
	var own []SecretInfo
	for _, id := range c.order {
		if f.Realm != "" && id != f.Realm {
			continue
		}
		secrets := c.defined[id].Secrets
		for _, key := range slices.Sorted(maps.Keys(secrets)) {
			if f.Keep != nil && !f.Keep(secrets[key].Ref) {
				continue
			}
			own = append(own, SecretInfo{Secret: secrets[key], ReadOnly: true})
		}
	}
	list, total, err := paged(page, own, func(p tokenstore.Page) ([]SecretInfo, int, error) {
		stored, n, err := c.cache.store.Secrets(ctx, p, f)
		infos := make([]SecretInfo, len(stored))
		for i, s := range stored {
			infos[i] = SecretInfo{Secret: s}
		}
		return infos, n, err
	})
	if err != nil {
		return nil, 0, StoreError(err)
	}
	return list, total, nil
}

// SaveSecret creates or updates a secret. When a value changes that is not
// volatile, its access token is dropped in the same transaction. CodeRealmNotFound (with status
// 400) for an unknown realm, CodeReadOnly, CodeConflict.
func (c *Catalog) SaveSecret(ctx context.Context, u SecretUpdate) (SecretInfo, error) {
	if err := realm.ValidateID("key", u.Ref.Key); err != nil {
		return SecretInfo{}, err
	}
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
	saved, err := c.cache.store.UpdateSecret(ctx, u.Ref, func(s realm.Secret, found bool) (realm.Secret, tokenstore.TokenChange, error) {
		if !found {
			if err := realm.ValidateNewID("key", u.Ref.Key); err != nil {
				return s, tokenstore.TokenChange{}, err
			}
			if err := refuseDefinedTwin(u.Ref.Key, slices.Sorted(maps.Keys(r.Secrets))); err != nil {
				return s, tokenstore.TokenChange{}, err
			}
		}
		return u.apply(r, s, found, c.cache.now())
	})
	if err != nil {
		return SecretInfo{}, changeError(err)
	}
	c.cache.secretChanged(u.Ref, Saved)
	_, isNew := r.newHost(saved)
	return SecretInfo{Secret: saved, NeedsValues: isNew && !r.Defined}, nil
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
