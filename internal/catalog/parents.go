package catalog

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
)

// A recipe may send the token of another credential: {token_of.wechat.main}. That
// one is its parent, and the realm of the recipe the child. A parent's token goes
// only to the parent's own hosts. That is checked when the child is saved, as far
// as it is known then, and again whenever the token is about to be sent: either
// realm may have changed since.

// maxChain is how many realms may need each other's tokens in a row.
const maxChain = 8

// Parent is a credential whose token a recipe of another realm sends.
type Parent struct {
	Ref   realm.Ref
	Realm *Realm
	// Hosts may get the token from this child; AllowHTTP: also without TLS.
	Hosts     []realm.HostPattern
	AllowHTTP bool
}

// Parent returns the credential that a use of the child's recipe means. own is the
// key that the child's secret names itself, if it does.
//
// Errors are those of Realm, Secret and Bind for the parent; CodeHostNotAllowed if
// its token may not go to where the recipe sends it; CodeTokenUnavailable if
// nothing says which key is meant, if the parent is inject_only, or if the realms
// need each other's tokens in a circle.
func (c *Catalog) Parent(ctx context.Context, child *Realm, u grant.ParentUse, own string) (Parent, error) {
	all := c.lookup()
	if why, err := all.chainFault(ctx, child); err != nil || why != "" {
		return Parent{Ref: u.Parent}, cmp.Or(err, parentUnusable(why))
	}
	r, err := c.Realm(ctx, u.Parent.Realm)
	if err != nil {
		return Parent{Ref: u.Parent}, err
	}
	p := Parent{Ref: parentRef(u, own, r), Realm: r}
	if p.Ref.Key == "" {
		return p, parentUnusable("its realm has no default_key, and the secret no field " + grant.ParentField)
	}
	secret, err := c.Secret(ctx, r, p.Ref)
	if err != nil {
		return p, err
	}
	if r.Config.InjectOnly.IsOn() || secret.InjectOnly {
		return p, parentUnusable("it is inject_only")
	}
	bound, err := r.Bind(secret)
	if err != nil {
		return p, err
	}
	p.Hosts, p.AllowHTTP = hostsFor(child, r, secret.Defined, bound.Target()), child.mayHaveHTTP(r)
	if to := (grant.Parent{Hosts: p.Hosts, AllowHTTP: p.AllowHTTP}); !to.MayGoTo(u.Host, u.Scheme) {
		return p, &realm.Error{Code: realm.CodeHostNotAllowed, Status: http.StatusConflict, Detail: notForHost(u, p.Hosts)}
	}
	return p, nil
}

// parentRef is the credential that a use means: the key is the one that the recipe
// names, else that of the secret, else the default of the parent's realm.
func parentRef(u grant.ParentUse, own string, parent *Realm) realm.Ref {
	return realm.Ref{Realm: u.Parent.Realm, Key: cmp.Or(u.Parent.Key, own, parent.Config.DefaultKey)}
}

// hostsFor are the hosts that may get a token of the parent from a child. For a
// realm of the configuration file and a child of the API, they are those that the
// file names: neither may a secret of the API add one.
func hostsFor(child, parent *Realm, isDefinedSecret bool, target *realm.Target) []realm.HostPattern {
	isNamed := child.Defined || !parent.Defined || isDefinedSecret || parent.Program.HasWrittenHosts()
	if target == nil || !isNamed {
		return nil
	}
	return target.Hosts
}

// mayHaveHTTP reports whether this child may send a token of the parent without
// TLS. The configuration file may do so, as it does with its own.
func (r *Realm) mayHaveHTTP(parent *Realm) bool {
	return parent.Config.AllowHTTP.IsOn() || r.Defined && parent.Defined
}

// notForHost says why a token may not go to a request. The host is not told: a
// secret may fill it in.
func notForHost(u grant.ParentUse, hosts []realm.HostPattern) string {
	if len(hosts) == 0 {
		return "realm " + u.Parent.Realm + " names no host that its token may go to from here: say so in its hosts"
	}
	return "the token may go only to the hosts of realm " + u.Parent.Realm + ", and this request goes elsewhere"
}

// parentUnusable is the error of a parent whose token is not to be had.
func parentUnusable(why string) error {
	if why == "" {
		return nil
	}
	return &realm.Error{Code: realm.CodeTokenUnavailable, Status: http.StatusBadGateway, Detail: why}
}

// lookup is how realms and secrets are found while parents are checked.
type lookup struct {
	realm  func(context.Context, string) (*Realm, error)
	secret func(context.Context, *Realm, realm.Ref) (realm.Secret, error)
}

func (c *Catalog) lookup() lookup { return lookup{c.Realm, c.Secret} }

// definedOnly finds what the configuration defines and does not touch the store.
func (c *Catalog) definedOnly() lookup { return definedAmong(c.defined, nil) }

