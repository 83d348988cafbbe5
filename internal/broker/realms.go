package broker

import (
	"context"
	"errors"
	"net/http"
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

// Realm returns one realm. CodeRealmNotFound.
func (v *View) Realm(ctx context.Context, id string) (RealmInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if c, ok := v.defined[id]; ok {
		return infoOf(c.own, true), nil
	}
	if err := v.pool.Open(ctx); err != nil {
		return RealmInfo{}, storeFailed(err)
	}
	r, err := v.pool.store.Realm(ctx, id)
	if err != nil {
		return RealmInfo{}, realmFailed(err)
	}
	return infoOf(r, false), nil
}

// Realms lists a page of the realms whose id or comment contains the keyword:
// those of the configuration first, then the stored ones, newest first.
func (v *View) Realms(ctx context.Context, page tokenstore.Page, keyword string) ([]RealmInfo, int, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := v.pool.Open(ctx); err != nil {
		return nil, 0, storeFailed(err)
	}
	var own []RealmInfo
	for _, id := range v.order {
		if r := v.defined[id].own; contains(r.ID, keyword) || contains(r.Comment, keyword) {
			own = append(own, infoOf(r, true))
		}
	}
	list, total, err := paged(page, own, func(p tokenstore.Page) ([]RealmInfo, int, error) {
		stored, n, err := v.pool.store.Realms(ctx, p, keyword)
		infos := make([]RealmInfo, len(stored))
		for i, r := range stored {
			infos[i] = infoOf(r, false)
		}
		return infos, n, err
	})
	if err != nil {
		return nil, 0, storeFailed(err)
	}
	return list, total, nil
}

// SaveRealm creates or updates a realm: change gets the stored one (found
// false and only the id set where there is none) and returns what is to be
// stored; it may be called more than once. The result is validated and
// compiled before it is saved. CodeReadOnly.
func (v *View) SaveRealm(ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error)) (RealmInfo, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := realm.ValidateID("id", id); err != nil {
		return RealmInfo{}, err
	}
	if _, ok := v.defined[id]; ok {
		return RealmInfo{}, readOnly("the realm")
	}
	if err := v.pool.Open(ctx); err != nil {
		return RealmInfo{}, storeFailed(err)
	}
	saved, err := v.pool.store.UpdateRealm(ctx, id, func(r realm.Realm, found bool) (realm.Realm, error) {
		r, err := change(r, found)
		if err != nil {
			return r, err
		}
		r.ID = id
		_, err = compile(r, false)
		return r, err
	})
	if err != nil {
		return RealmInfo{}, realmFailed(err)
	}
	v.pool.invalidateRealm(id)
	return infoOf(saved, false), nil
}

// DeleteRealm deletes a realm, with cascade also its secrets and tokens.
// CodeRealmNotFound, CodeConflict (it has secrets), CodeReadOnly.
func (v *View) DeleteRealm(ctx context.Context, id string, cascade bool) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, ok := v.defined[id]; ok {
		return readOnly("the realm")
	}
	if err := v.pool.Open(ctx); err != nil {
		return storeFailed(err)
	}
	if err := v.pool.store.DeleteRealm(ctx, id, cascade); err != nil {
		return realmFailed(err)
	}
	v.pool.invalidateRealm(id)
	v.pool.entries.Range(func(ref realm.Ref, e *entry) bool {
		if ref.Realm == id {
			e.forget()
			v.pool.discard(ref, e)
		}
		return true
	})
	return nil
}

// realmFailed turns the error of a store's realm method into the caller's.
// Errors of a change function pass as they are.
func realmFailed(err error) error {
	var field *realm.FieldError
	var own *realm.Error
	switch {
	case errors.As(err, &field), errors.As(err, &own):
		return err
	case errors.Is(err, tokenstore.ErrRealmNotFound):
		return realmNotFound()
	case errors.Is(err, tokenstore.ErrRealmHasSecrets):
		return &realm.Error{
			Code: realm.CodeConflict, Status: http.StatusConflict,
			Detail: "the realm still has secrets: delete them first, or add ?cascade=true",
		}
	}
	return storeFailed(err)
}

// contains compares without regard to case, as the stores do.
func contains(s, keyword string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(keyword))
}
