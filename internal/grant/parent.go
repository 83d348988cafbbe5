package grant

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-tokens/caddy-tokens/realm"
)

// ParentField is the field of a secret that names the key of its parent, where
// the recipe names the realm alone.
const ParentField = "parent"

// ParentHostPrefix begins the names of ParentHosts. No host has a colon there.
const ParentHostPrefix = "parent:"

// ParentUse is a recipe that sends the token of another credential.
type ParentUse struct {
	// Parent is the credential as the recipe names it. Without a key, the secret's
	// field "parent" names that, else the default_key of the parent's realm.
	Parent realm.Ref
	Kind   RecipeKind
	// Field is where it was typed.
	Field string
	// Host and Scheme are where the recipe sends it. IsFixed: no field of the secret
	// stands in the host.
	Host, Scheme string
	IsFixed      bool
}

// maxParents bounds how many credentials a realm may take tokens of: each may be a
// request to a provider before the realm's own.
const maxParents = 8

// Parents are all uses of other credentials' tokens, each once for a recipe. The
// caller must not change the slice.
func (p *Program) Parents() []ParentUse { return p.parents }

// compileParents finds the uses of other credentials' tokens.
func (p *Program) compileParents() error {
	known := map[realm.Ref]bool{}
	for _, kind := range []RecipeKind{FetchRecipe, RefreshRecipe, AuthorizeRecipe, ExchangeRecipe} {
		r := p.recipe(kind)
		if r == nil {
			continue
		}
		for _, u := range r.parents(kind) {
			if known[u.Parent] = true; len(known) > maxParents {
				return realm.Fieldf(u.Field, "takes a token too many: a realm may take those of %d other secrets", maxParents)
			}
			p.parents = append(p.parents, u)
		}
	}
	return nil
}

// parents are the uses of one recipe.
func (r *recipe) parents(kind RecipeKind) []ParentUse {
	var list []ParentUse
	add := func(field string, templates ...template) {
		for _, t := range templates {
			for _, p := range t {
				isKnown := func(u ParentUse) bool { return u.Parent == p.parent }
				if !p.isParent() || slices.ContainsFunc(list, isKnown) {
					continue
				}
				list = append(list, ParentUse{
					Parent: p.parent, Kind: kind, Field: field,
					Host: r.url.host.written(), Scheme: r.url.scheme, IsFixed: len(r.url.host.fields(nil)) == 0,
				})
			}
		}
	}
	add(r.url.field, r.url.path, r.url.query)
	for _, a := range r.arguments() {
		add(a.at(".name"), a.user)
		add(a.source(), a.value)
	}
	return list
}

// readsParentField reports whether the recipe leaves the key of a parent to the
// secret.
func (r *recipe) readsParentField() bool {
	return slices.ContainsFunc(r.parents(FetchRecipe), func(u ParentUse) bool { return u.Parent.Key == "" })
}

// decisiveFields are the fields that decide what the recipe sends: those that it
// reads, and the one that names its parent. Another parent is another credential;
// another token of the same parent is not.
func (r *recipe) decisiveFields() []string {
	list := r.fields()
	if r.readsParentField() {
		list = append(list, ParentField)
	}
	return list
}

// Parent is another credential with its token, as a call sends it.
type Parent struct {
	// Ref is the credential, with its key.
	Ref   realm.Ref
	Token realm.Hidden
	// Hosts may get the token, and AllowHTTP lets it go out without TLS.
	Hosts     []realm.HostPattern
	AllowHTTP bool
	// Dead tells the answer of a provider that refused the token; nil where the
	// parent has no renew_on.
	Dead realm.DeadRule
	// IsFresh: it was obtained in place of one that the provider refused in the same
	// request a moment ago.
	IsFresh bool
}

// MayGoTo reports whether the parent's token may be sent to a host.
func (p *Parent) MayGoTo(host, scheme string) bool {
	return (scheme == "https" || p.AllowHTTP) &&
		slices.ContainsFunc(p.Hosts, func(h realm.HostPattern) bool { return h.Match(host, scheme) })
}

