package adminapi

import (
	"context"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// realmDocument is a realm as it is shown: what was posted, in meaning, with
// shared fields masked.
type realmDocument struct {
	realm.Realm
	ReadOnly     bool     `json:"read_only,omitempty"`
	NotYetActive []string `json:"not_yet_active,omitempty"`
	// NeedsValues and NeedsShared answer a POST only.
	NeedsValues []string `json:"needs_values,omitempty"`
	NeedsShared []string `json:"needs_shared,omitempty"`
}

func showRealm(info catalog.RealmInfo) realmDocument {
	info.CreatedAt, info.UpdatedAt = info.CreatedAt.UTC(), info.UpdatedAt.UTC()
	return realmDocument{
		Realm: info.Realm, ReadOnly: info.ReadOnly, NotYetActive: info.NotYetActive,
		NeedsValues: info.NeedsValues, NeedsShared: info.NeedsShared,
	}
}

func (a *api) listRealms(ctx context.Context, r *request) (any, error) {
	return search(ctx, r, a.catalog.Realms, showRealm, func(info catalog.RealmInfo) bool {
		return r.caller.maySome(access.AdminRead, info.ID)
	})
}

// getRealm shows a realm: all of it to who administrates, and to who may only
// read tokens what he needs for using one.
func (a *api) getRealm(ctx context.Context, r *request) (any, error) {
	r.about.Realm = r.ids[0]
	administrates := r.caller.maySome(access.AdminRead, r.ids[0])
	if err := require(administrates || r.caller.maySome(access.Read, r.ids[0])); err != nil {
		return nil, err
	}
	info, err := a.catalog.RealmInfo(ctx, r.ids[0])
	if err != nil {
		return nil, err
	}
	if !administrates {
		return showUse(info), nil
	}
	return showRealm(info), nil
}

// realmUse is what a client has to know of a realm whose tokens it may read.
type realmUse struct {
	ID     string     `json:"id"`
	Config useOfRealm `json:"config"`
}

// useOfRealm are the fields of a realm.Config that say how a token is used.
type useOfRealm struct {
	API     string            `json:"api,omitempty"`
	Hosts   []string          `json:"hosts,omitempty"`
	Inject  []realm.Injection `json:"inject,omitempty"`
	RenewOn []realm.Rule      `json:"renew_on,omitempty"`
	// InjectOnly: nobody may read the tokens, not even with the right.
	InjectOnly bool `json:"inject_only,omitempty"`
}

func showUse(info catalog.RealmInfo) realmUse {
	c := info.Config
	return realmUse{ID: info.ID, Config: useOfRealm{API: c.API, Hosts: c.Hosts, Inject: c.Inject, RenewOn: c.RenewOn, InjectOnly: c.InjectOnly}}
}

// saveRealm creates or updates a realm. Stored values are sent to no host that
// they were not entered for, unless the caller says that they may be.
func (a *api) saveRealm(ctx context.Context, r *request) (any, error) {
	keep, err := r.query.flag("keep_values", false)
	if err != nil {
		return nil, err
	}
	u, err := readRealmUpdate(r.body)
	if err != nil {
		return nil, err
	}
	if err := r.require(access.Admin, realm.Ref{Realm: u.id}); err != nil {
		return nil, err
	}
	if err := a.requireParents(ctx, r, u); err != nil {
		return nil, err
	}
	save := a.catalog.SaveRealm
	if keep {
		// Only who may do everything may decide this: with it, a realm can send
		// what is stored anywhere.
		if err := require(r.caller.mayAll(access.Admin)); err != nil {
			return nil, err
		}
		save = a.catalog.SaveRealmKeepingValues
	}
	info, err := save(ctx, u.id, u.apply)
	return showRealm(info), err
}

func (a *api) deleteRealm(ctx context.Context, r *request) (any, error) {
	cascade, err := r.query.flag("cascade", false)
	if err != nil {
		return nil, err
	}
	return done{success}, namingChildren(r.caller, a.catalog.DeleteRealm(ctx, r.ids[0], cascade))
}
