package adminapi

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// Caller is who makes a request, as far as what stands in front of the API
// found out. The zero value is nobody, and may do nothing.
type Caller struct {
	// Kind is what lets the caller in: KindClient and so on.
	Kind CallerKind
	// ID is the id of the client or the name of the user; "" for others.
	ID string
	// Address is where the request comes from, for the audit.
	Address string
	// Client has the caller's rights. Nil for a caller that is no client: its
	// Kind decides then.
	Client *access.Client
	// Host is the name by which a browser reached the site, where a proxy in
	// front sends another Host; "" where the Host is the one.
	Host string
	// SessionEnds is when the session ends that the caller is in; zero for none.
	SessionEnds time.Time
	// SessionToken names that session, so that a page can say which one it means;
	// "" for none.
	SessionToken string
	// Login makes and ends sessions; nil for requests that are about none.
	Login Login
}

// CallerKind is what lets a caller in.
type CallerKind string

// The kinds. All but clients have every right: a caller that lacks one is not
// let in by them.
const (
	KindClient CallerKind = "client"
	KindUser   CallerKind = "user"  // whom an authentication directive accepted
	KindAdmin  CallerKind = "admin" // with the admin token
	KindLocal  CallerKind = "local" // auth local, auth none
)

// visit is the context of one request, which knows who makes it and what the
// audit has of it. One type for all three costs a request one allocation, and
// context.WithValue would cost it two for each value.
type visit struct {
	context.Context
	caller Caller
	trace  trace
}

// visitKey is the key by which a visit finds itself in a context.
type visitKey struct{}

// Value implements context.Context.
func (v *visit) Value(key any) any {
	if key == (visitKey{}) {
		return v
	}
	return v.Context.Value(key)
}

// WithCaller tells the API who makes the request. The context is for one request
// only.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return &visit{Context: ctx, caller: c}
}

// visitOf is the visit of a context; one of nobody, who may do nothing, where
// there is none.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return new(visit)
}

// callerOf is who makes the request.
func callerOf(ctx context.Context) Caller { return visitOf(ctx).caller }

// isInSession reports whether the caller is known by the cookie of a session. That
// is a page in a browser, which is to hold no token: it gets every answer without.
func (c Caller) isInSession() bool { return !c.SessionEnds.IsZero() }

// isEdge reports whether the caller is an instance that takes its tokens from this
// one. It gets those that are inject_only, too, and keeps them from its own callers.
func (c Caller) isEdge() bool { return c.Client != nil && c.Client.IsEdge() }

// hasAll reports whether the caller has every right, because it is no client.
func (c Caller) hasAll() bool { return c.Client == nil && c.Kind != "" && c.Kind != KindClient }

// may reports whether the caller has a right for a secret, or for a realm as a
// whole, with all its keys, where the reference has none.
func (c Caller) may(right access.Right, ref realm.Ref) bool {
	return c.hasAll() || c.Client != nil && c.Client.Decide(access.Question{Right: right, Ref: ref}).Allowed
}

// maySome reports whether the caller has a right for some key of a realm.
func (c Caller) maySome(right access.Right, realmID string) bool {
	return c.hasAll() || c.Client != nil && c.Client.MayAny(right, realmID, "")
}

// maySomewhere reports whether the caller has a right for anything.
func (c Caller) maySomewhere(right access.Right) bool {
	return c.hasAll() || c.Client != nil && c.Client.MaySomewhere(right)
}

// mayAll reports whether the caller has a right for all realms and keys.
func (c Caller) mayAll(right access.Right) bool {
	return c.hasAll() || c.Client != nil && c.Client.MayAll(right)
}

// refusing is what account.Service.For wants of a caller.
func (c Caller) refusing(right access.Right) func(realm.Ref) error {
	return func(ref realm.Ref) error {
		if ref == (realm.Ref{}) {
			return require(c.mayAll(right))
		}
		return require(c.may(right, ref))
	}
}

// errForbidden is the one answer to whoever lacks a right. It says the same
// whether what was asked for exists or not.
var errForbidden = &realm.Error{
	Code: realm.CodeForbidden, Status: http.StatusForbidden, Detail: "the caller has no right to do this",
}

// require is nil for who may, else errForbidden.
func require(may bool) error {
	if may {
		return nil
	}
	return errForbidden
}

// scope is what a caller needs the right of a route for.
type scope uint8

const (
	// scopeOpen: no right is needed.
	scopeOpen scope = iota
	// scopeAll: for all realms and keys.
	scopeAll
	// scopeRealm: for the realm that the path names, with all its keys.
	scopeRealm
	// scopeSecret: for the secret that the path names.
	scopeSecret
	// scopeSome: for some key of the realm that the path names; the handler
	// looks at each.
	scopeSome
	// scopeSomewhere: for anything; the handler shows what the caller may see, and
	// asks again where the caller means one thing.
	scopeSomewhere
	// scopeHandler: the handler asks, because the query or the body says what it
	// is about.
	scopeHandler
)

// allow is nil for a caller that has the route's right for what the path names.
func (rt *route) allow(c Caller, ids [2]string) error {
	switch rt.scope {
	case scopeAll:
		return require(c.mayAll(rt.right))
	case scopeRealm:
		return require(c.may(rt.right, realm.Ref{Realm: ids[0]}))
	case scopeSecret:
		return require(c.may(rt.right, realm.Ref{Realm: ids[0], Key: ids[1]}))
	case scopeSome:
		return require(c.maySome(rt.right, ids[0]))
	case scopeSomewhere:
		return require(c.maySomewhere(rt.right))
	case scopeOpen, scopeHandler:
	}
	return nil
}

// require is nil for a caller that has a right for a secret or a realm, and
// notes what the request is about.
func (r *request) require(right access.Right, ref realm.Ref) error {
	r.about = ref
	return require(r.caller.may(right, ref))
}

// showsProviderMessage reports whether a refusal tells the provider's words: they
// are for those who may read everything about the realm.
func (r *request) showsProviderMessage() bool {
	if r.route.kind == kindCallback || !r.route.administrates() && r.caller.Client == nil {
		return false
	}
	about := r.about
	if about == (realm.Ref{}) {
		about = realm.Ref{Realm: r.ids[0], Key: r.ids[1]}
	}
	return r.caller.may(access.AdminRead, about)
}

// allowed lists the page of what a caller may see. Of a list that is filtered,
// all has to be read: a page of it begins wherever the filter says.
func allowed[T any](
	c Caller, page tokenstore.Page, find func(tokenstore.Page) ([]T, int, error), may func(T) bool,
) ([]T, int, error) {
	if c.hasAll() {
		return find(page)
	}
	const size = 1000
	var seen []T
	for number := 1; ; number++ {
		items, total, err := find(tokenstore.Page{Number: number, Size: size})
		if err != nil {
			return nil, 0, err
		}
		for _, item := range items {
			if may(item) {
				seen = append(seen, item)
			}
		}
		if number*size >= total {
			break
		}
	}
	first := min((page.Number-1)*page.Size, len(seen))
	return seen[first:min(first+page.Size, len(seen))], len(seen), nil
}