// ParentUses are the uses of the recipes of these kinds, with the secret filled
// in: the hosts, and the keys that it names itself.
func (b *Bound) ParentUses(kinds ...RecipeKind) ([]ParentUse, error) {
	var list []ParentUse
	for _, kind := range kinds {
		r := b.program.recipe(kind)
		if r == nil {
			continue
		}
		for _, u := range r.parents(kind) {
			v := b.values
			host, err := expandHost(r.url.host, &v, r.url.field)
			if err != nil {
				return nil, err
			}
			u.Host, u.IsFixed = host, true
			list = append(list, u)
		}
	}
	return list, nil
}

// OwnParentKey is the key of its parent that the secret itself names; "" for none.
func (b *Bound) OwnParentKey() string { return b.values.secret[ParentField].Reveal() }

// checkParents refuses to send a request without the tokens of its parents, or to
// a host that one of them may not go to.
func (r *recipe) checkParents(parents map[realm.Ref]Parent, v *values) error {
	for _, u := range r.parents(FetchRecipe) {
		parent, ok := parents[u.Parent]
		if !ok || blank(parent.Token.Reveal()) {
			return realm.Fieldf(u.Field, "the token of %s is not there", u.Parent)
		}
		host, err := expandHost(r.url.host, v, r.url.field)
		if err != nil {
			return err
		}
		if !parent.MayGoTo(host, u.Scheme) {
			return realm.Fieldf(u.Field, "the token of %s must not go to the host of %s", parent.Ref, r.url.field)
		}
	}
	return nil
}

// withParents makes an answer that refuses the token of a parent the failure that
// it is: neither the secret nor its refresh token is at fault. The two may look
// alike, such as a status 401: once fresh parents have not helped, a refresh token
// that the provider calls dead is.
func (c *call) withParents(a *answer, failed *Error) *Error {
	if failed == nil || a == nil {
		return failed
	}
	dead := c.deadParents(a)
	isOld := func(written realm.Ref) bool { return !c.request.Parents[written].IsFresh }
	if len(dead) == 0 || failed.Kind == KindInvalidGrant && !slices.ContainsFunc(dead, isOld) {
		return failed
	}
	names := make([]string, len(dead))
	for i, written := range dead {
		names[i] = c.request.Parents[written].Ref.String()
	}
	return &Error{
		Class: Retryable, Kind: KindDeadParent, Status: a.status,
		ProviderCode: failed.ProviderCode, ProviderMessage: failed.ProviderMessage,
		Detail: "the token of " + strings.Join(names, ", ") + ", which this one needs, is dead", deadParents: dead,
	}
}

// deadParents are the parents that the recipe sends a token of and whose rule
// matches the answer. Several may have the same rule.
func (c *call) deadParents(a *answer) []realm.Ref {
	var dead []realm.Ref
	for _, u := range c.recipe.parents(FetchRecipe) {
		rule := c.request.Parents[u.Parent].Dead
		if rule == nil {
			continue
		}
		verdict := rule.Head(a.status, a.header)
		if verdict == realm.Dead || verdict == realm.AskBody && rule.Body(a.status, a.header, a.body, true) {
			dead = append(dead, u.Parent)
		}
	}
	return dead
}

// DeadParents are the parents whose tokens the provider refused (KindDeadParent),
// by the names that the recipe has for them.
func (e *Error) DeadParents() []realm.Ref { return e.deadParents }

// isUnsure reports whether a status leaves open what the provider has done.
func isUnsure(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusRequestTimeout
}

// ParentsOf are the credentials whose keys a secret itself names.
func (p *Program) ParentsOf(s realm.Secret) []realm.Ref {
	key := s.Fields[ParentField].Reveal()
	if key == "" {
		return nil
	}
	var list []realm.Ref
	for _, u := range p.Parents() {
		ref := realm.Ref{Realm: u.Parent.Realm, Key: key}
		if u.Parent.Key == "" && !slices.Contains(list, ref) {
			list = append(list, ref)
		}
	}
	return list
}

// ParentHosts are the credentials of ParentsOf in the form of hosts: a secret is
// bound to them as it is to hosts. Whoever wrote it had the right to them; whoever
// changes the realm later must not choose another realm for its key.
func (p *Program) ParentHosts(s realm.Secret) []Host {
	var list []Host
	for _, ref := range p.ParentsOf(s) {
		list = append(list, Host{
			Name:    ParentHostPrefix + strconv.Quote(ref.Realm) + strconv.Quote(ref.Key),
			Written: "{" + parentName + "[" + strconv.Quote(ref.Realm) + "]}",
		})
	}
	return list
}
