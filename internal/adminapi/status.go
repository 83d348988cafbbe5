package adminapi

import (
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caddy-tokens/caddy-tokens/internal/access"
	"github.com/caddy-tokens/caddy-tokens/internal/broker"
	"github.com/caddy-tokens/caddy-tokens/realm"
	"github.com/caddy-tokens/caddy-tokens/tokenstore"
)

// description is the OpenAPI 3.1 description of every route. The tests hold
// it against the routes and against every answer that they get.
//
//go:embed openapi.json
var description json.RawMessage

// statusDocument is the answer of GET /api/status.
type statusDocument struct {
	broker.Status
	Clients clientsStatus `json:"clients"`
	// Total is how many tokens the query selects; absent where it selects none.
	Total *int `json:"total,omitempty"`
}

// clientsStatus tells whether this node knows the clients as they are now.
type clientsStatus struct {
	// Required: only clients are served.
	Required bool `json:"required"`
	// StaleSince is since when changes of clients may have gone unnoticed, because
	// the database does not answer or the other nodes are not heard: the last
	// known rights hold.
	StaleSince *time.Time `json:"stale_since,omitempty"`
}

// status answers GET /api/status.
func (a *api) status(ctx context.Context, r *request) (any, error) {
	s, total, err := a.tokensStatus(ctx, r)
	if err != nil {
		return nil, err
	}
	for i := range s.Tokens {
		s.Tokens[i].Parents = r.caller.visibleParents(s.Tokens[i].Parents)
	}
	if !r.caller.mayAll(access.AdminRead) {
		s.Damaged = slices.DeleteFunc(s.Damaged, func(d tokenstore.Damage) bool {
			return d.Realm == "" || !r.caller.may(access.AdminRead, realm.Ref{Realm: d.Realm, Key: d.Key})
		})
	}
	if s.Stores == nil {
		s.Stores = []broker.StoreStatus{}
	}
	if s.Tokens == nil {
		s.Tokens = []broker.TokenStatus{}
	}
	clients := clientsStatus{Required: a.clients.Required(), StaleSince: endOf(a.clients.Since())}
	return statusDocument{s, clients, total}, nil
}

// visibleParents are the parents whose realms the caller may see.
func (c Caller) visibleParents(list []broker.ParentStatus) []broker.ParentStatus {
	return slices.DeleteFunc(list, func(p broker.ParentStatus) bool { return !c.maySome(access.AdminRead, p.Realm) })
}

// tokensStatus is the status with the tokens that the query selects and the caller
// may see, and how many there are; or with all of them and nil, where the query
// selects none.
func (a *api) tokensStatus(ctx context.Context, r *request) (broker.Status, *int, error) {
	may := func(ref realm.Ref) bool { return r.caller.may(access.AdminRead, ref) }
	q, isSelective, err := r.query.status()
	if err != nil {
		return broker.Status{}, nil, err
	}
	if !isSelective {
		s := a.broker.Status(ctx)
		s.Tokens = slices.DeleteFunc(s.Tokens, func(t broker.TokenStatus) bool { return !may(realm.Ref{Realm: t.Realm, Key: t.Key}) })
		return s, nil, nil
	}
	if !r.caller.hasAll() {
		q.May = may
	}
	s, total := a.broker.StatusPage(ctx, q)
	return s, &total, nil
}

// status reads what selects tokens of the status. isSelective: something does.
func (q query) status() (s broker.StatusQuery, isSelective bool, err error) {
	for name, to := range map[string]*string{
		"realm": &s.Realm, "key": &s.Key, "state": &s.State, "keyword": &s.Keyword, "page": nil, "pageSize": nil, "attention": nil,
	} {
		text, err := q.text(name)
		if err != nil {
			return s, false, err
		}
		if to != nil {
			*to = text
		}
		isSelective = isSelective || text != ""
	}
	if words := broker.States(); s.State != "" && !slices.Contains(words, s.State) {
		return s, false, realm.Fieldf("state", "must be one of %s", strings.Join(words, ", "))
	}
	if s.Attention, err = q.flag("attention", false); err != nil {
		return s, false, err
	}
	s.Page, err = q.page()
	return s, isSelective, err
}

// openAPI answers GET /api/openapi.json.
func (a *api) openAPI(context.Context, *request) (any, error) { return description, nil }
