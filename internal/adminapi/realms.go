package adminapi

import (
	"context"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// realmDocument is a realm as it is shown: what was posted, in meaning, with
// shared fields masked.
type realmDocument struct {
	realm.Realm
	ReadOnly bool `json:"read_only,omitempty"`
	// NeedsValues, NeedsShared and Warnings answer a POST only.
	NeedsValues []string `json:"needs_values,omitempty"`
	NeedsShared []string `json:"needs_shared,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
	// Reads are the fields of which a secret is made, if they are asked for.
	Reads []string `json:"reads,omitempty"`
	// Counts are there if a list is asked for them.
	Counts *realmCounts `json:"counts,omitempty"`
	// Truncated: a list has no room for what the realm says. GetRealm shows it.
	Truncated bool `json:"truncated,omitempty"`
}

// maxRealmList is how long a list of realms is as JSON, so that the answer has less
// than 1 MiB. A page of 20 realms, each as long as may be saved, has room in it.
const maxRealmList = 1<<20 - 4<<10

// truncated leaves nothing of a realm but what it is called, and its numbers.
func (d realmDocument) truncated() realmDocument {
	d.Realm = realm.Realm{ID: d.ID, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt, Damaged: d.Damaged}
	d.Truncated = true
	return d
}

// withRoom truncates the realms for which a list has no room, so that there is a line
// of each: pages are counted in realms, and none may be missing.
func withRoom(realms []realmDocument) []realmDocument {
	room := maxRealmList
	more := make([]int, len(realms)) // how much longer each is than its line
	for i, r := range realms {
		line := lengthOf(r.truncated())
		room, more[i] = room-line, lengthOf(r)-line
	}
	for i := range realms {
		if more[i] > room {
			realms[i] = realms[i].truncated()
		} else {
			room -= more[i]
		}
	}
	return realms
}

// realmCounts are how many of a realm's secrets, and of its tokens, the caller may
// see.
type realmCounts struct {
	Secrets int `json:"secrets"`
	broker.RealmCounts
}

func showRealm(info catalog.RealmInfo) realmDocument {
	info.CreatedAt, info.UpdatedAt = info.CreatedAt.UTC(), info.UpdatedAt.UTC()
	return realmDocument{
		Realm: info.Realm, ReadOnly: info.ReadOnly,
		NeedsValues: info.NeedsValues, NeedsShared: info.NeedsShared, Warnings: info.Warnings,
	}
}

// listRealms lists those of which the caller may see something. The store filters
// them, so that nobody opens a thousand for one page.
func (a *api) listRealms(ctx context.Context, r *request) (any, error) {
	page, err := r.query.page()
	if err != nil {
		return nil, err
	}
	var f tokenstore.RealmFilter
	if f.Keyword, err = r.query.text("keyword"); err != nil {
		return nil, err
	}
	withCounts, err := r.query.flag("counts", false)
	if err != nil {
		return nil, err
	}
	if !r.caller.mayAll(access.AdminRead) {
		f.Keep = func(id string) bool { return r.caller.maySome(access.AdminRead, id) }
	}
	infos, total, err := a.catalog.Realms(ctx, page, f)
	if err != nil {
		return nil, err
	}
	list := listOf(infos, total, showRealm)
	if withCounts {
		if err := a.count(ctx, r.caller, list.Data.List); err != nil {
			return nil, err
		}
	}
	list.Data.List = withRoom(list.Data.List)
	return list, nil
}

// count adds the counts of realms, by one query of the store and one look at what
// memory knows.
func (a *api) count(ctx context.Context, c Caller, realms []realmDocument) error {
	ids := make([]string, len(realms))
	for i, r := range realms {
		ids[i] = r.ID
	}
	var may func(realm.Ref) bool
	if !c.mayAll(access.AdminRead) {
		may = func(ref realm.Ref) bool { return c.may(access.AdminRead, ref) }
	}
	secrets, err := a.catalog.CountSecrets(ctx, ids, may)
	if err != nil {
		return err
	}
	tokens := a.broker.Counts(ids, may)
	for i := range realms {
		id := realms[i].ID
		realms[i].Counts = &realmCounts{secrets[id], tokens[id]}
	}
	return nil
}

// getRealm shows a realm: all of it to who administrates, and to who may only
// read tokens what he needs for using one.
func (a *api) getRealm(ctx context.Context, r *request) (any, error) {
	r.about.Realm = r.ids[0]
	withReads, err := r.query.flag("reads", false)
	if err != nil {
		return nil, err
	}
	administrates := !r.caller.isEdge() && r.caller.maySome(access.AdminRead, r.ids[0])
	if err := require(administrates || r.caller.maySome(access.Read, r.ids[0])); err != nil {
		return nil, err
	}
	if !administrates {
		c, err := a.catalog.Realm(ctx, r.ids[0])
		if err != nil {
			return nil, err
		}
		return showUse(c, r.caller.isEdge()), nil
	}
	info, err := a.catalog.RealmInfo(ctx, r.ids[0])
	if err != nil {
		return nil, err
	}
	document := showRealm(info)
	if withReads {
		document.Reads = info.SecretFields()
	}
	return document, nil
}

// realmUse is what a client has to know of a realm whose tokens it may read, with
// what its preset says.
type realmUse struct {
	ID     string       `json:"id"`
	Config realm.Config `json:"config"`
}

// showUse shows a client where the tokens go, and an edge all that decides about a
// proxied request.
func showUse(c *catalog.Realm, isEdge bool) realmUse {
	use := c.Config.ForUse(c.Defined)
	if !isEdge {
		use = realm.Config{API: use.API, Hosts: use.Hosts, Inject: use.Inject, RenewOn: use.RenewOn, InjectOnly: use.InjectOnly}
	}
	return realmUse{ID: c.Written.ID, Config: use}
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
	info.NeedsValues = slices.DeleteFunc(info.NeedsValues, func(key string) bool {
		return !r.caller.may(access.AdminRead, realm.Ref{Realm: u.id, Key: key})
	})
	if !r.caller.may(access.AdminRead, realm.Ref{Realm: u.id}) {
		info.Warnings = nil // they say what stored secrets lack
	}
	return showRealm(info), err
}

func (a *api) deleteRealm(ctx context.Context, r *request) (any, error) {
	cascade, err := r.query.flag("cascade", false)
	if err != nil {
		return nil, err
	}
	return done{success}, namingChildren(r.caller, a.catalog.DeleteRealm(ctx, r.ids[0], cascade))
}