// errUnresolved: there is such a realm, and what it says is not known yet.
var errUnresolved = errors.New("the realm is known by its id alone")

// definedAmong finds realms in a map; unresolved are ids of others.
func definedAmong(realms map[string]*Realm, unresolved []string) lookup {
	return lookup{
		realm: func(_ context.Context, id string) (*Realm, error) {
			r, ok := realms[id]
			switch {
			case ok:
				return r, nil
			case slices.Contains(unresolved, id):
				return nil, errUnresolved
			}
			return nil, realmNotFound()
		},
		secret: func(_ context.Context, r *Realm, ref realm.Ref) (realm.Secret, error) {
			if s, ok := r.Secrets[ref.Key]; ok {
				return s, nil
			}
			return realm.Secret{}, secretNotFound()
		},
	}
}

// CheckTogether reports what is wrong between realms that a configuration defines:
// parents that are not there, or must not be used. unresolved are the ids of other
// realms, of which nothing is known. id is the realm that err, a *realm.FieldError,
// is about.
func CheckTogether(realms []realm.Realm, unresolved []string) (id string, err error) {
	compiled := make(map[string]*Realm, len(realms))
	for _, r := range realms {
		if compiled[r.ID], err = compile(r, true); err != nil {
			return r.ID, err
		}
	}
	for _, r := range realms {
		if err := checkParents(context.Background(), definedAmong(compiled, unresolved), compiled[r.ID]); err != nil {
			return r.ID, err
		}
	}
	return "", nil
}

// checkParents judges the parents of a realm that is being saved or defined. Errors
// are *realm.FieldError, or those of the store. A key may be missing yet; so may
// the hosts be that a secret fills in. Both are seen when the token is needed.
func checkParents(ctx context.Context, all lookup, child *Realm) error {
	uses := child.Program.Parents()
	for _, u := range uses {
		if u.Parent.Realm == child.Written.ID {
			return realm.Fieldf(u.Field, "a token cannot be obtained with another one of the same realm")
		}
		parent, err := all.realm(ctx, u.Parent.Realm)
		switch {
		case errors.Is(err, errUnresolved):
			continue
		case IsNotFound(err):
			return realm.Fieldf(u.Field, "there is no realm %q to take a token of", u.Parent.Realm)
		case err != nil:
			return err
		}
		if err := all.checkParent(ctx, child, parent, u); err != nil {
			return err
		}
	}
	if len(uses) == 0 {
		return nil
	}
	why, err := all.chainFault(ctx, child)
	if err == nil && why != "" {
		err = realm.Fieldf(uses[0].Field, "%s", why)
	}
	return err
}

// checkParent judges one parent.
func (l lookup) checkParent(ctx context.Context, child, parent *Realm, u grant.ParentUse) error {
	isInjectOnly, isDefined, target := parent.Config.InjectOnly.IsOn(), false, parent.Program.WrittenTarget()
	if u.Parent.Key != "" {
		secret, err := l.secret(ctx, parent, u.Parent)
		switch {
		case err == nil:
			isInjectOnly, isDefined = isInjectOnly || secret.InjectOnly, secret.Defined
			if bound, err := parent.Bind(secret); err == nil {
				target = bound.Target()
			}
		case !IsNotFound(err):
			return err
		}
	}
	if isInjectOnly {
		return realm.Fieldf(u.Field, "%s is inject_only: its token is put into requests to its API, and goes nowhere else", u.Parent.Realm)
	}
	to := grant.Parent{Hosts: hostsFor(child, parent, isDefined, target), AllowHTTP: child.mayHaveHTTP(parent)}
	if isKnown := u.IsFixed && target != nil; isKnown && !to.MayGoTo(u.Host, u.Scheme) {
		return realm.Fieldf(u.Field, "%s", notForHost(u, to.Hosts))
	}
	return nil
}

// chainFault reports why the tokens of a realm cannot be obtained: realms need each
// other's in a circle, or there are too many in a row. Names are not told: who may
// use a parent need not know what that one needs itself.
func (l lookup) chainFault(ctx context.Context, child *Realm) (why string, err error) {
	level := []*Realm{child}
	for range maxChain {
		above := map[string]*Realm{}
		for _, r := range level {
			for _, u := range r.Program.Parents() {
				if u.Parent.Realm == child.Written.ID {
					return "the realms need each other's tokens in a circle", nil
				}
				parent, err := l.realm(ctx, u.Parent.Realm)
				var known *realm.Error
				switch {
				case err == nil:
					above[u.Parent.Realm] = parent
				case errors.Is(err, errUnresolved):
				case errors.As(err, &known) && known.Code != realm.CodeUnavailable: // it has an error of its own
				default:
					return "", err
				}
			}
		}
		if len(above) == 0 {
			return "", nil
		}
		level = level[:0]
		for _, r := range above {
			level = append(level, r)
		}
	}
	return "too many realms need each other's tokens in a row, or do so in a circle", nil
}
