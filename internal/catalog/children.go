package catalog

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// checkSaved judges the parents of a realm as it is about to be saved, and returns
// their uses. What else is wrong with it is found when it is saved.
func (c *Catalog) checkSaved(
	ctx context.Context, id string, change func(r realm.Realm, found bool) (realm.Realm, error),
) ([]grant.ParentUse, error) {
	stored, err := c.cache.store.Realm(ctx, id)
	found := err == nil
	switch {
	case errors.Is(err, tokenstore.ErrRealmNotFound):
		stored = realm.Realm{ID: id}
	case err != nil && isDamaged(err):
		return nil, nil // the save refuses it
	case err != nil:
		return nil, StoreError(err)
	}
	changed, err := change(stored, found)
	if err != nil {
		return nil, nil //nolint:nilerr // the save has the same error, in its order
	}
	changed.ID = id
	r, err := compile(changed, false)
	if err != nil {
		return nil, nil //nolint:nilerr // as above
	}
	if err := checkParents(ctx, c.lookup(), r); err != nil {
		return nil, err
	}
	return r.Program.Parents(), nil
}

func changedMeanwhile() *realm.Error {
	return &realm.Error{Code: realm.CodeConflict, Status: http.StatusConflict, Detail: "the realm was changed at the same time: try again"}
}

// ParentsToRead are the credentials whose tokens a realm would use: whoever saves
// it needs the right to read them. A reference without a key is a realm whose key
// nothing says yet. What is wrong with the realm is a *realm.FieldError.
func (c *Catalog) ParentsToRead(ctx context.Context, r realm.Realm) ([]realm.Ref, error) {
	compiled, err := compile(r, false)
	if err != nil {
		return nil, err
	}
	return c.parentRefs(ctx, compiled, "")
}

// TestedParents is ParentsToRead for a dry run of a secret; config is that of the
// dry run, nil for the realm's own.
func (c *Catalog) TestedParents(ctx context.Context, ref realm.Ref, config *realm.Config) ([]realm.Ref, error) {
	r, err := c.Realm(ctx, ref.Realm)
	if err != nil {
		return nil, err
	}
	secret, err := c.Secret(ctx, r, ref)
	if err != nil {
		return nil, err
	}
	tested, err := r.With(config)
	if err != nil {
		return nil, err
	}
	return c.parentRefs(ctx, tested, secret.Fields[grant.ParentField].Reveal())
}

// parentRefs are the credentials that a realm's recipes mean.
func (c *Catalog) parentRefs(ctx context.Context, r *Realm, own string) ([]realm.Ref, error) {
	var refs []realm.Ref
	for _, u := range r.Program.Parents() {
		parent, err := c.Realm(ctx, u.Parent.Realm)
		switch {
		case err == nil:
			refs = append(refs, parentRef(u, own, parent))
		case IsNotFound(err):
			refs = append(refs, u.Parent)
		default:
			return nil, err
		}
	}
	return refs, nil
}

// ChildrenError is why a realm cannot be deleted: other realms obtain their tokens
// with its own. It is the Err of a *realm.Error with CodeConflict.
type ChildrenError struct{ Children []string }

// Error names the realms.
func (e *ChildrenError) Error() string { return "parent of " + strings.Join(e.Children, ", ") }

// refuseWithChildren returns the error of a realm that others need.
func (c *Catalog) refuseWithChildren(ctx context.Context, id string) error {
	ids, err := c.storedRealms(ctx)
	if err != nil {
		return StoreError(err)
	}
	var children []string
	for _, other := range ids {
		r, err := c.Realm(ctx, other)
		if err != nil { // it is not understood, or was deleted meanwhile
			continue
		}
		if slices.ContainsFunc(r.Program.Parents(), func(u grant.ParentUse) bool { return u.Parent.Realm == id }) {
			children = append(children, other)
		}
	}
	if len(children) == 0 {
		return nil
	}
	slices.Sort(children)
	return &realm.Error{
		Code: realm.CodeConflict, Status: http.StatusConflict,
		Detail: "other realms obtain their tokens with those of this one: change or delete them first", Err: &ChildrenError{children},
	}
}

// checkParents asks whether the caller may use what the secret names as its
// parents.
func (u *SecretUpdate) checkParents(r *Realm, s realm.Secret) error {
	if u.MayUse == nil {
		return nil
	}
	for _, ref := range r.Program.ParentsOf(s) {
		if err := u.MayUse(ref); err != nil {
			return err
		}
	}
	return nil
}

// checkNamedParent refuses an update that names a parent whose token nobody may
// take. One that does not exist yet may be created later.
func (c *Catalog) checkNamedParent(ctx context.Context, r *Realm, u SecretUpdate) error {
	key := u.Fields[grant.ParentField]
	if key == nil || *key == realm.Mask {
		return nil
	}
	named := realm.Secret{Ref: u.Ref, Fields: map[string]realm.Hidden{grant.ParentField: *key}}
	if err := u.checkParents(r, named); err != nil {
		return err
	}
	for _, ref := range r.Program.ParentsOf(named) {
		parent, err := c.Realm(ctx, ref.Realm)
		var secret realm.Secret
		if err == nil {
			secret, err = c.Secret(ctx, parent, ref)
		}
		switch {
		case IsNotFound(err):
		case err != nil:
			return err
		case parent.Config.InjectOnly.IsOn() || secret.InjectOnly:
			return realm.Fieldf("fields."+grant.ParentField, "names a credential of realm %q that is inject_only", ref.Realm)
		}
	}
	return nil
}

// withParents is what the secret is bound to, with the parents that it names now
// in place of those from before: the caller was asked for his right to them.
func (r *Realm) withParents(s realm.Secret) []string {
	isParent := func(name string) bool { return strings.HasPrefix(name, grant.ParentHostPrefix) }
	hosts := slices.DeleteFunc(slices.Clone(s.Hosts), isParent)
	return append(hosts, namesOf(r.Program.ParentHosts(s))...)
}
