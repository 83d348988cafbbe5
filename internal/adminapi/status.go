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
	// Total is how many tokens the query selects; all of them, where it says nothing.
	Total int `json:"total"`
	// Truncated: nothing was selected, and the lists are not whole.
	Truncated bool `json:"truncated,omitempty"`
}

// What nothing selects from is bounded, so that the answer has less than 1 MB: in
// number, and in bytes of JSON.
const (
	maxUnselected      = 1000
	maxUnselectedBytes = 700_000
	maxDamagedBytes    = 200_000
)

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
	q, isSelective, err := r.query.status()
	if err != nil {
		return nil, err
	}
	if !isSelective {
		q.Page, q.AttentionFirst = tokenstore.Page{Number: 1, Size: maxUnselected}, true
	}
	if !r.caller.hasAll() {
		q.May = func(ref realm.Ref) bool { return r.caller.may(access.AdminRead, ref) }
	}
	s, total := a.broker.StatusPage(ctx, q)
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
	doc := statusDocument{Status: s, Clients: clientsStatus{Required: a.clients.Required(), StaleSince: endOf(a.clients.Since())}, Total: total}
	if !isSelective {
		doc.Tokens, doc.Damaged = fitting(s.Tokens, maxUnselectedBytes), fitting(s.Damaged, maxDamagedBytes)
		doc.Truncated = len(doc.Tokens) < total || len(doc.Damaged) < len(s.Damaged)
	}
	return doc, nil
}

// visibleParents are the parents whose realms the caller may see.
func (c Caller) visibleParents(list []broker.ParentStatus) []broker.ParentStatus {
	return slices.DeleteFunc(list, func(p broker.ParentStatus) bool { return !c.maySome(access.AdminRead, p.Realm) })
}

// fitting is how much of a list has so many bytes as JSON.
func fitting[T any](list []T, most int) []T {
	for i, item := range list {
		if most -= lengthOf(item); most < 0 {
			return list[:i]
		}
	}
	return list
}

// lengthOf is how long an item of a list is as JSON, with the comma behind it.
func lengthOf(item any) int {
	text, err := json.Marshal(item)
	if err != nil { // words, numbers and times only
		panic(err)
	}
	return len(text) + 1
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
