package catalog

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddy-tokens/caddy-tokens/internal/grant"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Bind fills the realm's program with a secret of this catalog.
//
// Whoever may change a realm, or try another config of it, must not learn what
// is stored: he never saw the values, which are always masked. So a secret is
// sent only to the hosts that the realm had when its values were entered, and a
// shared field only to those that it had when that was entered: all others are
// CodeHostNotAllowed. The hosts of a realm that the configuration file defines
// are the operator's, and not concerned; see rebind for those that a secret
// fills in.
func (r *Realm) Bind(s realm.Secret) (*grant.Bound, error) {
	if host, ok := firstNew(s.Hosts, r.Program.ParentHosts(s)); ok && !s.Defined {
		return nil, notEnteredAsParent(host)
	}
	if r.Defined {
		return r.Program.Bind(s)
	}
	// The hosts come first: whether the values fit the realm tells something
	// about them, which a realm could be changed to ask.
	if host, ok := r.newHost(s); ok {
		return nil, notEnteredFor("the secret was", host, "enter its values again, or save the realm with ?keep_values=true")
	}
	if host, ok := r.newSharedHost(s); ok {
		return nil, notEnteredFor("the realm's shared fields were", host, "enter them again, or save the realm with ?keep_values=true")
	}
	return r.Program.Bind(s)
}

// newHost is a host that the secret was not entered for; false for none.
func (r *Realm) newHost(s realm.Secret) (grant.Host, bool) {
	return firstNew(s.Hosts, r.boundTo(s))
}

// boundTo is what a secret is bound to: the hosts that its values go to, and the
// credentials that it names as its parents.
func (r *Realm) boundTo(s realm.Secret) []grant.Host {
	return append(r.Program.Hosts(s), r.Program.ParentHosts(s)...)
}

// newSharedHost is a host that the shared fields were not entered for, beside
// the fields of a secret; false for none.
func (r *Realm) newSharedHost(s realm.Secret) (grant.Host, bool) {
	if len(r.Written.Config.Shared) == 0 {
		return grant.Host{}, false
	}
	return firstNew(r.Written.SharedHosts, r.Program.SharedHosts(s))
}

// sharedHosts are the hosts that shared fields are bound to which are entered
// now: those that they themselves fill in, and those that a secret may fill in,
// as they are written.
func (r *Realm) sharedHosts() []string {
	names := namesOf(append(r.Program.SharedHosts(realm.Secret{}), r.Program.WrittenHosts()...))
	slices.Sort(names)
	return slices.Compact(names)
}

// rebind gives an updated secret its hosts, if all of its values are entered,
// and reports whether one of them is new. If not all are, it keeps those that it
// had.
//
// Where the configuration file defines the realm, its hosts are not compared when
// the secret is used, because the operator may move them. So an update is refused
// that changes a field which fills in a host, and leaves others as they are:
// these would go to a host that whoever changes the secret chose.
func (r *Realm) rebind(old realm.Secret, s *realm.Secret, entered bool) (moved bool, err error) {
	hosts, known := r.Program.Hosts(*s), old.Hosts
	if r.Defined {
		known = namesOf(r.Program.Hosts(old))
	}
	host, moved := firstNew(known, hosts)
	switch {
	case entered:
		s.Hosts = namesOf(r.boundTo(*s))
		return moved, nil
	case moved && r.Defined:
		return false, notEnteredFor("the secret was", host, "enter all of its values")
	}
	return false, nil
}

// namesOf are the spellings by which hosts are compared.
func namesOf(hosts []grant.Host) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return names
}

// firstNew is the first of the hosts that is not among the known ones, and that
// none of their wildcards covers.
func firstNew(known []string, hosts []grant.Host) (grant.Host, bool) {
	for _, host := range hosts {
		if !slices.ContainsFunc(known, func(k string) bool { return k == host.Name || coversHost(k, host.Name) }) {
			return host, true
		}
	}
	return grant.Host{}, false
}

func coversHost(known, host string) bool {
	pattern, err := realm.ParseHostPattern(known)
	return err == nil && pattern.Match(host, "https")
}

// notEnteredFor names the host as the realm has it: the value of a secret that
// is part of the host must not be told.
func notEnteredFor(what string, host grant.Host, advice string) *realm.Error {
	return &realm.Error{
		Code: realm.CodeHostNotAllowed, Status: http.StatusConflict,
		Detail: fmt.Sprintf("%s not entered for the host %q: %s", what, host.Written, advice),
	}
}

// notEnteredAsParent is the error of a secret that names the key of a parent, and
// was saved before the realm took a token of that parent's realm: nobody asked then
// whether its writer may have that token.
func notEnteredAsParent(host grant.Host) *realm.Error {
	return &realm.Error{
		Code: realm.CodeHostNotAllowed, Status: http.StatusConflict,
		Detail: fmt.Sprintf("the secret's field %s was not entered for %s: enter it again, or save the realm with ?keep_values=true", grant.ParentField, host.Written),
	}
}

// HostsOf are the hosts that a secret of the realm is bound to; with nil, those
// that the realm's shared fields are bound to. None for a realm that cannot be
// compiled. It is for the migration of databases that have no bindings yet.
func HostsOf(r realm.Realm, s *realm.Secret) []string {
	c, err := compile(r, false)
	switch {
	case err != nil:
		return nil
	case s == nil:
		return c.sharedHosts()
	}
	return namesOf(c.boundTo(*s))
}

// survey looks at the realm's stored secrets. needing are the keys of those whose values
// are not sent any more: the realm has a host that they were not entered for. A warning
// says how many others do not fit; of the former, nobody is told whether they would.
func (c *Catalog) survey(ctx context.Context, r *Realm) (needing, warnings []string, err error) {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, nil, StoreError(err)
	}
	until := c.cache.now().Add(surveyTime)
	var first string
	stored, looked, unfit := 0, 0, 0
	_, err = c.eachStored(ctx, r.Written.ID, func(s realm.Secret) {
		stored++
		if stored <= maxSurveyed && c.cache.now().Before(until) {
			looked = stored
		}
		if s.Damaged {
			return
		}
		if _, isNew := r.newHost(s); isNew {
			needing = append(needing, s.Key)
			return
		}
		if looked < stored {
			return
		}
		if why := r.whyUnfit(s); why != "" {
			unfit++
			first = cmp.Or(first, s.Key+": "+why)
		}
	})
	if err != nil {
		return nil, nil, StoreError(err)
	}
	slices.Sort(needing)
	return needing, unfitWarning(unfit, looked, stored, first), nil
}

// keepValues binds a stored secret to the hosts that this very realm has, and
// not to those that somebody else may have given it since it was saved.
func (c *Catalog) keepValues(ctx context.Context, r *Realm, key string) error {
	ctx, cancel, err := c.cache.begin(ctx)
	defer cancel()
	if err != nil {
		return StoreError(err)
	}
	ref := realm.Ref{Realm: r.Written.ID, Key: key}
	_, err = c.cache.store.UpdateSecret(ctx, ref, func(s realm.Secret, found bool) (realm.Secret, tokenstore.TokenChange, error) {
		if !found { // deleted meanwhile
			return s, tokenstore.TokenChange{}, secretNotFound()
		}
		s.Hosts = namesOf(r.boundTo(s))
		return s, tokenstore.TokenChange{}, nil
	})
	if err = changeError(err); err != nil {
		return err
	}
	c.cache.secretChanged(ref, Saved)
	return nil
}
