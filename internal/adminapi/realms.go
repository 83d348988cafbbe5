package adminapi

import (
	"context"

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
	return search(ctx, r, a.catalog.Realms, showRealm)
}

func (a *api) getRealm(ctx context.Context, r *request) (any, error) {
	info, err := a.catalog.RealmInfo(ctx, r.ids[0])
	return showRealm(info), err
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
	save := a.catalog.SaveRealm
	if keep {
		// Only who may do everything may decide this: with it, a realm can send
		// what is stored anywhere.
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
	return done{success}, a.catalog.DeleteRealm(ctx, r.ids[0], cascade)
}

// testRealm makes a token request and tells what happened: a provider that
// refuses is a successful test.
func (a *api) testRealm(ctx context.Context, r *request) (any, error) {
	ref := realm.Ref{Realm: r.ids[0]}
	o, err := decodeObject(r.body)
	if err != nil {
		return nil, err
	}
	if ref.Key, err = o.need("key"); err != nil {
		return nil, err
	}
	config, err := takeConfig(o)
	if err != nil {
		return nil, err
	}
	if err := o.end(); err != nil {
		return nil, err
	}
	if config != nil {
		stored, err := a.catalog.RealmInfo(ctx, ref.Realm)
		if err != nil {
			return nil, err
		}
		if *config, err = unmask(*config, stored.Config.Shared); err != nil {
			return nil, err
		}
	}
	return a.broker.Test(ctx, ref, config)
}
