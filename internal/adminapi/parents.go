package adminapi

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/catalog"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// requireParents is nil for a caller who may read the tokens that the realm would
// take of other credentials. It is asked before anything is said about those: a
// refusal does not tell whether they exist.
func (a *api) requireParents(ctx context.Context, r *request, u realmUpdate) error {
	if r.caller.hasAll() {
		return nil
	}
	info, err := a.catalog.RealmInfo(ctx, u.id)
	if err != nil && !catalog.IsNotFound(err) {
		return err
	}
	info.ID = u.id
	changed, err := u.apply(info.Realm, false)
	if err != nil {
		return err
	}
	parents, err := a.catalog.ParentsToRead(ctx, changed)
	if invalid := (*realm.FieldError)(nil); errors.As(err, &invalid) {
		return nil // it cannot be saved, and the save says why
	} else if err != nil {
		return err
	}
	return requireRead(r.caller, parents)
}

// requireTestedParents is requireParents for a dry run.
func (a *api) requireTestedParents(ctx context.Context, r *request, ref realm.Ref, config *realm.Config) error {
	if r.caller.hasAll() {
		return nil
	}
	parents, err := a.catalog.TestedParents(ctx, ref, config)
	if err != nil {
		return err
	}
	return requireRead(r.caller, parents)
}

// requireRead is nil for a caller who may read the tokens of all these credentials.
// One without a key is some key of its realm.
func requireRead(c Caller, parents []realm.Ref) error {
	for _, ref := range parents {
		may := c.may(access.Read, ref)
		if ref.Key == "" {
			may = c.maySome(access.Read, ref.Realm)
		}
		if err := require(may); err != nil {
			return err
		}
	}
	return nil
}

// namingChildren adds to the error of a realm that others need their names, as far
// as the caller may see them.
func namingChildren(c Caller, err error) error {
	var conflict *realm.Error
	var needed *catalog.ChildrenError
	if !errors.As(err, &conflict) || !errors.As(err, &needed) {
		return err
	}
	seen := slices.DeleteFunc(slices.Clone(needed.Children), func(id string) bool { return !c.maySome(access.AdminRead, id) })
	if len(seen) == 0 {
		return err
	}
	named := *conflict
	named.Detail += ": " + strings.Join(seen, ", ")
	return &named
}
